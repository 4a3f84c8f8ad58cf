"""Cycles per token of an image, from a short checked simulation; cached by content."""

import json
from collections.abc import Callable

from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.output import to_json, write_text
from ternforge_firmware.image import Image

from .runner import build_simulator, generator_key
from .simulate import simulate

__all__ = ["measure_cycles"]

#: Tokens simulated; the data change the cycle count by a few in ten thousand.
STEPS = 4


def measure_cycles(core: CoreConfig, image: Image, *,
                   progress: Callable[[str], object] | None = None) -> dict:
    """Simulate a few tokens of ``image`` and return what they took.

    Returns
    -------
    dict
        ``cycles_per_token``, ``ideal_cycles_per_token``, ``weight_stream_share``,
        ``checked_tokens`` and ``bit_exact``.
    """
    def fill(folder):
        library = build_simulator(core, progress=progress)
        run = simulate(library, core, image, list(range(min(STEPS, image.vocab_size))), 1)
        write_text(folder / "cycles.json", to_json({
            "cycles_per_token": run.cycles_per_token,
            "ideal_cycles_per_token": run.ideal_cycles,
            "weight_stream_share": run.weight_stream_share,
            "checked_tokens": run.checked_tokens,
            "bit_exact": run.bit_exact,
        }))

    key = content_key("cycles", repr(core), image.model_hash, generator_key())
    return json.loads((cached("cycles", key, fill) / "cycles.json").read_text())
