"""Reading and writing ``report.json``."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ternforge.errors import UserError
from ternforge.output import to_json, write_text
from ternforge_boards.board import board as find_board
from ternforge_firmware.image import load_json

from .schema import FORMAT, Report

__all__ = ["AGAIN", "load_report", "plain", "read_report", "schema_text", "write_report"]

AGAIN = "make it again with `ternforge build`"


def plain(report: Report) -> dict[str, Any]:
    """The report as plain data for JSON."""
    return report.model_dump(mode="json")


def write_report(report: Report, path: Path) -> None:
    """Write ``report.json``, whole or not at all."""
    write_text(path, to_json(plain(report)) + "\n")


def schema_text() -> str:
    """JSON Schema of a report; ``docs/report.schema.json`` holds it."""
    return to_json(Report.model_json_schema()) + "\n"


def load_report(path: Path) -> tuple[Path, dict[str, Any]]:
    """Find the file, which may be the ``report.json`` in a folder, and read it as JSON.

    Raises
    ------
    UserError
        If there is none, or it is not an object.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        told = load_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {str(file)!r}: {error.strerror}; make one with "
                        "`ternforge build`") from None
    except ValueError:
        raise UserError(f"{str(file)!r} is not a report, or a truncated one: it must be JSON; "
                        f"{AGAIN}") from None
    if not isinstance(told, dict):
        raise UserError(f"{str(file)!r} is not a report of format {FORMAT}: {AGAIN}")
    return file, told


def read_report(path: Path) -> Report:
    """Read a report, or the ``report.json`` in a folder.

    Raises
    ------
    UserError
        If there is none, or it is not one of this version.
    """
    file, told = load_report(path)
    if type(told.get("format")) is not int or told["format"] != FORMAT:
        raise UserError(f"{str(file)!r} is not a report of format {FORMAT}: {AGAIN}")
    try:
        report = Report.model_validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(_sentence(file, error)) from None
    find_board(report.design.board)
    return report


def _sentence(file: Path, error: ValidationError) -> str:
    """The first thing that is wrong with a report."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    match first["type"]:
        case "missing":
            return f"the report {str(file)!r} must have the field {field!r}: {AGAIN}"
        case "extra_forbidden":
            return f"the report {str(file)!r} must not have the field {field!r}: {AGAIN}"
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"the field {field!r} of the report {str(file)!r} is wrong ({rule}): {AGAIN}"
