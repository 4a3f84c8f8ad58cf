"""Which tokens go through the core together: several sequences at a time, or one in a chain."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

__all__ = ["Feed", "Pass", "batch", "decode", "prefill"]


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One step of a core: a token of each stream, in one pass over the weights."""

    tokens: list[int | None]  #: of each stream; None where it takes no part
    reset: list[bool]  #: which begin a sequence
    sequences: list[int]  #: which sequence each stream belongs to
    chooses: list[bool]  #: after which of them the sequence goes on with the result
    chain: bool = False  #: the tokens follow each other in one sequence
    head: bool = True  #: logits are wanted


#: Gives passes and is sent what was chosen in each stream, None where nothing was.
Feed = Generator[Pass, list[int | None], None]


def batch(prompts: Sequence[Sequence[int]], count: int, streams: int, *,
          fresh: bool = True) -> Feed:
    """Sequences side by side, each in a stream of its own, until all have ``count`` tokens more.

    They begin here, unless not ``fresh``.
    """
    known = [list(prompt) for prompt in prompts]
    ends = [len(prompt) + max(0, count) - 1 for prompt in prompts]
    idle = streams - len(known)
    for position in range(max(ends)):
        runs = [position < end for end in ends] + [False] * idle
        chosen = yield Pass(
            tokens=[known[k][position] if run else None for k, run in enumerate(runs)],
            reset=[run and fresh and position == 0 for run in runs], sequences=list(range(streams)),
            chooses=[run and position + 1 == len(known[k]) for k, run in enumerate(runs)])
        for sequence, token in zip(known, chosen, strict=False):
            if token is not None:
                sequence.append(token)


def prefill(prompt: Sequence[int], count: int, streams: int) -> Feed:
    """One sequence: its prompt ``streams`` tokens at a time, then one by one in the last stream.

    The first pass takes what is left over, so that all others are full. Only the last of the prompt
    needs logits.
    """
    alone = [False] * (streams - 1)
    start, chosen = (len(prompt) - 1) % streams + 1 - streams, None
    for at in range(start, len(prompt), streams):
        last = at + streams >= len(prompt)
        pair = yield Pass(
            tokens=[prompt[k] if k >= 0 else None for k in range(at, at + streams)],
            reset=[at == start, *alone], sequences=[0] * streams, chooses=[*alone, last],
            chain=True, head=last)
        chosen = pair[-1]
    assert chosen is not None
    yield from decode(chosen, count - 1, streams)


def decode(token: int, count: int, streams: int) -> Feed:
    """One sequence after its prompt, one by one in the last stream."""
    chosen: int | None = token
    for _ in range(count):
        pair = yield Pass(tokens=[*[None] * (streams - 1), chosen], reset=[False] * streams,
                          sequences=[0] * streams, chooses=[*[False] * (streams - 1), True])
        chosen = pair[-1]
