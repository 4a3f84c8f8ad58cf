"""Packets of the weight stream: one definition for sequencer, assembler, packer and docs.

A packet is a 16-byte header, padded to whole beats, then its payload, padded to whole beats:
constants for LOAD and QUANTISE, packed ternary weights for MATVEC. Packets stand in memory in
execution order; one token is one replay (design, section 3).
"""

from amaranth.hdl import Module, Value
from amaranth.lib import data, enum

__all__ = ["DIRECTORY", "HEADER_BITS", "HEADERS", "MAGIC", "Function", "Opcode", "SumOf", "decode",
           "encode", "gather", "header_fields"]

HEADER_BITS = 128
MAGIC = 0x7F47  #: first 16 bits of the image directory; changes with the layouts below


class Opcode(enum.Enum, shape=4):
    """What a packet does."""

    END = 0x0  #: the token is finished
    LOAD = 0x1  #: vector[dst + k] <- constant[k] << shift
    QUANTISE = 0x2  #: v <- x * w; codes <- round(127 * v / max|v|)
    MATVEC = 0x3  #: rows of ternary weights times codes, through the epilogue


class SumOf(enum.Enum, shape=2):
    """What a QUANTISE packet adds up the squares of, for the root mean square."""

    KEEP = 0  #: nothing: the sum of an earlier packet stays
    INPUT = 1  #: x, before the weight
    PRODUCT = 2  #: v = x * w


class Function(enum.Enum, shape=3):
    """Epilogue of a MATVEC packet; y is the rescaled row, V the vector RAM, S the state RAM."""

    FORGET = 0  #: V[dst] <- sigmoid(y), blended up from the bound V[operand] if ``bounded``
    RECURRENCE = 1  #: S[state] <- c + V[operand] * (S[state] - c), c = silu(y)
    OUTPUT_GATE = 2  #: V[dst] <- y * silu(S[state])
    SILU = 3  #: V[dst] <- silu(y)
    MULTIPLY = 4  #: V[dst] <- y * V[operand]
    RESIDUAL = 5  #: V[dst] <- V[operand] + y
    LOGITS = 6  #: argmax over the accumulators; V[dst] <- accumulator if ``store``


def _header(fields: dict) -> data.StructLayout:
    used = data.StructLayout(fields).size
    return data.StructLayout({**fields, "reserved": HEADER_BITS - used})


#: Header layouts by opcode, fields from bit 0 up. ``op`` comes first in each. One unit runs LOAD
#: and QUANTISE: a LOAD header read as QUANTISE has the same fields, no codes and nothing to sum.
HEADERS = {
    Opcode.END: _header({"op": Opcode}),
    Opcode.LOAD: _header({
        "op": Opcode,
        "wide": 1,       # constants of 16 bits (1) or 8 bits (0), signed
        "count": 16,     # elements; a multiple of ``elements``
        "dst": 16,       # vector address
        "shift": 4,      # left shift
    }),
    Opcode.QUANTISE: _header({
        "op": Opcode,
        "wide": 1,       # weights of 16 bits (1) or 8 bits (0), signed
        "count": 16,     # elements; a multiple of ``elements``
        "dst": 16,       # vector address of v; may equal src
        "shift": 6,      # right shift of x * w
        "src": 16,       # vector address of x
        "sum_of": SumOf,
        "codes": 1,      # 0: only the sum of squares is wanted
        "square_shift": 4,  # right shift before squaring; 8 makes 16 bits of any 24
        "tiles": 8,      # ceil(count / tile)
    }),
    Opcode.MATVEC: _header({
        "op": Opcode,
        "function": Function,
        "scaled": 1,     # y = rnd(acc * scale); 0: y = acc, saturated to 16 bits
        "bounded": 1,    # FORGET: blend with the lower bound
        "store": 1,      # LOGITS: write the accumulators
        "activation_shift": 3,  # 11 - fraction bits of the sigmoid's argument
        "shift": 4,      # right shift of the product in OUTPUT_GATE and MULTIPLY
        "tiles": 8,      # ceil(fan-in / tile)
        "rows": 16,      # at least 8
        "operand": 16,   # vector address
        "state": 16,     # state address
        "dst": 16,       # vector address
        "scale_mantissa": 16,  # in [2**15, 2**16) if scaled
        "scale_exponent": 8,   # two's complement
        "continued": 1,  # LOGITS: the rows go on where those of the packet before ended
        "state_high": 4,  # bits 19..16 of the state address
    }),
}

#: First 16 bytes of the image memory, read at the start of each token. Behind it stand the header
#: of the LOAD packet that every embedding row is the payload of, then the program, then the rows.
DIRECTORY = data.StructLayout({
    "magic": 16,
    "vocab_size": 16,
    "embedding": 24,  # beat address of row 0; row t stands at embedding + t * stride
    "stride": 16,     # beats per row
    "reserved": 56,
})


#: Ends the name of a field that holds the upper bits of another; for software the two are one.
_HIGH = "_high"


def header_fields(op: Opcode) -> dict[str, int]:
    """Names and widths in bits of the fields of ``op``, without ``op`` and ``reserved``."""
    fields: dict[str, int] = {}
    for name, field in HEADERS[op]:
        if name not in ("op", "reserved"):
            whole = name.removesuffix(_HIGH)
            fields[whole] = fields.get(whole, 0) + field.width
    return fields


def encode(op: Opcode, **fields: int) -> int:
    """Pack one header into a 128-bit integer; fields left out are 0.

    Raises
    ------
    ValueError
        If a field is unknown or its value does not fit. Layout constants alone would silently
        truncate.
    """
    known = header_fields(op)
    for name, value in fields.items():
        if name not in known:
            raise ValueError(f"{op.name} has no field {name!r}; it has {', '.join(known)}")
        if value not in range(1 << known[name]):
            raise ValueError(f"{op.name} field {name}={value} does not fit in "
                             f"{known[name]} bits")
    word = op.value
    for name, field in HEADERS[op]:
        if (whole := name.removesuffix(_HIGH)) in fields:
            value = fields[whole] >> (HEADERS[op][whole].width if whole != name else 0)
            word |= (value & (1 << field.width) - 1) << field.offset
    return word


def decode(word: int) -> tuple[Opcode, dict[str, int]]:
    """Opcode and fields of a 128-bit header.

    Raises
    ------
    ValueError
        If the opcode is unknown or a reserved bit is set.
    """
    try:
        op = Opcode(word & 0xF)
    except ValueError:
        raise ValueError(f"packet opcode must be one of 0 to {len(Opcode) - 1}, "
                         f"not {word & 0xF}") from None
    fields = {name: (word >> field.offset) & ((1 << field.width) - 1)
              for name, field in HEADERS[op] if name != "op"}
    if fields.pop("reserved"):
        raise ValueError(f"reserved bits of a {op.name} header must be 0")
    for name in [name for name in fields if name.endswith(_HIGH)]:
        whole = name.removesuffix(_HIGH)
        fields[whole] |= fields.pop(name) << HEADERS[op][whole].width
    return op, fields


def gather(m: Module, word: Value, beat: Value, index: Value) -> None:
    """Store ``beat`` as part ``index`` of the 16-byte ``word``, in the ``sync`` domain."""
    for part in range(-(-len(word) // len(beat))):
        with m.If(index == part):
            m.d.sync += word[part * len(beat):(part + 1) * len(beat)].eq(beat)
