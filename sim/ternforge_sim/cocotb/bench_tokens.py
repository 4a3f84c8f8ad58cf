"""Whole tokens of a toy model on the accelerator, write by write, against the integer model."""

import random

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from ternforge.core.core import SITES
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Program
from ternforge_model.toy import random_program
from ternforge_sim.compare import Outline, expected_writes, first_divergence
from ternforge_sim.runner import EVENT

from .bus import Unit, until, within

__all__ = ["foreign_tokens_are_refused", "tokens_equal_integer_model"]

#: Token and start of a sequence, for each step.
STEPS = [(3, True), (15, False), (0, True), (7, False)]


def toy() -> Program:
    """Two layers with bounds; the MLP takes several tiles of two lanes."""
    return random_program(3, d=16, layers=2, m=24, vocab=16)


async def load(unit: Unit, image: Image) -> None:
    """Write the image through the host's port."""
    for address, beat in enumerate(image.memory()):
        unit.set(write={"enable": 1, "address": address,
                        "data": int.from_bytes(beat.tobytes(), "little")})
        await unit.tick()
    unit.set(write={"enable": 0, "address": 0, "data": 0})
    for _ in range(4):
        await unit.tick()


class Recorder:
    """Writes of the token under way, as :func:`first_divergence` wants them."""

    def __init__(self, unit: Unit):
        self.unit, self.events, self.cycle = unit, [], 0
        self.accepted = self.result = 0  # cycles of the last token and its result
        self.codes = (-1, 0)  # packet, and how many codes it wrote

    async def run(self):
        """For ever."""
        while True:
            sent, taken, result, packet, word, element, state, valid, codes = (
                await self.unit.sample("tokens_valid", "tokens_ready", "result_valid",
                                       "trace_packet", "trace_word", "trace_element",
                                       "trace_state", "trace_codes_valid", "trace_codes"))
            if sent and taken:
                self.accepted, self.result = self.cycle, 0
            if result and not self.result:
                self.result = self.cycle
            if valid:  # codes have no address: they are counted
                self.codes = (packet, self.codes[1] if self.codes[0] == packet else 0)
            for kind, seen, address, values in (
                    (0, word.enable, word.address * len(codes), word.data),
                    (0, element.enable, element.address, [element.data]),
                    (1, state.enable, state.address, [state.data]),
                    (2, valid, self.codes[1], codes)):
                if seen:
                    self.events += [(self.cycle, 0, packet, kind, address + k, value, 0)
                                    for k, value in enumerate(values)]
            if valid:
                self.codes = (packet, self.codes[1] + len(codes))
            self.cycle += 1
            await FallingEdge(self.unit.clock)

    def take(self) -> np.ndarray:
        """What was written since the last call, a token's end."""
        self.codes = (-1, 0)
        events, self.events = np.array(self.events, EVENT), []
        return events


@cocotb.test()
@cocotb.parametrize((("name", "pauses"), [("one", (0, 0)), ("one", (0, 90)), ("four", (90, 0)),
                                          ("four", (0, 90))]))
async def tokens_equal_integer_model(dut, name: str, pauses: tuple[int, int]):
    """Tokens, every write, counters, ratio and logits; host slow in asking, slow in listening."""
    unit, rng = Unit(dut, "tokens", name), random.Random(sum(pauses))
    program = toy()
    model, image = IntegerModel(program), lower(program, unit.component.config)
    outline = Outline.of(image)
    await unit.reset(dut)
    await load(unit, image)
    recorder = Recorder(unit)
    watch = cocotb.start_soon(recorder.run())
    feed = cocotb.start_soon(unit.put(
        "tokens", [{"token": token, "reset": reset} for token, reset in STEPS],
        lambda: rng.randint(0, pauses[0])))
    (logits,) = (vector["address"] for vector in image.metadata["vectors"]
                 if vector["name"] == "logits")
    expected, state, scores, clipped = None, None, [], dict.fromkeys(SITES, 0)
    for position, (token, reset) in enumerate(STEPS):
        await until(unit, "result_valid", 5000)
        expected = model.step(token, None if reset else state, trace=True)
        state, scores = expected.state, expected.acc[-1].tolist()
        difference = first_divergence(outline, expected_writes(outline, expected.trace),
                                      recorder.take(), position)
        assert difference is None, str(difference)
        clipped = {site: expected.saturations[site] + (0 if reset else clipped[site])
                   for site in SITES}
        for _ in range(rng.randint(0, pauses[1])):  # the result waits
            valid, busy, ready = await unit.tick("result_valid", "status_busy", "tokens_ready")
            assert (valid, busy, ready) == (1, 1, 0)
        assert unit.get("result_payload") == int(expected.tokens[-1])
        assert dict(zip(SITES, unit.get("status_saturations"), strict=True)) == clipped
        ratio = unit.get("status_ratio")
        assert (ratio.mantissa, ratio.exponent) == (int(expected.ratio_mantissa[-1]),
                                                    int(expected.ratio_exponent[-1]))
        assert unit.get("status_cycles") == recorder.result - recorder.accepted - 1
        assert not unit.get("status_fault")
        unit.set(result_ready=1)
        await unit.tick()
        unit.set(result_ready=0)
    assert feed.done()
    assert expected is not None
    for k, acc in enumerate(scores):
        unit.set(peek_address=logits + k)
        await unit.tick()
        assert await unit.tick("peek_data") == acc
    assert not recorder.take().size
    watch.cancel()


@cocotb.test()
@cocotb.parametrize(name=["one", "four"])
async def foreign_tokens_are_refused(dut, name: str):
    """Before there is an image, and outside of its vocabulary; the next token is served."""
    unit = Unit(dut, "tokens", name)
    program = toy()
    await unit.reset(dut)

    async def refused(token: int) -> None:
        await within(200, unit.put("tokens", [{"token": token, "reset": 1}]))
        await until(unit, "status_fault", 200)
        for _ in range(300):
            assert not await unit.tick("result_valid")
        assert not unit.get("status_busy")

    unit.set(write={"enable": 1, "address": 0, "data": 0})
    await unit.tick()
    unit.set(write={"enable": 0, "address": 0, "data": 0})
    await refused(0)
    await load(unit, lower(program, unit.component.config))
    await refused(program.vocab_size)
    await within(200, unit.put("tokens", [{"token": 5, "reset": 1}]))
    (token,) = await within(5000, unit.take("result", 1))
    assert token == int(IntegerModel(program).step(5).tokens[-1])
    assert not unit.get("status_fault")
