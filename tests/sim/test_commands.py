"""``ternforge simulate`` as a command, on toy cores: what scripts read, and what bad input says."""

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from ternforge import presets
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model
from ternforge_sim import commands, window
from ternforge_sim.simulate import simulate
from ternforge_sim.window import parse_window

from .toys import cycles_of, damaged

pytestmark = [pytest.mark.usefixtures("toy_cores"), pytest.mark.xdist_group("toy-simulator")]

KEYS = ["tokens", "text", "sequences", "passes", "checked_tokens", "bit_exact", "cycles_per_token",
        "cycles_by_cause", "ideal_cycles_per_token", "weight_stream_share",
        "simulator_cycles_per_second",
        "saturations", "first_divergence", "waveform", "behavioural_lanes", "saved"]


@pytest.fixture
def call(toy_model, invoke):
    """Runs the command, with the toy unless told otherwise; returns what ``invoke`` does."""

    def with_model(*arguments, model=toy_model):
        chosen = ["--model", model] if model else []
        return invoke("simulate", "--board", "ulx3s-85f", *chosen, *arguments)

    return with_model


@pytest.fixture
def parting(toy_model, monkeypatch):
    """The command compares with a model of which one weight is damaged."""
    reference, row = damaged(open_model(toy_model).program, "layers.1.attn.f_proj")
    monkeypatch.setattr(commands, "run_simulation", partial(simulate, reference=reference))
    return row


def test_json_is_what_scripts_rely_on(call):
    code, out, _ = call("--prompt", "abc", "--tokens", 6, "--json")
    told = json.loads(out)
    assert code == 0
    assert list(told) == KEYS
    assert told["bit_exact"] is True
    assert (told["checked_tokens"], len(told["tokens"])) == (8, 6)
    assert told["text"] == bytes(b"abcdefghijklmnop"[token] for token in told["tokens"]).decode()
    assert told["first_divergence"] is told["waveform"] is None
    causes = told["cycles_by_cause"]
    assert sum(causes.values()) == pytest.approx(told["cycles_per_token"], abs=1e-6)
    assert 0 < causes["weights"] < told["cycles_per_token"]
    assert told["weight_stream_share"] == pytest.approx(
        told["ideal_cycles_per_token"] / told["cycles_per_token"])
    assert told["simulator_cycles_per_second"] > 1000
    assert list(Path().iterdir()) == []


def test_a_sequence_in_each_stream(call):
    code, out, _ = call("--prompt", "abc", "--prompt", "a", "--tokens", 4, "--streams", 2, "--json")
    told = json.loads(out)
    assert (code, told["bit_exact"], told["checked_tokens"], told["passes"]) == (0, True, 10, 6)
    alone = json.loads(call("--prompt", "a", "--tokens", 4, "--json")[1])
    assert told["sequences"][1] == {key: alone[key] for key in ("tokens", "text")}
    assert told["sequences"][0]["text"] == told["text"]
    through = call("--prompt", "abc", "--tokens", 4, "--streams", 2)[1]
    assert "passes over the weights" in through
    assert "bit-exact: 6/6 tokens\n" in through


def test_report_for_people(call):
    code, out, _ = call("--prompt", "abc", "--tokens", 6)
    assert code == 0
    assert out.startswith("abc")
    assert "bit-exact: 8/8 tokens\n" in out
    for row in ("cycles per token", "ideal cycles per token", "share of the weight-stream limit",
                "simulator", "saturations"):
        assert f"\n {row} " in out


