"""The designs that the benches run on: units side by side, each under a name of its own."""

from collections.abc import Callable, Mapping
from typing import Any

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from ternforge.config import CoreConfig
from ternforge.core.decoder import TritDecoder
from ternforge.core.epilogue import Epilogue
from ternforge.core.lanes import DotProduct
from ternforge.core.quantise import Quantiser
from ternforge.core.scalar import ScalarUnit
from ternforge.core.scale import ScaleUnit
from ternforge.core.sequencer import Sequencer

__all__ = ["BENCHES", "Together", "ports"]


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
        self.units = dict(units)
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


def lanes() -> dict[str, wiring.Component]:
    """Decoder, and lanes of two widths and depths of pipeline."""
    return {"decoder": TritDecoder(), "two": DotProduct(CoreConfig(lanes=2, tree_levels=1)),
            "eight": DotProduct(CoreConfig(lanes=8))}


def quantise() -> dict[str, wiring.Component]:
    """Quantisers of one and of four elements per cycle."""
    return {name: Quantiser(CoreConfig(lanes=8, elements=elements, vector_depth=64))
            for name, elements in (("one", 1), ("four", 4))}


def scalar() -> dict[str, wiring.Component]:
    """Divider and square root, and the scale of a matrix."""
    return {"scalar": ScalarUnit(42), "scale": ScaleUnit()}


def epilogue() -> dict[str, wiring.Component]:
    """Epilogue of a small core."""
    return {"epilogue": Epilogue(CoreConfig(lanes=8, max_fan_in=400, vector_depth=128,
                                            state_depth=64))}


def sequencer() -> dict[str, wiring.Component]:
    """Sequencers for beats shorter and longer than a header."""
    return {"two": Sequencer(CoreConfig(lanes=2)), "forty": Sequencer(CoreConfig(lanes=40))}


#: Units of each bench; the tests stand in the module ``bench_<name>``.
BENCHES: dict[str, Callable[[], dict[str, wiring.Component]]] = {
    "lanes": lanes, "quantise": quantise, "scalar": scalar, "epilogue": epilogue,
    "sequencer": sequencer,
}
