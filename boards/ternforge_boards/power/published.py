"""Published currents of the UP5K's core supply, with the design and the clock of each."""

from dataclasses import dataclass

from .designs import counter, counts_of, multiplier
from .gates import Delays

__all__ = ["MARLANN", "POINTS", "TINYVISION", "VOLTS", "Point", "PublishedCore"]

TINYVISION = ("tinyvision-ai-inc/ice40_power, README, core rail at 1.219 V, Joulescope JS110, "
              "bitstreams of the open toolchain")

VOLTS = 1.219

#: Bits of the counter in the designs with oscillators.
BITS = 24


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement, and what was running."""

    name: str
    microamps: float
    clock: str = ""  #: key of :data:`.designs.CLOCKS`; empty for a blank bitstream
    mhz: float = 0.0
    vco_mhz: float = 0.0  #: of the PLL
    bits: int = BITS  #: of the counter
    product: bool = False  #: two counters of 8 bits are multiplied
    dsp: bool = False  #: in a multiplier block

    def terms(self, delays: Delays | None = None) -> dict[str, float]:
        """What each coefficient is multiplied with to give the current in uA."""
        if not self.clock:
            return {"static": 1.0}
        make = ((multiplier, self.clock) if self.product else (counter, self.clock, self.bits))
        counts, netlist = counts_of(*make, dsp=self.dsp, delays=delays)
        per_second = self.mhz / counts.cycles
        return {
            "static": 1.0, "high_oscillator": float(self.clock == "high"),
            "low_oscillator": float(self.clock == "low"), "clock": self.mhz,
            "flip_flop_clock": self.mhz * netlist.counts["ff"],
            "sink": counts.sink_toggles * per_second,
            "dsp": counts.dsp_operations * per_second, "pll": self.vco_mhz,
        }


#: The counters of the first four are one counter of 28, 56, 112 and 224 bits, as the published
#: design has one parameter for its width. Settings of the PLL are those of icepll for 12 MHz; its
#: input was the external clock: the supply of bank 0 was as with that one.
POINTS = (
    Point(name="blank bitstream", microamps=85.6),
    Point(name="halted clock, 24 bits", microamps=92.1, clock="pin"),
    *(Point(name=f"external 12 MHz, {28 * n} bits", microamps=current, clock="pin", mhz=12.0,
            bits=28 * n) for n, current in ((1, 613.5), (2, 616.65), (4, 624.2), (8, 641.3))),
    Point(name="low oscillator, 24 bits", microamps=96.3, clock="low", mhz=0.01),
    *(Point(name=f"high oscillator {mhz} MHz, 24 bits", microamps=current, clock="high", mhz=mhz)
      for mhz, current in ((6, 388.4), (12, 645.0), (24, 1162.0), (48, 2184.0))),
    Point(name="high oscillator 12 MHz, product in tables", microamps=996.0, clock="high", mhz=12.0,
          product=True),
    Point(name="high oscillator 12 MHz, product in a DSP", microamps=882.0, clock="high", mhz=12.0,
          product=True, dsp=True),
    *(Point(name=f"PLL to {wanted} MHz, 24 bits", microamps=current, clock="pin", mhz=vco / divider,
            vco_mhz=vco) for wanted, current, vco, divider in (
                (16, 1419.0, 1020.0, 64), (32, 2029.0, 1020.0, 32), (48, 2573.0, 768.0, 16))),
)


@dataclass(frozen=True, kw_only=True)
class PublishedCore:
    """A design of which only sizes, speeds and currents are published."""

    name: str
    source: str
    lut: int
    ff: int
    block_ram: int
    spram: int
    dsp: int
    mhz: float
    volts: float
    milliamps: float
    mac_per_second: float
    #: sink-weighted toggles per table and cycle, from the quietest to the busiest of the data paths
    #: that were simulated in the same way
    toggles_per_lut: tuple[float, float]

    @property
    def joules_per_mac(self) -> float:
        """Energy of one multiply-accumulate, everything on the core's supply included."""
        return self.milliamps * 1e-3 * self.volts / self.mac_per_second


#: The held-out design: nothing of it was used to fit.
MARLANN = PublishedCore(
    name="MARLANN, int8 convolution at 12 MHz",
    source="SymbioticEDA/MARLANN, power-test/README.md (shunt of 1 ohm, multimeter not "
           "calibrated); cells as Yosys counts them in its Verilog; 154 M multiply-accumulates per "
           "second from its authors' simulation",
    lut=2991, ff=1660, block_ram=25, spram=4, dsp=8, mhz=12.0, volts=1.216, milliamps=8.7,
    mac_per_second=154e6, toggles_per_lut=(0.6, 3.6))
