"""Fills the image memory of a board, so that an interruption leaves no half an image."""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from zlib import crc32

from ternforge.host.protocol import REFUSED, REPLY, Command, ExternalCommand, write_beats

from .link import Link, damaged
from .transport import HostError

__all__ = ["BLOCK_BYTES", "WINDOW", "upload", "write_requests"]

WINDOW = 32  #: WRITE requests under way at a time, so that the latency of USB does not count
BLOCK_BYTES = 1 << 14  #: that are summed up, and left out if they stand there already


def upload(link: Link, beats: Sequence[bytes],
           progress: Callable[[int, int], object] | None = None, *, resume: bool = True,
           block_bytes: int = BLOCK_BYTES) -> int:
    """Write ``beats`` from address 0 up, beat 0 last; see :meth:`~.host.Board.load`."""
    _check_size(link, beats)
    total, done = len(beats), 0

    def advance(count: int = 1) -> None:
        nonlocal done
        done += count
        if progress is not None and count:
            progress(done, total)

    if not beats:
        return 0
    most = write_beats(link.core.lanes, external=link.external)
    size = max(1, block_bytes // link.core.lanes)
    if size > most:  # whole requests: a short one comes before the one in front of it is written
        size -= size % most
    blocks = [range(start, min(start + size, total)) for start in range(1, total, size)]
    missing = blocks
    if resume and link.external:
        missing = [block for block in blocks if not _stands(link, beats, block)]
        advance(total - 1 - sum(map(len, missing)))
        if not missing and _stands(link, beats, range(1)):
            advance()
            return 0
    _write(link, [(0, [bytes(link.core.lanes)])])
    _write(link, [request for block in missing for request in write_requests(beats, block, most)],
           advance)
    for block in blocks if link.external else ():
        if not _stands(link, beats, block):
            raise _unkept(link, block)
    _write(link, [(0, beats[:1])], advance)
    if link.external and not _stands(link, beats, range(1)):
        raise _unkept(link, range(1))
    return 1 + sum(map(len, missing))


def write_requests(beats: Sequence[bytes], block: range, most: int,
                   ) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Address and beats of each WRITE of a block, at most ``most`` beats in one."""
    for start in range(block.start, block.stop, most):
        yield start, beats[start:min(start + most, block.stop)]


def _check_size(link: Link, beats: Sequence[bytes]) -> None:
    lanes = {len(beat) for beat in beats} - {link.core.lanes}
    if lanes:
        raise HostError(f"the image is packed for a core with lanes={lanes.pop()}, but the one on "
                        f"{link.transport.name} has lanes={link.core.lanes}")
    if len(beats) > link.core.memory_beats:
        raise HostError(f"the image has {len(beats)} beats, {len(beats) - link.core.memory_beats} "
                        f"more than the image memory of {link.transport.name}")


def _unkept(link: Link, block: range) -> HostError:
    return HostError(f"the image memory of {link.transport.name} does not keep what is written "
                     f"to beats {block[0]} to {block[-1]}: check the memory and its clock")


def _stands(link: Link, beats: Sequence[bytes], block: range) -> bool:
    """Whether a block of the memory has the sum that it should."""
    place = block.start.to_bytes(3, "little") + len(block).to_bytes(3, "little")
    answer = link.request(ExternalCommand.CHECK, place)
    if len(answer) != 4:
        raise link.malformed(ExternalCommand.CHECK)
    return int.from_bytes(answer, "little") == crc32(b"".join(beats[block.start:block.stop]))


def _write(link: Link, writes: list[tuple[int, Sequence[bytes]]],
           advance: Callable[[int], object] = lambda count: None) -> None:
    """Write beats. Requests name their address: they may come twice and in any order."""
    todo = writes[::-1]
    flying: dict[int, tuple[int, Sequence[bytes]]] = {}
    failures = 0
    while todo or flying:
        batch = b""
        while todo and len(flying) < WINDOW:
            address, beats = todo.pop()
            sequence, request = link.frame(
                Command.WRITE, address.to_bytes(3, "little") + b"".join(beats))
            flying[sequence] = address, beats
            batch += request
        if batch:
            link.transport.write(batch)
        reply = link.receive()
        if reply is not None and reply.code == REPLY | Command.WRITE.value:
            if written := flying.pop(reply.sequence, None):
                failures = 0
                advance(len(written[1]))
        elif reply is None or damaged(reply):
            failures += 1
            # One damaged request may cause several refusals; wait until the line is quiet.
            while reply is not None:
                reply = link.receive(link.timeout / 10)
                if (reply is not None and reply.code == REPLY | Command.WRITE.value
                        and (written := flying.pop(reply.sequence, None))):
                    advance(len(written[1]))
            if failures > link.retries:
                raise link.silent()
            todo += sorted(flying.values(), key=itemgetter(0), reverse=True)
            flying.clear()
        elif reply.code & REFUSED and reply.sequence in flying:
            raise link.refusal(reply)
