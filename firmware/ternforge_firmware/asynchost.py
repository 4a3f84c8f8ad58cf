"""The driver for asyncio: calls of a board that do not block the event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .host import Board, Counters
from .image import Image

__all__ = ["AsyncBoard"]

T = TypeVar("T")


class AsyncBoard:
    """A :class:`~.host.Board` in a thread of its own, one call after the other.

    Parameters
    ----------
    board : Board
        Used by nobody else from now on.
    """

    def __init__(self, board: Board):
        self.board = board
        self._thread = ThreadPoolExecutor(1, "ternforge-board")

    @classmethod
    async def open(cls, port: str, **options: Any) -> "AsyncBoard":
        """Like :meth:`~.host.Board.open`."""
        return cls(await asyncio.to_thread(lambda: Board.open(port, **options)))

    async def __aenter__(self) -> "AsyncBoard":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _call(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Close the transport, after the calls under way."""
        await self._call(self.board.close)
        self._thread.shutdown()

    async def load(self, memory: Image | Sequence[Any],
                   progress: Callable[[int, int], object] | None = None, **options: Any) -> int:
        """Like :meth:`~.host.Board.load`; ``progress`` is called in the board's thread."""
        return await self._call(lambda: self.board.load(memory, progress, **options))

    async def reset(self) -> None:
        """Like :meth:`~.host.Board.reset`."""
        await self._call(self.board.reset)

    async def step(self, tokens: Sequence[int]) -> int:
        """Like :meth:`~.host.Board.step`."""
        return await self._call(lambda: self.board.step(tokens))

    async def generate(self, count: int, *, prompt: Sequence[int] = ()) -> AsyncGenerator[int]:
        """Like :meth:`~.host.Board.generate`; ends the generation when it is closed early."""
        tokens = self.board.generate(count, prompt=prompt)
        try:
            while (token := await self._call(lambda: next(tokens, None))) is not None:
                yield token
        finally:
            await self._call(tokens.close)

    async def counters(self) -> Counters:
        """Like :meth:`~.host.Board.counters`."""
        return await self._call(self.board.counters)
