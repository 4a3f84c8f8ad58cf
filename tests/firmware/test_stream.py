"""Images that are written packet by packet, and matrices that take several packets."""

import errno
import io
import os
from dataclasses import replace

import numpy as np
import pytest

from ternforge import isa
from ternforge.config import CoreConfig
from ternforge.isa import Function, Opcode
from ternforge_firmware.cpu.engine import Engine
from ternforge_firmware.image import Image, ImageError
from ternforge_firmware.imagefile import ImageFile
from ternforge_firmware.lower import Layout, lower, raise_
from ternforge_firmware.packet import join_rows, split_rows
from ternforge_model.calibrate import calibrate
from ternforge_model.checkpoint import open_checkpoint, save_tensors
from ternforge_model.convert import convert, program_from_skeleton
from ternforge_model.integer import IntegerModel
from ternforge_model.program import Matvec
from ternforge_model.skeleton import skeleton
from ternforge_model.ternary import TernaryMatrix
from ternforge_model.tokenizer import ByteTokenizer
from ternforge_model.toy import random_checkpoint, random_program

CORES = {"plain": CoreConfig(), "narrow": CoreConfig(lanes=2),
         "wide": CoreConfig(lanes=40, elements=4),
         "few rows": CoreConfig(lanes=2, elements=1, max_rows=9)}


def streamed(program, core, tokenizer=None) -> bytes:
    buffer = io.BytesIO()
    Layout(program, core).save(buffer, tokenizer)
    return buffer.getvalue()


@pytest.mark.parametrize("core", CORES.values(), ids=CORES)
@pytest.mark.parametrize("wide", [False, True])
def test_a_stream_is_what_the_image_in_memory_writes(core, wide):
    program = random_program(5, vocab=20, inner_norms=True, wide_embedding=wide)
    tokenizer = ByteTokenizer(b"abcdefghijklmnopqrst")
    image = lower(program, core, tokenizer)
    assert streamed(program, core, tokenizer) == image.to_bytes()
    assert Layout(program, core).beats == len(image.memory())


def test_matrices_that_are_read_one_by_one_make_the_same_image(tmp_path):
    config, tensors = random_checkpoint(6)
    save_tensors(tmp_path, config, tensors)
    eager = skeleton(config, tensors)
    with open_checkpoint(tmp_path) as checkpoint:
        lazy = skeleton(config, checkpoint, lazy=True)
        largest = calibrate(eager)
        assert lazy.lazy
        assert not eager.lazy
        late = program_from_skeleton(lazy, largest, name="toy")
        assert all(isinstance(op.stored, TernaryMatrix) for op in late.ops
                   if isinstance(op, Matvec))
        early = program_from_skeleton(eager, largest, name="toy")
        assert streamed(late, CORES["plain"]) == streamed(early, CORES["plain"])
        assert late.digest == early.digest


def test_what_the_formats_were_chosen_by_is_in_the_image(tmp_path):
    config, tensors = random_checkpoint(6)
    program = convert(config, tensors, lazy=True)
    image = lower(program, CORES["plain"])
    assert image.metadata["calibration"] == {"sampled_tokens": 256, "random_tokens": 256}
    assert raise_(image).calibration == program.calibration
    program = convert(config, tensors, np.arange(20), lazy=True)
    assert program.calibration == {"text_tokens": 20, "random_tokens": 256}
    assert "calibration" not in lower(convert(config, tensors), CORES["plain"]).metadata


def test_a_checkpoint_that_changes_while_it_is_packed_is_refused(tmp_path):
    config, tensors = random_checkpoint(6)
    save_tensors(tmp_path, config, tensors)
    checkpoint = open_checkpoint(tmp_path)
    program = convert(config, checkpoint, lazy=True)
    os.utime(tmp_path / "model.safetensors", (1, 1))
    with pytest.raises(ValueError, match=r"model.safetensors must not change while it is read"):
        streamed(program, CORES["plain"])


class Full(io.BytesIO):
    """A disk with room for a thousand bytes."""

    def write(self, content) -> int:
        if self.tell() + len(memoryview(content).cast("B")) > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def test_a_full_disk_is_told_as_such():
    with pytest.raises(OSError, match="No space left") as error:
        Layout(random_program(5), CORES["plain"]).save(Full())
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("rows", [8, 9, 12, 31])
def test_parts_of_matrices_raise_to_the_same_program(rows):
    program = random_program(7)
    whole = lower(program, CORES["narrow"])
    image = lower(program, replace(CORES["narrow"], max_rows=rows))
    assert len(image.program) > len(whole.program)
    assert image.needs["max_rows"] <= rows < whole.needs["max_rows"]
    assert raise_(Image.from_bytes(image.to_bytes())).digest == program.digest
    logits = [item.fields["continued"] for item in image.program if item.op is Opcode.MATVEC
              and item.fields["function"] == Function.LOGITS.value]
    assert logits == [0] + [1] * (len(logits) - 1)
    assert len(logits) == -(-32 // rows)


def test_the_engine_runs_parts_as_the_integer_model_runs_the_whole(tmp_path):
    program = random_program(7)
    path = lower(program, replace(CORES["narrow"], max_rows=9)).write(tmp_path / "a.tfi")
    ids = np.arange(12)
    found, want = Engine(ImageFile(path)).forward(ids), IntegerModel(program).forward(ids)
    assert np.array_equal(found.acc, want.acc)
    assert np.array_equal(found.tokens, want.tokens)


@pytest.mark.parametrize("field", ["dst", "continued", "shift"])
def test_parts_that_do_not_fit_are_refused(field):
    image = lower(random_program(7), replace(CORES["narrow"], max_rows=12))
    names = [entry["name"] for entry in image.metadata["packets"]]
    at = names.index("layers.0.attn.o_proj") + 1
    assert names[at] == "layers.0.attn.o_proj"
    item = image.program[at]
    broken = replace(item, fields={**item.fields, field: item.fields[field] ^ 1})
    program = (*image.program[:at], broken, *image.program[at + 1:])
    with pytest.raises(ImageError, match=rf"packets of 'layers.0.attn.o_proj': {field} of the part "
                                         r"from row 8 on must be \d+, not \d+"):
        raise_(replace(image, program=program))


def test_split_rows_is_the_inverse_of_join_rows():
    image = lower(random_program(7), CORES["narrow"])
    for item in image.program:
        if item.op is Opcode.MATVEC:
            parts = split_rows(item, [slice(0, 9), slice(9, item.fields["rows"])], 2)
            assert len(parts) == 2
            assert join_rows(parts) == item


def test_state_addresses_have_twenty_bits():
    word = isa.encode(Opcode.MATVEC, state=0x9ABCD, rows=8, dst=7)
    assert isa.header_fields(Opcode.MATVEC)["state"] == 20
    op, fields = isa.decode(word)
    assert (op, fields["state"], fields["dst"], fields["rows"]) == (Opcode.MATVEC, 0x9ABCD, 7, 8)
    layout = isa.HEADERS[Opcode.MATVEC]
    assert word >> layout["state"].offset & 0xFFFF == 0xABCD
    assert word >> layout["state_high"].offset & 0xF == 0x9
    with pytest.raises(ValueError, match=r"^MATVEC field state=1048576 does not fit in 20 bits$"):
        isa.encode(Opcode.MATVEC, state=1 << 20)
