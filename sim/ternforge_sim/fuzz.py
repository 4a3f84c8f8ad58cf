"""Damage on the line of a host: random requests, whole and spoilt, against the generated Verilog.

What the port must do with any bytes is told by :class:`Receiver`. A frame that was spoilt in a way
that its check sum finds for sure must change nothing; see docs/host-protocol.md.
"""

import ctypes
import random
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.accelerator import Accelerator
from ternforge.cache import cached, content_key
from ternforge.config import CoreConfig
from ternforge.core.core import Core
from ternforge.host.crc import crc16
from ternforge.host.port import HostPort
from ternforge.host.protocol import (
    REPLY,
    Command,
    Deframer,
    ExternalCommand,
    Frame,
    capacity,
    write_beats,
)
from ternforge.mem.burst import BurstFetch
from ternforge.mem.check import MemoryCheck
from ternforge.mem.linear import beat_write, linear_read
from ternforge.verilog import generate

from .receiver import CORE, OUTSIDE, Receiver, core_image
from .runner import generator_key
from .system import MEMORIES
from .verilator import build_library

__all__ = ["Report", "fuzz"]

TIMEOUT = 32  #: cycles without a byte after which the port drops half a frame
QUIET = 2 * TIMEOUT + 8  #: cycles without any sign after which a case has ended
LIMIT = 100_000  #: cycles after which the port hangs; the longest answer takes a tenth
TOKENS = 5  #: that requests are made of, so that few sequences are to be calculated
LONGEST = 6  #: tokens in a sequence, after which it starts anew
HARNESS = Path(__file__).with_name("fuzz.cpp")

#: What is done to a request, with its share in percent.
KINDS = {"intact": 24, "flips": 14, "burst": 14, "cut": 12, "dropped": 8, "length": 8, "sync": 4,
         "garbage": 6, "behind": 6, "reset": 4}


class _Top(wiring.Component):
    """Host port and core, with the port's bytes outside, and a memory off the chip."""

    i: stream.Interface
    o: stream.Interface
    busy: Signal
    memory: Any
    write: stream.Interface
    memory_state: Signal

    def __init__(self, config: CoreConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "busy": Out(1),
            **({} if config.bank_beats else {
                "memory": Out(linear_read(config)), "memory_state": In(2),
                "write": Out(stream.Signature(beat_write(config.beat_bits)))})})

    def elaborate(self, platform):
        m = Module()
        core: Any = (Accelerator(CORE, core_image()) if self.config.bank_beats
                     else Core(self.config, BurstFetch(self.config)))
        m.submodules.core = core
        m.submodules.port = port = HostPort(self.config, TIMEOUT)
        if not self.config.bank_beats:
            m.submodules.check = check = MemoryCheck(self.config)
            connect(m, core.memory, check.core)
            connect(m, check.memory, flipped(self.memory))
            connect(m, port.check, check.i)
            connect(m, check.o, port.sum)
            connect(m, port.write, flipped(self.write))
            m.d.comb += [check.busy.eq(core.status.busy), port.memory_state.eq(self.memory_state),
                         self.busy.eq(core.status.busy | port.check.valid | port.write.valid)]
        else:
            m.d.comb += [core.write.eq(port.write), self.busy.eq(core.status.busy)]
        connect(m, flipped(self.i), port.i)
        connect(m, port.o, flipped(self.o))
        connect(m, port.tokens, core.tokens)
        connect(m, core.result, port.result)
        connect(m, core.status, port.status)
        m.d.comb += [core.peek_address.eq(port.peek_address), port.peek_data.eq(core.peek_data)]
        return m


class _Hardware:
    """The Verilated port."""

    def __init__(self, config: CoreConfig, pauses: int,
                 progress: Callable[[str], object] | None = None):
        folder = cached("verilog", content_key("fuzz", repr(config), TIMEOUT, generator_key(),
                                               Path(__file__), core_image()),
                        lambda target: generate(_Top(config), "fuzz").write(target))
        parts = [HARNESS] if config.bank_beats else [*MEMORIES, HARNESS]
        library = ctypes.CDLL(str(build_library(
            [folder / "fuzz.v"], "fuzz", "".join(part.read_text() for part in parts),
            progress=progress)))
        pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
        for name, result, *arguments in (
                ("new", pointer, u32, u32, u32), ("delete", None, pointer),
                ("reset", None, pointer),
                ("cycle", u64, pointer),
                ("exchange", ctypes.c_int64, pointer, ctypes.c_char_p, u32, u32, u64,
                 ctypes.c_char_p, u32)):
            function = getattr(library, f"fuzz_{name}")
            function.restype, function.argtypes = result, arguments
        with chdir(folder):  # where the files of its memory are
            self._library, self._fuzz = library, library.fuzz_new(
                pauses, config.lanes, config.memory_beats)
        self._out = ctypes.create_string_buffer(1 << 16)

    def exchange(self, content: bytes, limit: int = LIMIT, quiet: int = QUIET) -> bytes | None:
        """What is answered; None if the port has not come to rest after ``limit`` cycles."""
        count = self._library.fuzz_exchange(self._fuzz, content, len(content), quiet, limit,
                                            self._out, len(self._out))
        return None if count < 0 else self._out.raw[:count]

    def reset(self) -> None:
        self._library.fuzz_reset(self._fuzz)

    @property
    def cycle(self) -> int:
        return self._library.fuzz_cycle(self._fuzz)

    def close(self) -> None:
        self._library.fuzz_delete(self._fuzz)


