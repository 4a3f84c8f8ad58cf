"""Verbs of the command line that run the hardware in simulation: ``simulate`` and ``demo``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge.presets import core_preset
from ternforge_firmware.image import Image
from ternforge_firmware.image import read as read_image
from ternforge_firmware.lower import lower_for
from ternforge_model.catalog import open_model
from ternforge_model.tokenizer import ByteTokenizer

from .display import TextDisplay
from .runner import build_simulator
from .simulate import Simulation
from .simulate import simulate as run_simulation

__all__ = ["demo", "simulate"]

#: Cycles that a waveform shows before and after a first divergence.
WINDOW = 200

DEMO_BOARD, DEMO_MODEL = "ulx3s-85f", "shakespeare-85f"

Board = Annotated[str, typer.Option(help="Board, or core preset, to simulate.")]
Model = Annotated[str | None, typer.Option(help="Shipped model, or folder of a checkpoint.")]
ImageFile = Annotated[Path | None, typer.Option("--image", help="Packet image instead of a model.")]
Prompt = Annotated[str, typer.Option(help="Text to begin with.")]
Tokens = Annotated[int, typer.Option(help="Tokens to generate.")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token, 1 samples as is.")]
Seed = Annotated[int, typer.Option(help="Seed of the sampling.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_image(board: str, model: str | None, image: Path | None) -> Image:
    """The image to run: read from a file, or made from a model for the board's core."""
    if (model is None) == (image is None):
        raise UserError("give either --model or --image")
    if image is not None:
        return read_image(image, core_preset(board))
    assert model is not None
    found = open_model(model)
    return lower_for(found.program, board, found.tokenizer)


def encode_prompt(tokenizer: ByteTokenizer, prompt: str) -> list[int]:
    """Tokens of a prompt from the command line; says what is wrong with one that has none."""
    try:
        raw = prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError("--prompt must be UTF-8 text") from None
    if not raw:
        raise UserError("--prompt must hold at least one character")
    try:
        return tokenizer.encode(raw)
    except ValueError as error:
        raise UserError(f"--prompt: {error}") from None


def _run(board: str, image: Image, prompt: str, tokens: int, temperature: float, seed: int, *,
         quiet: bool, check: bool = True, wave: Path | None = None,
         ) -> tuple[Simulation, str]:
    """Build, run and show; returns the run and the generated text."""
    if tokens < 1:
        raise UserError(f"--tokens must be positive, not {tokens}")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature must be zero or more, not {temperature}")
    core = core_preset(board)
    tokenizer = ByteTokenizer(image.tokenizer["bytes"])
    ids = encode_prompt(tokenizer, prompt)
    console = Console(stderr=True, quiet=quiet)

    def build(trace: Any = None) -> Path:
        with console.status("simulator") as status:
            return build_simulator(core, trace=trace,
                                   progress=lambda step: status.update(f"{step} ..."))

    library = build()
    shown: list[int] = []
    with TextDisplay(prompt, len(ids) + tokens - 1, quiet=quiet) as display:
        def on_token(progress: Any) -> None:
            if progress.token is not None:
                shown.append(progress.token)
                done = "".join(tokenizer.stream(shown)).removesuffix("\ufffd")
                display.add(done[len(display.text):])
            display.update(progress)

        run = run_simulation(library, core, image, ids, tokens, temperature=temperature, seed=seed,
                             check=check, on_token=on_token)
    found = run.first_divergence
    if found is not None and wave is not None:
        traced = build(wave.suffix[1:])
        run_simulation(traced, core, image, ids, tokens, temperature=temperature, seed=seed,
                       check=check, wave=(wave, max(0, found.cycle - WINDOW),
                                          found.cycle + WINDOW))
    return run, tokenizer.decode(run.tokens)


def _results(run: Simulation, text: str) -> dict[str, Any]:
    return {
        "tokens": run.tokens,
        "text": text,
        "checked_tokens": run.checked_tokens,
        "bit_exact": run.bit_exact,
        "cycles_per_token": run.cycles_per_token,
        "ideal_cycles_per_token": run.ideal_cycles,
        "weight_stream_share": run.weight_stream_share,
        "simulator_cycles_per_second": run.simulator_cycles_per_second,
        "saturations": run.saturations,
        "first_divergence": run.first_divergence and run.first_divergence.to_dict(),
    }


def print_report(run: Simulation, *, clock_mhz: float | None = None,
                 extra: dict[str, str] | None = None) -> None:
    """The short report that follows a run."""
    table = Table(show_header=False, box=None)
    table.add_row("cycles per token", f"{run.cycles_per_token:.0f}")
    table.add_row("ideal cycles per token", f"{run.ideal_cycles:.0f} (weights alone)")
    table.add_row("share of the weight-stream limit", f"{run.weight_stream_share:.1%}")
    if clock_mhz is not None:
        table.add_row(f"tokens/s at {clock_mhz:g} MHz",
                      f"{clock_mhz * 1e6 / run.cycles_per_token:.0f}")
    table.add_row("simulator", f"{run.simulator_cycles_per_second / 1e3:.0f} k cycles/s")
    table.add_row("saturations", ", ".join(f"{site} {count}" for site, count
                                           in run.saturations.items() if count) or "none")
    for name, value in (extra or {}).items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    if run.first_divergence is not None:
        console.print(f"first divergence: {run.first_divergence}", style="red", markup=False)
    if run.checked_tokens or run.first_divergence:
        console.print(f"bit-exact: {run.checked_tokens}/{run.fed_tokens} tokens")


def _finish(run: Simulation) -> None:
    if run.first_divergence is not None:
        raise typer.Exit(1)


@command(example='ternforge simulate --board icebreaker --model shakespeare-up5k --tokens 64\n'
                 'ternforge simulate --image model.tfi --prompt "ROMEO:" --temperature 0.8 --json')
def simulate(
    board: Board = DEMO_BOARD, model: Model = None, image: ImageFile = None,
    prompt: Prompt = "ROMEO:", tokens: Tokens = 64, temperature: Temperature = 0.0,
    seed: Seed = 0,
    check: Annotated[bool, typer.Option(help="Compare every write with the integer model.")] = True,
    wave: Annotated[Path | None, typer.Option(
        "--wave", "--fst", help="On a first divergence, write a waveform of the cycles around it "
                                "(.fst or .vcd).")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a model on the generated Verilog, cycle by cycle, against the integer model."""
    if wave is not None and wave.suffix not in (".fst", ".vcd"):
        raise UserError(f"--wave must end in .fst or .vcd, not {wave.name!r}")
    run, text = _run(board, open_image(board, model, image), prompt, tokens, temperature, seed,
                     quiet=as_json, check=check, wave=wave)
    if as_json:
        print_json(_results(run, text))
    else:
        print_report(run)
    _finish(run)


@command(example="ternforge demo --tokens 200")
def demo(
    prompt: Prompt = "ROMEO:", tokens: Tokens = 200, temperature: Temperature = 0.7,
    seed: Seed = 1,
) -> None:
    """Write Shakespeare on the generated Verilog of the default board."""
    image = open_image(DEMO_BOARD, DEMO_MODEL, None)
    run, _ = _run(DEMO_BOARD, image, prompt, tokens, temperature, seed, quiet=False)
    print_report(run)
    _finish(run)
