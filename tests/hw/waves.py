"""Waveforms as text, for the documentation and the tests that compare it with the hardware."""

from collections.abc import Sequence
from typing import Any

__all__ = ["Probe", "draw"]

LOW, HIGH = "▁", "▔"


def draw(head: str, rows: Sequence[tuple[str, Sequence[int | str]]], cell: int = 5) -> str:
    """One line per signal and ``cell`` characters per column: bits as levels, text as it is."""
    label = max(len(name) for name, _ in rows) + 2
    count = max(len(values) for _, values in rows)
    lines = [head.ljust(label) + "".join(f"{k:<{cell}}" for k in range(count))]
    for name, values in rows:
        cells = [(HIGH if value else LOW) * cell if isinstance(value, int) else value.ljust(cell)
                 for value in values]
        lines.append(name.ljust(label) + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)


class Probe:
    """Notes signals in each cycle, at the clock edge that ends it.

    Parameters
    ----------
    bits : mapping of str to Signal
        Shown as levels.
    words : mapping of str to (Signal, Signal, int)
        Shown in hexadecimal with so many digits while the second signal, the valid one, is high.
    """

    def __init__(self, bits: dict[str, Any], words: dict[str, tuple[Any, Any, int]], cycles: int):
        self.bits, self.words, self.cycles = bits, words, cycles
        self.seen: dict[str, list[int | str]] = {name: [] for name in (*bits, *words)}

    async def run(self, ctx):
        """Testbench: so many cycles."""
        signals = [*self.bits.values(), *(s for pair in self.words.values() for s in pair[:2])]
        for _ in range(self.cycles):
            _, _, *values = await ctx.tick().sample(*signals)
            for name, value in zip(self.bits, values, strict=False):
                self.seen[name].append(int(value))
            pairs = values[len(self.bits):]
            for k, (name, (_, _, digits)) in enumerate(self.words.items()):
                value, valid = pairs[2 * k:2 * k + 2]
                self.seen[name].append(f"{int(value):0{digits}x}" if valid else "")

    def drawn(self, *names: str) -> str:
        """The waveform of these signals."""
        return draw("cycle", [(name, self.seen[name]) for name in names])
