import math
from dataclasses import replace

import numpy as np
import pytest

from ternforge.config import CoreConfig
from ternforge.errors import UserError
from ternforge.isa import Function, Opcode
from ternforge.presets import BOARDS, PRESETS
from ternforge_firmware.allocate import FitError, allocate
from ternforge_firmware.image import Image, ImageError
from ternforge_firmware.lower import lower, lower_for, raise_
from ternforge_firmware.packet import Packet
from ternforge_model.convert import convert
from ternforge_model.program import Load, Matvec, Quantise
from ternforge_model.toy import random_checkpoint, random_program

VARIANTS = {
    "plain": {},
    "inner-norms": {"inner_norms": True},
    "no-bounds": {"lower_bound": False},
    "wide-embedding": {"wide_embedding": True},
    "one-layer": {"layers": 1, "d": 40, "m": 20},
}
CORES = [CoreConfig(), CoreConfig(lanes=2), CoreConfig(lanes=40, elements=4)]


@pytest.mark.parametrize("core", CORES, ids=lambda core: f"lanes{core.lanes}")
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_raise_is_the_inverse_of_lower(variant, core):
    program = random_program(7, **variant)
    image = lower(program, core, {"type": "byte"})
    again = raise_(Image.from_bytes(image.to_bytes()))
    assert again.digest == program.digest == image.model_hash
    assert (again.name, again.vectors, again.states, again.formats, again.logit_scale) == \
        (program.name, program.vectors, program.states, program.formats, program.logit_scale)
    assert again.embedding.dtype == program.embedding.dtype
    assert np.array_equal(again.embedding, program.embedding)
    for ours, theirs in zip(again.ops, program.ops, strict=True):
        assert type(ours) is type(theirs)
        for key, value in vars(theirs).items():
            mine = vars(ours)[key]
            if isinstance(value, np.ndarray):
                assert mine.dtype == value.dtype
                assert np.array_equal(mine, value)
            else:
                assert mine == value, key
    assert lower(again, core, image.tokenizer) == image


def test_packets_say_what_the_ops_say(program, core, image):
    allocation = allocate(program, core)
    for op, packet in zip(program.ops, image.program, strict=False):
        fields = packet.fields
        if isinstance(op, Load):
            assert packet.op is Opcode.LOAD
            assert (fields["dst"], fields["shift"]) == (allocation.vectors[op.dst], op.shift)
        elif isinstance(op, Quantise):
            assert packet.op is Opcode.QUANTISE
            assert fields["tiles"] == math.ceil(op.weights.size / 40)
            assert fields["src"] == allocation.vectors[op.src]
            assert packet.payload.tolist() == op.weights.tolist()
        else:
            assert packet.op is Opcode.MATVEC
            assert fields["function"] == op.function.value
            assert (fields["rows"], fields["tiles"]) == (op.rows, math.ceil(op.fan_in / 40))
            assert fields["scaled"] == (op.scale is not None)
            if op.scale is not None:
                assert fields["scale_mantissa"] == op.scale[0]
                assert fields["scale_exponent"] == op.scale[1] % 256
            for key in ("operand", "dst"):
                name = getattr(op, key)
                assert fields[key] == (0 if name is None else allocation.vectors[name])
            assert fields["state"] == (0 if op.state is None else allocation.states[op.state])
    assert [packet.op for packet in image.program].count(Opcode.END) == 1
    assert all(row.fields["dst"] == allocation.vectors["x"] for row in image.embedding)
    assert any(isinstance(op, Matvec) and op.function is Function.RECURRENCE for op in program.ops)


def test_every_field_survives(program, core):
    extreme = {"activation_shift": 5, "shift": 13}
    ops = []
    for op in program.ops:
        if isinstance(op, Matvec):
            scale = None if op.scale is None else (1 << 15, -128)
            ops.append(replace(op, **extreme, scale=scale))
        elif isinstance(op, Quantise):
            ops.append(replace(op, shift=62, square_shift=15))
        else:
            ops.append(replace(op, shift=min(op.shift, 1)))
    changed = replace(program, ops=tuple(ops))
    image = lower(changed, core)
    assert raise_(image).digest == changed.digest == image.model_hash
    for packet in image.program:
        if packet.op is Opcode.MATVEC:
            assert {name: packet.fields[name] for name in extreme} == extreme
            assert packet.fields["scale_exponent"] == (0x80 if packet.fields["scaled"] else 0)


def test_needs_of_the_image_are_those_of_the_program(program, core, image):
    assert image.needs == {**allocate(program, core).needs, "memory_beats": len(image.memory())}


SHIPPED = {
    "up5k": ((160, 2, 400), 16856),
    "ecp5-85f": ((200, 4, 600), 11122),
}


@pytest.mark.parametrize("preset", SHIPPED)
def test_shapes_of_the_shipped_models_fit(preset, record_property):
    (d, layers, m), beats = SHIPPED[preset]
    checkpoint = random_checkpoint(1, d=d, layers=layers, m=m, vocab=65)
    image = lower(convert(*checkpoint, range(8)), PRESETS[preset])
    record_property("memory_bytes", image.memory().size)
    assert len(image.memory()) == beats <= PRESETS[preset].memory_beats
    image.check_core(PRESETS[preset])


