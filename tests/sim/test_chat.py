"""``ternforge chat`` on simulated boards, every byte through a pseudo-terminal."""

import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from ternforge import presets
from ternforge.cli import run_function
from ternforge.config import CoreConfig
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model
from ternforge_model.sampling import generate
from ternforge_sim import attach
from ternforge_sim import chat as chatting
from ternforge_sim.chat import chat
from ternforge_sim.conversation import GROUP, Conversation
from ternforge_sim.system import OutsideMemory

pytest.importorskip("serial")
pytestmark = [pytest.mark.usefixtures("toy_cores", "external_toy"),
              pytest.mark.xdist_group("toy-simulator")]

BOARDS = ["ulx3s-85f", "toy-external"]


@pytest.fixture(scope="module")
def external_toy():
    """A core that holds the toy in a memory off the chip; that of other tests, built once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "toy-external", CoreConfig(
            lanes=4, elements=2, vector_depth=256, state_depth=64, max_rows=64, max_fan_in=64,
            memory_beats=1536, bank_beats=0))
        yield


@pytest.fixture
def call(capsys, tmp_path, monkeypatch, toy_model):
    """Runs the command with the toy; returns exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def with_model(*words, model=toy_model):
        chosen = ["--model", str(model)] if model else []
        code = run_function(chat, "chat", [*chosen, *map(str, words)])
        return code, *capsys.readouterr()

    return with_model


def reference(folder: Path, prompt: str, count: int, temperature: float = 0.0, seed: int = 0):
    model = open_model(str(folder))
    tokens = generate(model.program, model.tokenizer.encode(prompt), count,
                      temperature=temperature, seed=seed)
    return tokens, model.tokenizer.decode(tokens, continued=True)


@pytest.mark.parametrize("temperature", [0, 0.9])
@pytest.mark.parametrize("board", BOARDS)
def test_tokens_are_those_of_the_integer_model(call, toy_model, board, temperature):
    code, out, _ = call("--simulate", "--board", board, "--prompt", "abcab", "--tokens", 21,
                        "--temperature", temperature, "--seed", 4, "--json")
    told = json.loads(out)
    tokens, text = reference(toy_model, "abcab", 21, temperature, 4)
    assert code == 0
    assert (told["tokens"], told["text"]) == (tokens, text)
    image = lower_for(open_model(str(toy_model)).program, board)
    uploaded = 0 if board == "ulx3s-85f" else len(image.memory())
    assert told["uploaded_beats"] == uploaded
    assert told["counters"]["memory"] == "ready"
    assert 50 < told["counters"]["cycles"] < 5_000
    assert told["simulation"]["cycles_per_second"] > 0
    assert told["simulation"]["port"].startswith("/dev/")


def test_image_file_by_model_option(call, toy_model, tmp_path):
    model = open_model(str(toy_model))
    lower_for(model.program, "toy-external", model.tokenizer).write(tmp_path / "toy.tfi")
    code, out, _ = call("--simulate", "--board", "toy-external", "--prompt", "abc", "--tokens", 5,
                        "--json", model=tmp_path / "toy.tfi")
    assert (code, json.loads(out)["tokens"]) == (0, reference(toy_model, "abc", 5)[0])


def test_interactive_session(call, toy_model, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(
        "abc\n/counters\nmno\n/reset\nabc\n/help\nxyz\n/quit\nabc\n"))
    code, out, _ = call("--simulate", "--board", "toy-external", "--tokens", 9)
    first = reference(toy_model, "abc", 9)[1]
    # The second prompt goes on where the first answer ended.
    second = reference(toy_model, f"abc{first}mno", 9)[1]
    lines = out.splitlines()
    assert code == 0
    answers = [line.removeprefix("> ") for line in lines if line.startswith("> ")]
    assert answers[0] == first
    assert answers[1].endswith("simulator: " + answers[1].partition("simulator: ")[2])
    assert "cycles per token" in answers[1]
    assert answers[2:4] == [second, f"> {first}"]
    assert out.count("/reset starts anew") == 2
    assert "'x'" in out  # no token for it
    assert out.count(first) == 2


