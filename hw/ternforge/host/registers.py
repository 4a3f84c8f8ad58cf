"""Registers of the AXI4-Lite port: one definition for hardware, C header, IP-XACT and docs."""

from dataclasses import dataclass

from ternforge.config import CoreConfig
from ternforge.core.core import SITES
from ternforge.mem.axi4 import Axi4Config

__all__ = ["ACCESS", "ADDRESS_BITS", "IDENTITY", "REGISTERS", "VERSION", "Field", "Register",
           "constants", "register"]

VERSION = 1  #: of this map
IDENTITY = int.from_bytes(b"TERN", "little")  #: what ID reads
ADDRESS_BITS = 12  #: of the port; AXI4 gives a slave 4 KiB at least

#: What may be done to a register; anything else gets SLVERR.
ACCESS = {"ro": "read", "rw": "read, write", "wo": "write", "w1c": "read, write 1 to clear"}


@dataclass(frozen=True)
class Field:
    """Neighbouring bits of a register; those that no field has read as 0."""

    name: str
    low: int  #: number of the lowest bit
    bits: int
    meaning: str
    signed: bool = False

    @property
    def mask(self) -> int:
        """The field's bits in the register."""
        return ((1 << self.bits) - 1) << self.low

    @property
    def span(self) -> str:
        """Bits as the documentation has them: ``7`` or ``15 .. 8``."""
        high = self.low + self.bits - 1
        return f"{self.low}" if self.bits == 1 else f"{high} .. {self.low}"


