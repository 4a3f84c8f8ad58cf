"""Board-level top: the design with the board's clock, reset and pins around it."""

from collections.abc import Iterable, Mapping

from ternforge.verilog import Port
from ternforge_boards.board import Board
from ternforge_boards.pll import PllSettings, pll_settings

__all__ = ["board_top"]

#: Ports of the design that are not pins of a memory.
_OWN = ("clk", "rst", "rx", "tx", "busy", "fault", "clk_2x", "clk_init", "locked")


#: The clock pin of an ECP5's configuration flash is reached through this cell alone.
_FLASH_CLOCK = """    wire flash_sck;
    USRMCLK flash_clock_cell (.USRMCLKI(flash_sck), .USRMCLKTS(1'b0));"""


def _parameters(values: Mapping[str, object]) -> str:
    rendered = (f".{name}({value if isinstance(value, int) else _text(value)})"
                for name, value in values.items())
    return ",\n        ".join(rendered)


def _text(value: object) -> str:
    text = str(value)
    return text if "'" in text else f'"{text}"'


def _clocking(board: Board, pll: PllSettings) -> str:
    """The clock multiplier."""
    parameters = _parameters(pll.parameters)
    if board.family == "ecp5":
        main, second = "core_clock", ""
        if board.memory is not None and pll.memory_mhz:
            main = "memory_clock"
            other = "setup_clock" if board.memory.dram.kind == "ddr3" else "core_clock"
            second = f" .CLKOS({other}),"
        return f"""    EHXPLLL #(
        {parameters}
    ) pll (
        .CLKI({board.clock_port}), .CLKFB({main}), .CLKOP({main}),{second} .LOCK(locked),
        .RST(1'b0), .STDBY(1'b0), .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b0),
        .PHASESTEP(1'b0), .PHASELOADREG(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0)
    );"""
    if board.family == "gowin":
        return f"""    rPLL #(
        {parameters}
    ) pll (
        .CLKIN({board.clock_port}), .CLKFB(1'b0), .RESET(1'b0), .RESET_P(1'b0), .FBDSEL(6'b0),
        .IDSEL(6'b0), .ODSEL(6'b0), .PSDA(4'b0), .DUTYDA(4'b0), .FDLY(4'b0),
        .CLKOUT(core_clock), .LOCK(locked)
    );"""
    return f"""    SB_PLL40_PAD #(
        {parameters}
    ) pll (
        .PACKAGEPIN({board.clock_port}), .PLLOUTGLOBAL(core_clock), .LOCK(locked),
        .RESETB(1'b1), .BYPASS(1'b0)
    );"""


def _memory_clock(board: Board) -> str:
    """The clock of an SDRAM chip: that of its commands, half a cycle later."""
    assert board.memory is not None
    port = board.memory.port("clk")
    if board.family == "gowin":
        return (f"    ODDR #(.TXCLK_POL(1'b0)) memory_clock_cell (\n"
                f"        .CLK(core_clock), .D0(1'b0), .D1(1'b1), .TX(1'b0), .Q0({port})\n    );")
    clock = "memory_clock" if board.memory.dram.ratio > 1 else "core_clock"
    return (f"    ODDRX1F memory_clock_cell (\n"
            f"        .SCLK({clock}), .RST(1'b0), .D0(1'b0), .D1(1'b1), .Q({port})\n    );")


def _vector(direction: str, name: str, width: int) -> str:
    return f"    {direction} wire {f'[{width - 1}:0] ' if width > 1 else ''}{name}"


def board_top(board: Board, core_mhz: float, *, name: str = "ternforge",
              ports: Iterable[Port] = ()) -> str:
    """Verilog of module ``<name>_<board>``: PLL, reset synchroniser, ``name``, LEDs, memory pins.

    The first LED shows a token under way, the second (where there is one) a fault.

    Parameters
    ----------
    board : Board
        Its pins become the ports.
    core_mhz : float
        Clock of the core.
    name : str
        Module of the design.
    ports : iterable of Port
        Its ports, from which the pins of a memory are known.

    Raises
    ------
    UserError
        If the PLL cannot make ``core_mhz``.
    """
    pll = pll_settings(board, core_mhz)
    outside, tied, wired = [], [], []
    memory = board.memory
    widths = {pin.port.partition("[")[0]: 0 for pin in board.pins}
    for pin in board.pins:
        widths[pin.port.partition("[")[0]] += 1
    for port, width in widths.items():
        if port == "led":
            shown = ["busy", "fault"]
            for index, pin in enumerate(p for p in board.pins if p.port.startswith("led[")):
                signal = shown[index] if index < len(shown) else "1'b0"
                tied.append(f"    assign led[{index}] = {'~' if pin.inverted else ''}{signal};")
        elif port in (board.clock_port, "uart_rx", "button"):
            outside.append(_vector("input", port, width))
        elif port == "uart_tx":
            outside.append(_vector("output", port, width))
    inner = {p.name: p for p in ports if p.name not in _OWN}
    flash = {name: inner.pop(name) for name in list(inner) if name.startswith("flash_")}
    if memory is not None:
        inner = {name: port for name, port in inner.items() if name not in memory.absent}
        wired = [f".{p.name}({memory.port(p.name)})" for p in inner.values()]
        outside += [_vector(p.direction, memory.port(p.name), p.width) for p in inner.values()]
        for port, bit in memory.tied:
            outside.append(_vector("output", port, widths[port]))
            tied.append(f"    assign {port} = {{{widths[port]}{{1'b{bit}}}}};")
        if memory.dram.kind == "sdr":
            outside.append(_vector("output", memory.port("clk"), 1))
            tied.append(_memory_clock(board))
    for port in flash.values():
        wired.append(f".{port.name}({port.name})")
        if port.name in widths:
            outside.append(_vector(port.direction, port.name, 1))
        else:
            tied.append(_FLASH_CLOCK)
    for port in board.high:
        outside.append(_vector("output", port, 1))
        tied.append(f"    assign {port} = 1'b1;")
    if "led" in widths:
        outside.append(f"    output wire [{widths['led'] - 1}:0] led")
    joined = ",\n".join(outside)
    lights = "\n".join(tied)
    ddr3 = memory is not None and memory.dram.kind == "ddr3"
    clocks = ["core_clock"] if not ddr3 else []
    if pll.memory_mhz:
        clocks += ["memory_clock", *(["setup_clock"] if ddr3 else [])]
        wired = [".clk_2x(memory_clock)",
                 *([".clk_init(setup_clock)", ".locked(locked)"] if ddr3 else []), *wired]
    reset = "" if ddr3 else """
    reg [3:0] reset = 4'b1111;
    always @(posedge core_clock) reset <= {reset[2:0], ~locked};
"""
    clock = "" if ddr3 else ".clk(core_clock), .rst(reset[3]), "
    rest = "".join(f",\n        {connection}" for connection in wired)
    return f"""// {board.title}: {name} at {pll.output_mhz:g} MHz. Generated by ternforge.
module {name}_{board.identifier} (
{joined}
);
    wire {", ".join(clocks)}, locked, busy, fault;
{_clocking(board, pll)}
{reset}
    {name} {name}_i (
        {clock}.rx(uart_rx), .tx(uart_tx), .busy(busy), .fault(fault){rest}
    );
{lights}
endmodule
"""
