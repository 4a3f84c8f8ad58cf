"""Three bitstreams whose currents tell static, clock and toggle energy apart."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ternforge.cache import cache_dir
from ternforge.output import atomic_folder, write_text
from ternforge_boards.board import Board
from ternforge_boards.build import build
from ternforge_boards.jobs import Progress
from ternforge_boards.nextpnr import PACKERS

__all__ = ["BITSTREAMS", "array_size", "bitstream_verilog", "terms", "write_bitstreams"]

#: Names of the bitstreams, as in the measurements.
BITSTREAMS = ("blank", "clock", "toggle")

#: Share of the device's flip-flops in the array, and most of them.
SHARE, MOST = 0.4, 8192


def array_size(board: Board) -> int:
    """Flip-flops of the array."""
    return min(MOST, int(board.resources.ff * SHARE))


def bitstream_verilog(name: str, board: Board) -> str:
    """Verilog of one of :data:`BITSTREAMS`.

    ``blank`` has one flip-flop, whose clock is the serial line, which is idle. ``clock`` has a
    shift register on the board's clock that takes in the idle line: nothing in it changes.
    ``toggle`` has the same with a flip-flop before it that changes in every cycle, and so does each
    of the register's.
    """
    size, clock = array_size(board), board.clock_port
    if name == "blank":
        body = "  reg seen = 0;\n  always @(posedge uart_rx) seen <= ~seen;\n  " \
               "assign uart_tx = seen;"
        return f"module power_blank (input uart_rx, output uart_tx);\n{body}\nendmodule\n"
    source = "uart_rx" if name == "clock" else "half"
    # In the toggling array the idle line, which is high, lets the first flip-flop change.
    extra = ("  reg half = 0;\n"
             f"  always @(posedge {clock}) half <= half ^ uart_rx;\n" if name == "toggle" else "")
    return f"""\
module power_{name} (input {clock}, input uart_rx, output uart_tx);
{extra}  reg [{size - 1}:0] array = 0;
  always @(posedge {clock}) array <= {{array[{size - 2}:0], {source}}};
  assign uart_tx = array[{size - 1}];
endmodule
"""


def terms(name: str, board: Board) -> dict[str, float]:
    """What the current of a bitstream consists of, per second: clock cycles, toggles times sinks.

    Each flip-flop of the array leads to one other.
    """
    hertz = board.oscillator_mhz * 1e6
    return {"static": 1.0, "clock": 0.0 if name == "blank" else hertz,
            "sink": hertz * (array_size(board) + 1) if name == "toggle" else 0.0}


def write_bitstreams(board: Board, out: Path, progress: Progress | None = None,
                     note: Callable[[str], object] | None = None) -> list[str]:
    """Build the three with the ordinary flow and write them into a folder; returns its files.

    The clock is the board's oscillator, without a PLL.
    """
    suffix = PACKERS[board.family].suffix
    with atomic_folder(out) as folder:
        for name in BITSTREAMS:
            if note:
                note(name)
            with TemporaryDirectory(dir=cache_dir("work")) as work:
                write_text(Path(work) / f"power_{name}.v", bitstream_verilog(name, board))
                build(Path(work), board, folder / f"{name}{suffix}", top=f"power_{name}",
                      progress=progress)
        write_text(folder / "measurements.csv", "bitstream,volts,milliamps\n" + "".join(
            f"{name},,\n" for name in BITSTREAMS))
        return sorted(path.name for path in folder.iterdir() if path.is_file())
