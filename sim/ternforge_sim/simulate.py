"""Runs a model on the Verilated hardware, token by token, against the integer model."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ternforge.config import CoreConfig
from ternforge.core.sequencer import Cause
from ternforge.numerics import Ratio
from ternforge.process import ToolError
from ternforge_firmware.image import PacketSource
from ternforge_model.program import Program
from ternforge_model.sampling import sample

from .compare import Divergence, Outline, first_divergence
from .reference import Reference
from .runner import MemoryModel, VerilatedCore
from .saved import SavedRun, simulator_key

__all__ = ["Progress", "Simulation", "Wave", "ideal_cycles", "simulate"]

#: Cycles of the first token that a waveform shows unless told otherwise.
WAVE_CYCLES = 1000


@dataclass(frozen=True)
class Wave:
    """A waveform to record; the simulation ends with its last cycle."""

    path: Path  #: ``.fst`` or ``.vcd``, as the library was built for
    first: int | None = None  #: clock cycle since the start; None for the start of the first token
    last: int | None = None  #: None for :data:`WAVE_CYCLES` cycles


@dataclass(frozen=True)
class Progress:
    """State after one token of the run."""

    position: int  #: tokens fed so far
    token: int | None  #: newly chosen token; None inside the prompt
    cycles: int  #: cycles of this token
    cycles_per_second: float  #: of the simulator, so far


@dataclass(kw_only=True)
class Simulation:
    """What a run gave."""

    tokens: list[int] = field(default_factory=list)  #: chosen tokens, the prompt left out
    checked_tokens: int = 0  #: steps compared write by write with the integer model
    fed_tokens: int = 0  #: steps run, prompt included
    cycles: int = 0  #: hardware cycles of all steps
    #: of these, by what they went to (:class:`~ternforge.core.sequencer.Cause`, in small letters)
    causes: Counter[str] = field(default_factory=Counter)
    ideal_cycles: float = 0.0  #: weights of one token over weights per cycle
    simulator_seconds: float = 0.0  #: time spent in the Verilated model
    saturations: dict[str, int] = field(default_factory=dict)  #: by site, from the hardware
    first_divergence: Divergence | None = None
    wave: tuple[int, int] | None = None  #: cycles that were recorded

    @property
    def bit_exact(self) -> bool:
        """Every step was checked, and none differed."""
        return self.first_divergence is None and self.checked_tokens == self.fed_tokens > 0

    @property
    def cycles_per_token(self) -> float:
        """Mean over all steps."""
        return self.cycles / max(1, self.fed_tokens)

    @property
    def weight_stream_share(self) -> float:
        """Ideal cycles over cycles: 1 would be a core that never waits."""
        return self.ideal_cycles / self.cycles_per_token if self.cycles else 0.0

    @property
    def simulator_cycles_per_second(self) -> float:
        """Speed of the Verilated model itself."""
        return self.cycles / self.simulator_seconds if self.simulator_seconds else 0.0


def ideal_cycles(ternary_weights: int, core: CoreConfig) -> float:
    """Cycles of a token if nothing but the weights took time: weights / (5 * lanes)."""
    return ternary_weights / core.tile


def _logits_address(image: PacketSource) -> int:
    for vector in image.metadata["vectors"]:
        if vector["name"] == "logits":
            return vector["address"]
    raise ValueError("the image does not keep its logits, so that tokens cannot be sampled: use "
                     "temperature 0, or a core with a larger vector RAM")


def _start_wave(hardware: VerilatedCore, wave: Wave) -> tuple[int, int]:
    """Begin the recording; returns its first and last cycle."""
    first = hardware.cycle if wave.first is None else wave.first
    last = first + WAVE_CYCLES - 1 if wave.last is None else wave.last
    hardware.wave(wave.path, first, last)
    return first, last


def simulate(library: Path, core: CoreConfig, image: PacketSource, prompt: Sequence[int],
             count: int, *, temperature: float = 0.0, seed: int = 0, check: bool = True,
             reference: Program | None = None, memory: MemoryModel | None = None,
             on_token: Callable[[Progress], object] | None = None,
             wave: Wave | None = None, restore: SavedRun | None = None,
             save: Path | None = None) -> Simulation:
    """Feed ``prompt`` and generate ``count`` tokens on the hardware.

    Every step's writes (vectors, states, codes: address and value) and its result are compared with
    the integer model, which is fed the same tokens; the run ends at the first difference.

    Parameters
    ----------
    library : Path
        From :func:`ternforge_sim.runner.build_simulator` for ``core``.
    image : Image
        Model to run; refused if it is for another core.
    prompt : sequence of int
        At least one token.
    temperature, seed
        As in :func:`ternforge_model.sampling.sample`; the hardware's own accumulators are sampled.
    check : bool
        False only runs the hardware.
    reference : Program, optional
        Compare with this program instead of the one in the image.
    memory : MemoryModel, optional
        How an image memory off the chip answers.
    on_token : callable, optional
        Called after each step.
    wave : Wave, optional
        Record these clock cycles; the library must have been built with waveforms.
    restore : SavedRun, optional
        Go on after this run, with its sampling and its memory: ``prompt`` must be empty, and
        ``temperature``, ``seed`` and ``memory`` are not read. What is returned is of this part
        alone, but for the saturations. The library must be ``savable``.
    save : Path, optional
        Write the run to this file at its end, unless it ends at a difference; as before.

    Raises
    ------
    ValueError
        For an empty prompt without a run to go on with, an image that the core cannot run, or a
        ``memory`` that it has not.
    UserError
        If ``restore`` is not of this core, image and library.
    ToolError
        If the core never ends a token, and is not checked.
    """
    if bool(prompt) == (restore is not None):
        raise ValueError("prompt must hold at least one token, or none after a restored run")
    image.check_core(core)
    outline, before, rng = Outline.of(image), 0, Random(seed)
    model = Reference(image, outline, reference) if check else None
    if restore is not None:
        restore.check(core, image, library, checked=check)
        prompt, before, rng = [restore.token], restore.position, restore.generator()
        temperature, memory = restore.temperature, restore.memory
        if model is not None:
            model.state = restore.reference
    hardware = VerilatedCore(library, core, memory)
    run = Simulation(ideal_cycles=ideal_cycles(outline.ternary_weights, core))
    logits = _logits_address(image) if temperature else 0
    limit = 20 * len(image.memory()) + 100_000
    if memory is not None:
        limit = round(limit * memory.cycles_per_beat) + 4 * memory.latency
    try:
        if wave is not None and wave.first is not None:
            run.wave = _start_wave(hardware, wave)
        if restore is None or not core.bank_beats:
            hardware.load(image.memory())
        if restore is not None:
            hardware.restore(restore.hardware)
        if wave is not None and wave.first is None:
            run.wave = _start_wave(hardware, wave)
        token = prompt[0]
        steps = before + len(prompt) + max(0, count) - 1
        for position in range(before, steps):
            started = time.perf_counter()
            step = hardware.step(token, reset=position == 0, trace=check, max_cycles=limit)
            run.simulator_seconds += time.perf_counter() - started
            run.cycles += step.cycles
            run.causes.update({cause.name.lower(): int(count) for cause, count
                               in zip(Cause, step.activity.sum(0), strict=True)})
            run.fed_tokens += 1
            if model is not None:
                writes, wanted = model.step(token)
                run.first_divergence = first_divergence(outline, writes, step.events, position)
                if run.first_divergence is None and step.token != wanted:
                    run.first_divergence = Divergence(
                        position=position, layer=None, packet=len(outline.entries), op="argmax",
                        tensor="token", memory="result", element=0, address=None,
                        actual_address=None, expected=wanted, actual=step.token,
                        cycle=hardware.cycle)
                if run.first_divergence is not None:
                    break
                run.checked_tokens += 1
            if run.wave is not None and hardware.cycle > run.wave[1]:
                break
            if step.token is None:
                raise ToolError(f"the core gave no result for token {position} in {limit} cycles: "
                                "compare it with the integer model to see where it stopped")
            chosen = None
            if position - before + 1 < len(prompt):
                token = prompt[position - before + 1]
            else:
                chosen = step.token
                if temperature:
                    acc = hardware.peek(logits, image.vocab_size)
                    chosen = sample(acc, Ratio(*hardware.ratio()), image.metadata["logit_scale"],
                                    temperature, rng)
                run.tokens.append(chosen)
                token = chosen
            if on_token is not None:
                on_token(Progress(position + 1, chosen, step.cycles,
                                  run.simulator_cycles_per_second))
        run.saturations = hardware.saturations()
        if save is not None and run.first_divergence is None:
            SavedRun(core=repr(core), simulator=simulator_key(library), model=image.model,
                     model_hash=image.model_hash, beats=len(image.memory()), memory=memory,
                     temperature=temperature, random=rng.getstate(), position=steps, token=token,
                     hardware=hardware.save(), reference=model and model.state).write(save)
    finally:
        hardware.close()
    return run
