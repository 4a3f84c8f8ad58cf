"""A memory joined from initialisation, adapter and controller: every port of it is connected."""

import re

import pytest
from amaranth import Signal
from amaranth.hdl import IOPort

from ternforge.mem.dram import DramMemory
from ternforge.mem.litedram import generate_litedram
from ternforge.presets import DRAMS, core_preset
from ternforge.verilog import generate


def instance(text: str) -> set[str]:
    """Ports that the instance of the controller names."""
    found = re.search(r"litedram controller \((.*?)\);", text, re.DOTALL)
    assert found is not None
    return set(re.findall(r"\.(\w+)\(", found[1]))


@pytest.mark.parametrize("name", DRAMS)
def test_all_ports_are_connected(name):
    dram = generate_litedram(DRAMS[name])
    pins = {port.name: IOPort(port.width, name=port.name) if port.direction == "inout"
            else Signal(port.width, name=port.name) for port in dram.ports}
    memory = DramMemory(core_preset(name), dram, pins)
    inouts = {port.name: (pins[port.name], None) for port in dram.ports
              if port.direction == "inout"}
    text = generate(memory, "memory", extra_ports=inouts).text
    assert instance(text) == {port.name for port in dram.ports}


@pytest.mark.parametrize("name", DRAMS)
def test_without_a_phy_the_dfi_is_outside(name):
    dram = generate_litedram(DRAMS[name], phy=False)
    memory = DramMemory(core_preset(name), dram)
    design = generate(memory, "memory")
    assert instance(design.text) == {port.name for port in dram.ports}
    dfi = {port.name for port in dram.ports if port.name.startswith("dfi_")}
    assert dfi <= {port.name for port in design.ports}


def test_a_phy_needs_pins():
    name = next(iter(DRAMS))
    with pytest.raises(ValueError, match=r"^DramMemory pins must be given with a controller that "
                                         r"has a PHY$"):
        DramMemory(core_preset(name), generate_litedram(DRAMS[name]))
