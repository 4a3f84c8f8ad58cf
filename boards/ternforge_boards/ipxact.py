"""IP-XACT description (IEEE 1685-2009) of an AXI system: ports, bus interfaces, registers."""

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from ternforge.host.registers import ADDRESS_BITS, REGISTERS
from ternforge.mem.axi4 import Axi4Config
from ternforge.verilog import Port

__all__ = ["NAMESPACE", "component_xml"]

NAMESPACE = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"

#: Vendor, library, name and version of bus and abstraction, by what a port is.
_BUSES = {
    "amd": {
        "axi4": [("xilinx.com", "interface", name, "1.0") for name in ("aximm", "aximm_rtl")],
        "lite": [("xilinx.com", "interface", name, "1.0") for name in ("aximm", "aximm_rtl")],
        "clock": [("xilinx.com", "signal", name, "1.0") for name in ("clock", "clock_rtl")],
        "reset": [("xilinx.com", "signal", name, "1.0") for name in ("reset", "reset_rtl")],
        "interrupt": [("xilinx.com", "signal", name, "1.0")
                      for name in ("interrupt", "interrupt_rtl")],
    },
    # Buses of the AMBA specification alone, as Arm describes them.
    "altera": {
        "axi4": [("amba.com", "AMBA4", name, "r0p0_0") for name in ("AXI4", "AXI4_rtl")],
        "lite": [("amba.com", "AMBA4", name, "r0p0_0") for name in ("AXI4-Lite", "AXI4-Lite_rtl")],
    },
}

_ACCESS = {"ro": "read-only", "rw": "read-write", "wo": "write-only", "w1c": "read-write"}


def _add(parent: ET.Element, tag: str, text: object = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, f"spirit:{tag}",
                          {f"spirit:{key}": value for key, value in attributes.items()})
    if text is not None:
        child.text = str(text)
    return child


def _reference(parent: ET.Element, tag: str, names: tuple[str, ...]) -> None:
    _add(parent, tag, **dict(zip(("vendor", "library", "name", "version"), names, strict=True)))


def _bus(parent: ET.Element, name: str, types: list[tuple[str, ...]], role: str,
         pins: Iterable[tuple[str, str]], parameters: dict[str, object], *,
         maps: str = "") -> None:
    bus = _add(parent, "busInterface")
    _add(bus, "name", name)
    for tag, names in zip(("busType", "abstractionType"), types, strict=True):
        _reference(bus, tag, names)
    mode = _add(bus, role)
    if maps:
        _add(mode, "addressSpaceRef" if role == "master" else "memoryMapRef",
             **({"addressSpaceRef" if role == "master" else "memoryMapRef": maps}))
    listed = _add(bus, "portMaps")
    for logical, physical in pins:
        pair = _add(listed, "portMap")
        _add(_add(pair, "logicalPort"), "name", logical)
        _add(_add(pair, "physicalPort"), "name", physical)
    if parameters:
        values = _add(bus, "parameters")
        for key, value in parameters.items():
            entry = _add(values, "parameter")
            _add(entry, "name", key)
            _add(entry, "value", value)


