"""The designs that the benches run on: units side by side, each under a name of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ternforge.accelerator import Accelerator
from ternforge.axi import AxiSystem
from ternforge.config import CoreConfig
from ternforge.core.decoder import TritDecoder
from ternforge.core.epilogue import Epilogue
from ternforge.core.quantise import Quantiser
from ternforge.core.scalar import ScalarUnit
from ternforge.core.scale import SCALE, ScaleUnit
from ternforge.core.sequencer import Sequencer
from ternforge.host.boot import FlashBoot
from ternforge.host.port import HostPort
from ternforge.host.uart import Uart
from ternforge.lanes import KINDS, dot_product, table
from ternforge.mem.axi4 import Axi4Config
from ternforge.mem.flash import SpiFlash

__all__ = ["BENCHES", "FLASH_CORE", "Rows", "Together", "ports"]


def ports(unit: wiring.Component) -> dict[str, tuple[wiring.Member, Any]]:
    """Members and values by flattened name, without those that are constant (``always_ready``)."""
    return {"_".join(map(str, path)): (member, value)
            for path, member, value in unit.signature.flatten(unit)
            if not isinstance(value, Const)}


class Together(wiring.Component):
    """Independent components in one top module.

    Parameters
    ----------
    units : mapping of str to wiring.Component
        Their ports become ports of the top, behind their name and ``_``.
    """

    def __init__(self, units: Mapping[str, wiring.Component]):
        self.units: dict[str, Any] = dict(units)
        super().__init__({f"{name}_{port}": member for name, unit in self.units.items()
                          for port, (member, _) in ports(unit).items()})

    def elaborate(self, platform):
        m = Module()
        for name, unit in self.units.items():
            m.submodules[name] = unit
            for port, (member, value) in ports(unit).items():
                outer = getattr(self, f"{name}_{port}")
                m.d.comb += value.eq(outer) if member.flow == In else outer.eq(value)
        return m


class Rows(wiring.Component):
    """An epilogue with the quantiser that rescales its rows, which has nothing else to do.

    Parameters
    ----------
    config : CoreConfig
        Size of both.

    Members
    -------
    acc : :py:`In(signed(config.acc_bits))`
        Accumulator of the row that ``row`` announces in the same cycle.
    scale : :py:`In(SCALE)`
        Multiplier and shift of a scaled packet.

    The others are those of :class:`Epilogue`.
    """

    def __init__(self, config: CoreConfig):
        self.config = config
        self.epilogue, self.quantiser = Epilogue(config), Quantiser(config)
        self.latency = self.epilogue.latency
        super().__init__({
            **{name: member for name, member in self.epilogue.signature.members.items()
               if not name.startswith(("rescaled", "scaled"))},
            "acc": In(signed(config.acc_bits)), "scale": In(SCALE),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.epilogue, m.submodules.quantiser = epilogue, quantiser = (
            self.epilogue, self.quantiser)
        for name, member in self.signature.members.items():
            unit = quantiser if name in ("acc", "scale") else epilogue
            inner, outer = getattr(unit, name), getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        m.d.comb += [
            quantiser.scaled.eq(epilogue.scaled), epilogue.rescaled.eq(quantiser.rescaled),
            epilogue.rescaled_saturated.eq(quantiser.rescaled_saturated),
        ]
        return m


def lanes() -> dict[str, wiring.Component]:
    """Decoder, and lanes of two widths and depths of pipeline, of each kind."""
    return {"decoder": TritDecoder(), **{
        f"{name}_{kind}": dot_product(CoreConfig(lanes=lanes, tree_levels=levels, lane=kind))
        for kind, made in KINDS.items() if not made.holds_tiles
        for name, lanes, levels in (("two", 2, 1), ("eight", 8, 2))}}


def tables() -> dict[str, wiring.Component]:
    """Lanes of tables: the fewest, with adders of their own, and as many as DDR memory feeds."""
    return {"two": table.Lanes(CoreConfig(lanes=2, max_fan_in=30, tile_registers=2), shared=1),
            "sixteen": table.Lanes(CoreConfig(lanes=16, elements=8, max_fan_in=240, tree_levels=1,
                                              tile_registers=2))}


def quantise() -> dict[str, wiring.Component]:
    """Quantisers of one and of four elements per cycle."""
    return {name: Quantiser(CoreConfig(lanes=8, elements=elements, vector_depth=64))
            for name, elements in (("one", 1), ("four", 4))}


def scalar() -> dict[str, wiring.Component]:
    """Divider and square root, and the scale of a matrix."""
    return {"scalar": ScalarUnit(42), "scale": ScaleUnit()}


def epilogue() -> dict[str, wiring.Component]:
    """Epilogue of a small core, with the rescale stage."""
    return {"epilogue": Rows(CoreConfig(lanes=8, max_fan_in=400, vector_depth=128,
                                        state_depth=64))}


def sequencer() -> dict[str, wiring.Component]:
    """Sequencers for beats shorter and longer than a header."""
    return {"two": Sequencer(CoreConfig(lanes=2)), "forty": Sequencer(CoreConfig(lanes=40))}


def tokens() -> dict[str, wiring.Component]:
    """Whole accelerators: the smallest in single-port RAM, and a wider one on several banks."""
    small: Any = {"vector_depth": 64, "state_depth": 32, "max_rows": 32, "max_fan_in": 32}
    return {
        "one": Accelerator(CoreConfig(lanes=2, memory_beats=1280, single_port_beats=1024,
                                      bank_beats=256, **small)),
        "four": Accelerator(CoreConfig(lanes=8, elements=4, memory_beats=448, bank_beats=128,
                                       **small)),
    }


def host() -> dict[str, wiring.Component]:
    """Host port that gives up a frame soon, and the fastest serial line."""
    return {"port": HostPort(CoreConfig(lanes=2), timeout=64), "uart": Uart(4)}


FLASH_CORE = CoreConfig(lanes=4, elements=2)  #: of the bench ``flash``


def flash() -> dict[str, wiring.Component]:
    """Reader of a flash, and what plays its frames to a host port."""
    return {"reader": SpiFlash(0x0005, pause=64), "boot": FlashBoot(FLASH_CORE)}


def axi() -> dict[str, wiring.Component]:
    """Systems for vendors' parts: words as wide as beats, and words of several beats."""
    small: Any = {"vector_depth": 64, "state_depth": 64, "max_rows": 32, "max_fan_in": 32}
    return {
        "same": AxiSystem(CoreConfig(lanes=8, elements=4, memory_beats=2048, bank_beats=0, **small),
                          Axi4Config(data_bits=64, burst_words=16, depth=64), queue=4),
        "wide": AxiSystem(CoreConfig(lanes=8, elements=4, memory_beats=2048, bank_beats=0, **small),
                          Axi4Config(data_bits=512, burst_words=4, depth=16), queue=4),
    }


#: Units of each bench; the tests stand in the module ``bench_<name>``.
BENCHES: dict[str, Callable[[], dict[str, wiring.Component]]] = {
    "lanes": lanes, "tables": tables, "quantise": quantise, "scalar": scalar, "epilogue": epilogue,
    "sequencer": sequencer, "tokens": tokens, "host": host, "axi": axi,
    "flash": flash,
}