@dataclass
class Report:
    """What came of the frames."""

    frames: int = 0  #: sent, whole or not
    sent: Counter[str] = field(default_factory=Counter)  #: by what was done to them
    detected: int = 0  #: spoilt so that the check sum finds it for sure
    by_chance: int = 0  #: requests carried out though spoilt, as their check sum was right
    hangs: int = 0  #: cases after which the port did not answer
    wrong: int = 0  #: answers that are not those of :class:`Receiver`, wrong tokens among them
    accepted: int = 0  #: frames spoilt for sure whose request was carried out all the same
    replies: int = 0  #: answers that were spoilt on the way to the host
    replies_accepted: int = 0  #: of these, taken by the host for an answer to its request
    tokens: int = 0  #: that came, equal to the integer model's
    cycles: int = 0
    first: str = ""  #: the first case that was wrong

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.hangs or self.wrong or self.accepted or self.replies_accepted)


class _Case:
    """Random requests, and what is done to them."""

    def __init__(self, rng: random.Random, beats: dict[int, bytes], config: CoreConfig):
        self.rng, self.beats, self.external = rng, beats, not config.bank_beats
        self.places = list(beats)
        self.kinds, self.weights = list(KINDS), list(KINDS.values())

    def request(self, room: int) -> Frame:
        """A request that feeds at most ``room`` tokens."""
        rng = self.rng
        choice, payload = rng.random(), b""
        if room and choice < 0.4:
            count = rng.randint(1, min(room, capacity(CORE.lanes) // 2))
            payload = b"".join(rng.randrange(TOKENS).to_bytes(2, "little") for _ in range(count))
            command = Command.STEP
        elif choice < 0.55:
            address = rng.choice(self.places)
            most = write_beats(CORE.lanes, external=self.external)
            end = min(address + rng.randint(1, most), len(self.beats))
            if self.external and rng.random() < 0.2:
                command = ExternalCommand.CHECK
                payload = address.to_bytes(3, "little") + (end - address).to_bytes(3, "little")
            else:
                command = Command.WRITE
                payload = address.to_bytes(3, "little") + b"".join(
                    self.beats[place] for place in range(address, end))
        elif choice < 0.6:
            command, payload = Command.PEEK, rng.randrange(64).to_bytes(2, "little")
        else:
            command = rng.choice((Command.RESET, Command.INFO, Command.COUNTERS, Command.STOP))
        return Frame(command.value, rng.randrange(256), payload)

    def flips(self, frame: bytes, first: int = 2) -> bytes:
        """Up to three wrong bits, from byte ``first`` on."""
        spoilt = bytearray(frame)
        for bit in self.rng.sample(range(8 * first, 8 * len(frame)), self.rng.randint(1, 3)):
            spoilt[bit >> 3] ^= 0x80 >> (bit & 7)
        return bytes(spoilt)

    def burst(self, frame: bytes, first: int = 2) -> bytes:
        """Wrong bits that lie within 16 neighbours, in the order of the check sum."""
        length = self.rng.randint(2, 16)
        start = self.rng.randint(8 * first, 8 * len(frame) - length)
        pattern = 1 | 1 << length - 1 | self.rng.getrandbits(length)
        whole = int.from_bytes(frame, "big") ^ pattern << 8 * len(frame) - start - length
        return whole.to_bytes(len(frame), "big")


def fuzz(frames: int, seed: int = 0, *, pauses: int = 40, outside: bool = False,
         progress: Callable[[int], object] | None = None) -> Report:
    """Send ``frames`` requests, most of them spoilt; after each case the port must answer.

    Parameters
    ----------
    frames : int
        How many.
    seed : int
        Of everything random.
    pauses : int
        Of 256 cycles in which the host could take a byte, so many pass.
    outside : bool
        Whether the image memory is off the chip, which has a protocol of its own.
    progress : callable, optional
        Called now and then with the frames so far.
    """
    rng, report, config = random.Random(seed), Report(), OUTSIDE if outside else CORE
    beats = {address: beat.to_bytes(CORE.lanes, "little")
             for address, beat in enumerate(core_image())}
    hardware, receiver = _Hardware(config, pauses), Receiver(beats, config)
    case = _Case(rng, beats, config)
    try:
        for address, beat in beats.items() if outside else ():
            write = Frame(Command.WRITE.value, 0, address.to_bytes(3, "little") + beat)
            _expect(hardware, receiver, report, write.to_bytes(), "upload")
        while report.frames < frames:
            if progress is not None and report.frames % 10_000 == 0:
                progress(report.frames)
            _one_case(hardware, receiver, case, report)
            if len(receiver.fed) >= LONGEST and not receiver.starts:
                _expect(hardware, receiver, report, Frame(Command.RESET.value, 1).to_bytes(), "")
    finally:
        report.cycles = hardware.cycle
        hardware.close()
    return report


def _one_case(hardware: _Hardware, receiver: Receiver, case: _Case, report: Report) -> None:
    rng = case.rng
    kind = rng.choices(case.kinds, case.weights)[0]
    room = LONGEST - (0 if receiver.starts else len(receiver.fed))
    request = case.request(room)
    if room > 2 and kind == "intact" and not receiver.starts and rng.random() < 0.1:
        request = Frame(Command.GENERATE.value, rng.randrange(256),
                        rng.randint(1, room).to_bytes(2, "little"))
    frame = request.to_bytes()
    report.frames += 1
    report.sent[kind] += 1
    surely = kind in ("flips", "burst", "cut")
    content, place = frame, 0
    if kind == "flips":
        content = case.flips(frame)
    elif kind == "burst":
        content = case.burst(frame)
    elif kind == "cut":
        content = frame[:rng.randint(1, len(frame) - 1)]
    elif kind == "dropped":
        place = rng.randrange(len(frame))
        content, surely = frame[:place] + frame[place + 1:], place > 1
    elif kind in ("length", "sync"):
        place = int(kind == "length")
        content = frame[:place] + bytes([frame[place] ^ rng.randint(1, 255)]) + frame[place + 1:]
    elif kind == "garbage":
        content = rng.randbytes(rng.randint(1, 40))
    elif kind == "behind":  # a whole frame follows at once on what is left of another
        content = case.flips(frame, 0)[:rng.randint(1, len(frame))] + case.request(0).to_bytes()
        report.frames += 1
    elif kind == "reset":
        place = rng.randrange(len(frame) + 1)
        hardware.exchange(frame[:place], limit=rng.randint(1, 600), quiet=1 << 30)
        hardware.reset()
        list(receiver.feed(b""))
        receiver.reset()
        content = frame[place:]
    report.detected += surely
    before = receiver.accepted
    _expect(hardware, receiver, report, content, kind)
    if surely:
        report.accepted += receiver.accepted != before
    elif kind not in ("intact", "behind"):
        report.by_chance += receiver.accepted - before - (kind == "reset" and not place)
    _expect(hardware, receiver, report, Frame(Command.STOP.value, rng.randrange(256)).to_bytes(),
            f"probe after {kind}")
    if request.code == Command.STEP.value:
        _spoil_reply(case, report, request.sequence)


def _expect(hardware: _Hardware, receiver: Receiver, report: Report, content: bytes,
            kind: str) -> None:
    """Send ``content``, and compare the answers with the receiver's."""
    expected = list(receiver.feed(content))
    receiver.pause()
    answer = hardware.exchange(content)
    if answer is None:
        report.hangs += 1
        report.first = report.first or f"{kind}: no end after {content.hex(' ')}"
        hardware.reset()
        receiver.reset()
        return
    start = 0
    for frame, known in expected:
        whole = frame.to_bytes()
        there = answer[start:start + len(whole)]
        start += len(whole)
        if known:
            right = there == whole
        else:
            right = there[:4] == whole[:4] and not crc16(there[1:])
        if not right:
            break
        if frame.code in (REPLY | Command.STEP.value, REPLY | Command.GENERATE.value):
            report.tokens += len(frame.payload) // 2
    else:
        if start == len(answer):
            return
    report.wrong += 1
    report.first = report.first or (f"{kind}: {answer.hex(' ')} after {content.hex(' ')}, not "
                                    f"{[frame.to_bytes().hex(' ') for frame, _ in expected]}")


def _spoil_reply(case: _Case, report: Report, sequence: int) -> None:
    """The other direction: an answer with a token, spoilt so that its check sum finds it."""
    answer = Frame(REPLY | Command.STEP.value, sequence, case.rng.randbytes(2)).to_bytes()
    spoilt = case.flips(answer) if case.rng.random() < 0.5 else case.burst(answer)
    deframer = Deframer()
    found = [*deframer.feed(spoilt), *deframer.flush()]
    report.replies += 1
    report.replies_accepted += any(
        frame.sequence == sequence and frame.code == REPLY | Command.STEP.value for frame in found)
