"""What several tests of the simulation share."""

from dataclasses import replace

import numpy as np


def damaged(program, name, place=2):
    """``program`` with the sign of one weight of the op ``name`` changed, and the row of it.

    ``place`` chooses among the rows with a weight in that column.
    """
    ops = list(program.ops)
    index = next(k for k, op in enumerate(ops) if op.name == name)
    trits = ops[index].trits.copy()
    row = int(np.flatnonzero(trits[:, 3])[place])
    trits[row, 3] *= -1
    ops[index] = replace(ops[index], trits=trits)
    return replace(program, ops=tuple(ops)), row


def cycles_of(path):
    """First and last cycle in a VCD file."""
    times = [int(line[1:]) for line in path.read_text().splitlines() if line.startswith("#")]
    return times[0] // 2, times[-1] // 2
