"""The verb ``ternforge image``: make, check, list and assemble packet images."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json, write_text
from ternforge.presets import BOARDS, PRESETS, core_preset
from ternforge_model.catalog import open_model
from ternforge_model.options import Calibration, check_calibration

from .assemble import assemble, disassemble
from .image import Image, read
from .lower import lower_for, raise_

__all__ = ["image"]


@command(example="ternforge image --model shakespeare-up5k --board icebreaker -o model.tfi\n"
                 "ternforge image --model FOLDER --board ulx3s-85f --calibrate text.txt -o m.tfi\n"
                 "ternforge image --verify model.tfi --board icebreaker\n"
                 "ternforge image --disassemble model.tfi --summary")
def image(
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME|FOLDER", help="Make its image.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", metavar="FILE", help="Check every part of an image.")
    ] = None,
    disassemble_: Annotated[
        Path | None, typer.Option("--disassemble", metavar="FILE",
                                  help="Write the listing of an image.")
    ] = None,
    assemble_: Annotated[
        Path | None, typer.Option("--assemble", metavar="FILE",
                                  help="Make the image of a listing.")
    ] = None,
    board: Annotated[
        str | None, typer.Option("--board", "--core", metavar="NAME",
                                 help=f"Which core: {', '.join([*BOARDS, *PRESETS])}.")
    ] = None,
    calibrate: Calibration = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="PATH",
                                  help="File to write; a listing goes to the terminal without it.")
    ] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="Listing without constants and weights.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the packet image of a model; check, list or assemble one.

    An image holds all that a core needs to run one model. Its listing is text that assembles to
    the same image, bit for bit.
    """
    modes = {"--model": model, "--verify": verify, "--disassemble": disassemble_,
             "--assemble": assemble_}
    given = [name for name, value in modes.items() if value is not None]
    if len(given) != 1:
        raise UserError(f"exactly one of {', '.join(modes)} must be given, not "
                        f"{' and '.join(given) or 'none'}")
    if summary and disassemble_ is None:
        raise UserError("--summary must come with --disassemble")
    check_calibration(calibrate, model)
    if model is not None and board is None:
        raise UserError("--model must come with --board, one of "
                        f"{', '.join([*BOARDS, *PRESETS])}")
    if output is None and (model is not None or assemble_ is not None):
        raise UserError(f"{given[0]} must come with -o, the file to write")
    core = None if board is None else core_preset(board)
    if disassemble_ is not None:
        _list(read(disassemble_, core), output, summary=summary, as_json=as_json)
        return
    if model is not None:
        assert board is not None
        found = open_model(model, calibrate)
        result = lower_for(found.program, board, found.tokenizer)
        path = output
    elif assemble_ is not None:
        result = assemble(_text(assemble_), str(assemble_))
        if core is not None:
            result.check_core(core, str(assemble_))
        path = output
    else:
        assert verify is not None
        if output is not None:
            raise UserError("--verify must not come with -o: it writes nothing")
        result = read(verify, core)
        raise_(result, str(verify))
        path = verify
    assert path is not None
    if verify is None:
        result.write(path)
    _show(_describe(result, path), as_json, "checked" if verify else "written")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"listing {str(path)!r} must be UTF-8, but it is not at byte "
                        f"{error.start}") from None


def _list(found: Image, output: Path | None, *, summary: bool, as_json: bool) -> None:
    text = disassemble(found, data=not summary)
    if output is not None:
        write_text(output, text)
    if as_json:
        print_json({"listing": str(output) if output else text, "lines": text.count("\n")})
    elif output is None:
        sys.stdout.write(text)


def _describe(found: Image, path: Path) -> dict[str, Any]:
    """What ``--json`` prints."""
    packets = [packet.op.name for packet in found.program]
    beats = len(found.memory())
    return {
        "image": str(path),
        "bytes": len(found.to_bytes()),
        "model": found.model,
        "model_hash": found.model_hash,
        "lanes": found.lanes,
        "elements": found.elements,
        "vocab_size": found.vocab_size,
        "memory_beats": beats,
        "memory_bytes": beats * found.lanes,
        "beats_per_token": found.stride + len(found.program_beats) + len(found.directory_beats),
        "needs": found.needs,
        "packets": {name: packets.count(name) for name in dict.fromkeys(packets)},
        "sections": [vars(section) for section in found.sections()],
    }


def _show(record: dict[str, Any], as_json: bool, done: str) -> None:
    if as_json:
        print_json(record)
        return
    table = Table("section", title=f"{record['image']}: {record['model']} for {record['lanes']} "
                                   f"lanes, {record['elements']} elements")
    for title in ("offset", "bytes", "beats", "packets", "CRC-32"):
        table.add_column(title, justify="right")
    for section in record["sections"]:
        table.add_row(section["name"], *(f"{section[key]:,}" if section[key] else "-"
                                         for key in ("offset", "length", "beats", "packets")),
                      f"{section['crc']:08x}")
    console = Console(highlight=False)
    console.print(table)
    counts = ", ".join(f"{count} {name}" for name, count in record["packets"].items())
    needs = ", ".join(f"{name} {value}" for name, value in record["needs"].items())
    console.print(f"{record['memory_beats']:,} beats, {record['memory_bytes']:,} bytes of image "
                  f"memory; {record['beats_per_token']:,} beats per token; {counts}",
                  soft_wrap=True)
    console.print(f"needs {needs}", soft_wrap=True)
    console.print(f"{done}: {record['image']}, {record['bytes']:,} bytes", soft_wrap=True)
