"""The verb ``generate``: text on the CPU, from a model or from its packet image."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ternforge.cli import command
from ternforge.config import CoreConfig
from ternforge.output import print_json
from ternforge_model.catalog import open_model
from ternforge_model.display import TextDisplay, saturations_text
from ternforge_model.integer import SITES, IntegerResult
from ternforge_model.options import (
    AsJson,
    ImageFile,
    Model,
    Prompt,
    Seed,
    Temperature,
    Tokens,
    check_choice,
    check_one,
    encode_prompt,
)
from ternforge_model.sampling import generate_stream

from . import imagefile
from .cpu.engine import Engine
from .image import PacketSource
from .lower import lower
from .text import image_tokenizer

__all__ = ["HOST_CORE", "generate"]

#: Layout of a model's packets where no core is asked for: the longest addresses that headers hold,
#: images of up to 1 GiB. The engine reads images of any layout.
HOST_CORE = CoreConfig(lanes=64, elements=1, vector_depth=1 << 16, state_depth=1 << 20,
                       max_rows=1 << 16, max_fan_in=1 << 14, memory_beats=1 << 24)


def _open(model: str | None, image: Path | None,
          progress: Callable[[int, int], None]) -> PacketSource:
    check_one(model, image)
    if image is not None:
        return imagefile.ImageFile(image)
    assert model is not None
    found = open_model(model)
    return lower(found.convert(progress), HOST_CORE, found.tokenizer)


class _Clock:
    """Tokens, seconds and saturations of the prompt and of what follows it."""

    def __init__(self, prompt: int):
        self.prompt, self.fed = prompt, 0
        self.seconds = [0.0, 0.0]  #: of the prompt, of generated tokens
        self.saturations = Counter[str](dict.fromkeys(SITES, 0))
        self._last = time.perf_counter()

    def add(self, fed: int, result: IntegerResult) -> None:
        now = time.perf_counter()
        self.seconds[self.fed >= self.prompt] += now - self._last
        self._last, self.fed = now, fed
        self.saturations.update(result.saturations)

    def speeds(self) -> tuple[float, float | None]:
        """Tokens per second of the prompt, and of generated tokens if more than one was fed."""
        generated = self.fed - self.prompt
        return (min(self.fed, self.prompt) / self.seconds[0],
                generated / self.seconds[1] if generated > 0 else None)

    def status(self) -> str:
        """Line of progress."""
        speed = self.speeds()[1]
        return f"token {self.fed}" + ("" if speed is None else f" · {speed:.1f} tokens/s")


@command(example='ternforge generate --model shakespeare-85f --prompt "ROMEO:" --temperature 0.8\n'
                 'ternforge generate --image model.tfi --tokens 200 --threads 2 --json')
def generate(
    model: Model = None, image: ImageFile = None, prompt: Prompt = "ROMEO:", tokens: Tokens = 64,
    temperature: Temperature = 0.0, seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; one per CPU unless given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a text on the CPU, with the integers of the hardware.

    Tokens are those that `simulate` and the core choose from the same image, prompt and seed.
    """
    check_choice(tokens, temperature)
    with Console(stderr=True, quiet=as_json).status("reading the model ...") as status:
        source = _open(model, image, lambda done, total: status.update(
            f"calibrating, {done} of {total} ..."))
        tokenizer = image_tokenizer(source)
        ids = encode_prompt(tokenizer, prompt)
        engine = Engine(source, threads=threads, name=str(image or model),
                        progress=lambda step: status.update(f"{step} ..."))
        del source
    chosen, clock = [], _Clock(len(ids))
    text = tokenizer.text_stream(continued=True)
    with TextDisplay(prompt, quiet=as_json) as display:
        def on_result(fed: int, result: IntegerResult) -> None:
            clock.add(fed, result)
            display.update(clock.status())

        for token in generate_stream(engine, ids, tokens, temperature=temperature, seed=seed,
                                     on_result=on_result):
            chosen.append(token)
            display.add(text.push(token))
        display.add(text.finish())
    prompt_speed, speed = clock.speeds()
    if as_json:
        print_json(_results(chosen, tokenizer.decode(chosen, continued=True), clock,
                            engine.threads))
        return
    table = Table(show_header=False, box=None)
    table.add_row("tokens/s", "-" if speed is None else f"{speed:.1f}")
    table.add_row("prompt", f"{len(ids)} tokens, {prompt_speed:.1f} tokens/s")
    table.add_row("threads", str(engine.threads))
    table.add_row("weights", f"{engine.weight_bytes / 1e6:.1f} MB")
    table.add_row("saturations", saturations_text(clock.saturations))
    Console().print(table)


def _results(tokens: list[int], text: str, clock: _Clock, threads: int) -> dict[str, Any]:
    prompt_speed, speed = clock.speeds()
    return {"tokens": tokens, "text": text, "prompt_tokens": clock.prompt,
            "tokens_per_second": speed, "prompt_tokens_per_second": prompt_speed,
            "threads": threads, "saturations": dict(clock.saturations)}
