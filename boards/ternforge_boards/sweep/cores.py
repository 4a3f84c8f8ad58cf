"""The core of a point: the board's preset with other settings and room for the model's image."""

from collections.abc import Mapping
from dataclasses import replace

from ternforge.config import CoreConfig
from ternforge.lanes import resolve_lane
from ternforge.mem.onchip import banks_of
from ternforge.numerics import STATE_BITS, VECTOR_BITS
from ternforge.presets import core_preset
from ternforge_boards.board import Board, Resources
from ternforge_firmware.allocate import FitError
from ternforge_firmware.footprint import footprint
from ternforge_model.program import Program

__all__ = ["Refused", "block_rams", "core_for"]

#: Words and bits of one block RAM with independent ports, as the makers' memory guides give them
#: (Lattice FPGA-TN-02204 and FPGA-TN-02250). Beats whose writes are whole may use the parity bits.
BLOCK_SHAPES = {"ecp5": ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18)),
                "ice40": ((2048, 2), (1024, 4), (512, 8), (256, 16))}
#: Words and bits of one single-port RAM of the iCE40 UltraPlus (Lattice FPGA-TN-02022).
SINGLE_PORT = (16384, 16)
#: Addresses of an image memory have 24 bits, and so has its size in the host's INFO.
MOST_BEATS = (1 << 24) - 1


class Refused(Exception):
    """A point that cannot be built: the rule that says so, and how it is broken."""

    def __init__(self, rule: str, reason: str):
        super().__init__(reason)
        self.rule, self.reason = rule, reason


def block_rams(family: str, depth: int, bits: int) -> int:
    """Fewest block RAMs that a memory of ``depth`` words of ``bits`` bits takes."""
    return min(-(-depth // words) * -(-bits // width) for words, width in BLOCK_SHAPES[family])


def core_for(board: Board, settings: Mapping[str, int | str], program: Program) -> CoreConfig:
    """The board's core with ``settings``, whose image memory holds ``program``.

    A core that is the preset keeps its memory. Depths are rounded up to whole words, and
    elements per cycle that are not set are halved until the lanes allow them.

    Parameters
    ----------
    board : Board
        Gives preset and device.
    settings : mapping
        Fields of :class:`CoreConfig`.
    program : Program
        A model; its weights are not read.

    Raises
    ------
    Refused
        If no such core exists, or the board cannot hold it or the model.
    """
    try:
        core = _roomy(board, settings, program)
    except FitError as error:  # of shapes that no depth makes fit
        raise Refused("model's shape", str(error)) from None
    if core.bank_beats:
        _check_blocks(board, core)
    else:
        _check_dram(board, core)
    return core


def _roomy(board: Board, settings: Mapping[str, int | str], program: Program) -> CoreConfig:
    """The core with room for the image, whether the board has as much or not."""
    preset = resolve_lane(core_preset(board.name), board.family)
    changed = resolve_lane(_changed(preset, settings), board.family)
    if (changed.bank_beats == preset.bank_beats and changed.lanes == preset.lanes
            and not footprint(program, changed).misfit):
        return changed
    found = footprint(program, replace(changed, memory_beats=MOST_BEATS))
    if found.misfit:
        raise Refused("core's capacity", f"the model needs {found.misfit}")
    return _with_memory(board, changed, found.image_bytes // changed.lanes)


def _changed(preset: CoreConfig, settings: Mapping[str, int | str]) -> CoreConfig:
    values: dict[str, int | str] = {**vars(preset), **settings}
    if "elements" not in settings:
        values["elements"] = _elements(preset.elements, int(values["lanes"]), int(values["cores"]))
    for names, unit in ((("vector_depth", "max_fan_in"), "elements"),
                        (("state_depth", "max_rows"), "cores")):
        for name in names:
            step = max(1, int(values[unit]))
            values[name] = -(-int(values[name]) // step) * step
    fields: dict = values
    try:
        return CoreConfig(**fields)
    except (TypeError, ValueError) as error:
        raise Refused("core's configuration", str(error)) from None


def _elements(usual: int, lanes: int, cores: int) -> int:
    """The most elements per cycle that such a core may have, ``usual`` or ``cores`` at most."""
    powers = (1 << bit for bit in range(max(usual, cores).bit_length()))
    fitting = [power for power in powers if lanes // 2 % power == 0 == lanes % (cores * power)]
    return max(fitting, default=usual)


def _with_memory(board: Board, core: CoreConfig, beats: int) -> CoreConfig:
    """The core with an image memory of at least ``beats`` beats."""
    if not core.bank_beats:
        assert board.memory is not None
        return replace(core, memory_beats=min(board.memory.size_bytes // core.lanes, MOST_BEATS))
    single = _single_port_beats(board.resources, core.beat_bits)
    shapes = BLOCK_SHAPES[board.family]
    least = shapes[-1][0]  # no block is shorter
    rest = -(-max(0, beats - single) // least) * least

    def blocks(depth: int) -> int:
        whole, part = divmod(rest, depth)
        return (whole * block_rams(board.family, depth, core.beat_bits)
                + block_rams(board.family, part, core.beat_bits))

    bank = min((words for words, _ in shapes), key=lambda words: (blocks(words), -words))
    return replace(core, memory_beats=single + rest, single_port_beats=single, bank_beats=bank)


def _single_port_beats(resources: Resources, beat_bits: int) -> int:
    """Beats in all single-port RAMs, as many side by side as a beat is wide."""
    words, bits = SINGLE_PORT
    return resources.spram // -(-beat_bits // bits) * words


def _check_blocks(board: Board, core: CoreConfig) -> None:
    image = sum(block_rams(board.family, bank.depth, core.beat_bits)
                for bank in banks_of(core) if bank.style == "block")
    rest = sum(depth * bits for depth, bits in (
        (core.vector_depth * core.streams, VECTOR_BITS),
        (core.state_depth * core.streams, STATE_BITS))) // board.resources.block_ram_bits
    if image + rest > board.resources.block_ram:
        raise Refused("device's memory", f"the image takes {image} block RAMs and vectors and "
                      f"states at least {rest}, of {board.resources.block_ram}")


def _check_dram(board: Board, core: CoreConfig) -> None:
    assert board.memory is not None
    word = board.memory.dram.word_bits
    wide, narrow = max(word, core.beat_bits), min(word, core.beat_bits)
    if wide % narrow or wide // narrow & (wide // narrow - 1):
        raise Refused("memory's width", f"a beat of lanes={core.lanes} bytes must be 1, 2, 4 .. "
                      f"times as wide or narrow as the memory's words of {word // 8}")
