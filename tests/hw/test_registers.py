"""The register map: no overlaps, packing of fields, what a core reports of itself."""

import pytest

from ternforge.config import CoreConfig
from ternforge.host.registers import ACCESS, ADDRESS_BITS, REGISTERS, constants, register
from ternforge.mem.axi4 import Axi4Config


def test_registers_and_fields_do_not_overlap():
    offsets = [entry.offset for entry in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 1 << ADDRESS_BITS for offset in offsets)
    assert len({entry.name for entry in REGISTERS}) == len(REGISTERS)
    for entry in REGISTERS:
        assert entry.access in ACCESS
        used = 0
        for field in entry.fields:
            assert not used & field.mask, entry.name
            assert 0 < field.mask < 1 << 32
            used |= field.mask


def test_fields_pack_and_unpack_to_their_limits():
    for entry in REGISTERS:
        for largest in (0, 1):
            values = {field.name: -(1 << field.bits - 1) if field.signed and not largest else
                      ((1 << field.bits - field.signed) - 1) * largest for field in entry.fields}
            assert entry.unpack(entry.pack(**values)) == values
    assert register("RATIO").pack(mantissa=0x8001, exponent=-2) == 0x00FE8001
    with pytest.raises(ValueError, match=r"^TOKEN field token must fit in 16 bits, not 65536$"):
        register("TOKEN").pack(token=65536)
    with pytest.raises(ValueError, match=r"^RATIO field exponent must fit in 8 bits, not 128$"):
        register("RATIO").pack(exponent=128)


def test_constants_describe_the_core():
    core = CoreConfig(lanes=64, elements=4, vector_depth=10240, memory_beats=1 << 24, bank_beats=0)
    found = constants(core, Axi4Config(), 64)
    assert register("CORE").unpack(found["CORE"]) == {"lanes": 64, "elements": 4, "cores": 1}
    assert register("BUS").unpack(found["BUS"]) == {"data_bytes": 64, "address_bits": 64,
                                                    "queue": 64}
    assert found["MEMORY_BEATS"] == 1 << 24
