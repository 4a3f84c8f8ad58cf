"""Golden files equal what the code makes, and both definitions reproduce them."""

import json

import numpy as np
import pytest

from ternforge import numerics
from ternforge_model import fixed
from ternforge_model.golden import (
    COMMAND,
    FILES,
    MODELS,
    SEED,
    TEMPERATURE,
    dumps,
    golden_folder,
    load_golden,
)
from ternforge_model.integer import IntegerModel
from ternforge_model.sampling import generate
from ternforge_model.toy import random_program

FOLDER = golden_folder()


def scalar_code(v: int, largest: int) -> int:
    norm = numerics.normalise(largest)
    return numerics.code(v, norm, numerics.reciprocal(norm))


def vector_code(v, largest):
    mantissa, exponent = fixed.normalise(largest)
    return fixed.code(v, exponent, fixed.reciprocal(mantissa))


def fields(value) -> tuple[int, ...]:
    return tuple(vars(value).values())


SCALAR = {
    "rnd": numerics.rnd,
    "saturate": numerics.saturate,
    "normalise": lambda v: fields(numerics.normalise(v)),
    "reciprocal": lambda m: numerics.reciprocal(numerics.Normalised(m, 0)),
    "code": scalar_code,
    "ratio": lambda v, s: fields(numerics.ratio(numerics.normalise(v), s)),
    "scale": lambda m, e, rm, re: fields(numerics.scale(m, e, numerics.Ratio(rm, re))),
    "sigmoid": numerics.sigmoid,
    "silu": numerics.silu,
}
VECTOR = {
    "rnd": fixed.rnd,
    "saturate": np.vectorize(lambda v, bits: fixed.saturate(np.array([v]), bits)[0]),
    "normalise": fixed.normalise,
    "reciprocal": fixed.reciprocal,
    "code": vector_code,
    "ratio": lambda v, s: fixed.ratio(*fixed.normalise(v), s),
    "scale": np.vectorize(fixed.scale),
    "sigmoid": fixed.sigmoid,
    "silu": np.vectorize(lambda a, shift: fixed.silu(np.array([a]), shift)[0]),
}


@pytest.mark.parametrize("name", FILES)
def test_file_is_what_the_code_writes(name):
    same = dumps(FILES[name]()) == (FOLDER / name).read_text(encoding="utf-8")
    assert same, f"{name} is stale; rebuild it: {COMMAND}"


def test_files_are_small():
    assert sum((FOLDER / name).stat().st_size for name in FILES) < 200_000


@pytest.mark.parametrize("name", SCALAR)
def test_scalar_definition_reproduces_the_table(name):
    table = load_golden(FOLDER / "operations.json")["tables"][name]
    results = 2 if name in ("normalise", "ratio", "scale") else 1
    for row in table["rows"]:
        got = SCALAR[name](*row[:-results])
        assert (list(got) if results == 2 else [got]) == row[-results:], row


@pytest.mark.parametrize("name", VECTOR)
def test_vectorised_twin_reproduces_the_table(name):
    table = load_golden(FOLDER / "operations.json")["tables"][name]
    columns = np.array(table["rows"], np.int64).T
    results = 2 if name in ("normalise", "ratio", "scale") else 1
    got = np.array(VECTOR[name](*columns[:-results])).reshape(results, -1)
    assert np.array_equal(got, columns[-results:])


@pytest.mark.parametrize("name", MODELS)
def test_integer_model_reproduces_every_intermediate(name):
    golden = load_golden(FOLDER / "tokens.json")["models"][name]
    model = IntegerModel(random_program(**MODELS[name]))
    assert model.program.digest == golden["program_digest"]
    result = model.forward(golden["ids"], trace=True)
    trace = {f"{op}/{kind}": value.tolist() for (op, kind), value in result.trace.items()}
    assert list(trace) == list(golden["trace"])
    for key, value in trace.items():
        assert value == golden["trace"][key], key
    assert generate(model, golden["ids"], len(golden["greedy"])) == golden["greedy"]
    assert generate(model, golden["ids"], len(golden["sampled"]), temperature=TEMPERATURE,
                    seed=SEED) == golden["sampled"]


@pytest.mark.parametrize(("key", "value"), [
    ("magic", "other"), ("version", 0), ("kind", "tokens"), ("seed", 1), ("config", {}),
])
def test_foreign_header_names_the_command(tmp_path, key, value):
    content = json.loads((FOLDER / "operations.json").read_text())
    want = content[key]
    path = tmp_path / "operations.json"
    path.write_text(json.dumps({**content, key: value}))
    with pytest.raises(ValueError) as error:
        load_golden(path)
    assert str(error.value) == (
        f"{path} must have {key} {want!r}, not {value!r}; rebuild it: {COMMAND}")


@pytest.mark.parametrize("text", ["", "[1", "[]", "{}"])
def test_damaged_file_names_the_command(tmp_path, text):
    path = tmp_path / "tokens.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"rebuild it: {COMMAND}$"):
        load_golden(path)