@dataclass(frozen=True)
class Register:
    """32 bits at a byte offset that is a multiple of four."""

    offset: int
    name: str
    access: str  #: one of :data:`ACCESS`
    meaning: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The field of that name."""
        return next(field for field in self.fields if field.name == name)

    def pack(self, **values: int) -> int:
        """A word with these fields, the others 0.

        Raises
        ------
        ValueError
            If a value does not fit its field.
        """
        word = 0
        for name, value in values.items():
            field = self.field(name)
            low = -(1 << field.bits - 1) if field.signed else 0
            if not low <= value < low + (1 << field.bits):
                raise ValueError(f"{self.name} field {name} must fit in {field.bits} bits, not "
                                 f"{value}")
            word |= value << field.low & field.mask
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """The fields of a word."""
        values = {}
        for field in self.fields:
            value = (word & field.mask) >> field.low
            values[field.name] = value - (field.signed and value >> field.bits - 1) * (
                1 << field.bits)
        return values


def _whole(offset: int, name: str, access: str, meaning: str, *, bits: int = 32,
           signed: bool = False) -> Register:
    return Register(offset, name, access, meaning,
                    (Field("value", 0, bits, meaning, signed),))


_EVENTS = (
    ("result", "a result waits; this bit cannot be cleared but by reading RESULT"),
    ("fault", "a step failed: no image in memory, or a token outside of its vocabulary"),
    ("bus_error", "the memory answered a read with SLVERR or DECERR"),
    ("done", "all that was asked for is done, failed or dropped"),
)
#: The registers by offset.
REGISTERS = (
    _whole(0x00, "ID", "ro", f"{IDENTITY:#010x}, the letters TERN"),
    _whole(0x04, "VERSION", "ro", "version of this map", bits=8),
    Register(0x08, "CORE", "ro", "size of the core, as CoreConfig names it", (
        Field("lanes", 0, 16, "bytes in one beat of the image"),
        Field("elements", 16, 8, "elements per cycle of the quantiser"),
        Field("cores", 24, 8, "rows that share a beat"))),
    _whole(0x0C, "MEMORY_BEATS", "ro", "most beats of an image"),
    _whole(0x10, "VECTOR_DEPTH", "ro", "elements of the vector RAM"),
    _whole(0x14, "STATE_DEPTH", "ro", "elements of the state RAM"),
    _whole(0x18, "MAX_ROWS", "ro", "most rows of a matrix of more than one tile"),
    _whole(0x1C, "MAX_FAN_IN", "ro", "longest quantised vector"),
    Register(0x20, "BUS", "ro", "the memory port, and the queues", (
        Field("data_bytes", 0, 8, "bytes of one transfer of the AXI4 port"),
        Field("address_bits", 8, 8, "address bits of the AXI4 port"),
        Field("queue", 16, 8, "places for steps, and as many for results"))),
    Register(0x40, "CONTROL", "wo", "commands, each by writing 1", (
        Field("reset", 0, 1, "the next step begins a sequence: recurrent states count as zero"),
        Field("abort", 1, 1, "drop the step under way, the steps that wait, and GENERATE; the next "
                             "step begins a sequence"))),
    Register(0x44, "STATUS", "ro", "what the core does", (
        Field("busy", 0, 1, "steps are under way or wait, or an abort is not over yet"),
        Field("fault", 1, 1, "as in EVENTS; no step is taken while it is set"),
        Field("bus_error", 2, 1, "as in EVENTS; no step is taken while it is set"),
        Field("response", 4, 2, "RRESP of the last bus error: 2 is SLVERR, 3 is DECERR"),
        Field("room", 8, 8, "steps that may be written"),
        Field("results", 16, 8, "results that wait"))),
    Register(0x48, "TOKEN", "wo", "one step: the core reads a token and predicts the next", (
        Field("token", 0, 16, "number of the token"),
        Field("reset", 16, 1, "it begins a sequence"),
        Field("quiet", 17, 1, "no result is wanted, as in all of a prompt but its end"))),
    Register(0x4C, "RESULT", "ro", "the oldest result; reading takes it", (
        Field("token", 0, 16, "token that a step predicts"),
        Field("failed", 30, 1, "the step failed or was dropped, and there is no token"),
        Field("valid", 31, 1, "0: there was no result"))),
    _whole(0x50, "GENERATE", "rw", "when no step waits, feed the last prediction back, that many "
                                   "times; reads how many are left; 0 ends it", bits=16),
    _whole(0x54, "CYCLES", "ro", "clock cycles of the last token"),
    *(_whole(0x58 + 4 * number, f"SATURATED_{site.upper()}", "ro",
             f"saturations at the site {site} since the start of the sequence, at most 65535",
             bits=16) for number, site in enumerate(SITES)),
    Register(0x6C, "RATIO", "ro", "scale of the logits: mantissa * 2**exponent", (
        Field("mantissa", 0, 16, "`max(abs(v)) / sqrt(sum of squares)` of the last codes"),
        Field("exponent", 16, 8, "power of two", True))),
    Register(0x80, "BASE_LOW", "rw", "address of the image, a multiple of 4096; written only while "
                                     "not busy", (Field("page", 12, 20, "bits 31 to 12"),)),
    _whole(0x84, "BASE_HIGH", "rw", "bits 63 to 32 of that address, as many as the port has"),
    _whole(0x88, "PEEK_ADDRESS", "rw", "element of the vector RAM", bits=16),
    _whole(0x8C, "PEEK_DATA", "ro", "its value; reading goes on to the next element; only while "
                                    "not busy", signed=True),
    Register(0xC0, "EVENTS", "w1c", "what has happened", tuple(
        Field(name, bit, 1, meaning) for bit, (name, meaning) in enumerate(_EVENTS))),
    Register(0xC4, "INTERRUPT", "rw", "which events raise the output `irq`", tuple(
        Field(name, bit, 1, "as in EVENTS") for bit, (name, _) in enumerate(_EVENTS))),
)

_BY_NAME = {entry.name: entry for entry in REGISTERS}


def register(name: str) -> Register:
    """The register of that name."""
    return _BY_NAME[name]


def constants(config: CoreConfig, axi: Axi4Config, queue: int) -> dict[str, int]:
    """What the registers read that never change, by name.

    Raises
    ------
    ValueError
        If a size does not fit its field.
    """
    return {
        "ID": IDENTITY, "VERSION": VERSION,
        "CORE": register("CORE").pack(lanes=config.lanes, elements=config.elements,
                                      cores=config.cores),
        **{name: getattr(config, name.lower()) for name in (
            "MEMORY_BEATS", "VECTOR_DEPTH", "STATE_DEPTH", "MAX_ROWS", "MAX_FAN_IN")},
        "BUS": register("BUS").pack(data_bytes=axi.word_bytes, address_bits=axi.address_bits,
                                    queue=queue),
    }
