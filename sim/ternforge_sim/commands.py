"""The verb ``simulate``, and what other verbs that run the hardware share with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.output import print_json
from ternforge.presets import core_preset
from ternforge_firmware.image import Image, PacketSource
from ternforge_firmware.image import read as read_image
from ternforge_firmware.imagefile import ImageFile as MappedImage
from ternforge_firmware.lower import lower_for
from ternforge_firmware.text import image_tokenizer
from ternforge_model.catalog import open_model
from ternforge_model.display import TextDisplay, saturations_text
from ternforge_model.options import (
    AsJson,
    Calibration,
    ImageFile,
    Model,
    Seed,
    Temperature,
    Tokens,
    check_calibration,
    check_choice,
    check_one,
    encode_prompt,
)

from .runner import MemoryModel, build_simulator
from .saved import SavedRun
from .simulate import Progress, Simulation, Wave
from .simulate import simulate as run_simulation
from .window import WaveRequest

__all__ = ["DEFAULT_BOARD", "Shown", "finish", "memory_model", "open_image", "open_source",
           "print_report", "run_and_show", "simulate"]

DEFAULT_BOARD = "ulx3s-85f"

Board = Annotated[str, typer.Option(help="Board, or core preset, to simulate.")]


def open_image(board: str, model: str | None, image: Path | None,
               calibration: Path | None = None) -> Image:
    """The image to run: read from a file, or made from a model for the board's core.

    ``calibration`` is a text for the model's formats.
    """
    check_one(model, image)
    check_calibration(calibration, model)
    if image is not None:
        return read_image(image, core_preset(board))
    assert model is not None
    found = open_model(model, calibration)
    return lower_for(found.program, board, found.tokenizer)


def open_source(board: str, model: str | None, image: Path | None,
                calibration: Path | None = None) -> PacketSource:
    """Like :func:`open_image`; a file stays on disk if the image memory is off the chip."""
    core = core_preset(board)
    if image is None or model is not None or calibration is not None or core.bank_beats:
        return open_image(board, model, image, calibration)
    mapped = MappedImage(image)
    mapped.check_core(core)
    return mapped


def memory_model(board: str, latency: int | None, stalls: float | None,
                 seed: int) -> MemoryModel | None:
    """What the command line says of an image memory off the chip."""
    if latency is stalls is None:
        return None
    if core_preset(board).bank_beats:
        raise UserError("--memory-latency and --memory-stalls are for a core with its image memory "
                        f"off the chip, such as --board ddr-n16, not for {board}")
    if latency is not None and not 1 <= latency < 1 << 31:
        raise UserError(f"--memory-latency must be 1 or more, not {latency}")
    if stalls is not None and not 0 <= stalls < 1:
        raise UserError(f"--memory-stalls must be 0 or more and less than 1, not {stalls}")
    usual = MemoryModel()
    return MemoryModel(latency=usual.latency if latency is None else latency,
                       stalls=stalls or 0.0, seed=seed & 0x7FFFFFFF)


@dataclass(frozen=True)
class Shown:
    """A finished run, as it is reported."""

    run: Simulation
    texts: list[str]  #: generated, of each sequence
    wave: tuple[Path, int, int] | None  #: file, first and last cycle of the waveform
    behavioural_lanes: bool = False  #: the lanes were no Verilog
    saved: Path | None = None  #: file of the state at its end


def _core(board: str, streams: int | None, prompts: Sequence[str]) -> CoreConfig:
    """The preset with as many streams as the command line asks for."""
    core = core_preset(board)
    if streams is not None and streams < 1:
        raise UserError(f"--streams must be 1 or more, not {streams}")
    core = core if streams is None else replace(core, streams=streams)
    most = 1 if core.prefill_states else core.streams
    if len(prompts) > most:
        raise UserError(f"--prompt may be given once for each sequence that the core keeps, of "
                        f"which it has {most}, not {len(prompts)} times: see --streams")
    return core


def run_and_show(board: str, image: PacketSource, prompts: Sequence[str], tokens: int,
                 temperature: float, seed: int, *, quiet: bool, check: bool = True,
                 streams: int | None = None,
                 wave: WaveRequest | None = None, memory: MemoryModel | None = None,
                 behavioural_lanes: bool = False, restore: SavedRun | None = None,
                 save: Path | None = None) -> Shown:
    """Build, run and show.

    The text of the first of several prompts is shown as it comes. After a run that is restored,
    ``prompts`` are not read, and no waveform is written.
    """
    check_choice(tokens, temperature)
    core = _core(board, streams, prompts)
    tokenizer = image_tokenizer(image)
    ids = [encode_prompt(tokenizer, prompt) for prompt in prompts] if restore is None else []
    fed = ids if len(ids) != 1 else ids[0]  # a single prompt may go through all streams
    console = Console(stderr=True, quiet=quiet)

    def build(trace: Any = None) -> Path:
        with console.status("simulator") as status:
            return build_simulator(core, trace=trace, behavioural_lanes=behavioural_lanes,
                                   savable=not trace and (save or restore) is not None,
                                   progress=lambda step: status.update(f"{step} ..."))

    def traced(window: Wave) -> Simulation:
        library = build(window.path.suffix[1:])
        with console.status("recording the waveform ..."):
            return run_simulation(library, core, image, fed, tokens, temperature=temperature,
                                  seed=seed, check=False, wave=window, memory=memory)

    library = build()
    text = tokenizer.text_stream(continued=True)
    known = [len(one) - 1 for one in ids] if restore is None else restore.positions
    steps = sum(count + tokens for count in known)
    with TextDisplay(prompts[0] if restore is None else "", quiet=quiet) as display:
        def on_token(progress: Progress) -> None:
            if progress.token is not None:
                display.add(text.push(progress.token))
            display.update(f"token {progress.position}/{steps} · {progress.cycles} cycles per "
                           f"{'token' if core.streams == 1 else 'pass'} · "
                           f"{progress.cycles_per_second / 1e3:.0f} k cycles/s")

        run = run_simulation(library, core, image, fed, tokens, temperature=temperature, seed=seed,
                             check=check, on_token=on_token, memory=memory, restore=restore,
                             save=save)
        display.add(text.finish())
    written = None
    if restore is None:
        written = (wave or WaveRequest(None, None)).write(f"{board}-{image.model}", run, traced)
    texts = [tokenizer.decode(chosen, continued=True) for chosen in run.sequences]
    return Shown(run, texts, written, behavioural_lanes,
                 save if run.first_divergence is None else None)


def _results(shown: Shown) -> dict[str, Any]:
    run = shown.run
    return {
        "tokens": run.tokens,
        "text": shown.texts[0],
        "sequences": [{"tokens": tokens, "text": text} for tokens, text
                      in zip(run.sequences, shown.texts, strict=True)],
        "passes": run.passes,
        "checked_tokens": run.checked_tokens,
        "bit_exact": run.bit_exact,
        "cycles_per_token": run.cycles_per_token,
        "cycles_by_cause": {cause: count / run.fed_tokens for cause, count in run.causes.items()},
        "ideal_cycles_per_token": run.ideal_cycles,
        "weight_stream_share": run.weight_stream_share,
        "simulator_cycles_per_second": run.simulator_cycles_per_second,
        "saturations": run.saturations,
        "first_divergence": run.first_divergence and run.first_divergence.to_dict(),
        "waveform": shown.wave and {"path": shown.wave[0], "first_cycle": shown.wave[1],
                                    "last_cycle": shown.wave[2]},
        "behavioural_lanes": shown.behavioural_lanes,
        "saved": shown.saved,
    }


def print_report(shown: Shown, *, rows: Iterable[tuple[str, str]] = ()) -> None:
    """The short report that follows a run; ``rows`` go between its figures and its verdict."""
    run = shown.run
    table = Table(show_header=False, box=None)
    table.add_row("cycles per token", f"{run.cycles_per_token:.0f}")
    if run.passes != run.fed_tokens:
        table.add_row("passes over the weights",
                      f"{run.passes}, {run.fed_tokens / run.passes:.2f} tokens in each")
    table.add_row("of these", ", ".join(
        f"{cause} {count / run.cycles:.1%}" for cause, count in run.causes.most_common() if count))
    table.add_row(f"ideal cycles per {'token' if run.passes == run.fed_tokens else 'pass'}",
                  f"{run.ideal_cycles:.0f} (weights alone)")
    table.add_row("share of the weight-stream limit", f"{run.weight_stream_share:.1%}")
    table.add_row("simulator", ("behavioural lanes, " if shown.behavioural_lanes else "")
                  + f"{run.simulator_cycles_per_second / 1e3:.0f} k cycles/s")
    table.add_row("saturations", saturations_text(run.saturations))
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    if run.first_divergence is not None:
        console.print(f"first divergence: {run.first_divergence}", style="red", markup=False,
                      soft_wrap=True)
    if shown.wave is not None:
        path, first, last = shown.wave
        console.print(f"waveform of cycles {first} to {last}: {path}", markup=False,
                      soft_wrap=True)
    if shown.saved is not None:
        console.print(f"saved: {shown.saved}", markup=False, soft_wrap=True)
    if run.checked_tokens or run.first_divergence:
        console.print(f"bit-exact: {run.checked_tokens}/{run.fed_tokens} tokens")


def _check_restored(context: typer.Context) -> None:
    """Refuse options beside --restore that are those of the saved run, or that need its start."""
    refused = {"fst": "needs a run from its start", "window": "needs a run from its start",
               **dict.fromkeys(("prompt", "temperature", "seed", "memory_latency",
                                "memory_stalls"), "is that of the saved run")}
    for name, reason in refused.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise UserError(f"--{name.replace('_', '-')} {reason}: leave it out with --restore")


def finish(run: Simulation) -> None:
    """End the command: exit code 1 if hardware and integer model parted."""
    if run.first_divergence is not None:
        raise typer.Exit(1)


@command(example='ternforge simulate --board icebreaker --model shakespeare-up5k --tokens 64\n'
                 'ternforge simulate --image model.tfi --prompt "ROMEO:" --temperature 0.8 --json\n'
                 'ternforge simulate --model shakespeare-85f --streams 4 --prompt "ROMEO:" '
                 '--prompt "JULIET:"\n'
                 'ternforge simulate --model shakespeare-85f --fst start.fst --window 11334:13000\n'
                 'ternforge simulate --board ddr-n16 --image mmfree-370m.tfi --tokens 1 '
                 '--memory-latency 60\n'
                 'ternforge simulate --board ddr-n16 --image mmfree-370m.tfi --behavioural-lanes '
                 '--tokens 8 --save run.npz\n'
                 'ternforge simulate --board ddr-n16 --image mmfree-370m.tfi --behavioural-lanes '
                 '--tokens 8 --restore run.npz')
def simulate(
    context: typer.Context,
    board: Board = DEFAULT_BOARD, model: Model = None, image: ImageFile = None,
    calibrate: Calibration = None,
    prompt: Annotated[list[str] | None, typer.Option(
        help="Text to begin with, 'ROMEO:' unless given. May be repeated on a core with several "
             "streams, for a sequence in each; a single one goes through all of them.")] = None,
    tokens: Tokens = 64,
    temperature: Temperature = 0.0, seed: Seed = 0,
    check: Annotated[bool, typer.Option(help="Compare every write with the integer model.")] = True,
    fst: Annotated[Path | None, typer.Option(
        "--fst", help="Write a waveform (.fst or .vcd): the cycles around a first divergence, else "
                      "those of --window. A divergence writes one in any case.")] = None,
    window: Annotated[str | None, typer.Option(
        metavar="FIRST:LAST", help="Clock cycles of the waveform; the first 1,000 of the first "
                                   "token unless given.")] = None,
    memory_latency: Annotated[int | None, typer.Option(
        help="Cycles from a request to its first beat, where the image memory is off the chip; 30 "
             "unless given.")] = None,
    memory_stalls: Annotated[float | None, typer.Option(
        help="Share of the cycles in which that memory could give a beat and does not; 0 unless "
             "given.")] = None,
    behavioural_lanes: Annotated[bool, typer.Option(
        "--behavioural-lanes", help="Simulate the ternary lanes as one C++ function, which is "
                                    "faster; all else is the Verilog.")] = False,
    streams: Annotated[int | None, typer.Option(
        help="Sequences that share one read of the weights, instead of the board's "
             "number.")] = None,
    save: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Write the state after the last token, to go on later.")] = None,
    restore: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Go on after a saved run, with its sampling and its memory; --tokens "
                             "counts from there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a model on the generated Verilog, cycle by cycle, against the integer model."""
    wave, saved = WaveRequest(fst, window), None
    if restore is not None:
        _check_restored(context)
        saved = SavedRun.read(restore)
    if save is not None and save.is_dir():
        raise UserError(f"--save must name a file, not the folder {str(save)!r}")
    memory = memory_model(board, memory_latency, memory_stalls, seed)
    shown = run_and_show(board, open_source(board, model, image, calibrate), prompt or ["ROMEO:"],
                         tokens, temperature, seed, quiet=as_json, check=check, wave=wave,
                         memory=memory, streams=streams,
                         behavioural_lanes=behavioural_lanes, restore=saved, save=save)
    if as_json:
        print_json(_results(shown))
    else:
        print_report(shown)
    finish(shown.run)