def test_image_memory_is_limited(program, core, image):
    beats = len(image.memory())
    assert lower(program, replace(core, memory_beats=beats), image.tokenizer) == image
    with pytest.raises(FitError) as error:
        lower(program, replace(core, memory_beats=beats - 3))
    assert str(error.value) == ("model 'toy-3' does not fit the core: its image needs memory_beats="
                                f"{beats}, 3 more than its {beats - 3}")


def test_a_board_that_would_fit_is_named():
    program = random_program(2, d=16, layers=1, m=440, vocab=16)
    with pytest.raises(FitError) as error:
        lower_for(program, "icebreaker")
    assert str(error.value) == (
        "model 'toy-2' does not fit the core: quantised vector 'layers.0.mlp.down_proj.norm' need "
        "max_fan_in=440, 40 more than its 400 (icebreaker); it would fit ulx3s-85f or "
        "ulx3s-85f-sdram or orangecrab-85f or butterstick-85f or ecpix5-85f or versa-ecp5-45f or "
        "tang-nano-20k")
    assert lower_for(program, "ulx3s-85f") == lower_for(program, "ecp5-85f") == \
        lower(program, PRESETS["ecp5-85f"])


@pytest.mark.parametrize(("m", "hint"), [
    (640, ("it would fit ulx3s-85f-sdram or orangecrab-85f or butterstick-85f or ecpix5-85f or "
          "versa-ecp5-45f or tang-nano-20k")),
    (5000, "it fits no board, but the core ddr-n64"),
    (7000, "it fits no board")])
def test_a_model_for_no_board_is_refused(m, hint):
    program = random_program(2, d=16, layers=1, m=m, vocab=16)
    with pytest.raises(FitError, match=rf" \(up5k\); {hint}$"):
        lower_for(program, "up5k")


def test_unknown_boards_are_refused_with_the_nearest(program):
    with pytest.raises(UserError) as error:
        lower_for(program, "ulx3s")
    assert str(error.value) == ("unknown board 'ulx3s': did you mean 'ulx3s-85f' or "
                                "'ulx3s-85f-sdram'?")
    assert set(BOARDS.values()) <= set(PRESETS)


def changed(image, **changes) -> Image:
    return replace(image, metadata={**image.metadata, **changes})


def test_metadata_that_do_not_describe_the_packets_are_refused(image):
    start = "image 'm.tfi' is malformed in section 'metadata': it must describe the packets of the "
    entries = image.metadata["packets"]
    moved = [{**entry, "address": entry["address"] + 1} for entry in image.metadata["vectors"]]
    cases = [
        ({"packets": entries[:-1]},
         f"program: {len(entries)} packets must have as many entries, not {len(entries) - 1}"),
        ({"vectors": moved}, "program: src of packet 0 must be 1, not 0"),
        ({"vectors": 5}, "program: TypeError 'int' object is not iterable"),
        ({"packets": [{"name": "n"}, *entries[1:]]},
         "program: dst of packet 0 must be 0, not 24"),
    ]
    for changes, message in cases:
        with pytest.raises(ImageError) as error:
            raise_(changed(image, **changes), "m.tfi")
        assert str(error.value).startswith(start + message)
    with pytest.raises(ImageError) as error:
        raise_(replace(image, metadata={}), "m.tfi")
    assert str(error.value) == f"{start}program: KeyError 'vectors'"


def test_headers_that_contradict_each_other_are_refused(image):
    first = image.program[0]
    wrong = Packet(first.op, {**first.fields, "tiles": 7}, first.payload)
    with pytest.raises(ImageError, match=r"tiles of packet 0 must be 1, not 7$"):
        raise_(replace(image, program=(wrong, *image.program[1:])))
    rows = [Packet(row.op, {**row.fields, "dst": row.fields["dst"] + 1}, row.payload)
            for row in image.embedding]
    with pytest.raises(ImageError, match=r"embedding rows must load 'x'$"):
        raise_(replace(image, embedding=tuple(rows)))


def test_a_wrong_hash_is_refused(image):
    with pytest.raises(ImageError) as error:
        raise_(replace(image, model_hash="0" * 64), "m.tfi")
    assert str(error.value) == ("image 'm.tfi' is malformed in its header: the model hash must be "
                                f"that of its packets, {image.model_hash}, not {'0' * 64}")


def test_a_changed_weight_is_noticed(image):
    program = list(image.program)
    at = next(n for n, packet in enumerate(program) if packet.op is Opcode.MATVEC)
    payload = program[at].payload.copy()
    payload[0, 0] = 0xFF
    program[at] = Packet(Opcode.MATVEC, program[at].fields, payload)
    with pytest.raises(ImageError, match=r"byte 0 of weight beat 0 must be a code of five trits"):
        raise_(replace(image, program=tuple(program)))
    payload[0, 0] = 0xC7 if payload[0, 0] != 0xC7 else 0
    program[at] = Packet(Opcode.MATVEC, program[at].fields, payload)
    with pytest.raises(ImageError, match="the model hash must be that of its packets"):
        raise_(replace(image, program=tuple(program)))
