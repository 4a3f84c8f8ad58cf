from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ternforge.config import CoreConfig
from ternforge.isa import Opcode
from ternforge_firmware import packet
from ternforge_firmware.assemble import ListingError, assemble, disassemble
from ternforge_firmware.image import Image
from ternforge_firmware.lower import lower
from ternforge_firmware.packet import Packet
from ternforge_model.toy import random_program

HAND = """\
; two tokens of three elements
.model tiny
.hash 0000000000000000000000000000000000000000000000000000000000000000
.core lanes=2 elements=1
.embedding
LOAD shift=2 count=3 dst=4
  .int 1 2 3
LOAD shift=2 count=3 dst=4 ; token 1
  .int -1
  .int 0*2
.program
MATVEC function=LOGITS tiles=2 rows=8
  .beat c7c7 *15
  .beat c700
END
"""


def test_a_listing_by_hand():
    image = assemble(HAND)
    assert (image.model, image.lanes, image.elements) == ("tiny", 2, 1)
    assert [row.payload.tolist() for row in image.embedding] == [[1, 2, 3], [-1, 0, 0]]
    matvec, end = image.program
    assert matvec.fields["function"] == 6
    assert matvec.payload.tolist() == [[0xC7, 0xC7]] * 15 + [[0xC7, 0]]
    assert end == Packet(Opcode.END)
    assert assemble(disassemble(image)) == image


@pytest.mark.parametrize("core", [CoreConfig(), CoreConfig(lanes=40, elements=4)],
                         ids=["lanes8", "lanes40"])
@pytest.mark.parametrize("inner_norms", [False, True])
def test_assemble_is_the_inverse_of_disassemble(core, inner_norms):
    program = random_program(11, d=20, layers=2, m=44, vocab=24, inner_norms=inner_norms)
    image = lower(program, core, {"type": "byte", "bytes": [7, 8]})
    assert assemble(disassemble(image)).to_bytes() == image.to_bytes()


names = st.text(min_size=1, max_size=8)
values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False,
                                                                         allow_infinity=False)
                      | names, lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(names, inner, max_size=3), max_leaves=5)


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=16),
       st.dictionaries(names, values, max_size=3), st.dictionaries(names, values, max_size=3),
       st.lists(values, min_size=1, max_size=1) | st.lists(values, max_size=3) | values,
       st.integers(0, 1 << 30))
def test_any_image_survives(model, tokenizer, metadata, packets, seed):
    rng = np.random.default_rng(seed)
    body = packet.load(3, rng.integers(-3, 3, int(rng.integers(0, 60))), wide=True, shift=1)
    image = Image(model=model, model_hash=rng.bytes(32).hex(), lanes=8, elements=2,
                  embedding=(packet.load(0, np.arange(5), wide=False, shift=0),),
                  program=(body, Packet(Opcode.END)), tokenizer=tokenizer,
                  metadata={**metadata, "packets": packets})
    assert assemble(disassemble(image)).to_bytes() == image.to_bytes()
    assert Image.from_bytes(image.to_bytes()) == image


def test_comments_and_blank_lines_do_not_matter(image):
    lines = disassemble(image).splitlines()
    text = "\n\n".join(f"  {line}\t" for line in lines if not line.startswith(";"))
    assert assemble(text) == image


def test_hash_is_computed_if_it_is_left_out(image):
    lines = disassemble(image).splitlines()
    text = "\n".join(line for line in lines if not line.startswith(".hash"))
    assert assemble(text) == image
    with pytest.raises(ListingError) as error:
        assemble("\n".join(line for line in HAND.splitlines() if not line.startswith(".hash")))
    assert str(error.value) == (
        "listing line 14: without .hash the packets must form a model, but image 'listing' is "
        "malformed in section 'metadata': it must describe the packets of the program: KeyError "
        "'vectors'")


def test_summary_has_no_data_and_does_not_assemble(image):
    text = disassemble(image, data=False)
    assert len(text.splitlines()) < 20 + 2 * len(image.program) + 5
    assert ".beat" not in text
    assert ".int" not in text
    for entry in image.metadata["packets"]:
        assert f'"{entry["name"]}"' in text
    with pytest.raises(ListingError) as error:
        assemble(text, "model.txt")
    line = 1 + next(n for n, line in enumerate(text.splitlines()) if line.startswith("LOAD"))
    assert str(error.value) == (f"model.txt line {line}: LOAD constants must be 24 values, not "
                                "(0,)")


def edit(old, new):
    assert HAND.count(old) >= 1
    return HAND.replace(old, new, 1)


