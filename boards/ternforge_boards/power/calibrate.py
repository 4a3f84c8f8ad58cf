"""Coefficients from a user's own readings of the core's supply."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ternforge.errors import UserError, unknown
from ternforge_boards.board import Board

from .bitstreams import BITSTREAMS, array_size, terms
from .coefficients import Basis, Coefficient, Coefficients
from .fit import solve

__all__ = ["COLUMNS", "Reading", "calibrate", "read_measurements", "to_toml"]

#: Columns of the file of measurements.
COLUMNS = ("bitstream", "volts", "milliamps")

#: Relative uncertainty of a reading that is assumed at least.
LEAST = 0.02

#: What a toggle array tells of a design with longer routes.
ROUTING = 0.4


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Current of the core's supply with one of the bitstreams."""

    bitstream: str
    volts: float
    milliamps: float


def read_measurements(path: Path) -> list[Reading]:
    """Read a CSV file with the columns :data:`COLUMNS`; a bitstream may stand in several rows.

    Raises
    ------
    UserError
        If it cannot be read, a column or a bitstream is missing, or a figure is none.
    """
    try:
        rows = list(csv.DictReader(path.read_text().splitlines(), strict=True))
    except OSError as error:
        raise UserError(f"cannot read the measurements {str(path)!r}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the measurements {str(path)!r} must be CSV: {error}") from None
    found = []
    for line, row in enumerate(rows, 2):
        where = f"line {line} of {str(path)!r}"
        if set(row) != set(COLUMNS) or None in row.values():
            raise UserError(f"{where} must have the columns {','.join(COLUMNS)}, as the file's "
                            "first line says")
        if row["bitstream"] not in BITSTREAMS:
            raise unknown(f"bitstream in {where}:", row["bitstream"], BITSTREAMS)
        figures = {}
        for name in COLUMNS[1:]:
            try:
                figures[name] = float(row[name])
            except ValueError:
                raise UserError(f"{name} in {where} must be a number, not {row[name]!r}") from None
            if not 0 < figures[name] < 1e6:
                raise UserError(f"{name} in {where} must be positive, not {row[name]}")
        found.append(Reading(bitstream=row["bitstream"], **figures))
    missing = [name for name in BITSTREAMS if name not in {reading.bitstream for reading in found}]
    if missing:
        raise UserError(f"the measurements {str(path)!r} must have each of the bitstreams "
                        f"{', '.join(BITSTREAMS)}: {', '.join(missing)} is missing")
    return found


def calibrate(board: Board, readings: list[Reading], given: Coefficients) -> Coefficients:
    """``given`` with static current, clock and toggle energies fitted to readings.

    The clock's energy is shared between network and flip-flops as in ``given``, or all of it goes
    to the network where one of them is unknown. The energy of a toggle without glitches keeps its
    ratio to that with them.

    Raises
    ------
    UserError
        If the currents do not grow from blank to clock to toggle.
    """
    volts = float(np.mean([reading.volts for reading in readings]))
    amperes = np.array([reading.milliamps for reading in readings]) * 1e-3
    columns = ("static", "clock", "sink")
    rows = np.array([[terms(reading.bitstream, board)[name] for name in columns]
                     for reading in readings])
    static, clock, sink = solve(rows, amperes)
    if min(static, clock, sink) <= 0:
        raise UserError("the currents must grow from the bitstream blank to clock to toggle: "
                        f"measured were {_means(readings)} mA")
    errors = rows @ np.array([static, clock, sink]) / amperes - 1
    spread = max(LEAST, float(np.abs(errors).max()))
    changed = {f"static_{board.device}" if f"static_{board.device}" in given.rows else "static":
               _row(static * 1e6, "uA", spread, f"blank bitstream on {board.name}")}
    per_cycle, size = clock * volts * 1e12, array_size(board)
    network, pins = given["clock"].value, given["flip_flop_clock"].value
    source = f"clock bitstream on {board.name}, {size} flip-flops, less the blank one"
    if network is None or pins is None:
        changed["clock"] = _row(per_cycle, "pJ", spread, source)
        changed["flip_flop_clock"] = _row(0.0, "pJ", 0.0, "in the network's")
    else:
        share = per_cycle / (network + size * pins)
        changed["clock"] = _row(network * share, "pJ", max(spread, 0.5), source)
        changed["flip_flop_clock"] = _row(pins * share, "pJ", max(spread, 0.5), source)
    energy = sink * volts * 1e12
    changed["sink"] = _row(energy, "pJ", max(spread, ROUTING),
                           f"toggle bitstream on {board.name}, less the clock one; routes between "
                           "neighbours, so that other designs may take more")
    functional, all_of_them = given.rows.get("sink_functional"), given["sink"].value
    if functional is not None and functional.value is not None and all_of_them:
        changed["sink_functional"] = _row(energy * functional.value / all_of_them, "pJ",
                                          max(spread, ROUTING), "scaled with the row sink")
    return given.model_copy(update={"name": f"{given.name}, calibrated on {board.name}",
                                    "volts": volts, "rows": {**given.rows, **changed}})


def _row(value: float, unit: str, uncertainty: float, source: str) -> Coefficient:
    return Coefficient(value=float(f"{value:.6g}"), unit=unit, status=Basis.MEASURED,
                       uncertainty=float(f"{uncertainty:.3g}"), source=f"user's reading: {source}")


def _means(readings: list[Reading]) -> str:
    return ", ".join(f"{np.mean([r.milliamps for r in readings if r.bitstream == name]):.4g}"
                     for name in BITSTREAMS)


def to_toml(given: Coefficients) -> str:
    """Text of a file that :func:`~.coefficients.read_toml` reads back."""
    lines = [f"name = {json.dumps(given.name)}", f"volts = {given.volts!r}",
             f"temperature_c = {given.temperature_c!r}"]
    for name, row in given.rows.items():
        lines += ["", f"[rows.{name}]"]
        lines += [f"{key} = {json.dumps(str(value)) if isinstance(value, str) else repr(value)}"
                  for key, value in row.model_dump(exclude_none=True).items()]
    return "".join(f"{line}\n" for line in lines)
