"""Golden vectors: numbers that every implementation of the integer contract has to reproduce.

``python -m ternforge_model.golden`` rebuilds ``tests/golden``. Both files are JSON with a header
(magic, version, kind, config, seed); the same code writes the same bytes.

``operations.json`` has one table per scalar function: the names of its columns and its rows, the
result last. ``tokens.json`` has, per toy model, its tokens, what it generates, and every
intermediate under ``op name/kind`` (see :meth:`IntegerModel.forward`), one list per token.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from ternforge import numerics

from .integer import IntegerModel
from .sampling import generate
from .toy import random_program

__all__ = ["COMMAND", "FILES", "MAGIC", "VERSION", "dumps", "golden_folder", "load_golden",
           "operations", "tokens"]

MAGIC = "ternforge-golden"
VERSION = 1
SEED = 20
COMMAND = "python -m ternforge_model.golden"
#: Rows of random inputs per function.
RANDOM_ROWS = 60
#: Tokens traced, tokens generated, temperature of the sampled ones.
TRACED, GENERATED, TEMPERATURE = 3, 16, 1.0
#: Models of ``tokens.json``: arguments of ``random_program``.
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"seed": 1, "d": 16, "layers": 2, "m": 32, "vocab": 32},
    "inner-norms": {"seed": 2, "d": 16, "layers": 2, "m": 32, "vocab": 32, "inner_norms": True,
                    "wide_embedding": True},
}

_Row = tuple[int, ...]


def golden_folder() -> Path:
    """Folder ``tests/golden`` of the repository."""
    return Path(__file__).parents[2] / "tests" / "golden"


def _signed(bits: int) -> list[int]:
    top = 1 << (bits - 1)
    return [-top, -top + 1, -1, 0, 1, top - 2, top - 1]


def _any(rng: Random, bits: int) -> int:
    """Non-negative integer whose length is uniform up to ``bits``."""
    return rng.getrandbits(rng.randint(1, bits))


def _either(rng: Random, bits: int) -> int:
    return rng.choice((-1, 1)) * _any(rng, bits - 1)


def _rnd(rng: Random) -> Iterator[_Row]:
    ties = [(value, 1) for value in range(-5, 6)] + [(v, 0) for v in _signed(24)]
    for value, shift in ties + [(_either(rng, 40), rng.randint(0, 47)) for _ in range(RANDOM_ROWS)]:
        yield value, shift, numerics.rnd(value, shift)


def _saturate(rng: Random) -> Iterator[_Row]:
    for bits in (16, 24):
        top = 1 << (bits - 1)
        extra = [-top - 1, top, 1 << 40, -(1 << 40)]
        for value in _signed(bits) + extra + [_either(rng, 30) for _ in range(RANDOM_ROWS // 2)]:
            yield value, bits, numerics.saturate(value, bits)


def _largest(rng: Random) -> list[int]:
    edges = [0, 1, 2, 127, 32767, 32768, 65535, 65536, 65537, (1 << 23) - 1, 1 << 23]
    return edges + [_any(rng, 24) for _ in range(RANDOM_ROWS)]


def _normalise(rng: Random) -> Iterator[_Row]:
    for value in _largest(rng):
        norm = numerics.normalise(value)
        yield value, norm.mantissa, norm.exponent


def _reciprocal(rng: Random) -> Iterator[_Row]:
    for value in _largest(rng):
        norm = numerics.normalise(value)
        yield norm.mantissa, numerics.reciprocal(norm)


def _code(rng: Random) -> Iterator[_Row]:
    for largest in _largest(rng):
        norm = numerics.normalise(largest)
        recip = numerics.reciprocal(norm)
        for v in (largest, -largest, largest // 2, rng.randint(-largest, largest)):
            yield v, largest, numerics.code(v, norm, recip)


def _ratio(rng: Random) -> Iterator[_Row]:
    sums = [0, 1, (1 << 30) - 1, 1 << 30, 1 << 31, 1 << 32, (1 << 43) - 1]
    sums += [_any(rng, 43) for _ in range(RANDOM_ROWS)]
    for square_sum in sums:
        largest = _any(rng, 23) if square_sum != 1 else 0
        ratio = numerics.ratio(numerics.normalise(largest), square_sum)
        yield largest, square_sum, ratio.mantissa, ratio.exponent


def _scale(rng: Random) -> Iterator[_Row]:
    for n in range(RANDOM_ROWS):
        mantissa, exponent = rng.randint(1 << 15, (1 << 16) - 1), rng.randint(-60, 20)
        row = numerics.Ratio(0 if n == 0 else rng.randint(1 << 14, (1 << 16) - 1),
                             rng.randint(-30, 5))
        scale = numerics.scale(mantissa, exponent, row)
        yield mantissa, exponent, row.mantissa, row.exponent, scale.mantissa, scale.shift


def _sigmoid(rng: Random) -> Iterator[_Row]:
    steps = [side * segment * 128 + d for segment in (1, 2, 128, 255) for side in (-1, 1)
             for d in (-1, 0, 1)]
    for t in _signed(16) + steps + [_either(rng, 16) for _ in range(RANDOM_ROWS)]:
        yield t, numerics.sigmoid(t)


def _silu(rng: Random) -> Iterator[_Row]:
    for shift in (0, 1, 3, 7):
        for a in _signed(16) + [_either(rng, 16) for _ in range(RANDOM_ROWS // 3)]:
            yield a, shift, numerics.silu(a, shift)


_OPERATIONS: dict[str, tuple[tuple[str, ...], Callable[[Random], Iterator[_Row]]]] = {
    "rnd": (("value", "shift", "result"), _rnd),
    "saturate": (("value", "bits", "result"), _saturate),
    "normalise": (("value", "mantissa", "exponent"), _normalise),
    "reciprocal": (("mantissa", "result"), _reciprocal),
    "code": (("v", "largest", "result"), _code),
    "ratio": (("largest", "square_sum", "mantissa", "exponent"), _ratio),
    "scale": (("mantissa", "exponent", "ratio_mantissa", "ratio_exponent", "scale_mantissa",
               "scale_shift"), _scale),
    "sigmoid": (("t", "result"), _sigmoid),
    "silu": (("a", "activation_shift", "result"), _silu),
}


def operations() -> dict[str, Any]:
    """Content of ``operations.json``."""
    tables = {}
    for name, (columns, rows) in _OPERATIONS.items():
        tables[name] = {"columns": list(columns), "rows": [list(r) for r in rows(Random(SEED))]}
    return {"magic": MAGIC, "version": VERSION, "kind": "operations", "seed": SEED,
            "config": {"random_rows": RANDOM_ROWS}, "tables": tables}


def tokens() -> dict[str, Any]:
    """Content of ``tokens.json``."""
    models = {}
    for name, arguments in MODELS.items():
        model = IntegerModel(random_program(**arguments))
        rng = Random(SEED)
        ids = [rng.randrange(arguments["vocab"]) for _ in range(TRACED)]
        result = model.forward(ids, trace=True)
        models[name] = {
            "program_digest": model.program.digest,
            "ids": ids,
            "tokens": result.tokens.tolist(),
            "greedy": generate(model, ids, GENERATED),
            "sampled": generate(model, ids, GENERATED, temperature=TEMPERATURE, seed=SEED),
            "saturations": result.saturations,
            "trace": {f"{op}/{kind}": value.tolist()
                      for (op, kind), value in result.trace.items()},
        }
    return {"magic": MAGIC, "version": VERSION, "kind": "tokens", "seed": SEED,
            "config": {"models": MODELS, "traced": TRACED, "generated": GENERATED,
                       "temperature": TEMPERATURE}, "models": models}


#: Files of the golden folder and what makes their content.
FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "operations.json": operations,
    "tokens.json": tokens,
}


def _write(value: Any, indent: str, out: list[str]) -> None:
    """JSON with one line per list of numbers."""
    deeper = indent + " "
    if isinstance(value, dict) and value:
        for n, (key, item) in enumerate(value.items()):
            out.append(f"{',' if n else '{'}\n{deeper}{json.dumps(key)}: ")
            _write(item, deeper, out)
        out.append("\n" + indent + "}")
    elif isinstance(value, list) and value and isinstance(value[0], list):
        for n, item in enumerate(value):
            out.append(f"{',' if n else '['}\n{deeper}")
            _write(item, deeper, out)
        out.append("\n" + indent + "]")
    else:
        out.append(json.dumps(value, separators=(",", ":")))


def dumps(content: dict[str, Any]) -> str:
    """The text of a golden file."""
    out: list[str] = []
    _write(content, "", out)
    return "".join(out) + "\n"


def load_golden(path: str | Path) -> dict[str, Any]:
    """Read a golden file, by its name one of :data:`FILES`.

    Raises
    ------
    ValueError
        The file is missing, foreign or of another version, seed or config than this code writes;
        the message names the command that rebuilds it.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a golden file: {error}; rebuild it: {COMMAND}") from None
    config = {"operations": {"random_rows": RANDOM_ROWS},
              "tokens": {"models": MODELS, "traced": TRACED, "generated": GENERATED,
                         "temperature": TEMPERATURE}}
    want = {"magic": MAGIC, "version": VERSION, "kind": path.stem, "seed": SEED,
            "config": config.get(path.stem)}
    for key, value in want.items():
        have = content.get(key) if isinstance(content, dict) else None
        if have != value:
            raise ValueError(f"{path} must have {key} {value!r}, not {have!r}; rebuild it: "
                             f"{COMMAND}")
    return content


def _main() -> int:
    folder = golden_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        text = dumps(make())
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