@pytest.mark.parametrize(("text", "message"), [
    (edit("LOAD", "LAOD"), "line 6: unknown statement 'LAOD': did you mean 'LOAD'?"),
    (edit("shift=2", "shfit=2"), "line 6: unknown field 'shfit': did you mean 'shift' or 'dst'?"),
    (edit("shift=2", "shift"), "line 6: a field must be given as name=value, not 'shift'"),
    (edit("shift=2", "shift=16"), "line 6: LOAD field shift=16 does not fit in 4 bits"),
    (edit("shift=2", "shift=2 shift=2"), "line 6: field 'shift' must be given once"),
    (edit("=LOGITS", "=LOGIT"),
     "line 12: unknown function 'LOGIT': did you mean 'LOGITS' or 'FORGET'?"),
    (edit("=LOGITS", "=7"), "line 12: 7 is not a valid Function"),
    (edit("1 2 3", "1 2 300"), "line 6: LOAD constant 2 must fit in 8 signed bits, not 300"),
    (edit("1 2 3", "1 2"), "line 6: LOAD constants must be 3 values, not (2,)"),
    (edit("1 2 3", "1 2 x"), "line 7: a value must be a decimal integer, not 'x'"),
    (edit("0*2", "0*0"), "line 10: a count after * must be 1 to 2**24 - 1, not 0"),
    (edit("*15", "*14"),
     "line 12: MATVEC weights must be 16 beats of bytes, not uint8 of shape (15, 2)"),
    (edit("c700", "c70"), "line 14: a beat must be hexadecimal, not 'c70'"),
    (edit("c700", "c70000"), "line 14: a beat must have lanes=2 bytes, not 3"),
    (edit("END\n", ""), "line 14: program must have one END packet, at its end"),
    (edit(".program\n", ""), "line 14: embedding rows must be LOAD packets with one header"),
    (edit(".core lanes=2 elements=1\n", ""), "line 4: .core must stand before .embedding"),
    (edit("lanes=2", "lanes=3"), "line 13: a beat must have lanes=3 bytes, not 2"),
    (edit("lanes=2 ", ""), "line 4: .core must give lanes and elements"),
    (edit("lanes=2", "lanes=0"), "line 4: lanes must be positive, not 0"),
    (edit(".model tiny\n", ""), "line 14: .model must be given"),
    (edit(".hash", ".model x\n.hash"), "line 3: .model must be given once"),
    (edit("hash 00", "hash zz"),
     f"line 15: model hash must be 64 hexadecimal digits, not 'zz{'0' * 62}'"),
    (edit("; two", ".metadata [1]\n; two"),
     "line 1: .metadata must be followed by a JSON object, not '[1]'"),
    (edit("; two", '.metadata {"a":1}\n.metadata {"a":1}\n; two'),
     "line 2: key 'a' of .metadata must be given once"),
    (edit("; two", ".tokenizer {\n; two"),
     ("line 1: what follows must be JSON: Expecting property name enclosed in double quotes: line "
      "1 column 2 (char 1)")),
    (edit("LOAD", ".packet {}\nLOAD"),
     "line 6: .packet must stand once before a packet of .program"),
    (edit("MATVEC", '.packet {}\nMATVEC').replace("END", ".packet {}\nEND"),
     "line 17: all 1 packets before END must have a .packet line, not 2 of them"),
    (edit("MATVEC", '.packet {}\nMATVEC').replace("; two", '.metadata {"packets":[]}\n; two'),
     "line 17: packets must be described by .packet or .metadata, not both"),
    (edit("  .beat", "  .int"), "line 13: .int must follow a LOAD or QUANTISE packet"),
    (edit("  .int", "  .beat"), "line 7: .beat must follow a MATVEC packet"),
    (edit(".embedding\n", ""), "line 5: packets must stand after .embedding or .program"),
    (edit(".program", ".program x"), "line 11: .program takes no arguments, not 'x'"),
])
def test_mistakes_are_named_with_their_line(text, message):
    with pytest.raises(ListingError) as error:
        assemble(text)
    assert str(error.value) == f"listing {message}"


def test_one_changed_field_changes_the_image(image):
    at = next(n for n, item in enumerate(image.program) if item.op is Opcode.QUANTISE)
    old = image.program[at]
    new = Packet(old.op, {**old.fields, "shift": old.fields["shift"] ^ 1}, old.payload)
    other = replace(image, program=(*image.program[:at], new, *image.program[at + 1:]))
    assert assemble(disassemble(other)) == other != image
