"""What units with a fixed latency have in common."""

from typing import Any

from ternforge_sim.bench import put, simulate

__all__ = ["check_latency"]


def check_latency(dut: Any, payload: dict[str, int]) -> None:
    """One payload comes out of ``dut``, once, ``dut.latency`` cycles after it went in."""
    seen = []

    async def producer(ctx):
        await put(ctx, dut.i, [payload])

    async def monitor(ctx):
        for _ in range(dut.latency + 3):
            _, _, valid = await ctx.tick().sample(dut.o.valid)
            seen.append(valid)

    simulate(dut, producer, monitor)
    assert seen == [0] * dut.latency + [1, 0, 0]