def test_end_of_input_ends_the_session(call, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert call("--simulate", "--board", "toy-external")[0] == 0


def test_interrupt_ends_a_generation_and_no_more(call, toy_model, monkeypatch):
    class Interrupted(Conversation):
        def say(self, prompt, count, ends=lambda: False):
            for number, token in enumerate(super().say(prompt, count, ends)):
                if number == 20:
                    os.kill(os.getpid(), signal.SIGINT)
                yield token

    monkeypatch.setattr(chatting, "Conversation", Interrupted)
    before = signal.getsignal(signal.SIGINT)
    code, out, _ = call("--simulate", "--board", "toy-external", "--prompt", "abc", "--tokens",
                        10_000, "--json")
    tokens = json.loads(out)["tokens"]
    assert code == 0
    assert 21 <= len(tokens) <= 20 + 2 * GROUP  # those that were on their way still came
    assert tokens == reference(toy_model, "abc", len(tokens))[0]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("words", "said"), [
    (["--prompt", "a"], "give either --port or --simulate"),
    (["--prompt", "a", "--port", "x", "--simulate"], "give either --port or --simulate"),
    (["--port", "x", "--serve"], "--serve and --link must come with --simulate"),
    (["--port", "x", "--link", "y"], "--serve and --link must come with --simulate"),
    (["--simulate", "--json"], "--json must come with --prompt"),
    (["--simulate", "--tokens", 0], "--tokens must be positive, not 0"),
    (["--simulate", "--board", "icebraker"],
     "unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'?"),
    (["--simulate", "--board", "toy-external", "--prompt", ""],
     "--prompt must hold at least one character"),
    (["--port", "/dev/none", "--prompt", "a"], "serial port '/dev/none' cannot be opened ("),
    (["--simulate", "--board", "toy-external", "--prompt", "a", "--link", "/none/x"],
     "the link '/none/x' to the serial port cannot be made: No such file or directory"),
])
def test_bad_input_is_one_sentence(call, words, said):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert f"error: {said}" in err.replace("\n", " ")
    assert sum(line.startswith("error") for line in err.splitlines()) == 1


def test_image_for_another_core_or_with_a_wrong_crc(call, toy_model, tmp_path):
    model = open_model(str(toy_model))
    path = tmp_path / "toy.tfi"
    lower_for(model.program, "icebreaker", model.tokenizer).write(path)
    words = ["--simulate", "--board", "toy-external", "--prompt", "a"]
    code, _, err = call(*words, model=path)
    assert code == 2
    assert "is packed for a core with lanes=2 and elements=1, not lanes=4 and elements=2" in err
    content = bytearray(path.read_bytes())
    content[500] ^= 4
    path.write_bytes(content)
    code, _, err = call("--simulate", "--board", "icebreaker", "--prompt", "a", model=path)
    assert code == 2
    assert "CRC" in err


@pytest.mark.parametrize(("state", "said"), [
    (2, "the image memory of {} failed its training or its test"),
    (3, "the image memory of {} answered with an error"),
    (0, "the image memory of {} does not keep what is written to beats 1 to "),
])
def test_a_memory_that_fails_is_one_sentence(call, toy_model, monkeypatch, state, said):
    beats = lower_for(open_model(str(toy_model)).program, "toy-external").memory()
    odd = next(n for n, beat in enumerate(beats) if n and beat[0] & 1)
    memory, made = OutsideMemory(state=state, stuck_at=odd), attach.SimulatedBoard
    monkeypatch.setattr(attach, "SimulatedBoard",
                        lambda *args, **options: made(*args, **{**options, "memory": memory}))
    code, _, err = call("--simulate", "--board", "toy-external", "--prompt", "abc")
    assert code == 2
    before, after = said.split("{}")
    assert f"error: {before}/dev/" in err
    assert after in err


@pytest.mark.slow
def test_shipped_model_on_the_icebreaker(call):
    code, out, _ = call("--simulate", "--board", "icebreaker", "--prompt", "ROMEO:", "--tokens",
                        40, "--json", model="shakespeare-up5k")
    model = open_model("shakespeare-up5k")
    assert code == 0
    assert json.loads(out)["tokens"] == generate(model.program, model.tokenizer.encode("ROMEO:"),
                                                 40)
