"""Drives the side of a tile buffer on which vectors come."""

from ternforge_sim.bench import put


def tiles_of(config, vector):
    """Full tiles; columns beyond the fan-in are None."""
    padded = vector + [None] * (-len(vector) % config.tile)
    return [padded[k:k + config.tile] for k in range(0, len(padded), config.tile)]


async def restart(ctx, dut, tiles):
    ctx.set(dut.tiles, tiles)
    ctx.set(dut.restart, 1)
    await ctx.tick()
    ctx.set(dut.restart, 0)


async def write(ctx, dut, vector, complete_after, pause):
    words = [vector[k:k + dut.config.elements]
             for k in range(0, len(vector), dut.config.elements)]
    await put(ctx, dut.codes_i, words[:-1], pause)
    if complete_after == 0:  # with the last word
        ctx.set(dut.complete, 1)
        await put(ctx, dut.codes_i, words[-1:])
    else:
        await put(ctx, dut.codes_i, words[-1:])
        if complete_after > 1:
            await ctx.tick().repeat(complete_after - 1)
        ctx.set(dut.complete, 1)
        await ctx.tick()
    ctx.set(dut.complete, 0)
