"""Dividers for the clock multipliers of both families."""

from collections.abc import Iterator
from dataclasses import dataclass

from ternforge.errors import UserError
from ternforge_boards.board import Board

__all__ = ["PllSettings", "pll_settings"]

#: How far from the wanted frequency the result may be, relative to it.
TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class PllSettings:
    """How to instantiate the clock multiplier.

    ``instance_arguments`` fits :class:`amaranth.hdl.Instance`; the ports are the caller's:
    ``EHXPLLL`` takes ``CLKI`` and gives ``CLKOP``, which must also drive ``CLKFB``, and ``LOCK``;
    ``SB_PLL40_PAD`` takes ``PACKAGEPIN`` (the clock pin itself), ``RESETB`` high, ``BYPASS`` low,
    and gives ``PLLOUTGLOBAL`` and ``LOCK``.
    """

    primitive: str  #: name of the vendor's cell
    input_mhz: float
    output_mhz: float  #: what really comes out
    vco_mhz: float  #: the oscillator inside
    parameters: dict[str, int | str]  #: Verilog parameters
    attributes: dict[str, str]  #: Verilog attributes

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
        Gives the family and the oscillator.
    output_mhz : float
        Wanted frequency.
    tolerance : float
        Greatest relative difference that is accepted.

    Raises
    ------
    UserError
        If no setting is within ``tolerance``; the message names the nearest frequency.
    """
    if not output_mhz > 0:
        raise UserError(f"the clock must be a positive frequency in MHz, not {output_mhz:g}")
    candidates = _ecp5 if board.family == "ecp5" else _ice40
    best = min(candidates(board.oscillator_mhz, output_mhz),
               key=lambda s: (round(abs(s.output_mhz - output_mhz), 6),
                              abs(s.vco_mhz - (600 if board.family == "ecp5" else 800))))
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
