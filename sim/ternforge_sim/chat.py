"""The verb ``chat``: text from a model on a board, or on the simulation of one."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ternforge.cli import command
from ternforge.errors import UserError
from ternforge.host.protocol import BootState
from ternforge.output import print_json
from ternforge.presets import core_preset, dram_preset, line_baud
from ternforge_firmware.host import Board
from ternforge_firmware.image import Image
from ternforge_firmware.text import image_tokenizer
from ternforge_firmware.transport import HostError
from ternforge_model.display import saturations_text
from ternforge_model.options import (
    AsJson,
    ImageFile,
    Seed,
    Temperature,
    Tokens,
    check_choice,
    encode_prompt,
)
from ternforge_model.tokenizer import Tokenizer

from .attach import SIMULATED_TIMEOUT, simulated_port, starts_filled
from .commands import DEFAULT_BOARD, open_image
from .conversation import Conversation
from .pty import SerialPort

__all__ = ["chat"]

HELP = "/reset starts anew, /counters shows what the core counts, /quit or Ctrl-D leaves"


def _open(board: str, model: str | None, image: Path | None) -> Image:
    """The image; ``--model`` may name the file of one."""
    if model is not None and image is None and Path(model).suffix == ".tfi":
        model, image = None, Path(model)
    return open_image(board, model, image)


def _upload(board: Board, packed: Image, console: Console) -> int:
    """Load with a bar; the beats that were written."""
    with Progress(TextColumn("upload"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
                  console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("upload", total=None)
        return board.load(packed, lambda done, total: bar.update(task, completed=done,
                                                                 total=total))


def _has_image(board: Board) -> bool:
    """Whether a memory that the bitstream fills has an image; any, as version 1 cannot tell."""
    try:
        board.reset()
        board.step([0])
    except HostError as error:
        if "no image" in str(error):
            return False
        raise
    return True


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends what is being generated: whether it was pressed. Pressed again, it interrupts."""
    pressed = False

    def press(*_: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Session:
    """What is said to the board, and the figures of it."""

    def __init__(self, board: Board, talk: Conversation, tokenizer: Tokenizer,
                 port: SerialPort | None, console: Console):
        self.board, self.talk, self.tokenizer = board, talk, tokenizer
        self.port, self.console = port, console

    def once(self, prompt: str, count: int, *, quiet: bool,
             ends: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Say one prompt; what came."""
        ids = encode_prompt(self.tokenizer, prompt)
        stream, tokens = self.tokenizer.text_stream(continued=True), []

        def show(text: str) -> None:
            if not quiet:
                self.console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

        begun = time.perf_counter()
        for token in self.talk.say(ids, count, ends):
            tokens.append(token)
            show(stream.push(token))
        show(stream.finish() + "\n")
        seconds = time.perf_counter() - begun
        return {"tokens": tokens, "text": self.tokenizer.decode(tokens, continued=True),
                "prompt_tokens": len(ids), "seconds": seconds,
                "tokens_per_second": (len(tokens) + len(ids) - 1) / seconds}

    def counters(self) -> dict[str, Any]:
        """What the core counts."""
        found = self.board.counters()
        return {"cycles": found.cycles, "saturations": found.saturations, "fault": found.fault,
                "memory": found.memory.name.lower(), "boot": found.boot.name.lower()}

    def simulation(self) -> dict[str, Any] | None:
        """What the simulation took, if the board is one."""
        if self.port is None:
            return None
        cycle = self.port.board.cycle
        return {"port": self.port.name, "cycles": cycle, "seconds": self.port.seconds,
                "cycles_per_second": cycle / self.port.seconds}

    def show_counters(self) -> None:
        """Print them in a line."""
        found = self.counters()
        line = (f"{found['cycles']} cycles per token, saturations: "
                f"{saturations_text(found['saturations'])}")
        if (simulation := self.simulation()) is not None:
            line += f", simulator: {simulation['cycles_per_second'] / 1e3:.0f} k cycles/s"
        self.console.print(line, style="dim", highlight=False)

    def interactive(self, count: int) -> None:
        """Prompt after prompt, until Ctrl-D."""
        self.console.print(HELP, style="dim", highlight=False)
        while True:
            try:
                line = self.console.input("[bold green]> [/]")
            except EOFError:
                self.console.print()
                return
            except KeyboardInterrupt:
                self.console.print("Ctrl-D leaves", style="dim")
                continue
            if line in ("/quit", "/exit"):
                return
            if line == "/reset":
                self.talk.reset()
            elif line == "/counters":
                self.show_counters()
            elif line.startswith("/"):
                self.console.print(HELP, style="dim", highlight=False)
            elif line:
                self._answer(line, count)

    def _answer(self, line: str, count: int) -> None:
        with _interrupts() as ends:
            try:
                self.once(line, count, quiet=False, ends=ends)
            except HostError as error:
                if "broke off" in str(error) or "does not answer" in str(error):
                    raise
                self.console.print(str(error), style="red", markup=False, soft_wrap=True)
            except UserError as error:  # characters that the model has no token for
                self.console.print(str(error), style="red", markup=False, soft_wrap=True)
            except KeyboardInterrupt:
                self.console.print("\ninterrupted", style="yellow")


def _serve(port: SerialPort, link: Path | None, console: Console) -> None:
    """Keep a simulated board on its port until Ctrl-C, or until the process is told to end."""
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    console.print("the simulated board waits for programs; Ctrl-C ends it", style="dim")
    typer.echo(str(link or port.name))
    try:
        while True:
            time.sleep(0.2)
    except KeyboardInterrupt:
        console.print("ended", style="dim")


@command(example='ternforge chat --port /dev/ttyUSB1 --board icebreaker --model shakespeare-up5k\n'
                 'ternforge chat --simulate --board icebreaker --model shakespeare-up5k '
                 '--prompt "ROMEO:" --tokens 32 --json\n'
                 'ternforge chat --simulate --serve --board icebreaker --link /tmp/icebreaker')
def chat(
    board: Annotated[str, typer.Option(
        help="Board, or core preset: what the model is packed for.")] = DEFAULT_BOARD,
    model: Annotated[str | None, typer.Option(
        help="Shipped model, folder of a checkpoint, or packet image (.tfi).")] = None,
    image: ImageFile = None,
    port: Annotated[str | None, typer.Option(
        help="Serial port of the board, such as /dev/ttyUSB1.")] = None,
    baud: Annotated[int | None, typer.Option(
        help="Symbols per second of the line; the board's own unless given, as in `ternforge "
             "build`.")] = None,
    simulate: Annotated[bool, typer.Option(
        "--simulate", help="Without a board: its Verilog runs behind a pseudo-terminal.")] = False,
    serve: Annotated[bool, typer.Option(
        "--serve", help="With --simulate: only keep the pseudo-terminal open, for other "
                        "programs; its name is printed.")] = False,
    link: Annotated[Path | None, typer.Option(
        help="With --simulate: a symbolic link to the pseudo-terminal.")] = None,
    prompt: Annotated[str | None, typer.Option(
        help="Text to begin with; without it, prompts are read from the terminal.")] = None,
    tokens: Tokens = 64,
    temperature: Temperature = 0.0, seed: Seed = 0,
    upload: Annotated[bool | None, typer.Option(
        "--upload/--no-upload", help="Whether to write the image into the board's memory; where "
                                     "the bitstream or a flash holds one, and in a simulated "
                                     "memory chip, only if told.")] = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a model on a board over its serial port, or on the simulation of that board.

    The board itself takes the likeliest token; with another temperature the host reads all logits
    after each token, and samples.
    """
    check_choice(tokens, temperature)
    if (port is None) == (not simulate):
        raise UserError("give either --port or --simulate")
    if not simulate and (serve or link):
        raise UserError("--serve and --link must come with --simulate")
    if as_json and prompt is None and not serve:
        raise UserError("--json must come with --prompt")
    core, dram = core_preset(board), dram_preset(board)
    console = Console(stderr=True, quiet=as_json)
    packed = None
    if not serve or model is not None or image is not None:
        with console.status("reading the model ..."):
            packed = _open(board, model, image)
    with ExitStack() as stack:
        simulated, name = None, port or ""
        if simulate:
            with console.status("simulator") as status:
                simulated = stack.enter_context(simulated_port(
                    core, None if dram and upload else packed, link=link, dram=dram,
                    progress=lambda step: status.update(f"{step} ...")))
            name = simulated.name
            console.print(f"simulated {board} on {link or name}", style="dim", highlight=False)
            if serve:
                _serve(simulated, link, console)
                return
        assert packed is not None
        tokenizer = image_tokenizer(packed)
        driver = stack.enter_context(Board.open(
            name, baud=line_baud(board) if baud is None else baud,
            timeout=SIMULATED_TIMEOUT if simulate else 1.0))
        packed.check_core(driver.core)
        driver.await_memory(SIMULATED_TIMEOUT if simulate else 5.0)
        talk = Conversation(driver, packed, temperature=temperature, seed=seed)
        written = 0
        # A memory off the chip can be compared, so that what stands there is not written again.
        booted = not driver.external and driver.counters().boot is BootState.DONE
        filled = starts_filled(core) or booted or (simulate and dram is not None)
        if upload or (upload is None and not (filled and _has_image(driver))):
            written = _upload(driver, packed, console)
        session = _Session(driver, talk, tokenizer, simulated, Console())
        if prompt is None:
            session.interactive(tokens)
            return
        with _interrupts() as ends:
            said = session.once(prompt, tokens, quiet=as_json, ends=ends)
        if as_json:
            print_json({**said, "uploaded_beats": written, "counters": session.counters(),
                        "simulation": session.simulation()})
        else:
            session.show_counters()
