"""The scripts in examples/ and bench/, run as a user would."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ternforge.config import CoreConfig
from ternforge_firmware.image import read
from ternforge_firmware.lower import lower, lower_for
from ternforge_model.catalog import open_model
from ternforge_model.sampling import generate
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_program
from ternforge_sim.runner import build_simulator
from ternforge_sim.system import SimulatedBoard, build_system
from ternforge_sim.verilator import lint

ROOT = Path(__file__).parents[2]

#: As in the tests of the host driver, so that both use one simulator.
CORE = CoreConfig(lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64,
                  max_fan_in=64, memory_beats=1536)
VOCABULARY = b"abcdefghijklmnopqrstuvwxyzABCDEF"


def run(script: str, *arguments: object) -> str:
    done = subprocess.run([sys.executable, str(ROOT / script), *map(str, arguments)],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image():
    program = random_program(5, d=16, layers=2, m=32, vocab=32)
    return lower(program, CORE, ByteTokenizer(VOCABULARY))


def test_readme_lists_every_example():
    text = (ROOT / "examples" / "README.md").read_text()
    folder = ROOT / "examples"
    scripts = sorted(path.relative_to(folder).as_posix()
                     for path in [*folder.glob("*.py"), *folder.glob("c/*.c"),
                                   *folder.glob("sweeps/*.yaml")])
    assert scripts == sorted(line.split("`")[1] for line in text.splitlines()
                             if line.startswith("| `"))


def test_model_to_image(tmp_path):
    told = run("examples/model_to_image.py", "--layer", 1, "-o", tmp_path / "a.tfi")
    model = open_model("shakespeare-up5k")
    prompt = model.tokenizer.encode("ROMEO:\n")
    text = model.tokenizer.decode(generate(model.program, prompt, 60, temperature=0.7, seed=1))
    assert told.startswith(f"ROMEO:\n{text}\n\n")
    written = read(tmp_path / "a.tfi")
    assert written == lower_for(model.program, "icebreaker", model.tokenizer)
    listing = told.partition("packets of layer 1")[2]
    names = [entry["name"] for entry in written.metadata["packets"] if entry["layer"] == 1]
    assert [line.partition('"name": "')[2].partition('"')[0] for line in listing.splitlines()
            if line.startswith(".packet")] == names


def test_custom_core(tmp_path):
    told = run("examples/custom_core.py", "--lanes", 2, "--elements", 1, "-o", tmp_path)
    assert told.startswith("10 ternary weights per cycle, accumulators of 17 bits\n")
    assert "| `tx` | output | 1 |  |" in told
    for name in ("accelerator", "system"):
        assert lint([tmp_path / f"{name}.v"], ["--top-module", name]) == []


def test_talk_to_board(image, capsys):
    prompt = "abcd"
    tokenizer = ByteTokenizer(VOCABULARY)
    program = random_program(5, d=16, layers=2, m=32, vocab=32)
    expected = tokenizer.decode(generate(program, tokenizer.encode(prompt), 30))
    talk = load("examples/talk_to_board.py").talk
    assert talk(SimulatedBoard(build_system(CORE)), image, prompt, 30) == expected
    told = capsys.readouterr().out
    assert f"\n{prompt}{expected}\n" in told
    assert told.startswith("the simulated board has a core with lanes=4\n")


def test_talk_to_a_missing_board_is_one_sentence():
    pytest.importorskip("serial")
    done = subprocess.run([sys.executable, str(ROOT / "examples/talk_to_board.py"), "--port",
                           "/dev/none"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("serial port '/dev/none' cannot be opened ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_exactness_counts_identical_tokens(image, temperature):
    bench, program = load("bench/exactness.py"), random_program(5, d=16, layers=2, m=32, vocab=32)
    library, prompt = build_simulator(CORE), [3, 7, 31, 0]
    found = bench.check(library, CORE, program, image, prompt, 24, temperature, 1)
    assert (found.count, found.difference) == (24, "")
    assert found.run.tokens == generate(program, prompt, 21, temperature=temperature, seed=1)
    changed = bench.Checked(found.run, [*found.expected[:9], 99, *found.expected[10:]])
    assert changed.count == 3 + 9
    assert changed.difference == "token 12: another one is chosen than by the integer model"
    other = random_program(6, d=16, layers=2, m=32, vocab=32)
    found = bench.check(library, CORE, other, image, prompt, 24, temperature, 1)
    assert found.count == 0
    assert found.difference == str(found.run.first_divergence)


@pytest.mark.slow
def test_exactness_of_the_shipped_models():
    told = run("bench/exactness.py")
    assert told.count("256/256") == 12
    assert [told.count(name) for name in ("shakespeare-up5k", "shakespeare-85f")] == [6, 6]


@pytest.mark.slow
def test_every_verb_on_370m_shapes(capsys):
    """Figures of the verbs; the script fails if one is missed or a vector of the RTL differs."""
    told = run("bench/released.py", "--size", "370m")
    with capsys.disabled():
        print("", told, sep="\n")
    assert "3 tokens, bit-exact" in told
