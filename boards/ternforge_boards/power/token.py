"""Activity of a real token, from the gates of a whole board's design."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ternforge.cache import cached, content_key
from ternforge.host.protocol import Command
from ternforge.host.uart import uart_divisor
from ternforge.output import to_json, write_text
from ternforge.process import ToolError
from ternforge_boards.handoff import Design
from ternforge_boards.yosys import Netlist
from ternforge_firmware.host import Board as HostBoard
from ternforge_firmware.lower import raise_
from ternforge_model.integer import IntegerModel

from .gates import SINGLE_PORT_RAM, Delays, GateNetlist, gate_netlist
from .serial import GateLine
from .simulator import SOURCES, WORDS, Counts, GateSimulator

__all__ = ["TokenCounts", "load_image", "simulate_tokens", "started", "token_counts"]

#: Tokens before counting begins, so that states and vectors hold what they usually do; and counted.
WARM_TOKENS, COUNTED_TOKENS = 2, 2

#: Patterns that tell the bits of a beat apart; enough for beats of up to 127 bits.
PATTERNS = 7

#: Cycles until the reset behind the PLL's lock is over, and the line has been idle for a byte.
RESET_CYCLES = 1024

#: Modules that the result depends on.
MODULES = ("gates.py", "simulator.py", "serial.py", "token.py")


@dataclass(frozen=True, kw_only=True)
class TokenCounts:
    """Activity while tokens are made, checked against the integer model."""

    counts: Counts
    tokens: int
    lut: int  #: logic cells
    ff: int
    block_ram: int
    spram: int
    dsp: int

    @property
    def cycles_per_token(self) -> float:
        """Cycles with a token under way."""
        return self.counts.cycles / self.tokens


def _pattern(number: int, width: int) -> bytes:
    """A beat whose bit k is bit ``number`` of k + 1, so that no bit stays unwritten."""
    word = sum((k + 1 >> number & 1) << k for k in range(width))
    return word.to_bytes(width // 8, "little")


def started(netlist: GateNetlist) -> GateSimulator:
    """A simulation whose reset is over, with an idle serial line."""
    gates = GateSimulator(netlist, high=(netlist.names["uart_rx"],))
    gates.run(RESET_CYCLES)
    return gates


def load_image(gates: GateSimulator, host: HostBoard, beats: np.ndarray, single_port: int) -> None:
    """Put an image into the memories: through the host port, and straight into single-port RAM.

    Which bit of a beat each bit of a single-port RAM holds is seen from patterns that the host
    port wrote before; in the words behind them, the range of addresses that it is for.
    """
    width = 8 * beats.shape[1]
    ranges = -(-single_port // WORDS[SINGLE_PORT_RAM])

    def write(address: int, beat: bytes) -> None:
        host.request(Command.WRITE, address.to_bytes(3, "little") + beat)

    rams = [k for k, kind in enumerate(gates.netlist.block_kinds) if kind == SINGLE_PORT_RAM]
    if rams:
        ones, marks = b"\xff" * (width // 8), (ranges - 1).bit_length()
        for each in range(ranges):
            start = each * WORDS[SINGLE_PORT_RAM]
            for number in range(PATTERNS):
                write(start + number, _pattern(number, width))
            for number in range(marks):
                write(start + PATTERNS + number, ones if each >> number & 1 else bytes(width // 8))
        bits = np.unpackbits(beats[:single_port], axis=1, bitorder="little").astype(np.uint16)
        for ram in rams:
            seen = gates.peek(ram, PATTERNS + marks)
            first = WORDS[SINGLE_PORT_RAM] * sum(
                bool(word) << number for number, word in enumerate(seen[PATTERNS:]))
            held = bits[first:first + WORDS[SINGLE_PORT_RAM]]
            words = np.zeros(len(held), np.uint16)
            for bit in range(16):
                code = sum(int(word >> bit & 1) << number
                           for number, word in enumerate(seen[:PATTERNS]))
                if not code:
                    raise ToolError("a bit of a single-port RAM holds no bit of a beat")
                words |= held[:, code - 1] << bit
            gates.load(ram, words)
    for address in range(single_port if rams else 0, len(beats)):
        write(address, beats[address].tobytes())


def simulate_tokens(netlist: GateNetlist, design: Design) -> TokenCounts:
    """Run tokens of the design's image through its gates.

    Raises
    ------
    ToolError
        If a token differs from the integer model's.
    """
    image, clock_hz = design.image, round(design.core_mhz * 1e6)
    gates = started(netlist)
    host = HostBoard(GateLine(gates, uart_divisor(clock_hz, design.baud), clock_hz))
    if design.core.single_port_beats:  # else the bitstream holds the image
        load_image(gates, host, image.memory(), design.core.single_port_beats)
    host.reset()
    fed, given = [0], []
    for step in range(WARM_TOKENS + COUNTED_TOKENS):
        gates.count(step >= WARM_TOKENS, netlist.names["led[0]"],
                    not design.board.pin("led[0]").inverted)
        given.append(host.step([fed[-1]]))
        fed.append(given[-1])
    gates.count(False)
    wanted = IntegerModel(raise_(image)).forward(fed[:-1]).tokens.tolist()
    if given != wanted:
        raise ToolError(f"the gates make the tokens {given}, but the integer model {wanted}")
    return TokenCounts(counts=gates.counts(), tokens=COUNTED_TOKENS, **netlist.counts)


def token_counts(synthesised: Netlist, design: Design, delays: Delays | None = None, *,
                 progress: Callable[[str], object] | None = None) -> TokenCounts:
    """As :func:`simulate_tokens`, of a synthesised iCE40 design; cached by content."""
    def fill(folder: Path) -> None:
        if progress:
            progress("simulating the gates of a token")
        module = json.loads(synthesised.path.read_bytes())["modules"][synthesised.top]
        found = simulate_tokens(gate_netlist(module, delays), design)
        write_text(folder / "counts.json", to_json(asdict(found)))

    key = content_key(synthesised.path, design.image.model_hash, repr(design.core),
                      design.core_mhz, repr(delays or Delays()), *SOURCES,
                      *(Path(__file__).with_name(name) for name in MODULES))
    found = json.loads((cached("token-gates", key, fill) / "counts.json").read_text())
    return TokenCounts(**{**found, "counts": Counts(**found["counts"])})