def test_words_stream_like_they_are_decoded(call, toy_model, tmp_path):
    library = Tokenizer(models.BPE(
        vocab={piece: n for n, piece in enumerate(
            ["<unk>", "<s>", "\u2581", "<0xE2>", "<0x82>", "<0xAC>", *"abcdefgh", "ab",
             "\u2581ab"])},
        merges=[("a", "b"), ("\u2581", "ab")], byte_fallback=True, unk_token="<unk>"))
    library.normalizer = normalizers.Sequence([
        normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    library.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    folder = tmp_path / "toy"
    shutil.copytree(toy_model, folder)
    library.save(str(folder / "tokenizer.json"))
    options = ("--prompt", "ab\u20acab", "--tokens", 40, "--temperature", 1.5, "--seed", 2)
    told = json.loads(call(*options, "--json", model=folder)[1])
    assert told["checked_tokens"] == 44  # 5 of the prompt, and all but the last
    assert told["text"] == open_model(folder).tokenizer.decode(told["tokens"], continued=True)
    assert " " in told["text"]
    _, out, _ = call(*options, model=folder)
    assert out.startswith(f"ab\u20acab{told['text']}\n")


def test_tokens_are_reproducible_by_seed(call):
    def tokens(*options):
        return json.loads(call("--prompt", "fab", "--tokens", 30, "--json", *options)[1])["tokens"]

    greedy = tokens()
    assert tokens("--seed", 7) == greedy
    sampled = tokens("--temperature", 1, "--seed", 7)
    assert tokens("--temperature", 1, "--seed", 7) == sampled
    assert tokens("--temperature", 1, "--seed", 8) != sampled != greedy


def test_an_image_runs_like_its_model(call, toy_model, tmp_path):
    found = open_model(toy_model)
    path = tmp_path / "toy.tfi"
    lower_for(found.program, "ulx3s-85f", found.tokenizer).write(path)
    from_image = json.loads(call("--image", path, "--tokens", 4, "--prompt", "a", "--json",
                                 model=None)[1])
    assert from_image["tokens"] == json.loads(
        call("--tokens", 4, "--prompt", "a", "--json")[1])["tokens"]
    other = tmp_path / "other.tfi"
    lower_for(found.program, "icebreaker", found.tokenizer).write(other)
    code, _, err = call("--image", other, model=None)
    assert (code, err.count("\n")) == (2, 1)
    assert "lanes" in err


def test_an_image_off_the_chip(call, toy_model, tmp_path, monkeypatch):
    """Same tokens as on the chip; a slower memory, more cycles; the file is not written."""
    small = presets.PRESETS["ecp5-85f"]
    monkeypatch.setitem(presets.PRESETS, "ddr-n16", replace(small, bank_beats=0))
    path, found = tmp_path / "toy.tfi", open_model(toy_model)
    lower_for(found.program, "ddr-n16", found.tokenizer).write(path)
    path.chmod(0o400)
    options = ("--prompt", "abc", "--tokens", 4, "--json")
    runs = []
    for slow in ((), ("--memory-latency", 90), ("--memory-stalls", 0.9, "--memory-latency", 90)):
        code, out, _ = call("--board", "ddr-n16", "--image", path, *options, *slow, model=None)
        assert code == 0
        runs.append(json.loads(out))
    on_chip = json.loads(call(*options)[1])
    assert all(told["bit_exact"] and told["tokens"] == on_chip["tokens"] for told in runs)
    cycles = [told["cycles_per_token"] for told in runs]
    assert cycles[0] + 2 * (90 - 30) == cycles[1] < cycles[2]


def test_unchecked_is_not_called_exact(call):
    code, out, _ = call("--prompt", "abc", "--tokens", 2, "--no-check", "--json")
    assert code == 0
    assert json.loads(out)["bit_exact"] is False
    assert "bit-exact" not in call("--prompt", "abc", "--tokens", 2, "--no-check")[1]


@pytest.mark.parametrize("free", [True, False], ids=["fst", "vcd"])
def test_divergence_writes_its_window(call, parting, monkeypatch, free):
    if not free or not window.fst_available():  # without the libraries of FST
        monkeypatch.setattr(window, "fst_available", lambda: False)
        free = False
    code, out, _ = call("--prompt", "abc", "--json")
    told = json.loads(out)
    found, wave = told["first_divergence"], told["waveform"]
    assert code == 1
    assert told["bit_exact"] is False
    assert (found["position"], found["layer"], found["op"], found["element"]) == (
        0, 1, "layers.1.attn.f_proj", parting)
    assert {"packet", "tensor", "memory", "address", "actual_address", "expected", "actual",
            "cycle"} < set(found)
    assert wave == {"path": f"ulx3s-85f-toy-divergence.{'fst' if free else 'vcd'}",
                    "first_cycle": found["cycle"] - 200, "last_cycle": found["cycle"] + 200}
    assert [path.name for path in Path().iterdir()] == [wave["path"]]
    if not free:
        assert cycles_of(Path(wave["path"])) == (wave["first_cycle"], wave["last_cycle"])


def test_divergence_is_told_with_its_waveform(call, parting):
    code, out, _ = call("--prompt", "abc", "--fst", "deep/here.vcd")
    assert code == 1
    assert re.search(r"\nfirst divergence: token 0, layer 1, packet \d+ \(layers\.1\.attn\.f_proj\)"
                     r", tensor \S+ \(vector\), element \d+: the integer model has -?\d+, the "
                     r"hardware -?\d+, in cycle \d+\n", out)
    assert re.search(r"\nwaveform of cycles \d+ to \d+: deep/here\.vcd\n", out)
    assert out.endswith("\nbit-exact: 0/1 tokens\n")
    assert Path("deep/here.vcd").read_text().startswith("$")


def test_waveform_on_request(call):
    code, out, _ = call("--prompt", "a", "--tokens", 2, "--fst", "wave.vcd", "--window", "40:55",
                        "--json")
    assert code == 0
    assert json.loads(out)["waveform"] == {"path": "wave.vcd", "first_cycle": 40,
                                           "last_cycle": 55}
    assert cycles_of(Path("wave.vcd")) == (40, 55)
    told = json.loads(call("--prompt", "a", "--tokens", 3, "--fst", "wave.vcd", "--json")[1])
    assert told["bit_exact"] is True
    wave = told["waveform"]
    assert cycles_of(Path("wave.vcd")) == (wave["first_cycle"], wave["last_cycle"])
    assert wave["last_cycle"] - wave["first_cycle"] == 999


@pytest.mark.parametrize(("arguments", "message"), [
    (["--prompt", ""], "--prompt must hold at least one character"),
    (["--prompt", "a\udcff"], "--prompt must be UTF-8 text"),
    (["--prompt", "abz"], "--prompt: .*'z'.*"),
    (["--tokens", "-3"], "--tokens must be positive, not -3"),
    (["--tokens", "0"], "--tokens must be positive, not 0"),
    (["--tokens", "many"], ".*--tokens.*'many'"),
    (["--temperature", "-1"], r"--temperature must be zero or more, not -1\.0"),
    (["--temperature", "nan"], "--temperature must be zero or more, not nan"),
    (["--board", "icebraker"],
     r"unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'\?"),
    (["--model", "shakespeare-85g"], (r"unknown model 'shakespeare-85g' \(neither shipped nor a "
                                     r"folder\): did you mean 'shakespeare-85f'.*")),
    (["--fst", "wave.txt"], (r"--fst must name a file that ends in \.fst or \.vcd, not "
                            r"'wave\.txt'")),
    (["--window", "20"], ("--window must be FIRST:LAST in clock cycles, such as 12000:12400, not "
                         "'20'")),
    (["--window", "20:10"], "--window must be .*, not '20:10'"),
    (["--image", "none.tfi"], "give either --model or --image"),
    (["--promt", "a"], ".*--promt.*"),
    (["--streams", "0"], "--streams must be 1 or more, not 0"),
    (["--prompt", "a", "--prompt", "b"],
     ("--prompt may be given once for each sequence that the core keeps, of which it has 1, not 2 "
      "times: see --streams")),
    (["--memory-latency", "5"], ("--memory-latency and --memory-stalls are for a core with its "
                                 "image memory off the chip, such as --board ddr-n16, not for "
                                 "ulx3s-85f")),
    (["--board", "ddr-n16", "--memory-latency", "0"], "--memory-latency must be 1 or more, not 0"),
    (["--board", "ddr-n16", "--memory-stalls", "1"],
     r"--memory-stalls must be 0 or more and less than 1, not 1\.0"),
])
def test_bad_input_is_one_sentence(call, arguments, message):
    prompt = [] if arguments[0] == "--prompt" else ["--prompt", "a"]
    code, out, err = call(*prompt, *arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {message}\n", err)
    assert list(Path().iterdir()) == []


def test_fst_without_its_libraries_is_refused_before_the_run(call, monkeypatch):
    monkeypatch.setattr(window, "fst_available", lambda: False)
    code, _, err = call("--prompt", "a", "--fst", "wave.fst")
    assert (code, err) == (2, ("error: writing FST needs the headers of lz4 and zlib (on Debian: "
                              "apt-get install liblz4-dev zlib1g-dev): install them, or name a "
                              ".vcd file\n"))


def test_windows():
    assert parse_window("7:7") == (7, 7)


def test_interrupt_is_one_line_and_leaves_nothing(toy_model, tmp_path):
    script = textwrap.dedent("""
        import sys
        from ternforge import presets
        from ternforge.cli import main
        from ternforge.config import CoreConfig
        presets.PRESETS["ecp5-85f"] = CoreConfig(
            lanes=4, elements=2, vector_depth=64, state_depth=32, max_rows=32, max_fan_in=32,
            memory_beats=896, bank_beats=256)
        sys.argv = ["ternforge", "simulate", "--model", sys.argv[1], "--prompt", "abc",
                    "--tokens", "100000000", "--fst", "wave.vcd"]
        main()
    """)
    with subprocess.Popen([sys.executable, "-c", script, str(toy_model)], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(8).startswith("abc")
        process.send_signal(signal.SIGINT)
        rest, told = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert rest.endswith("\n")
    assert told.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []
