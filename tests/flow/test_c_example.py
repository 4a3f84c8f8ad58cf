"""The C header and the example in C, built and run against simulated boards."""

import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from ternforge.cli import run
from ternforge.config import CoreConfig
from ternforge.host.protocol import Command, ExternalCommand, Reason
from ternforge.isa import Opcode
from ternforge_firmware.cheader import c_header
from ternforge_firmware.lower import lower
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program
from ternforge_sim.pty import SerialPort
from ternforge_sim.system import OutsideMemory, SimulatedBoard, build_system

EXAMPLE = Path(__file__).parents[2] / "examples" / "c"
#: Those of the driver's tests, so that they are built once.
CORES = {1: CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                       max_fan_in=64, memory_beats=1536),
         3: CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                       max_fan_in=64, memory_beats=1536, bank_beats=0)}
PROGRAM = random_program(5, d=16, layers=2, m=32, vocab=32)
PROMPT = [3, 17, 0, 31, 9, 9, 2]

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    built = tmp_path_factory.mktemp("c") / "chat"
    subprocess.run(["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-o",
                    built, EXAMPLE / "chat.c"], check=True)
    return built


@pytest.fixture(params=CORES, ids=lambda version: f"version {version}")
def port(request):
    core = CORES[request.param]
    with SerialPort(SimulatedBoard(build_system(core), config=core)) as opened:
        yield opened


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "toy.tfi"
    lower(PROGRAM, CORES[1]).write(path)  # the same packets for both
    return path


def chat(program: Path, *words) -> tuple[int, list[int], str]:
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=120,
                          check=False)
    return done.returncode, [int(line) for line in done.stdout.split()], done.stderr


def test_tokens_are_those_of_the_integer_model(program, port, image):
    code, tokens, _ = chat(program, "-u", image, "-n", 29, port.name, *PROMPT)
    expected = generate(PROGRAM, PROMPT, 29)
    assert (code, tokens) == (0, expected)
    code, tokens, told = chat(program, "-n", 1, port.name, *PROMPT)  # it stands there now
    assert (code, tokens, told) == (0, expected[:1], "")


def test_what_goes_wrong_is_one_sentence(program, port, image, tmp_path):
    damaged, other = tmp_path / "damaged.tfi", tmp_path / "other.tfi"
    content = bytearray(image.read_bytes())
    content[700] ^= 1
    damaged.write_bytes(content)
    lower(PROGRAM, CoreConfig(lanes=8)).write(other)
    for words, said in (
            (["-n", 4, port.name, 1],
             "the board refused a step: it has no image, or a token is outside of its vocabulary"),
            (["-u", damaged, port.name, 1], f"the image is damaged: its CRC is wrong: {damaged}"),
            (["-u", other, port.name, 1],
             f"the image is packed for a core with another number of lanes: {other}"),
            (["-u", "/none", port.name, 1],
             "the image cannot be opened: No such file or directory"),
            (["/dev/none", 1], "the serial port cannot be opened: No such file or directory"),
            (["/dev/null", 1], "this is no serial port: /dev/null"),
            ([port.name, "x"], "a token must be a number of 0 to 65534, not: x"),
            ([port.name], "usage: chat [-b BAUD] [-u IMAGE.tfi] [-n COUNT] PORT TOKEN...")):
        assert chat(program, *words) == (2, [], f"{said}\n")


def test_a_memory_that_fails(program):
    core = CORES[3]
    board = SimulatedBoard(build_system(core), config=core, memory=OutsideMemory(state=2))
    with SerialPort(board) as port:
        assert chat(program, port.name, 1) == (
            2, [], "the board refused a request: its memory failed its training or its test\n")


def test_a_port_that_vanishes(program, image, port):
    chat(program, "-u", image, "-n", 1, port.name, 1)
    timer = threading.Timer(0.5, port.close)
    timer.start()
    code, tokens, told = chat(program, "-n", 65_000, port.name, 1)
    timer.join()
    assert code == 2
    assert tokens[:50] == generate(PROGRAM, [1], 50)[:len(tokens)]
    assert told.startswith("the connection broke off")
    assert told.count("\n") == 1


def test_header_is_up_to_date(tmp_path, capsys):
    assert (EXAMPLE / "ternforge.h").read_text() == c_header()
    assert run(["image", "--header", str(tmp_path / "t.h")]) == 0
    assert (tmp_path / "t.h").read_text() == c_header()
    assert run(["image", "--header", str(tmp_path / "t.h"), "-o", "x"]) == 2
    assert "--header must not come with -o" in capsys.readouterr().err


def test_header_says_what_the_definitions_say():
    found = re.findall(r"^#define (TERNFORGE_\w+) (\S+)", c_header(), re.MULTILINE)
    values = dict(found)
    assert len(values) == len(found)
    for kind, name in ((Command, "COMMAND"), (ExternalCommand, "COMMAND"), (Reason, "REASON"),
                       (Opcode, "OPCODE")):
        for member in kind:
            assert int(values[f"TERNFORGE_{name}_{member.name}"], 0) == member.value
    assert values["TERNFORGE_CRC_POLYNOMIAL"] == "0x1021"
    assert values["TERNFORGE_INFO_MEMORY_BEATS"] == "3"
    assert values["TERNFORGE_MATVEC_OP_SHIFT"] == "0"
    assert values["TERNFORGE_IMAGE_LANES"] == "12"
