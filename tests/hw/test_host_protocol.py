"""The definitions of the host protocol, and that docs/host-protocol.md says the same."""

import inspect
import random
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from ternforge.config import CoreConfig
from ternforge.host.boot import BOOT_END, boot_header
from ternforge.host.crc import crc16
from ternforge.host.port import HostPort
from ternforge.host.protocol import (
    COUNTERS,
    EXTERNAL_COUNTERS,
    EXTERNAL_VERSION,
    INFO,
    NO_TOKEN,
    PEEK_BLOCK,
    REFUSED,
    REPLY,
    SYNC,
    TOKENS_PER_FRAME,
    VERSION,
    BootState,
    Command,
    Deframer,
    ExternalCommand,
    Frame,
    MemoryState,
    Reason,
    capacity,
    counter_fields,
    request_lengths,
)
from ternforge.system import BAUD
from ternforge_firmware import host, upload

from .fake_core import Bench, run_driver

DOC = (Path(__file__).parents[2] / "docs" / "host-protocol.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Cells of the first table after a line that starts with ``heading``, without its head."""
    lines = DOC[DOC.index(f"\n{heading}"):].splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("|"))
    rows = takewhile(lambda line: line.startswith("|"), lines[first + 2:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def spans(fields: dict[str, int]) -> list[tuple[str, str]]:
    """Bytes and names, as the tables of the replies have them."""
    rows, start = [], 0
    for name, size in fields.items():
        rows.append((str(start) if size == 1 else f"{start} .. {start + size - 1}", f"`{name}`"))
        start += size
    return rows


def test_doc_lists_the_commands():
    rows = table("## Requests")
    assert [(row[0], row[1]) for row in rows] == [(str(c.value), c.name) for c in Command]
    for row, command in zip(rows, Command, strict=True):
        for lanes in (2, 8, 40):
            lengths = {"N + 3": [capacity(lanes)],
                       "2, 4, .. N + 3": [n for n in range(2, lanes + 4) if n % 2 == 0]}
            want = lengths.get(row[2]) or [int(row[2])]
            assert list(request_lengths(command, lanes)) == want, (command, lanes)
    replies = {row[1]: row[4] for row in rows}
    assert replies["INFO"] == f"{sum(INFO.values())}, see below"
    assert replies["COUNTERS"] == f"{sum(COUNTERS.values())}, see below"
    assert replies["PEEK"] == f"{4 * PEEK_BLOCK}: {PEEK_BLOCK} elements, signed, 4 bytes each"
    assert f"at most {TOKENS_PER_FRAME} tokens per reply" in replies["GENERATE"]


def test_doc_lists_the_refusals():
    assert [(row[0], row[1]) for row in table("## Refusals")] == [
        (str(reason.value), reason.name) for reason in Reason]


def test_doc_lists_the_fields():
    assert [tuple(row) for row in table("INFO reply:")] == spans(INFO)
    assert [tuple(row[:2]) for row in table("COUNTERS reply:")] == spans(COUNTERS)


def test_doc_lists_what_version_3_adds():
    (row,) = table("## Image memory off the chip")
    command = ExternalCommand.CHECK
    assert (row[0], row[1]) == (str(command.value), command.name)
    assert list(request_lengths(command, 8)) == [int(row[2])]
    assert list(ExternalCommand) == [command]
    (row,) = table("COUNTERS has one byte more:")
    assert (row[0], row[1]) == spans(EXTERNAL_COUNTERS)[-1]
    assert [part.split()[0] for part in row[2].split(", ")] == [
        str(state.value) for state in MemoryState]
    text = " ".join(DOC.split())
    assert f"Version {EXTERNAL_VERSION}." in text
    for lanes, words in ((4, "63 beats of 4 bytes"), (8, "31 of 8")):
        assert words in text
        assert list(request_lengths(Command.WRITE, lanes, external=True)) == [
            3 + lanes * beats for beats in range(1, int(words.split()[0]) + 1)]
    assert f"each block of {upload.BLOCK_BYTES >> 10} KiB" in text


def test_doc_lists_what_stands_in_a_flash():
    rows = table("What came of it is the last byte of COUNTERS")
    assert [(row[0], row[1]) for row in rows] == [
        (str(state.value), state.name) for state in BootState]
    content = table("## Image from flash")
    header = boot_header(CoreConfig(lanes=8, elements=2))
    assert content[0] == ["2", f"`{header[:2].decode()}`"]
    assert content[1] == ["1", f"version, {header[2]}"]
    assert [row[1] for row in content[2:4]] == ["`lanes`", "`elements`"]
    assert list(header[3:]) == [8, 2]
    assert content[5] == ["1", f"`{BOOT_END:02x}`"]
    for external in (False, True):
        for boots in (False, True):
            fields = list(counter_fields(external=external, boots=boots))
            assert fields[-1] == ("boot" if boots else "memory" if external else "fault")


def test_doc_states_the_constants():
    frame = {row[1]: row[2] for row in table("## Frame")}
    assert frame["sync"] == f"`{SYNC:02x}`"
    assert frame["code"] == (f"request: the command; reply: `{REPLY:02x}` + command; "
                             f"refusal: `{REPLY | REFUSED:02x}` + reason")
    timeout = inspect.signature(HostPort).parameters["timeout"].default
    driver = inspect.signature(host.Board).parameters
    milliseconds, text = timeout / 30e3, " ".join(DOC.split())
    assert f"{BAUD:,} symbols per second" in text
    assert f"give `{crc16(b'123456789'):04x}`" in text
    assert f"This is version {VERSION}." in text
    assert f"with `{NO_TOKEN:04x}` (no token has that number)" in text
    assert f"for {timeout} clock cycles (about {milliseconds:.0f} ms at 30 MHz)" in text
    assert f"keeps {upload.WINDOW} under way" in text
    assert f"after {driver['timeout'].default:g} s without any byte" in text
    assert f"up to {driver['retries'].default} times" in text


def example() -> list[tuple[bytes, bytes]]:
    """Requests of the doc's example, each with the bytes that answer it."""
    block = DOC[DOC.index("## Example"):].split("```")[1]
    talk: list[tuple[bytes, bytes]] = []
    for line in block.splitlines():
        if line.startswith(">"):
            talk.append((bytes.fromhex(line[1:]), b""))
        elif line.startswith("<"):
            talk[-1] = talk[-1][0], talk[-1][1] + bytes.fromhex(line[1:])
    return talk


def test_example_of_the_doc_is_what_the_port_answers():
    talk, heard = example(), []

    def driver(transport):
        for request, _ in talk:
            transport.write(request)
            answer = b""
            while content := transport.read(0.2):
                answer += content
            heard.append(answer)

    run_driver(Bench(CoreConfig(lanes=8)), driver)
    assert [answer.hex(" ") for answer in heard] == [answer.hex(" ") for _, answer in talk]
    codes = [answer[3] for _, answer in talk]
    assert codes.count(REPLY | REFUSED | Reason.CRC.value) == 1
    assert {REPLY | command.value for command in (
        Command.INFO, Command.WRITE, Command.RESET, Command.STEP, Command.GENERATE,
        Command.STOP)} < set(codes)
    deframer = Deframer()
    intact = [f.code for request, _ in talk for f in deframer.feed(request)]
    assert len(intact) == len(talk) - 1
    assert deframer.damaged > 0


@pytest.mark.parametrize("lanes", [2, 8])
def test_port_accepts_the_lengths_of_the_definition(lanes):
    requests, expected = [], []
    for command in Command:
        for length in range(capacity(lanes) + 1):
            fits = length in request_lengths(command, lanes)
            # One token, so that GENERATE ends by itself.
            requests.append(Frame(command.value, length, bytes([1, 0, *bytes(98)])[:length]))
            if fits:
                expected.append(REPLY | command.value)
            else:
                expected.append(REPLY | REFUSED | Reason.LENGTH.value)
    heard: list[Frame] = []

    def driver(transport):
        deframer = Deframer()
        for request in requests:
            transport.write(request.to_bytes())
            count = len(heard)
            while len(heard) == count:
                heard.extend(deframer.feed(transport.read(0.2)))

    run_driver(Bench(CoreConfig(lanes=lanes)), driver)
    assert [(f.sequence, f.code) for f in heard] == [
        (r.sequence, code) for r, code in zip(requests, expected, strict=True)]


def test_deframer_finds_frames_in_pieces_of_any_size():
    rng = random.Random(3)
    frames = [Frame(rng.randrange(256), n, rng.randbytes(rng.randrange(40))) for n in range(30)]
    noise = [rng.randbytes(rng.randrange(6)).replace(bytes([SYNC]), b"") for _ in frames]
    line = b"".join(junk + f.to_bytes() for junk, f in zip(noise, frames, strict=True))
    cuts = [0, *sorted(rng.sample(range(1, len(line)), 50)), len(line)]
    deframer, found = Deframer(), []
    for start, stop in pairwise(cuts):
        found += deframer.feed(line[start:stop])
    assert found == frames
    assert deframer.damaged == sum(map(len, noise))


def test_deframer_gives_up_half_a_frame_after_a_pause():
    inner = Frame(Command.STOP.value, 7)
    deframer = Deframer()
    # A sync byte that was noise, with a length that swallows the frame behind it.
    assert list(deframer.feed(bytes([SYNC, 200]) + inner.to_bytes())) == []
    assert list(deframer.flush()) == [inner]
    assert deframer.damaged == 2


