"""The verb ``ternforge image``: make, check, list and assemble packet images."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ternforge.cli import command
from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.output import atomic_file, print_json, write_bytes, write_text
from ternforge.presets import BOARDS, PRESETS, core_preset
from ternforge_model.catalog import open_model
from ternforge_model.options import Calibration, check_calibration
from ternforge_model.program import Program

from .assemble import assemble, disassemble
from .cheader import c_header
from .flash import flash_content
from .image import Image, read
from .imagefile import ImageFile
from .lower import HasJson, layout_for
from .verify import verify as check

__all__ = ["bar", "describe_image", "image", "save_image", "show_image"]


@command(example="ternforge image --model shakespeare-up5k --board icebreaker -o model.tfi\n"
                 "ternforge image --model FOLDER --board ulx3s-85f --calibrate text.txt -o m.tfi\n"
                 "ternforge image --verify model.tfi --board icebreaker\n"
                 "ternforge image --flash model.tfi --board icebreaker-flash -o flash.bin\n"
                 "ternforge image --disassemble model.tfi --layer 3 --summary\n"
                 "ternforge image --header ternforge.h")
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
    header: Annotated[
        Path | None, typer.Option("--header", metavar="FILE",
                                  help="Write the C header of host protocol and images.")
    ] = None,
    flash: Annotated[
        Path | None, typer.Option("--flash", metavar="FILE",
                                  help="Write what a board's flash has to hold, to boot an image.")
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
    layer: Annotated[
        int | None, typer.Option("--layer", metavar="N", help="Listing of one layer, from 0.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the packet image of a model; check, list or assemble one.

    An image holds all that a core needs to run one model. Its listing is text that assembles to
    the same image, bit for bit.
    """
    modes = {"--model": model, "--verify": verify, "--disassemble": disassemble_,
             "--assemble": assemble_, "--header": header, "--flash": flash}
    given = [name for name, value in modes.items() if value is not None]
    if len(given) != 1:
        raise UserError(f"exactly one of {', '.join(modes)} must be given, not "
                        f"{' and '.join(given) or 'none'}")
    if summary and disassemble_ is None:
        raise UserError("--summary must come with --disassemble")
    check_calibration(calibrate, model)
    if layer is not None and disassemble_ is None:
        raise UserError("--layer must come with --disassemble")
    if model is not None and board is None:
        raise UserError("--model must come with --board, one of "
                        f"{', '.join([*BOARDS, *PRESETS])}")
    if flash is not None and board is None:
        raise UserError("--flash must come with --board, the board that boots")
    if output is None and (model is not None or assemble_ is not None or flash is not None):
        raise UserError(f"{given[0]} must come with -o, the file to write")
    core = None if board is None else core_preset(board)
    if header is not None:
        if output is not None:
            raise UserError("--header must not come with -o: it names the file itself")
        write_text(header, c_header())
        return
    if flash is not None:
        assert core is not None
        assert output is not None
        content = flash_content(read(flash, core), core)
        write_bytes(output, content)
        if as_json:
            print_json({"flash": str(output), "bytes": len(content)})
        else:
            Console(highlight=False).print(f"wrote: {output}, {len(content):,} bytes",
                                           soft_wrap=True)
        return
    if disassemble_ is not None:
        listed = read(disassemble_, core) if layer is None else open_image(disassemble_, core)
        _list(listed, output, layer, summary=summary, as_json=as_json)
        return
    path = output or verify
    assert path is not None
    if model is not None:
        assert board is not None
        found = open_model(model, calibrate)
        with bar("calibrating") as progress:
            program = found.convert(progress)
        save_image(path, program, board, found.tokenizer)
    elif assemble_ is not None:
        result = assemble(_text(assemble_), str(assemble_))
        if core is not None:
            result.check_core(core, str(assemble_))
        result.write(path)
    elif output is not None:
        raise UserError("--verify must not come with -o: it writes nothing")
    else:
        with bar("checking") as progress:
            checked = check(path, core, progress)
        show_image(describe_image(checked), as_json, "checked")
        return
    show_image(describe_image(ImageFile(path)), as_json, "written")


def open_image(path: Path, core: CoreConfig | None) -> ImageFile:
    """The file at ``path``, which ``core`` must be able to run if one is given."""
    found = ImageFile(path)
    if core is not None:
        found.check_core(core)
    return found


@contextmanager
def bar(step: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, told (parts done, parts in all) of ``step``."""
    console = Console(stderr=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
                  TimeRemainingColumn(), console=console, transient=True,
                  disable=not console.is_terminal) as shown:
        task = shown.add_task(step, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def save_image(path: Path, program: Program, board: str, tokenizer: HasJson,
               finish: Callable[[], object] = lambda: None) -> None:
    """Write the image of a program whole or not at all; ``finish`` may still refuse it."""
    layout = layout_for(program, board)
    with bar("packing") as progress, atomic_file(path) as staged:
        with staged.open("wb") as file:
            layout.save(file, tokenizer, progress)
        finish()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"listing {str(path)!r} must be UTF-8, but it is not at byte "
                        f"{error.start}") from None


def _list(found: Image | ImageFile, output: Path | None, layer: int | None, *, summary: bool,
          as_json: bool) -> None:
    text = disassemble(found, data=not summary, layer=layer)
    if output is not None:
        write_text(output, text)
    if as_json:
        print_json({"listing": str(output) if output else text, "lines": text.count("\n")})
    elif output is None:
        sys.stdout.write(text)


def describe_image(found: ImageFile) -> dict[str, Any]:
    """What ``--json`` prints of an image."""
    packets = [op.name for _, op, _ in found.headers()]
    counts = {"program": len(packets), "embedding": found.vocab_size}
    sections = [replace(section, packets=counts.get(section.name, 0))
                for section in found.sections.values()]
    return {
        "image": str(found.path),
        "bytes": found.path.stat().st_size,
        "model": found.model,
        "model_hash": found.model_hash,
        "lanes": found.lanes,
        "elements": found.elements,
        "vocab_size": found.vocab_size,
        "memory_beats": found.memory_beats,
        "memory_bytes": found.memory_beats * found.lanes,
        "beats_per_token": found.memory_beats - (found.vocab_size - 1) * (
            found.stride // found.lanes),
        "needs": found.needs,
        "packets": {name: packets.count(name) for name in dict.fromkeys(packets)},
        "sections": [vars(section) for section in sections],
    }


def show_image(record: dict[str, Any], as_json: bool, done: str) -> None:
    """Print what :func:`describe_image` gave."""
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
