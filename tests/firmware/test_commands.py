import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from ternforge.errors import UserError
from ternforge.presets import BOARDS, PRESETS, core_preset
from ternforge_firmware import commands
from ternforge_firmware.assemble import disassemble
from ternforge_firmware.flash import flash_content
from ternforge_firmware.image import read
from ternforge_firmware.lower import lower_for
from ternforge_model.checkpoint import save_tensors
from ternforge_model.convert import convert
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder."""
    path = tmp_path_factory.mktemp("models") / "small"
    path.mkdir()
    config, tensors = random_checkpoint(3, d=16, layers=1, m=24, vocab=16)
    save_tensors(path, config, tensors)
    (path / "tokenizer.json").write_text(ByteTokenizer(b"abcdefghijklmnop").to_json())
    return path


def run(*arguments):
    """Output of the command; a user's error is raised as it is."""
    app = typer.Typer()
    app.command()(commands.image)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_make_verify_disassemble_assemble(folder, tmp_path):
    path, listing, again = tmp_path / "a.tfi", tmp_path / "a.txt", tmp_path / "b.tfi"
    record = json.loads(run("--model", folder, "--board", "icebreaker", "-o", path, "--json"))
    image = read(path)
    assert image == lower_for(convert(*random_checkpoint(3, d=16, layers=1, m=24, vocab=16),
                                      name="small"), "up5k", ByteTokenizer(b"abcdefghijklmnop"))
    assert record["model"] == "small"
    assert record["memory_beats"] == sum(s["beats"] for s in record["sections"]) == \
        len(image.memory())
    assert record["bytes"] == path.stat().st_size
    assert record["packets"] == {"QUANTISE": 5, "MATVEC": 8, "END": 1}
    assert json.loads(run("--verify", path, "--board", "up5k", "--json")) == record
    run("--disassemble", path, "-o", listing)
    assert listing.read_text() == disassemble(image) == run("--disassemble", path)
    run("--assemble", listing, "-o", again)
    assert again.read_bytes() == path.read_bytes()
    assert run("--disassemble", path, "--summary") == disassemble(image, data=False)


def test_formats_come_from_a_calibration_text(folder, tmp_path):
    text, path = tmp_path / "text", tmp_path / "a.tfi"
    text.write_bytes(b"abcdefghijklmnop" * 20)
    run("--model", folder, "--board", "up5k", "--calibrate", text, "-o", path)
    checkpoint = random_checkpoint(3, d=16, layers=1, m=24, vocab=16)
    assert read(path) == lower_for(convert(*checkpoint, list(range(16)) * 20, name="small"), "up5k",
                                   ByteTokenizer(b"abcdefghijklmnop"))


def test_table_for_people(folder, tmp_path):
    path = tmp_path / "a.tfi"
    text = run("--model", folder, "--core", "ecp5-85f", "-o", path)
    for section in read(path).sections():
        assert section.name in text
        assert f"{section.crc:08x}" in text
    assert f"written: {path}, {path.stat().st_size:,} bytes" in text
    assert "1 END" in text
    assert f"checked: {path}" in run("--verify", path)


ONE = ("exactly one of --model, --verify, --disassemble, --assemble, --header, --flash must be "
       "given, not ")


@pytest.mark.parametrize(("arguments", "message"), [
    ([], ONE + "none"),
    (["--model", "m", "--verify", "f"], ONE + "--model and --verify"),
    (["--model", "m", "-o", "f"],
     "--model must come with --board, one of " + ", ".join([*BOARDS, *PRESETS])),
    (["--model", "m", "--board", "icebreaker"], "--model must come with -o, the file to write"),
    (["--verify", "f", "--calibrate", "t"],
     "--calibrate must come with --model: the formats of an image are fixed"),
    (["--flash", "f", "-o", "g"], "--flash must come with --board, the board that boots"),
    (["--flash", "f", "--board", "icebreaker-flash"],
     "--flash must come with -o, the file to write"),
    (["--assemble", "f"], "--assemble must come with -o, the file to write"),
    (["--verify", "f", "--summary"], "--summary must come with --disassemble"),
    (["--verify", "f", "--board", "icebraker"],
     "unknown board 'icebraker': did you mean 'icebreaker' or 'icebreaker-flash'?"),
    (["--verify", "no.tfi"], "image 'no.tfi' must exist, but there is no such file"),
])
def test_bad_options_are_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        run(*arguments)
    assert str(error.value) == message
    assert list(tmp_path.iterdir()) == []


def test_what_a_flash_has_to_hold(folder, tmp_path):
    path, made = tmp_path / "a.tfi", tmp_path / "flash.bin"
    run("--model", folder, "--board", "icebreaker-flash", "-o", path)
    told = run("--flash", path, "--board", "icebreaker-flash", "-o", made)
    content = flash_content(read(path), core_preset("icebreaker-flash"))
    assert made.read_bytes() == content
    assert told == f"wrote: {made}, {len(content):,} bytes\n"
    told = run("--flash", path, "--board", "icebreaker-flash", "-o", made, "--json")
    assert json.loads(told) == {"flash": str(made), "bytes": len(content)}
    made.unlink()
    with pytest.raises(UserError, match=r"is packed for a core with lanes=8 and elements=1"):
        run("--flash", path, "--board", "ulx3s-85f-sdram-flash", "-o", made)
    assert not made.exists()


def test_checks_go_beyond_sums(folder, tmp_path):
    path, listing = tmp_path / "a.tfi", tmp_path / "a.txt"
    run("--model", folder, "--board", "icebreaker", "-o", path)
    run("--disassemble", path, "-o", listing)
    with pytest.raises(UserError) as error:
        run("--assemble", listing, "--board", "ulx3s-85f", "-o", path)
    assert str(error.value) == (f"image '{listing}' is packed for a core with lanes=8 and "
                                "elements=1, not lanes=40 and elements=4; it would fit "
                                "icebreaker")
    replace(read(path), model_hash="0" * 64).write(path)
    with pytest.raises(UserError, match="the model hash must be that of its packets"):
        run("--verify", path)


def test_a_bad_image_leaves_nothing_behind(folder, tmp_path):
    path, listing = tmp_path / "a.tfi", tmp_path / "a.txt"
    run("--model", folder, "--board", "icebreaker", "-o", path)
    with pytest.raises(UserError) as error:
        run("--verify", path, "-o", listing)
    assert str(error.value) == "--verify must not come with -o: it writes nothing"
    with pytest.raises(UserError, match=r"is packed for a core with lanes=8 and elements=1"):
        run("--verify", path, "--board", "ulx3s-85f")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"is corrupt in section 'metadata' at byte \d+: CRC-32"):
        run("--disassemble", path, "-o", listing)
    listing.write_bytes(b"; \xff")
    with pytest.raises(UserError) as error:
        run("--assemble", listing, "-o", path)
    assert str(error.value) == f"listing '{listing}' must be UTF-8, but it is not at byte 2"
    assert path.read_bytes() == raw
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tfi", "a.txt"]
