"""Named core configurations, one per device that the shipped models are sized for."""

from collections.abc import Callable

from ternforge.config import CoreConfig
from ternforge.errors import unknown

__all__ = ["BOARDS", "MODELS", "PRESETS", "core_preset", "fitting_boards"]

#: Core configurations by name.
PRESETS = {
    # 128 KiB of single-port RAM (16384 words of 64 bits) and 512 words of block RAM beside it
    "up5k": CoreConfig(lanes=8, elements=1, vector_depth=1024, state_depth=512, max_rows=512,
                       max_fan_in=400, memory_beats=16384 + 512, single_port_beats=16384,
                       bank_beats=512, tree_levels=3),
    # five banks of 36 block RAMs, 2048 words of 9 bits each, and one of 18 with 1024 words of 18
    "ecp5-85f": CoreConfig(lanes=40, elements=4, vector_depth=2048, state_depth=1024, max_rows=256,
                           max_fan_in=600, memory_beats=11 * 1024, bank_beats=2048,
                           tree_levels=1),
}

#: Core preset of each board.
BOARDS = {"icebreaker": "up5k", "ulx3s-85f": "ecp5-85f"}

#: Board that each shipped model is sized for.
MODELS = {"shakespeare-up5k": "icebreaker", "shakespeare-85f": "ulx3s-85f"}


def fitting_boards(fits: Callable[[CoreConfig], bool]) -> str:
    """Which boards have a core that ``fits``, as the end of a sentence that refuses another."""
    fitting = [board for board, preset in BOARDS.items() if fits(PRESETS[preset])]
    return f"it would fit {' or '.join(fitting)}" if fitting else "it fits no board"


def core_preset(name: str) -> CoreConfig:
    """The core configuration of a preset, or of a board, by name.

    Raises
    ------
    UserError
        If there is none; the nearest names are offered.
    """
    key = BOARDS.get(name, name)
    if key not in PRESETS:
        raise unknown("board", name, [*BOARDS, *PRESETS])
    return PRESETS[key]
