"""Size of one core: every width and depth that the generated hardware depends on."""

from dataclasses import dataclass

from ternforge.lanes import check_lane, holds_tiles

__all__ = ["CoreConfig"]


@dataclass(frozen=True, kw_only=True)
class CoreConfig:
    """Parameters of one packet-stream core.

    A *beat* is one word of the weight stream: ``lanes`` bytes, five ternary weights in each. Its
    bytes belong to as many rows as there are ``cores``, which share codes and vectors; each weight
    meets the codes of all ``streams``, which are sequences of their own.

    Raises
    ------
    TypeError, ValueError
        If a field is negative, zero without a meaning, or breaks the rule stated beside it.
    """

    lanes: int = 8  #: bytes of packed weights per beat; even; ``5 * lanes * streams`` MAC per cycle
    cores: int = 1  #: rows that share a beat (C), each its ``lanes / cores`` bytes; a power of two
    streams: int = 1  #: sequences, or tokens of a prompt, that share one weight read (B)
    #: states that streams but the last keep, a power of two: those of a layer are enough where a
    #: prompt goes through all streams, and decoding through the last; 0: ``state_depth``
    prefill_states: int = 0
    #: elements per cycle of the quantiser (E); a power of two dividing lanes/2 and lanes/cores, and
    #: a multiple of ``cores``
    elements: int = 1
    vector_depth: int = 1024  #: elements of 24 bits in the vector RAM; a multiple of ``elements``
    state_depth: int = 512  #: elements of 16 bits in the recurrent state RAM
    max_rows: int = 512  #: accumulators, i.e. the most rows of a matrix of more than one tile
    max_fan_in: int = 512  #: longest quantised vector; rounded up to whole tiles in the code RAM
    memory_beats: int = 16384  #: depth of the image memory in beats
    single_port_beats: int = 0  #: of these, in large RAM that the bitstream cannot initialise
    bank_beats: int = 512  #: depth of one bank of block RAM for the rest; 0: it is off the chip
    tree_levels: int = 2  #: adder-tree levels between two pipeline registers
    tile_registers: int = 1  #: 2: the next tile's codes wait beside those in use
    lane: str = "portable"  #: kind of lanes, see :data:`ternforge.lanes.KINDS`; or ``auto``

    def __post_init__(self):
        check_lane(self.lane)
        for name, value in vars(self).items():
            if name == "lane":
                continue
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"CoreConfig.{name} must be an integer, not {value!r}")
            if value < (name not in ("single_port_beats", "bank_beats", "prefill_states")):
                raise ValueError(f"CoreConfig.{name} must be positive, not {value!r}")
        if self.prefill_states & (self.prefill_states - 1):
            raise ValueError("CoreConfig.prefill_states must be a power of two or 0, not "
                             f"{self.prefill_states}")
        if self.prefill_states and (self.streams == 1 or self.prefill_states % self.cores):
            raise ValueError("CoreConfig.prefill_states must be 0 with a single stream, and a "
                             f"multiple of cores={self.cores}, not {self.prefill_states}")
        if self.tile_registers > 2:
            raise ValueError(f"CoreConfig.tile_registers must be 1 or 2, not {self.tile_registers}")
        if self.lanes % 2:
            raise ValueError(f"CoreConfig.lanes must be even, not {self.lanes}")
        if self.elements & (self.elements - 1) or (self.lanes // 2) % self.elements:
            raise ValueError("CoreConfig.elements must be a power of two that divides "
                             f"lanes/2={self.lanes // 2}, not {self.elements}")
        if self.elements % self.cores or self.lanes % (self.cores * self.elements):
            raise ValueError(f"CoreConfig.cores={self.cores} must divide elements={self.elements}, "
                             f"and elements the lanes of one core, lanes/cores="
                             f"{self.lanes / self.cores:g}")
        if self.single_port_beats > self.memory_beats:
            raise ValueError(f"CoreConfig.single_port_beats must be at most memory_beats="
                             f"{self.memory_beats}, not {self.single_port_beats}")
        if not self.bank_beats and self.single_port_beats:
            raise ValueError("CoreConfig.single_port_beats must be 0 with an image memory off the "
                             f"chip (bank_beats=0), not {self.single_port_beats}")
        for name, unit in (("vector_depth", "elements"), ("max_fan_in", "elements"),
                           ("state_depth", "cores"), ("max_rows", "cores")):
            if getattr(self, name) % getattr(self, unit):
                raise ValueError(f"CoreConfig.{name} must be a multiple of "
                                 f"{unit}={getattr(self, unit)}, not {getattr(self, name)}")

    @property
    def beat_bits(self) -> int:
        """Width of one beat in bits."""
        return 8 * self.lanes

    @property
    def row_lanes(self) -> int:
        """Bytes of a beat that belong to one row (N)."""
        return self.lanes // self.cores

    @property
    def tile(self) -> int:
        """Activations held stationary in the lanes: ``5 * row_lanes``."""
        return 5 * self.row_lanes

    @property
    def decodes_ahead(self) -> bool:
        """Whether weights are decoded once, before the lanes: several streams share them.

        Lanes that hold tiles want bytes.
        """
        return self.streams > 1 and not holds_tiles(self.lane)

    @property
    def header_beats(self) -> int:
        """Beats that one 16-byte packet header takes."""
        return -(-16 // self.lanes)

    @property
    def registers_beats(self) -> bool:
        """Whether registers stand between stream and lanes, and behind RAM.

        Wide beats have far to go, and so have words of deep state RAM, which cores with an image
        memory off the chip have.
        """
        return self.lanes > 8 or not self.bank_beats

    @property
    def operand_latency(self) -> int:
        """Cycles from an element's address to its value at the epilogue.

        Where :attr:`registers_beats`, a register stands behind the RAM.
        """
        return 2 if self.registers_beats else 1

    @property
    def state_address_bits(self) -> int:
        """Width of a state address: 16, or what ``state_depth`` needs."""
        return max(16, (self.state_depth - 1).bit_length())

    @property
    def max_tiles(self) -> int:
        """Tiles of the longest quantised vector."""
        return -(-self.max_fan_in // self.tile)

    @property
    def acc_bits(self) -> int:
        """Signed accumulator width: exact for ``max_tiles * tile`` products of magnitude 127."""
        return (127 * self.max_tiles * self.tile).bit_length() + 1

    @property
    def dot_bits(self) -> int:
        """Signed width of the sum of one beat."""
        return (127 * self.tile).bit_length() + 1
