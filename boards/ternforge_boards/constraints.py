"""Pin and clock constraints in the format that the family's tool reads."""

from collections.abc import Iterable

from ternforge.errors import UserError
from ternforge_boards.board import Board, Pin

__all__ = ["constraints", "constraints_name"]

_SUFFIXES = {"ecp5": "lpf", "ice40": "pcf", "gowin": "cst"}


def constraints_name(board: Board) -> str:
    """File name that the family's tool expects, from the board's own name."""
    return f"{board.name}.{_SUFFIXES[board.family]}"


def constraints(
    board: Board, ports: Iterable[str] | None = None, *, clock_mhz: float | None = None
) -> str:
    """Text of the ``.lpf`` (ECP5), ``.pcf`` (iCE40) or ``.cst`` (Gowin) file.

    The last has no frequency: nextpnr takes it as an option.

    Parameters
    ----------
    board : Board
        Gives the pins.
    ports : iterable of str
        Bits of the top-level ports, vectors as ``led[0]``; all pins of the board unless given.
    clock_mhz : float
        Frequency on the clock pin; the oscillator's unless given.

    Raises
    ------
    UserError
        If the board has no pin for a port.
    """
    pins = list(board.pins)
    if ports is not None:
        wanted = list(ports)
        missing = sorted(set(wanted) - {pin.port for pin in pins})
        if missing:
            raise UserError(
                f"the board {board.name} has no pin for the port {missing[0]!r} of the design: "
                f"its ports are {', '.join(pin.port for pin in pins)}"
            )
        pins = [pin for pin in pins if pin.port in wanted]
    comment = "//" if board.family == "gowin" else "#"
    lines = [f"{comment} {board.title}, {board.part}"]
    write = {"ecp5": _lpf, "ice40": _pcf, "gowin": _cst}[board.family]
    for pin in pins:
        lines += write(pin)
    if board.clock_port in {pin.port for pin in pins} and board.family != "gowin":
        frequency = board.oscillator_mhz if clock_mhz is None else clock_mhz
        if board.family == "ecp5":
            lines.append(f'FREQUENCY PORT "{board.clock_port}" {frequency:.6g} MHZ;')
        else:
            lines.append(f"set_frequency {board.clock_port} {frequency:.6g}")
    return "\n".join(lines) + "\n"


def _lpf(pin: Pin) -> list[str]:
    attributes = []
    if pin.io:
        attributes.append(f"IO_TYPE={pin.io}")
    if pin.pull:
        attributes.append(f"PULLMODE={pin.pull.upper()}")
    if pin.drive_ma:
        attributes.append(f"DRIVE={pin.drive_ma}")
    attributes += pin.options
    lines = [f'LOCATE COMP "{pin.port}" SITE "{pin.site}";']
    if attributes:
        lines.append(f'IOBUF PORT "{pin.port}" {" ".join(attributes)};')
    return lines


def _pcf(pin: Pin) -> list[str]:
    options = " -pullup yes" if pin.pull == "up" else ""
    return [f"set_io{options} {pin.port} {pin.site}"]


def _cst(pin: Pin) -> list[str]:
    if not pin.site:  # inside the package: nextpnr knows it by the port's name
        return []
    attributes = [f"IO_TYPE={pin.io}"] if pin.io else []
    if pin.pull:
        attributes.append(f"PULL_MODE={pin.pull.upper()}")
    if pin.drive_ma:
        attributes.append(f"DRIVE={pin.drive_ma}")
    attributes += pin.options
    lines = [f'IO_LOC "{pin.port}" {pin.site};']
    return [*lines, f'IO_PORT "{pin.port}" {" ".join(attributes)};'] if attributes else lines
