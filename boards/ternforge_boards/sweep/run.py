"""Works on the points of a sweep that are not finished, and keeps each as soon as it is."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any, Protocol

from ternforge.errors import UserError

from .point import Point, Result, point_key
from .store import Store, find_in_cache, keep_in_cache

__all__ = ["Watcher", "open_points", "run_points", "work_on"]

Work = Callable[[Point], Result]


class Watcher(Protocol):
    """Told what happens."""

    def started(self, dashboard: str, workers: int) -> None:
        """Workers are there, or will be."""

    def finished(self, result: Result) -> None:
        """A point is finished, and kept."""


def open_points(points: Sequence[Point], store: Store, *, retry: bool = False,
                ) -> tuple[list[Result], list[Point]]:
    """Those that are finished, and the others. With ``retry``, failed points are not finished."""
    done, rest = [], []
    for point in points:
        found = store.find(point)
        if found is None or (retry and found.reason is not None):
            rest.append(point)
        else:
            done.append(found)
    return done, rest


def work_on(work: Work, text: str, key: str, retry: bool = False) -> str:
    """What a worker does: the result of a point, which its own machine's cache keeps too.

    A result that was lost with the worker that had it is found there.
    """
    result = find_in_cache(key)
    if result is None or (retry and result.reason is not None):
        result = work(Point.model_validate_json(text))
        keep_in_cache(result, key)
    return result.model_dump_json()


def run_points(points: Sequence[Point], store: Store, client: Any, work: Work, watcher: Watcher,
               *, retry: bool = False) -> list[Result]:
    """Work on ``points`` with Dask; each is kept as it finishes.

    With ``retry``, failures in a cache do not count. A point whose workers die becomes a row with
    that reason, which is not kept.

    Raises
    ------
    UserError
        If the scheduler goes away.
    """
    from dask.distributed import KilledWorker, as_completed

    watcher.started(client.dashboard_link, len(client.scheduler_info()["workers"]))
    futures = {client.submit(work_on, work, point.model_dump_json(), point_key(point), retry,
                             pure=False, retries=0, priority=-index): point
               for index, point in enumerate(points)}
    results = []
    for future in as_completed(list(futures)):
        point = futures[future]
        try:
            result = Result.model_validate_json(future.result())
        except KilledWorker:
            result = Result(point=point, lasting=False, reason="its worker died, and again in the "
                            "second try: is there enough memory?")
        except CancelledError:
            raise UserError(f"the scheduler was lost: {len(results)} points are kept in "
                            f"{str(store.folder)!r}; run it again to go on") from None
        except Exception as error:  # what the worker cannot even load
            result = Result(point=point, lasting=False,
                            reason=f"its worker failed: {type(error).__name__}: {error}")
        store.keep(result)
        results.append(result)
        watcher.finished(result)
        future.release()
    return results
