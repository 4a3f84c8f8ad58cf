"""Cycles per token of an image, from a short checked simulation; cached by content."""

import json
from collections.abc import Callable

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig
from ternforge.output import to_json, write_text
from ternforge_firmware.image import Image

from .dram import DramMemoryModel, build_dram_simulator
from .runner import build_simulator, generator_key
from .simulate import simulate

__all__ = ["measure_cycles"]

#: Tokens simulated; the data change the cycle count by a few in ten thousand.
STEPS = 4
#: Beats of a token that takes so long that one must do.
LONG = 1 << 20


def measure_cycles(core: CoreConfig, image: Image, *, dram: DramConfig | None = None,
                   progress: Callable[[str], object] | None = None) -> dict:
    """Simulate a few tokens of ``image`` and return what they took.

    With ``dram`` they come out of such a chip behind LiteDRAM's controller.

    Returns
    -------
    dict
        ``cycles_per_token``, ``ideal_cycles_per_token``, ``weight_stream_share``,
        ``checked_tokens`` and ``bit_exact``.
    """
    def fill(folder):
        steps = 1 if len(image.program_beats) > LONG else STEPS
        library = (build_simulator(core, progress=progress) if dram is None else
                   build_dram_simulator(core, dram, progress=progress))
        run = simulate(library, core, image, list(range(min(steps, image.vocab_size))), 1,
                       memory=dram and DramMemoryModel(dram=dram))
        write_text(folder / "cycles.json", to_json({
            "cycles_per_token": run.cycles_per_token,
            "ideal_cycles_per_token": run.ideal_cycles,
            "weight_stream_share": run.weight_stream_share,
            "checked_tokens": run.checked_tokens,
            "bit_exact": run.bit_exact,
        }))

    key = content_key("cycles", repr(core), repr(dram), image.model_hash, generator_key())
    return json.loads((cached("cycles", key, fill) / "cycles.json").read_text())
