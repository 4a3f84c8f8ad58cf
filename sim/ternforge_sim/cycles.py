"""Cycles per token of an image, from a short checked simulation; cached by content."""

import json
from collections.abc import Callable
from typing import Any

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.mem.litedram import DramConfig
from ternforge.output import to_json, write_text
from ternforge_firmware.image import Image

from .compare import Outline
from .dram import DramMemoryModel, build_dram_simulator
from .runner import build_simulator, generator_key
from .simulate import simulate

__all__ = ["measure_cycles"]

#: Tokens of each sequence; the data change the cycle count by a few in ten thousand. A power of
#: two, so that the cycles of the causes, over the steps, add up to those of a step to the last bit.
STEPS = 4
#: Beats of a token that takes so long that one must do.
LONG = 1 << 20


def measure_cycles(core: CoreConfig, image: Image, *, dram: DramConfig | None = None,
                   progress: Callable[[str], object] | None = None) -> dict[str, Any]:
    """Simulate a few tokens of ``image`` and return what they took.

    With ``dram`` they come out of such a chip behind LiteDRAM's controller. Of a core with several
    streams, each gets a sequence of its own, so that a step makes as many tokens; where only one
    sequence has states of its own, that one runs.

    Returns
    -------
    dict
        ``cycles_per_token`` (of a step), ``causes`` (the same by cause, see
        :class:`~ternforge.core.sequencer.Cause`; they add up to it exactly), ``steps``,
        ``streams``, ``ternary_weights``, ``ideal_cycles_per_token``, ``weight_stream_share``,
        ``checked_tokens`` and ``bit_exact``.
    """
    def fill(folder):
        steps = 1 if len(image.program_beats) > LONG else min(STEPS, image.vocab_size)
        steps = 1 << steps.bit_length() - 1
        library = (build_simulator(core, progress=progress) if dram is None else
                   build_dram_simulator(core, dram, progress=progress))
        streams = 1 if core.prefill_states else core.streams
        # A prompt would go through all streams of a core that keeps one sequence.
        length, count = (1, steps) if core.prefill_states else (steps, 1)
        prompts = [[(first + step) % image.vocab_size for step in range(length)]
                   for first in range(streams)]
        run = simulate(library, core, image, prompts, count,
                       memory=dram and DramMemoryModel(dram=dram))
        write_text(folder / "cycles.json", to_json({
            "cycles_per_token": run.cycles / run.passes,
            "causes": {cause: count / run.passes for cause, count in run.causes.items()},
            "steps": run.passes,
            "streams": streams,
            "ternary_weights": Outline.of(image).ternary_weights,
            "ideal_cycles_per_token": run.ideal_cycles,
            "weight_stream_share": run.weight_stream_share,
            "checked_tokens": run.checked_tokens,
            "bit_exact": run.bit_exact,
        }))

    key = content_key("cycles by cause", repr(core), repr(dram), image.model_hash, generator_key())
    return json.loads((cached("cycles", key, fill) / "cycles.json").read_text())
