"""Runs a model on the Verilated hardware, token by token, against the integer model."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
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
from .dram import DramMemoryModel
from .feed import Feed, Pass, batch, decode, prefill
from .reference import Reference
from .runner import MemoryModel, Step, VerilatedCore
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

    position: int  #: tokens fed so far, of all streams
    token: int | None  #: newly chosen token of the first sequence; None inside its prompt
    cycles: int  #: cycles of this pass over the weights
    cycles_per_second: float  #: of the simulator, so far


@dataclass(kw_only=True)
class Simulation:
    """What a run gave."""

    #: chosen tokens of each sequence, the prompt left out
    sequences: list[list[int]] = field(default_factory=list)
    checked_tokens: int = 0  #: tokens compared write by write with the integer model
    fed_tokens: int = 0  #: tokens run, prompts included
    passes: int = 0  #: passes over the weights; of a single stream, one for each token
    cycles: int = 0  #: hardware cycles of all passes
    pass_cycles: list[int] = field(default_factory=list)  #: of each
    #: of these, by what they went to (:class:`~ternforge.core.sequencer.Cause`, in small letters);
    #: what waits for a memory chip's rows and refreshes stands apart, as in :attr:`.Step.waits`
    causes: Counter[str] = field(default_factory=Counter)
    ideal_cycles: float = 0.0  #: weights of one pass over weights per cycle
    simulator_seconds: float = 0.0  #: time spent in the Verilated model
    saturations: dict[str, int] = field(default_factory=dict)  #: by site, from the hardware
    first_divergence: Divergence | None = None
    wave: tuple[int, int] | None = None  #: cycles that were recorded

    @property
    def tokens(self) -> list[int]:
        """Chosen tokens of the first sequence."""
        return self.sequences[0]

    @property
    def bit_exact(self) -> bool:
        """Every token was checked, and none differed."""
        return self.first_divergence is None and self.checked_tokens == self.fed_tokens > 0

    @property
    def cycles_per_token(self) -> float:
        """Mean over all tokens, those of all streams."""
        return self.cycles / max(1, self.fed_tokens)

    @property
    def weight_stream_share(self) -> float:
        """Ideal cycles over cycles: 1 would be a core that never waits."""
        return self.ideal_cycles * self.passes / self.cycles if self.cycles else 0.0

    @property
    def simulator_cycles_per_second(self) -> float:
        """Speed of the Verilated model itself."""
        return self.cycles / self.simulator_seconds if self.simulator_seconds else 0.0


def ideal_cycles(ternary_weights: int, core: CoreConfig) -> float:
    """Cycles of a token if nothing but the weights took time: weights / (5 * lanes)."""
    return ternary_weights / (core.tile * core.cores)


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


class _Run:
    """Passes of one simulation, each compared with the integer model."""

    def __init__(self, hardware: VerilatedCore, run: Simulation, models: list[Reference],
                 outline: Outline, limit: int):
        self.hardware, self.run, self.models = hardware, run, models
        self.outline, self.limit = outline, limit
        self.positions = [0] * hardware.config.streams  # tokens of each sequence so far

    def take(self, now: Pass) -> Step:
        """Run a pass, and note the first difference if there is one."""
        run, started = self.run, time.perf_counter()
        step = self.hardware.step_all(now.tokens, reset=now.reset, chain=now.chain, head=now.head,
                                      trace=bool(self.models), max_cycles=self.limit)
        run.simulator_seconds += time.perf_counter() - started
        run.cycles += step.cycles
        run.pass_cycles.append(step.cycles)
        run.passes += 1
        run.causes.update({cause.name.lower(): int(count) for cause, count
                           in zip(Cause, step.activity.sum(0), strict=True)})
        run.causes.update(step.waits)
        run.causes["memory"] -= sum(step.waits.values())
        run.fed_tokens += sum(token is not None for token in now.tokens)
        positions = list(self.positions)
        for sequence, token in zip(now.sequences, now.tokens, strict=True):
            self.positions[sequence] += token is not None
        if self.models:
            self._compare(now, step, positions)
        return step

    def _compare(self, now: Pass, step: Step, positions: list[int]) -> None:
        streams = len(now.tokens)
        for stream, token in enumerate(now.tokens):
            if token is None:
                continue
            sequence = now.sequences[stream]
            position = positions[sequence]
            positions[sequence] += 1
            writes, wanted = self.models[sequence].step(token)
            if not now.head:
                writes = self.outline.without_head(writes)
            found = first_divergence(self.outline, writes,
                                     self.outline.of_stream(step.events, stream, streams), position)
            result = step.tokens[stream] if step.tokens is not None else None
            if found is None and (step.tokens is None or (now.head and result != wanted)):
                found = Divergence(
                    position=position, layer=None, packet=len(self.outline.entries), op="argmax",
                    tensor="token", memory="result", element=0, address=None, actual_address=None,
                    expected=wanted, actual=result, cycle=self.hardware.cycle)
            if found is not None:
                self.run.first_divergence = replace(found, stream=stream if streams > 1 else None)
                return
            self.run.checked_tokens += 1


def simulate(library: Path, core: CoreConfig, image: PacketSource,
             prompt: Sequence[int] | Sequence[Sequence[int]], count: int, *,
             temperature: float = 0.0, seed: int = 0, check: bool = True,
             reference: Program | None = None,
             memory: MemoryModel | DramMemoryModel | None = None,
             on_token: Callable[[Progress], object] | None = None,
             wave: Wave | None = None, restore: SavedRun | None = None,
             save: Path | None = None) -> Simulation:
    """Feed ``prompt`` and generate ``count`` tokens on the hardware.

    Every token's writes (vectors, states, codes: address and value) and its result are compared
    with the integer model, which is fed the same tokens; the run ends at the first difference.

    Parameters
    ----------
    library : Path
        From :func:`ternforge_sim.runner.build_simulator` for ``core``.
    image : Image
        Model to run; refused if it is for another core.
    prompt : sequence of int, or sequences
        At least one token. On a core with several streams, one prompt goes through all of them,
        several at a time (:func:`.feed.prefill`); of several prompts, each is a sequence in a
        stream of its own (:func:`.feed.batch`).
    temperature, seed
        As in :func:`ternforge_model.sampling.sample`; the hardware's own accumulators are sampled,
        with ``seed + k`` for sequence k.
    check : bool
        False only runs the hardware.
    reference : Program, optional
        Compare with this program instead of the one in the image.
    memory : MemoryModel or DramMemoryModel, optional
        How an image memory off the chip answers; for a chip behind LiteDRAM's controller,
        ``library`` is that of :func:`.dram.build_dram_simulator`.
    on_token : callable, optional
        Called after each pass.
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
        For an empty prompt without a run to go on with, more prompts than the core keeps sequences,
        an image that it cannot run, a ``memory`` that it has not, or one that cannot be saved.
    UserError
        If ``restore`` is not of this core, image and library.
    ToolError
        If the core never ends a token, and is not checked; or if a memory chip is used against its
        rules.
    """
    prompts = [[token] if isinstance(token, int) else list(token) for token in prompt]
    several = not (prompt and isinstance(prompt[0], int))
    if restore is not None:
        several = restore.several
    elif not several:
        prompts = [[token for one in prompts for token in one]]
    if bool(prompts and all(prompts)) == (restore is not None):
        raise ValueError("prompt must hold at least one token, or none after a restored run")
    most = 1 if core.prefill_states else core.streams
    if len(prompts) > most:
        raise ValueError(f"the core keeps the states of {most} sequences, so that it takes as many "
                         f"prompts, not {len(prompts)}")
    image.check_core(core)
    states = max((state["length"] for state in image.metadata["states"]), default=0)
    if core.prefill_states and states > core.prefill_states:
        raise ValueError(f"a layer of {image.model!r} has {states} states, more than the core's "
                         f"prefill_states={core.prefill_states}")
    if restore is not None:
        restore.check(core, image, library, checked=check)
        prompts = [[token] for token in restore.tokens]
        temperature, memory = restore.temperature, restore.memory
    if save is not None and isinstance(memory, DramMemoryModel):
        raise ValueError("a run with a memory chip cannot be saved, only one with a MemoryModel")
    outline = Outline.of(image)
    models: list[Reference] = []
    for _ in prompts if check else ():
        models.append(Reference(image, outline, models[0].kept_program if models else reference))
    hardware = (memory.open(library, core) if isinstance(memory, DramMemoryModel)
                else VerilatedCore(library, core, memory))
    run = Simulation(ideal_cycles=ideal_cycles(outline.ternary_weights, core),
                     sequences=[[] for _ in prompts])
    logits = _logits_address(image) if temperature else 0
    rngs = ([Random(seed + k) for k in range(len(prompts))] if restore is None
            else restore.generators())
    limit = (20 + core.streams) * len(image.memory()) + 100_000
    if memory is not None:
        limit = round(limit * memory.cycles_per_beat) + 4 * memory.latency * core.streams

    def choose(step: Step, stream: int, sequence: int) -> int:
        assert step.tokens is not None
        if not temperature:
            return step.tokens[stream]
        acc = hardware.peek(logits, image.vocab_size, stream)
        return sample(acc, Ratio(*hardware.ratio(stream)), image.metadata["logit_scale"],
                      temperature, rngs[sequence])

    feed: Feed = batch(prompts, count, core.streams, fresh=restore is None)
    if core.streams > 1 and (not several or core.prefill_states):
        feed = (prefill(prompts[0], count, core.streams) if restore is None
                else decode(prompts[0][0], count, core.streams))
    passes = _Run(hardware, run, models, outline, limit)
    try:
        if wave is not None and wave.first is not None:
            run.wave = _start_wave(hardware, wave)
        if restore is None or not core.bank_beats:
            hardware.load(image.memory())
        if restore is not None:
            hardware.restore(restore.hardware)
            passes.positions[:len(prompts)] = restore.positions
            for model, state in zip(models, restore.references or [], strict=False):
                model.state = state
        if wave is not None and wave.first is None:
            run.wave = _start_wave(hardware, wave)
        now = next(feed, None)
        while now is not None:
            step = passes.take(now)
            if run.first_divergence or (run.wave is not None and hardware.cycle > run.wave[1]):
                break
            if step.tokens is None:
                raise ToolError(f"the core gave no result for token {run.passes - 1} in {limit} "
                                "cycles: compare it with the integer model to see where it stopped")
            chosen = [choose(step, stream, now.sequences[stream]) if wanted else None
                      for stream, wanted in enumerate(now.chooses)]
            for stream, token in enumerate(chosen):
                if token is not None:
                    run.sequences[now.sequences[stream]].append(token)
            if on_token is not None:
                first = [token for token, sequence in zip(chosen, now.sequences, strict=True)
                         if sequence == 0 and token is not None]
                on_token(Progress(sum(passes.positions), first[0] if first else None, step.cycles,
                                  run.simulator_cycles_per_second))
            try:
                now = feed.send(chosen)
            except StopIteration:
                now = None
        run.saturations = hardware.saturations()
        if (save is not None and run.first_divergence is None
                and not isinstance(memory, DramMemoryModel)):
            SavedRun(core=repr(core), simulator=simulator_key(library), model=image.model,
                     model_hash=image.model_hash, beats=len(image.memory()), memory=memory,
                     temperature=temperature, several=several,
                     random=[rng.getstate() for rng in rngs],
                     positions=passes.positions[:len(prompts)],
                     tokens=[[*known, *chosen][-1] for known, chosen
                             in zip(prompts, run.sequences, strict=True)],
                     hardware=hardware.save(),
                     references=[model.state or {} for model in models] or None).write(save)
    finally:
        hardware.close()
    return run
