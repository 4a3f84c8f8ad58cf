"""What goes through a core together: every token of every sequence once, in order."""

import pytest

from ternforge_sim.feed import batch, prefill


def run(feed):
    """All passes; the k-th token that is chosen is 100 + k."""
    passes, count, now = [], 100, next(feed, None)
    while now is not None:
        passes.append(now)
        chosen = []
        for wanted in now.chooses:
            chosen.append(count if wanted else None)
            count += wanted
        try:
            now = feed.send(chosen)
        except StopIteration:
            now = None
    return passes


def test_sequences_side_by_side():
    passes = run(batch([[1, 2, 3], [4]], 2, streams=3))
    assert [now.tokens for now in passes] == [[1, 4, None], [2, 100, None], [3, None, None],
                                              [102, None, None]]
    assert [now.reset for now in passes] == [[True, True, False], *[[False] * 3] * 3]
    assert [now.chooses for now in passes] == [[False, True, False], [False, True, False],
                                               [True, False, False], [True, False, False]]
    assert all(now.sequences == [0, 1, 2] and now.head and not now.chain for now in passes)


def test_a_single_stream_takes_token_by_token():
    passes = run(batch([[1, 2]], 3, streams=1))
    assert [now.tokens for now in passes] == [[1], [2], [100], [101]]


@pytest.mark.parametrize("streams", [2, 3, 4, 8])
@pytest.mark.parametrize("length", range(1, 10))
def test_a_prompt_goes_through_whole(streams, length):
    prompt = list(range(length))
    passes = run(prefill(prompt, 3, streams))
    chain = [now for now in passes if now.chain]
    assert len(chain) == -(-length // streams)
    assert [token for now in chain for token in now.tokens if token is not None] == prompt
    assert all(None not in now.tokens for now in chain[1:])
    first = [token is None for token in chain[0].tokens]
    assert first == sorted(first, reverse=True)  # those that take no part come first
    assert [now.reset[0] for now in passes] == [True] + [False] * (len(passes) - 1)
    assert not any(any(now.reset[1:]) for now in passes)
    assert [now.head for now in chain] == [False] * (len(chain) - 1) + [True]
    assert all(set(now.sequences) == {0} for now in passes)
    rest = [now for now in passes if not now.chain]
    assert [now.tokens for now in rest] == [[None] * (streams - 1) + [100 + k] for k in range(2)]
    assert [now.chooses for now in passes] == [
        [False] * (streams - 1) + [now.head] for now in passes]