def component_xml(name: str, version: str, vendor: str, ports: Iterable[Port], axi: Axi4Config,
                  clock_mhz: float) -> str:
    """Text of ``component.xml``.

    Parameters
    ----------
    name, version : str
        Of the top module.
    vendor : str
        ``amd`` or ``altera``: whose names the buses have.
    ports : iterable of Port
        Ports of the top module.
    axi : Axi4Config
        Its memory port.
    clock_mhz : float
        Frequency of ``aclk``.
    """
    ET.register_namespace("spirit", NAMESPACE)
    root = ET.Element("spirit:component", {"xmlns:spirit": NAMESPACE})
    for tag, text in (("vendor", "ternforge"), ("library", "ternforge"), ("name", name),
                      ("version", version)):
        _add(root, tag, text)
    ports, types = list(ports), _BUSES[vendor]
    buses = _add(root, "busInterfaces")
    for prefix, kind, role, parameters, maps in (
            ("m_axi", "axi4", "master", {
                "PROTOCOL": "AXI4", "READ_WRITE_MODE": "READ_ONLY", "DATA_WIDTH": axi.data_bits,
                "ADDR_WIDTH": axi.address_bits, "ID_WIDTH": axi.id_bits,
                "MAX_BURST_LENGTH": axi.burst_words, "SUPPORTS_NARROW_BURST": 0,
                "NUM_READ_OUTSTANDING": axi.outstanding}, "m_axi"),
            ("s_axi", "lite", "slave", {"PROTOCOL": "AXI4LITE", "DATA_WIDTH": 32,
                                        "ADDR_WIDTH": ADDRESS_BITS}, "s_axi")):
        pins = [(port.name[len(prefix) + 1:].upper(), port.name) for port in ports
                if port.name.startswith(f"{prefix}_")]
        _bus(buses, prefix, types[kind], role, pins, parameters, maps=maps)
    if "clock" in types:
        _bus(buses, "aclk", types["clock"], "slave", [("CLK", "aclk")], {
            "ASSOCIATED_BUSIF": "m_axi:s_axi", "ASSOCIATED_RESET": "aresetn",
            "FREQ_HZ": round(clock_mhz * 1e6)})
        _bus(buses, "aresetn", types["reset"], "slave", [("RST", "aresetn")],
             {"POLARITY": "ACTIVE_LOW"})
        _bus(buses, "irq", types["interrupt"], "master", [("INTERRUPT", "irq")],
             {"SENSITIVITY": "LEVEL_HIGH"})
    space = _add(_add(root, "addressSpaces"), "addressSpace")
    _add(space, "name", "m_axi")
    _add(space, "range", 1 << axi.address_bits)
    _add(space, "width", axi.data_bits)
    _registers(_add(root, "memoryMaps"))
    model = _add(root, "model")
    view = _add(_add(model, "views"), "view")
    for tag, text in (("name", "rtl"), ("envIdentifier", "verilogSource"), ("language", "verilog"),
                      ("modelName", name)):
        _add(view, tag, text)
    _add(_add(view, "fileSetRef"), "localName", "rtl")
    listed = _add(model, "ports")
    for port in ports:
        entry = _add(listed, "port")
        _add(entry, "name", port.name)
        wire = _add(entry, "wire")
        _add(wire, "direction", {"input": "in", "output": "out"}[port.direction])
        if port.width > 1:
            vector = _add(wire, "vector")
            _add(vector, "left", port.width - 1)
            _add(vector, "right", 0)
    files = _add(_add(root, "fileSets"), "fileSet")
    _add(files, "name", "rtl")
    source = _add(files, "file")
    _add(source, "name", f"{name}.v")
    _add(source, "fileType", "verilogSource")
    _add(root, "description", f"{name}: language model with ternary weights, by ternforge")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _registers(maps: ET.Element) -> None:
    memory = _add(maps, "memoryMap")
    _add(memory, "name", "s_axi")
    block = _add(memory, "addressBlock")
    for tag, text in (("name", "registers"), ("baseAddress", 0), ("range", 1 << ADDRESS_BITS),
                      ("width", 32), ("usage", "register"), ("access", "read-write")):
        _add(block, tag, text)
    for entry in REGISTERS:
        register = _add(block, "register")
        for tag, text in (("name", entry.name), ("description", entry.meaning),
                          ("addressOffset", f"0x{entry.offset:X}"), ("size", 32),
                          ("access", _ACCESS[entry.access])):
            _add(register, tag, text)
        for field in entry.fields:
            part = _add(register, "field")
            for tag, text in (("name", field.name), ("description", field.meaning),
                              ("bitOffset", field.low), ("bitWidth", field.bits),
                              ("access", _ACCESS[entry.access])):
                _add(part, tag, text)
            if entry.access == "w1c":
                _add(part, "modifiedWriteValue", "oneToClear")
