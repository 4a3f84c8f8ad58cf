"""Host port: frames to core commands and back."""

from typing import Any

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from ternforge.config import CoreConfig
from ternforge.core.core import SITES, status_signature, step_layout
from ternforge.host.beats import BeatBuffer
from ternforge.host.crc import CRC16
from ternforge.host.protocol import (
    INFO,
    NO_TOKEN,
    PEEK_BLOCK,
    SYNC,
    TOKENS_PER_FRAME,
    Command,
    ExternalCommand,
    Reason,
    capacity,
    counter_fields,
    info_values,
    pack,
)
from ternforge.host.receive import receive_requests
from ternforge.host.reply import reply_payload
from ternforge.mem.linear import beat_write, read_request
from ternforge.mem.onchip import memory_write
from ternforge.numerics import VECTOR_BITS

__all__ = ["HostPort"]

CHECK_LENGTH = 6  #: bytes in the payload of CHECK


class HostPort(wiring.Component):
    """Carries out the requests of a host, frame by frame (``docs/host-protocol.md``).

    One byte per cycle at most comes in, one byte per four cycles goes out. A request is carried out
    when all of it has come and its check sum is right; ``i`` stalls from then until the reply
    to the request before has gone, for STEP and PEEK until its own reply has gone. While GENERATE
    sends a token the core computes the next: it waits for ``o`` only if a token takes longer
    to send than to compute, and never for ``i``.

    Parameters
    ----------
    config : :class:`~ternforge.config.CoreConfig`
        Size of the core; reported to the host.
    timeout : int
        Cycles without a byte after which half a frame is dropped, rounded up to a power of two.
    boots : bool
        Whether something fills the image memory after reset, and says what came of it.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes from the host.
    o : :py:`Out(stream.Signature(8))`
        Bytes to the host.
    tokens : :py:`Out(stream.Signature(step_layout()))`
        Steps for the core. ``status.busy`` must be high from the cycle after a transfer until
        a result was taken or ``status.fault`` is set.
    result : :py:`In(stream.Signature(16))`
        Token that a step predicts.
    peek_address : :py:`Out(16)`
        Element of the vector RAM; meaningful only while no step is under way.
    peek_data : :py:`In(signed(24))`
        Its value, at most two cycles later.
    write : :py:`Out(memory_write(config.beat_bits))`
        Writes to the image memory; only while no step is under way.
    status : :py:`In(status_signature())`
        Flags and counters of the core.

    With ``boots`` also

    boot_state : :py:`In(3)`
        A :class:`~ternforge.host.protocol.BootState`, for the host.

    Where the image memory is off the chip (``config.bank_beats == 0``), a WRITE has one beat or
    more, and is answered once the memory took them. Meanwhile the next request comes in. The
    members are then

    write : :py:`Out(stream.Signature(beat_write(config.beat_bits)))`
        Writes to the image memory; only while no step is under way. Where they wait for longer than
        the next request takes to come, the one behind that is lost, as damage would.
    check : :py:`Out(stream.Signature(read_request()))`
        Beats to sum up; valid until the sum was taken, or is not wanted any more.
    sum : :py:`In(stream.Signature(32))`
        Their CRC-32.
    memory_state : :py:`In(2)`
        A :class:`~ternforge.host.protocol.MemoryState`. Whenever it is not ready, what needs the
        memory is refused and what waits for it ends.
    """

    i: stream.Interface
    o: stream.Interface
    tokens: stream.Interface
    result: stream.Interface
    peek_address: Signal
    peek_data: Signal
    write: Any  # view of memory_write(), or stream of beat_write()
    check: stream.Interface
    sum: stream.Interface
    memory_state: Signal
    boot_state: Signal
    status: Any  # interface of status_signature()

    def __init__(self, config: CoreConfig, timeout: int = 1 << 20, *, boots: bool = False):
        if not isinstance(config, CoreConfig):
            raise TypeError(f"HostPort config must be a CoreConfig, not {config!r}")
        if not isinstance(timeout, int) or isinstance(timeout, bool):
            raise TypeError(f"HostPort timeout must be an integer, not {timeout!r}")
        if timeout < 1:
            raise ValueError(f"HostPort timeout must be positive, not {timeout!r}")
        self.config, self.timeout = config, timeout
        self._info = pack(INFO, info_values(config))
        self._external = not config.bank_beats
        if self._external and capacity(config.lanes) < CHECK_LENGTH:
            raise ValueError("HostPort config must have at least 4 lanes with an image memory off "
                             f"the chip, not {config.lanes}")
        self.boots = boots
        self._counters = counter_fields(external=self._external, boots=boots)
        image_side = {
            "write": Out(stream.Signature(beat_write(config.beat_bits))),
            "check": Out(stream.Signature(read_request())), "sum": In(stream.Signature(32)),
            "memory_state": In(2),
        } if self._external else {"write": Out(memory_write(config.beat_bits))}
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)),
            "tokens": Out(stream.Signature(step_layout())), "result": In(stream.Signature(16)),
            "peek_address": Out(16), "peek_data": In(signed(VECTOR_BITS)),
            **image_side, **({"boot_state": In(3)} if boots else {}),
            "status": In(status_signature()),
        })

    def elaborate(self, platform):
        m = Module()
        size, external = capacity(self.config.lanes), self._external

        request, release = Signal(), Signal()  # a request waits; it is not needed any longer
        beats = BeatBuffer(self.config) if external else None
        if beats is not None:
            m.submodules.beats = beats
            connect(m, beats.o, flipped(self.write))
        came = receive_requests(m, self.i, request, release, size, self.timeout, beats=beats)
        consume, body = came.consume, came.body
        command, sequence, length, count = came.command, came.sequence, came.length, came.count

        fits = Signal()
        with m.Switch(command):
            with m.Case(Command.WRITE):
                m.d.comb += fits.eq(beats.whole if beats is not None else length == size)
            with m.Case(Command.STEP):
                m.d.comb += fits.eq((length != 0) & ~length[0])
                if external:
                    m.d.comb += fits.eq((length != 0) & ~length[0] & (length <= size))
            with m.Case(Command.GENERATE, Command.PEEK):
                m.d.comb += fits.eq(length == 2)
            if external:
                with m.Case(ExternalCommand.CHECK):
                    m.d.comb += fits.eq(length == CHECK_LENGTH)
            with m.Default():
                m.d.comb += fits.eq(length == 0)

        # Steps. A token stands in `token` from its result until the next one; `fresh` says
        # that it was not sent yet. The next result waits until it was.
        feed, waiting, fresh, failed = Signal(), Signal(), Signal(), Signal()
        start_of_sequence = Signal(init=1)
        token, left = Signal(16), Signal(16)  # left: tokens that GENERATE still has to send
        final, arrived = Signal(), Signal()
        generating = Signal()
        m.d.comb += [
            self.tokens.valid.eq(feed), self.tokens.p.token.eq(token),
            self.tokens.p.reset.eq(start_of_sequence),
            self.result.ready.eq(waiting & ~fresh), final.eq(left == 1),
        ]
        with m.If(feed & self.tokens.ready):
            m.d.sync += [feed.eq(0), waiting.eq(1), start_of_sequence.eq(0)]
        with m.If(waiting & ~fresh):
            with m.If(self.result.valid):
                m.d.comb += arrived.eq(1)
                m.d.sync += [token.eq(self.result.payload), fresh.eq(1), waiting.eq(0),
                             feed.eq(generating & ~final)]
            with m.Elif(self.status.fault & ~self.status.busy):
                m.d.sync += [token.eq(NO_TOKEN), fresh.eq(1), failed.eq(1), waiting.eq(0)]
        if external:
            with m.If((feed | waiting) & ~fresh & self.memory_state.any()):
                m.d.sync += [token.eq(NO_TOKEN), fresh.eq(1), failed.eq(1), waiting.eq(0),
                             feed.eq(0)]

        # Replies. `rest` is the length of the payload, then the number of the byte under way,
        # downwards; bit 7 is set after the last.
        code, refused = Signal(4 if external else 3), Signal()
        tag, rest = Signal(8), Signal(8)
        pause = Signal(2)  # a byte may be sent once data has come from the vector RAM
        sent, clear_sum = Signal(), Signal()
        total = CRC16.create()
        m.submodules.total = ResetInserter(clear_sum)(total)
        m.d.comb += [
            sent.eq(self.o.valid & self.o.ready),
            total.valid.eq(sent), total.data.eq(self.o.payload),
            generating.eq(code == Command.GENERATE.value),
            self.peek_address.eq(Cat(~rest[2:7], body[5:16])),
        ]
        checking, beyond = Signal(), Signal(reset_less=True)
        places, needs = Signal(), Signal()  # a request names beats; it needs the memory
        if beats is not None:
            end = Signal(25, reset_less=True)
            m.d.comb += [
                places.eq((command == Command.WRITE.value)
                          | (command == ExternalCommand.CHECK.value)),
                needs.eq(places | (command == Command.STEP.value)
                         | (command == Command.GENERATE.value)),
            ]
            m.d.comb += [beats.address.eq(body), self.check.payload.eq(body[:48]),
                         self.check.valid.eq(checking)]
            m.d.sync += [end.eq(body[:24] + Mux(command == Command.WRITE.value, beats.beats,
                                                body[24:48])),
                         beyond.eq(end > self.config.memory_beats)]
        else:
            # A write goes out in the cycle after its request; `body` still stands then.
            m.d.comb += [self.write.address.eq(body[:24]), self.write.data.eq(body[24:])]
            m.d.sync += self.write.enable.eq(0)
        # A byte of the payload is chosen while the one before it still pauses.
        chosen, known = reply_payload(
            m, code, rest, info=self._info, counters=self._counted(), element=self.peek_data,
            total=self.sum.payload if external else None, token=token, fresh=fresh)
        payload, ready, held = Signal(8), Signal(), Signal()
        m.d.sync += [payload.eq(chosen), held.eq(known)]
        m.d.comb += ready.eq(known & held)
        m.d.sync += pause.eq(Mux(sent, 0, Mux(pause == 3, 3, pause + 1)))

        def send(byte, then: str):
            m.d.comb += [self.o.valid.eq(pause == 3), self.o.payload.eq(byte)]
            with m.If(sent):
                m.next = then

        def refuse(reason, releases=1):
            m.d.sync += [code.eq(reason), refused.eq(1), rest.eq(0)]
            m.d.comb += release.eq(releases)
            m.next = "SYNC"

        with m.FSM(name="reply"):
            with m.State("IDLE"):
                m.d.sync += [fresh.eq(0), failed.eq(0), refused.eq(0), rest.eq(0),
                             tag.eq(sequence), code.eq(command), left.eq(body)]
                with m.If(request):
                    m.next = "SYNC"
                    with m.If(came.long):
                        refuse(Reason.LENGTH)
                    with m.Elif(~came.check.match_detected):
                        refuse(Reason.CRC)
                    with m.Elif(came.unknown):
                        refuse(Reason.COMMAND)
                    with m.Elif(~fits):
                        refuse(Reason.LENGTH)
                    if external:
                        with m.Elif(places & beyond):
                            refuse(Reason.RANGE)
                        with m.Elif(needs & self.memory_state.any()):
                            refuse(Reason.FAULT)
                    with m.Else():
                        m.d.comb += release.eq(self._releases(command))
                        with m.Switch(command):
                            with m.Case(Command.INFO):
                                m.d.sync += rest.eq(len(self._info))
                            with m.Case(Command.WRITE):
                                if beats is not None:
                                    m.d.comb += beats.send.eq(1)
                                    m.next = "WRITE"
                                else:
                                    m.d.sync += self.write.enable.eq(1)
                            with m.Case(Command.RESET):
                                m.d.sync += start_of_sequence.eq(1)
                            with m.Case(Command.STEP):
                                m.next = "STEP"
                            with m.Case(Command.GENERATE):
                                m.d.sync += feed.eq(1)
                                m.next = "GENERATE"
                            with m.Case(Command.PEEK):
                                m.d.sync += rest.eq(4 * PEEK_BLOCK)
                            with m.Case(Command.COUNTERS):
                                m.d.sync += rest.eq(sum(self._counters.values()))
                            if external:
                                with m.Case(ExternalCommand.CHECK):
                                    m.d.sync += checking.eq(1)
                                    m.next = "CHECK"
            if beats is not None:
                with m.State("WRITE"):
                    with m.If(~beats.busy):
                        m.next = "SYNC"
                    with m.Elif(self.memory_state.any()):
                        m.d.comb += beats.drop.eq(1)
                        refuse(Reason.FAULT, releases=0)
                with m.State("CHECK"):
                    m.d.sync += rest.eq(4)
                    with m.If(self.sum.valid):
                        m.next = "SYNC"
                    with m.Elif(self.memory_state.any()):
                        m.d.sync += checking.eq(0)
                        refuse(Reason.FAULT)
            with m.State("STEP"):
                m.d.comb += consume.eq(1)
                m.d.sync += [token.eq(body[:16]), feed.eq(1), fresh.eq(0)]
                m.next = "STEP_CONSUME"
            with m.State("STEP_CONSUME"):
                m.d.comb += consume.eq(1)
                m.d.sync += rest.eq(2)
                m.next = "STEP_WAIT"
            with m.State("STEP_WAIT"):
                with m.If(fresh):
                    m.next = "STEP"
                    with m.If(failed):
                        refuse(Reason.FAULT)
                    with m.Elif(count == length):
                        m.next = "SYNC"
            with m.State("GENERATE"):
                # A request ends it, after the tokens that the core has been fed for already.
                with m.If(request & ~arrived):
                    m.d.sync += left.eq(Mux(fresh & ~final, 2, 1))
                with m.If(fresh):
                    m.next = "GENERATE_OPEN"
            with m.State("GENERATE_OPEN"):
                m.d.sync += rest.eq(Mux(left < TOKENS_PER_FRAME, left[:3] << 1,
                                        2 * TOKENS_PER_FRAME))
                m.next = "SYNC"
                with m.If(failed):
                    m.d.sync += [code.eq(Reason.FAULT), refused.eq(1), rest.eq(0)]
            with m.State("SYNC"):
                send(SYNC, "LENGTH")
                m.d.comb += clear_sum.eq(1)
            with m.State("LENGTH"):
                send(rest, "SEQUENCE")
                m.d.sync += rest.eq(rest - sent)
            with m.State("SEQUENCE"):
                send(tag, "CODE")
            with m.State("CODE"):
                send(Cat(code, C(0, 6 - len(code)), refused, C(1, 1)), "PAYLOAD")
            with m.State("PAYLOAD"):
                with m.If(rest[7]):
                    m.next = "CRC_HIGH"
                with m.Else():
                    send(payload, "PAYLOAD")
                    m.d.comb += self.o.valid.eq((pause == 3) & ready)
                    m.d.sync += rest.eq(rest - sent)
                    with m.If(sent & ~rest[0]):
                        m.d.sync += [fresh.eq(failed), left.eq(left - generating)]
            with m.State("CRC_HIGH"):
                send(total.crc[8:], "CRC_LOW")
            with m.State("CRC_LOW"):
                send(total.crc[8:], "IDLE")
                with m.If(sent & ~refused):
                    with m.If(generating & (left != 0)):
                        m.next = "GENERATE"
                    m.d.comb += release.eq((code == Command.STEP.value) |
                                           (code == Command.PEEK.value))
                    if external:
                        with m.If(checking):
                            m.d.comb += [release.eq(1), self.sum.ready.eq(1)]
                            m.d.sync += checking.eq(0)
        return m

    def _releases(self, command: Any) -> Value:
        """Whether the next request may come while this one is carried out."""
        releases = (command != Command.STEP) & (command != Command.PEEK)
        if self._external:
            releases &= command != ExternalCommand.CHECK.value
        return releases

    def _counted(self) -> list[tuple[Any, int]]:
        """Values of a COUNTERS reply and their bytes."""
        status = self.status
        values = [status.cycles, *(status.saturations[k] for k in range(len(SITES))),
                  status.ratio.mantissa, status.ratio.exponent.as_unsigned(), status.fault]
        if self._external:
            values.append(self.memory_state)
        if self.boots:
            values.append(self.boot_state)
        return list(zip(values, self._counters.values(), strict=True))
