"""Stream drivers and run loop of the unit benches: the one module that touches the simulator."""

from collections.abc import Callable, Iterable
from typing import Any

from amaranth.lib import wiring
from amaranth.sim import Simulator

__all__ = ["get", "no_pause", "put", "simulate"]


def no_pause() -> int:
    """Pause of zero cycles: full rate."""
    return 0


async def put(ctx, stream, payloads: Iterable[Any], pause: Callable[[], int] = no_pause):
    """Send ``payloads`` on ``stream`` (an ``i`` port), idling ``pause()`` cycles before each.

    Works on streams with and without back-pressure. Valid drops between transfers with a pause.
    """
    for payload in payloads:
        if (idle := pause()) > 0:
            await ctx.tick().repeat(idle)
        ctx.set(stream.payload, payload)
        ctx.set(stream.valid, 1)
        if stream.signature.always_ready:
            await ctx.tick()
        else:
            await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)


async def get(ctx, stream, count: int, pause: Callable[[], int] = no_pause) -> list:
    """Take ``count`` payloads from ``stream`` (an ``o`` port), stalling ``pause()`` before each.

    A stream without back-pressure is sampled every cycle, whatever ``pause`` says.
    """
    taken = []
    while len(taken) < count:
        if stream.signature.always_ready:
            (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
        else:
            if (idle := pause()) > 0:
                await ctx.tick().repeat(idle)
            ctx.set(stream.ready, 1)
            (payload,) = await ctx.tick().sample(stream.payload).until(stream.valid)
            ctx.set(stream.ready, 0)
        taken.append(payload)
    return taken


def simulate(dut: wiring.Component, *testbenches, processes: Iterable[Any] = (),
             max_cycles: int = 200_000, vcd: str | None = None):
    """Run ``testbenches`` (``async def f(ctx)``) on ``dut`` until all of them end.

    ``processes`` are ``async def`` simulator processes (models of RAM, say) that run beside them.

    Raises
    ------
    TimeoutError
        If they have not ended after ``max_cycles`` clock cycles.
    """
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for process in processes:
        simulator.add_process(process)
    for testbench in testbenches:
        simulator.add_testbench(testbench)

    async def watchdog(ctx):
        await ctx.delay(max_cycles * 1e-6)
        raise TimeoutError(f"the bench did not end within {max_cycles} cycles")

    simulator.add_testbench(watchdog, background=True)
    if vcd is None:
        simulator.run()
    else:
        with simulator.write_vcd(vcd):
            simulator.run()
