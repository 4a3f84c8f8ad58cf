"""Listings: :func:`disassemble` prints every bit of an image, :func:`assemble` reads it back.

One statement a line; a line that starts with ``;`` is a comment, and so is the rest of a packet's
line from ``;`` on.

=================================== ============================================================
``.model NAME``                     name of the model
``.hash HEX``                       its SHA-256; left out: computed from the packets
``.core lanes=N elements=E``        the core that the image is for; ``cores=C`` if there are more
``.tokenizer JSON``                 an object; several lines add up, one key each
``.metadata JSON``                  likewise
``.embedding``, ``.program``        the packets that follow belong to this section
``.packet JSON``                    what ``packets`` in the metadata says of the next packet
``OPCODE field=value ...``          a header of :mod:`ternforge.isa`; fields left out are 0
``.int VALUE ...``                  constants of the packet; ``0*12`` stands for twelve zeros
``.beat HEX [*COUNT]``              a beat of weights, byte 0 first
=================================== ============================================================
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ternforge import isa
from ternforge.errors import UserError, suggestion
from ternforge.isa import Opcode

from .image import Image, ImageError, load_json, read
from .imagefile import ImageFile
from .lower import raise_
from .packet import FIELD_ENUMS, Packet, header_beats

__all__ = ["ListingError", "assemble", "disassemble"]

#: Columns of a line of constants.
WIDTH = 100


class ListingError(UserError):
    """A listing that cannot be assembled; the message starts with the line number."""


def disassemble(image: Image | ImageFile, data: bool = True, layer: int | None = None) -> str:
    """The listing of an image, or of one layer.

    Parameters
    ----------
    image : Image
        What to list; of an :class:`~.imagefile.ImageFile` a layer, one packet at a time.
    data : bool
        False leaves out constants and weights, and all embedding rows but the first: a summary for
        people, which :func:`assemble` refuses.
    layer : int or None
        List the packets of this layer alone, which :func:`assemble` refuses as well.

    Raises
    ------
    UserError
        If there is no such layer.
    """
    if layer is None:
        image = image if isinstance(image, Image) else read(image.path)
        return "\n".join(_listing(image, data)) + "\n"
    return "\n".join(_layer(image, data, layer)) + "\n"


def _layer(image: Image | ImageFile, data: bool, layer: int) -> Iterator[str]:
    entries = image.metadata.get("packets")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"image of {image.model!r} does not say which packets belong to a layer")
    layers = sorted({entry["layer"] for entry in entries if entry.get("layer") is not None})
    if layer not in layers:
        known = f"0 to {layers[-1]}" if layers else "none"
        raise UserError(f"--layer must be one of the layers of {image.model!r}, {known}, not "
                        f"{layer}")
    yield f"; layer {layer} of {image.model}, lanes={image.lanes} elements={image.elements}"
    at = 2 * header_beats(image.lanes)
    for entry, packet in zip(entries, image.program, strict=False):
        size = packet.beats(image.lanes)
        if entry.get("layer") == layer:
            yield f".packet {_json(entry)}"
            yield from _packet(packet, image.lanes, data, f"beat {at}, {size} long")
        at += size


def _listing(image: Image, data: bool) -> Iterator[str]:
    metadata = dict(image.metadata)
    entries = metadata.get("packets")
    if not isinstance(entries, list) or len(entries) != len(image.program) - 1:
        entries = None
    else:
        del metadata["packets"]
    yield "; ternforge packet image" if data else "; ternforge packet image, without its data"
    yield f".model {image.model}"
    yield f".hash {image.model_hash}"
    cores = f" cores={image.cores}" if image.cores > 1 else ""
    yield f".core lanes={image.lanes} elements={image.elements}{cores}"
    for name, content in (("tokenizer", image.tokenizer), ("metadata", metadata)):
        for key in sorted(content):
            yield f".{name} {_json({key: content[key]})}"
    at = len(image.directory_beats)
    start = at + len(image.program_beats)
    yield f".embedding ; {image.vocab_size} rows of {image.stride} beats, with one header"
    for token, row in enumerate(image.embedding if data else image.embedding[:1]):
        where = f"token {token}, beat {start + token * image.stride}, {image.stride} long"
        yield from _packet(row, image.lanes, data, where)
    yield f".program ; {len(image.program)} packets, {len(image.program_beats)} beats"
    layer = object()
    for number, packet in enumerate(image.program):
        if entries is not None and number < len(entries):
            entry = entries[number]
            if isinstance(entry, dict) and entry.get("layer") != layer:
                layer = entry.get("layer")
                yield f"; layer {layer}" if layer is not None else "; outside the layers"
            yield f".packet {_json(entry)}"
        size = packet.beats(image.lanes)
        yield from _packet(packet, image.lanes, data, f"beat {at}, {size} long")
        at += size


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _packet(packet: Packet, lanes: int, data: bool, where: str) -> Iterator[str]:
    words = [packet.op.name]
    for name, value in packet.fields.items():
        words.append(f"{name}={FIELD_ENUMS[name](value).name if name in FIELD_ENUMS else value}")
    yield f"{' '.join(words)} ; {where}"
    if not data:
        return
    if packet.op is Opcode.MATVEC:
        for beat, same in itertools.groupby(row.tobytes().hex() for row in packet.payload):
            count = sum(1 for _ in same)
            yield f"  .beat {beat}" + (f" *{count}" if count > 1 else "")
    else:
        yield from _constants(packet.payload.tolist())


def _constants(values: Iterable[int]) -> Iterator[str]:
    line = "  .int"
    for value, same in itertools.groupby(values):
        count = sum(1 for _ in same)
        word = f" {value}*{count}" if count > 2 else f" {value}" * count
        if len(line) + len(word) > WIDTH:
            yield line
            line = "  .int"
        line += word
    if line != "  .int":
        yield line


@dataclass
class _Draft:
    """A packet whose data lines are still to come."""

    line: int
    op: Opcode
    fields: dict[str, int]
    constants: list[int] = field(default_factory=list)
    beats: list[bytes] = field(default_factory=list)


class _Assembler:
    """Reads a listing line by line."""

    def __init__(self, name: str):
        self.name = name
        self.line = 0
        self.values: dict[str, Any] = {}
        self.objects: dict[str, dict[str, Any]] = {"tokenizer": {}, "metadata": {}}
        self.sections: dict[str, list[Packet]] = {"embedding": [], "program": []}
        self.entries: list[Any] = []
        self.described = False  # the next packet has its .packet line
        self.section: str | None = None
        self.draft: _Draft | None = None
        self.directives = {
            ".model": self.on_value, ".hash": self.on_value, ".core": self.on_core,
            ".tokenizer": self.on_json, ".metadata": self.on_json, ".embedding": self.on_section,
            ".program": self.on_section, ".packet": self.on_packet, ".int": self.on_int,
            ".beat": self.on_beat,
        }

    def error(self, text: str, line: int | None = None) -> ListingError:
        return ListingError(f"{self.name} line {line or self.line}: {text}")

    def feed(self, number: int, text: str) -> None:
        self.line, text = number, text.strip()
        if not text or text.startswith(";"):
            return
        word, _, rest = text.partition(" ")
        if word in self.directives:
            self.directives[word](word[1:], rest.strip())
        elif word in Opcode.__members__:
            self.header(Opcode[word], rest.partition(";")[0].split())
        else:
            raise self.error(f"unknown statement {word!r}: "
                             f"{suggestion(word, [*self.directives, *Opcode.__members__])}")

    def once(self, word: str, value: Any) -> None:
        if word in self.values:
            raise self.error(f".{word} must be given once")
        self.values[word] = value

    def on_value(self, word: str, rest: str) -> None:
        self.once(word, rest)

    def on_core(self, word: str, rest: str) -> None:
        given = self.assignments(rest.split(), ("lanes", "elements", "cores"))
        self.once(word, {"cores": 1, **given})
        if len(self.values[word]) != 3:
            raise self.error(".core must give lanes and elements")
        if not self.values[word]["lanes"]:
            raise self.error("lanes must be positive, not 0")

    def on_json(self, word: str, rest: str) -> None:
        content = self.load(rest)
        if not isinstance(content, dict):
            raise self.error(f".{word} must be followed by a JSON object, not {rest!r}")
        for key, value in content.items():
            if key in self.objects[word]:
                raise self.error(f"key {key!r} of .{word} must be given once")
            self.objects[word][key] = value

    def load(self, text: str) -> Any:
        try:
            return load_json(text)
        except ValueError as error:
            raise self.error(f"what follows must be JSON: {error}") from None

    def on_section(self, word: str, rest: str) -> None:
        if rest and not rest.startswith(";"):
            raise self.error(f".{word} takes no arguments, not {rest!r}")
        if "core" not in self.values:
            raise self.error(f".core must stand before .{word}")
        self.finish()
        self.section = word

    def on_packet(self, word: str, rest: str) -> None:
        if self.section != "program" or self.described:
            raise self.error(".packet must stand once before a packet of .program")
        self.finish()
        self.entries.append(self.load(rest))
        self.described = True

    def assignments(self, words: list[str], known: Iterable[str]) -> dict[str, int]:
        result: dict[str, int] = {}
        for word in words:
            name, equals, text = word.partition("=")
            if not equals:
                raise self.error(f"a field must be given as name=value, not {word!r}")
            if name not in known:
                raise self.error(f"unknown field {name!r}: {suggestion(name, known)}")
            if name in result:
                raise self.error(f"field {name!r} must be given once")
            members = FIELD_ENUMS[name].__members__ if name in FIELD_ENUMS else {}
            if text in members:
                result[name] = members[text].value
            elif members and not text.isdecimal():
                raise self.error(f"unknown {name} {text!r}: {suggestion(text, members)}")
            else:
                result[name] = self.number(text)
        return result

    def number(self, text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 12):
            raise self.error(f"a value must be a decimal integer, not {text!r}")
        return int(text)

    def header(self, op: Opcode, words: list[str]) -> None:
        if self.section is None:
            raise self.error("packets must stand after .embedding or .program")
        self.finish()
        self.described = False
        fields = self.assignments(words, isa.header_fields(op))
        try:
            isa.encode(op, **fields)
        except ValueError as error:
            raise self.error(str(error)) from None
        self.draft = _Draft(self.line, op, fields)

    def on_int(self, word: str, rest: str) -> None:
        if self.draft is None or self.draft.op not in (Opcode.LOAD, Opcode.QUANTISE):
            raise self.error(".int must follow a LOAD or QUANTISE packet")
        for text in rest.split():
            value, star, count = text.partition("*")
            self.draft.constants += [self.number(value)] * self.repeat(star, count)

    def repeat(self, star: str, count: str) -> int:
        times = self.number(count) if star else 1
        if times not in range(1, 1 << 24):
            raise self.error(f"a count after * must be 1 to 2**24 - 1, not {times}")
        return times

    def on_beat(self, word: str, rest: str) -> None:
        if self.draft is None or self.draft.op is not Opcode.MATVEC:
            raise self.error(".beat must follow a MATVEC packet")
        text, star, count = rest.partition("*")
        lanes = self.values["core"]["lanes"]
        try:
            content = bytes.fromhex(text)
        except ValueError:
            raise self.error(f"a beat must be hexadecimal, not {text.strip()!r}") from None
        if len(content) != lanes:
            raise self.error(f"a beat must have lanes={lanes} bytes, not {len(content)}")
        self.draft.beats += [content] * self.repeat(star, count.strip())

    def finish(self) -> None:
        """Close the packet that is open."""
        draft, self.draft = self.draft, None
        if draft is None:
            return
        assert self.section is not None
        if draft.op is Opcode.MATVEC:
            lanes = self.values["core"]["lanes"]
            payload = np.frombuffer(b"".join(draft.beats), np.uint8).reshape(-1, lanes)
        else:
            payload = np.array(draft.constants, np.int64)
        try:
            self.sections[self.section].append(Packet(draft.op, draft.fields, payload))
        except ValueError as error:
            raise self.error(str(error), draft.line) from None

    def image(self) -> Image:
        self.finish()
        for word in ("model", "core"):
            if word not in self.values:
                raise self.error(f".{word} must be given")
        if self.entries:
            if "packets" in self.objects["metadata"]:
                raise self.error("packets must be described by .packet or .metadata, not both")
            if len(self.entries) != len(self.sections["program"]) - 1:
                raise self.error(f"all {len(self.sections['program']) - 1} packets before END must "
                                 f"have a .packet line, not {len(self.entries)} of them")
            self.objects["metadata"]["packets"] = self.entries
        try:
            image = Image(model=self.values["model"],
                          model_hash=self.values.get("hash", "0" * 64),
                          lanes=self.values["core"]["lanes"],
                          elements=self.values["core"]["elements"],
                          cores=self.values["core"]["cores"],
                          embedding=tuple(self.sections["embedding"]),
                          program=tuple(self.sections["program"]),
                          tokenizer=self.objects["tokenizer"],
                          metadata=self.objects["metadata"])
            image.memory()
        except ValueError as error:
            raise self.error(str(error)) from None
        if "hash" in self.values:
            return image
        try:
            return replace(image, model_hash=raise_(image, self.name, check_hash=False).digest)
        except ImageError as error:
            raise self.error(f"without .hash the packets must form a model, but {error}") from None


def assemble(text: str, name: str = "listing") -> Image:
    """The image of a listing: ``assemble(disassemble(image)) == image``, bit for bit.

    Parameters
    ----------
    text : str
        The listing.
    name : str
        Stands for it in error messages.

    Raises
    ------
    ListingError
        If a line cannot be understood or the packets do not form an image; the message names the
        line.
    """
    assembler = _Assembler(name)
    for number, line in enumerate(text.splitlines(), start=1):
        assembler.feed(number, line)
    return assembler.image()
