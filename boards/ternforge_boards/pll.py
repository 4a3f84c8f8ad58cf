"""Dividers for the clock multipliers of the families."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ternforge.errors import UserError
from ternforge_boards.board import Board

__all__ = ["PllSettings", "pll_settings"]

#: How far from the wanted frequency the result may be, relative to it.
TOLERANCE = 0.01

#: Clock that sets up a DDR3 PHY, in MHz, about; LiteX' own boards take 24 or 25.
SETUP_MHZ = 25.0


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """How to instantiate the clock multiplier.

    ``instance_arguments`` fits :class:`amaranth.hdl.Instance`; the ports are the caller's:
    ``EHXPLLL`` takes ``CLKI`` and gives ``CLKOP``, which must also drive ``CLKFB``, and ``LOCK``;
    ``SB_PLL40_PAD`` takes ``PACKAGEPIN`` (the clock pin itself), ``RESETB`` high, ``BYPASS`` low,
    and gives ``PLLOUTGLOBAL`` and ``LOCK``; ``rPLL`` takes ``CLKIN`` and gives ``CLKOUT`` and
    ``LOCK``. With a memory whose clock is a multiple of the core's, ``EHXPLLL`` gives the memory's
    as ``CLKOP``; ``CLKOS`` is then the core's, in phase with it, or with DDR3, whose PHY divides
    that itself, a slow one for setting up the PHY.
    """

    primitive: str  #: name of the vendor's cell
    input_mhz: float
    output_mhz: float  #: what really comes out, for the core
    vco_mhz: float  #: the oscillator inside
    parameters: dict[str, int | str]  #: Verilog parameters
    attributes: dict[str, str]  #: Verilog attributes
    memory_mhz: float = 0.0  #: of the memory's pins, a multiple of the core's; 0: none

    @property
    def instance_arguments(self) -> dict[str, int | str]:
        """Parameters as ``p_NAME`` and attributes as ``a_NAME``."""
        return {**{f"p_{name}": value for name, value in self.parameters.items()},
                **{f"a_{name}": value for name, value in self.attributes.items()}}


def pll_settings(board: Board, output_mhz: float, *, tolerance: float = TOLERANCE) -> PllSettings:
    """Settings that make ``output_mhz`` from the board's oscillator, as near as it gets.

    Parameters
    ----------
    board : Board
        Gives the family, the oscillator, and a memory that wants a clock of its own.
    output_mhz : float
        Wanted frequency of the core.
    tolerance : float
        Greatest relative difference that is accepted.

    Raises
    ------
    UserError
        If no setting is within ``tolerance``; the message names the nearest frequency.
    """
    if not output_mhz > 0:
        raise UserError(f"the clock must be a positive frequency in MHz, not {output_mhz:g}")
    ratio = board.memory.dram.ratio if board.memory else 1
    candidates, middle = _FAMILIES[board.family]
    best = min(candidates(board.oscillator_mhz, output_mhz * ratio),
               key=lambda s: (round(abs(s.output_mhz - output_mhz * ratio), 6),
                              abs(s.vco_mhz - middle)))
    if ratio > 1:
        assert board.memory is not None
        best = _with_memory_clock(best, ratio, board.memory.dram.kind == "ddr3")
    if abs(best.output_mhz - output_mhz) > tolerance * output_mhz:
        raise UserError(f"the clock of {board.name} cannot be {output_mhz:g} MHz: the nearest that "
                        f"its PLL makes is {best.output_mhz:.4g} MHz")
    return best


def _ecp5(input_mhz: float, wanted: float) -> Iterator[PllSettings]:
    """EHXPLLL with the feedback from CLKOP: out = in * fb / ref, vco = out * op, 400-800 MHz."""
    wanted = min(max(wanted, 3.125), 400)
    for ref in range(1, 129):
        if not 3.125 <= input_mhz / ref <= 400:
            continue
        nearest = wanted * ref / input_mhz
        for fb in {min(max(int(nearest) + step, 1), 80) for step in (0, 1)}:
            output = input_mhz * fb / ref
            if not 3.125 <= output <= 400:
                continue
            op = max(1, min(128, round(600 / output)))
            if not 400 <= output * op <= 800:
                continue
            yield PllSettings(
                primitive="EHXPLLL", input_mhz=input_mhz, output_mhz=output, vco_mhz=output * op,
                parameters={
                    "PLLRST_ENA": "DISABLED", "INTFB_WAKE": "DISABLED",
                    "STDBY_ENABLE": "DISABLED", "DPHASE_SOURCE": "DISABLED",
                    "OUTDIVIDER_MUXA": "DIVA", "OUTDIVIDER_MUXB": "DIVB",
                    "OUTDIVIDER_MUXC": "DIVC", "OUTDIVIDER_MUXD": "DIVD",
                    "CLKI_DIV": ref, "CLKFB_DIV": fb, "FEEDBK_PATH": "CLKOP",
                    "CLKOP_ENABLE": "ENABLED", "CLKOP_DIV": op,
                    "CLKOP_CPHASE": op // 2, "CLKOP_FPHASE": 0,
                },
                attributes={
                    "FREQUENCY_PIN_CLKI": f"{input_mhz:g}", "FREQUENCY_PIN_CLKOP": f"{output:g}",
                    "ICP_CURRENT": "12", "LPF_RESISTOR": "8",
                    "MFG_ENABLE_FILTEROPAMP": "1", "MFG_GMCREF_SEL": "2",
                },
            )


def _with_memory_clock(fast: PllSettings, ratio: int, ddr3: bool) -> PllSettings:
    """CLKOP for the memory, CLKOS for the core, or for setting up a DDR3 PHY."""
    divider = int(fast.parameters["CLKOP_DIV"]) * ratio
    if ddr3:
        divider = min(128, round(fast.vco_mhz / SETUP_MHZ))
    return replace(
        fast, output_mhz=fast.output_mhz / ratio, memory_mhz=fast.output_mhz,
        parameters={**fast.parameters, "CLKOS_ENABLE": "ENABLED", "CLKOS_DIV": divider,
                    "CLKOS_CPHASE": fast.parameters["CLKOP_CPHASE"], "CLKOS_FPHASE": 0},
        attributes={**fast.attributes, "FREQUENCY_PIN_CLKOS": f"{fast.vco_mhz / divider:g}"})


def _gowin(input_mhz: float, wanted: float) -> Iterator[PllSettings]:
    """rPLL of the GW2A: out = in * (fb + 1) / (i + 1), vco = out * o, 500-1250 MHz.

    Its phase detector takes 3 to 500 MHz. The limits are those that ``gowin_pack`` checks.
    """
    wanted = min(max(wanted, 4), 625)
    for idiv in range(64):
        reference = input_mhz / (idiv + 1)
        if not 3 <= reference <= 500:
            continue
        nearest = wanted / reference
        for multiplier in {min(max(int(nearest) + step, 1), 64) for step in (0, 1)}:
            output = reference * multiplier
            for odiv in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                if not 500 <= output * odiv <= 1250:
                    continue
                yield PllSettings(
                    primitive="rPLL", input_mhz=input_mhz, output_mhz=output,
                    vco_mhz=output * odiv,
                    parameters={"FCLKIN": f"{input_mhz:g}", "DYN_IDIV_SEL": "false",
                                "IDIV_SEL": idiv, "DYN_FBDIV_SEL": "false",
                                "FBDIV_SEL": multiplier - 1, "DYN_ODIV_SEL": "false",
                                "ODIV_SEL": odiv, "CLKFB_SEL": "internal",
                                "CLKOUT_BYPASS": "false", "CLKOUTP_BYPASS": "false",
                                "CLKOUTD_BYPASS": "false"},
                    attributes={},
                )


def _ice40(input_mhz: float, wanted: float) -> Iterator[PllSettings]:
    """SB_PLL40_PAD, simple feedback: vco = in * (f+1) / (r+1), 533-1066 MHz, out = vco / 2**q."""
    wanted = min(max(wanted, 16), 275)
    for divr in range(16):
        reference = input_mhz / (divr + 1)
        if not 10 <= reference <= 133:
            continue
        limits = (17, 26, 44, 66, 101)
        filter_range = 1 + sum(reference >= limit for limit in limits)
        for divq in range(1, 7):
            nearest = wanted * 2**divq / reference
            for multiplier in {min(max(int(nearest) + step, 1), 128) for step in (0, 1)}:
                vco = reference * multiplier
                output = vco / 2**divq
                if not (533 <= vco <= 1066 and 16 <= output <= 275):
                    continue
                yield PllSettings(
                    primitive="SB_PLL40_PAD", input_mhz=input_mhz, output_mhz=output, vco_mhz=vco,
                    parameters={"FEEDBACK_PATH": "SIMPLE", "DIVR": divr, "DIVF": multiplier - 1,
                                "DIVQ": divq, "FILTER_RANGE": filter_range},
                    attributes={},
                )


#: For each family its settings, and the frequency of the oscillator inside that is preferred.
_FAMILIES = {"ecp5": (_ecp5, 600), "ice40": (_ice40, 800), "gowin": (_gowin, 875)}
