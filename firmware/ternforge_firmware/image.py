"""The packet image ``.tfi``: what a core needs to run one model, in one checked file.

All numbers are little-endian. The header is ``HEADER`` (magic, format version, lengths, core
parameters, counts, model name and hash), one ``ENTRY`` per section (name, offset, length in bytes,
CRC-32) and the CRC-32 of all header bytes before it. The sections follow without gaps:

``directory``
    :data:`ternforge.isa.DIRECTORY` and the header of a LOAD packet, each padded to whole beats.
``program``
    The packets of a token after that LOAD; END is the last.
``embedding``
    For each token the payload of the LOAD packet.
``tokenizer``, ``metadata``
    JSON objects.

The first three are the image memory of the core, in this order (:meth:`Image.memory`).
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ternforge.config import CoreConfig
from ternforge.isa import Function, Opcode
from ternforge.output import write_bytes
from ternforge.presets import fitting_boards

from .container import (
    FORMAT_VERSION,
    HEADER_LENGTH,
    MAGIC,
    SECTIONS,
    ImageError,
    Section,
    check_crc,
    load_json,
    parse_table,
)
from .imagewriter import ImageWriter, directory_beats, row_beats
from .packet import (
    Beats,
    Packet,
    header_beats,
    parse,
    parse_header,
    parse_rows,
    vector_fields,
)

__all__ = ["FORMAT_VERSION", "MAGIC", "SECTIONS", "Image", "ImageError", "PacketSource", "Section",
           "core_needs", "load_json", "read", "refuse_misfit"]


class PacketSource(Protocol):
    """What runs a model reads: an :class:`Image`, or an :class:`~.imagefile.ImageFile`."""

    @property
    def model(self) -> str:
        """Name of the model."""
        ...

    @property
    def lanes(self) -> int:
        """Lanes of the core that the packets are laid out for."""
        ...

    @property
    def elements(self) -> int:
        """Elements of that core's quantiser."""
        ...

    @property
    def cores(self) -> int:
        """Cores that share its beats."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens V."""
        ...

    @property
    def row_fields(self) -> dict[str, int]:
        """Header fields of the LOAD packet that each embedding row is the payload of."""
        ...

    @property
    def table(self) -> NDArray[Any]:
        """The embedding, int8 or int16 ``[V, d]``."""
        ...

    @property
    def program(self) -> Iterable[Packet]:
        """The packets of a token in execution order, END last."""
        ...

    @property
    def tokenizer(self) -> dict[str, Any]:
        """Content of ``tokenizer.json``."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """See :mod:`.lower`."""
        ...

    @property
    def model_hash(self) -> str:
        """SHA-256 of the model, 64 hexadecimal digits."""
        ...

    def memory(self) -> Beats:
        """The image memory as the core sees it, ``uint8 [beats, lanes]``."""
        ...

    def check_core(self, core: CoreConfig) -> None:
        """Refuse a core that cannot run this image; see :func:`refuse_misfit`."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """Packets of one model, laid out for one kind of core.

    Raises
    ------
    ValueError
        If the packets cannot form an image.
    """

    model: str  #: name of the model, at most 64 bytes
    model_hash: str  #: SHA-256 of the model, 64 hexadecimal digits
    lanes: int  #: of the core
    elements: int  #: of the core; vector addresses are multiples of it
    cores: int = 1  #: of the core; the rows of a MATVEC are groups of as many
    embedding: tuple[Packet, ...]  #: one LOAD packet per token, all with one header
    program: tuple[Packet, ...]  #: in execution order, END last
    tokenizer: dict[str, Any] = field(default_factory=dict)  #: content of ``tokenizer.json``
    metadata: dict[str, Any] = field(default_factory=dict)  #: see :mod:`.lower`

    def __post_init__(self):
        name = self.model
        if not 0 < len(name.encode()) <= 64 or not name.isprintable() or name != name.strip():
            raise ValueError("model name must be 1 to 64 printable bytes without space around, not "
                             f"{name!r}")
        if len(self.model_hash) != 64 or set(self.model_hash) - set("0123456789abcdef"):
            raise ValueError(f"model hash must be 64 hexadecimal digits, not {self.model_hash!r}")
        CoreConfig(lanes=self.lanes, elements=self.elements, cores=self.cores)
        if not self.embedding:
            raise ValueError("embedding must have at least one row")
        first = self.embedding[0].fields
        if any(row.op is not Opcode.LOAD or row.fields != first for row in self.embedding):
            raise ValueError("embedding rows must be LOAD packets with one header")
        ends = [n for n, packet in enumerate(self.program) if packet.op is Opcode.END]
        if ends != [len(self.program) - 1]:
            raise ValueError("program must have one END packet, at its end")
        for section in SECTIONS[3:]:
            if not isinstance(getattr(self, section), dict):
                raise ValueError(f"{section} must be a JSON object, not "
                                 f"{getattr(self, section)!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and self.to_bytes() == other.to_bytes()

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.embedding)

    @property
    def row_fields(self) -> dict[str, int]:
        """Header fields of the LOAD packet that each embedding row is the payload of."""
        return self.embedding[0].fields

    @property
    def table(self) -> NDArray[Any]:
        """The embedding, int8 or int16 ``[V, d]``."""
        dtype = np.int16 if self.row_fields["wide"] else np.int8
        return np.stack([row.payload.astype(dtype) for row in self.embedding])

    @property
    def stride(self) -> int:
        """Beats of one embedding row."""
        return len(self.embedding[0].payload_beats(self.lanes))

    @cached_property
    def embedding_beats(self) -> Beats:
        """The embedding section as beats."""
        return np.concatenate(list(row_beats(self.embedding[0], self.table, self.lanes)))

    @cached_property
    def program_beats(self) -> Beats:
        """The program section as beats."""
        return np.concatenate([packet.to_beats(self.lanes) for packet in self.program])

    @property
    def directory_beats(self) -> Beats:
        """The directory section as beats."""
        return directory_beats(self.embedding[0], self.vocab_size, len(self.program_beats),
                               self.lanes)

    def memory(self) -> Beats:
        """The image memory as the hardware sees it: linear beats, ``uint8 [beats, lanes]``."""
        return np.concatenate([self.directory_beats, self.program_beats, self.embedding_beats])

    def save(self, file: BinaryIO) -> list[Section]:
        """Write to an empty, seekable binary file; returns the sections in file order."""
        writer = ImageWriter(file, self.lanes, self.elements, self.cores)
        writer.program(self.program)
        writer.embedding(self.embedding[0], self.table)
        return writer.finish(model=self.model, model_hash=self.model_hash,
                             tokenizer=self.tokenizer, metadata=self.metadata)

    def sections(self) -> list[Section]:
        """The sections in file order."""
        return self.save(BytesIO())

    def to_bytes(self) -> bytes:
        """The file; the same bytes for the same image, always."""
        buffer = BytesIO()
        self.save(buffer)
        return buffer.getvalue()

    def write(self, path: str | Path) -> Path:
        """Write the file whole or not at all; returns ``path``."""
        return write_bytes(path, self.to_bytes())

    @classmethod
    def from_bytes(cls, raw: bytes, name: str = "image") -> "Image":
        """Read a file's content; ``name`` stands for it in error messages.

        Raises
        ------
        ImageError
            If it is foreign, too new, truncated or corrupt; the message names the section and
            the byte offset.
        """
        header, sections = parse_table(raw[:HEADER_LENGTH], len(raw), name)
        contents = {s.name: raw[s.offset:s.offset + s.length] for s in sections}
        for section in sections:
            check_crc(section, zlib.crc32(contents[section.name]), name)
        offsets = {s.name: s.offset for s in sections}

        def bad(section: str, rule: str) -> ImageError:
            return ImageError(f"image {name!r} is malformed in section {section!r} at byte "
                              f"{offsets[section]}: {rule}")

        beats = {}
        for section in SECTIONS[:3]:
            content = contents[section]
            if len(content) % header["lanes"]:
                raise bad(section, f"its length must be a multiple of lanes={header['lanes']}, not "
                                   f"{len(content)}")
            beats[section] = np.frombuffer(content, np.uint8).reshape(-1, header["lanes"])
        packets = {}
        for section, read_packets in (
                ("directory", lambda stream: parse_header(stream, header_beats(header["lanes"]))),
                ("program", lambda stream: [packet for _, packet in parse(stream)]),
                ("embedding", lambda stream: parse_rows(
                    packets["directory"][0], packets["directory"][1], stream))):
            try:
                packets[section] = tuple(read_packets(beats[section]))
            except ValueError as error:
                raise bad(section, str(error)) from None
        texts = {}
        for section in SECTIONS[3:]:
            try:
                texts[section] = load_json(contents[section])
            except ValueError as error:
                raise bad(section, f"it must hold JSON: {error}") from None
        try:
            image = cls(lanes=header["lanes"], elements=header["elements"], cores=header["cores"],
                        model=header["model"], model_hash=header["hash"],
                        embedding=packets["embedding"], program=packets["program"], **texts)
            directory = image.directory_beats
        except ValueError as error:
            section = str(error).partition(" ")[0]  # of what a constructor refuses
            if section in SECTIONS:
                raise bad(section, str(error)) from None
            raise ImageError(f"image {name!r} is malformed in its header: {error}") from None
        if not np.array_equal(directory, beats["directory"]):
            raise bad("directory", "it must agree with the embedding and program sections")
        if (len(image.embedding), len(image.program), len(image.memory())) != header["counts"]:
            raise ImageError(f"image {name!r} is malformed in its header at byte 16: the counts "
                             "must agree with the sections")
        return image

    @cached_property
    def needs(self) -> dict[str, int]:
        """The least value of each field of :class:`CoreConfig` that bounds a program."""
        headers = ((packet.op, packet.fields) for packet in (self.embedding[0], *self.program))
        return core_needs(headers, self.elements, len(self.memory()), self.cores)

    def check_core(self, core: CoreConfig, name: str = "image") -> None:
        """Refuse a core that cannot run this image.

        Raises
        ------
        ImageError
            If the layout is for another core, or the core is too small; says by how much, and which
            board would do.
        """
        refuse_misfit(core, self, name)


def core_needs(headers: Iterable[tuple[Opcode, Mapping[str, int]]], elements: int,
               memory_beats: int, cores: int = 1) -> dict[str, int]:
    """The least value of each field of :class:`CoreConfig` that bounds a program.

    Parameters
    ----------
    headers : iterable of (opcode, fields)
        Of the embedding rows' LOAD and of all packets.
    elements : int
        Of the core: vectors take whole words of the vector RAM.
    memory_beats : int
        Size of the image memory.
    cores : int
        Of the core: rows are groups of as many.
    """
    vectors, states, rows, fan_in = 0, 0, 0, 0
    for op, fields in headers:
        length = fields.get("count", 0) or cores * fields.get("rows", 0)
        length = -(-length // elements) * elements
        vectors = max(vectors, *(fields[key] + length for key in vector_fields(op, fields)), 0)
        if op is Opcode.QUANTISE:
            fan_in = max(fan_in, fields["count"])
        elif op is Opcode.MATVEC:
            rows = max(rows, cores * fields["rows"] if fields["tiles"] > 1 else 0)
            if Function(fields["function"]) in (Function.RECURRENCE, Function.OUTPUT_GATE):
                states = max(states, fields["state"] + cores * fields["rows"])
    return {"vector_depth": vectors, "state_depth": states, "max_rows": rows,
            "max_fan_in": fan_in, "memory_beats": memory_beats}


def _layout(of: Any) -> str:
    """What image and core must agree on."""
    cores = f", cores={of.cores}" if of.cores > 1 else ""
    return f"lanes={of.lanes}{cores} and elements={of.elements}"


def refuse_misfit(core: CoreConfig, image: Any, name: str) -> None:
    """Refuse a core that cannot run an image, as :meth:`Image.check_core` says."""

    def misfit(core: CoreConfig) -> str | None:
        if _layout(image) != _layout(core):
            return f"is packed for a core with {_layout(image)}, not {_layout(core)}"
        for what, need in image.needs.items():
            have = getattr(core, what)
            if need > have:
                return f"needs {what}={need}, {need - have} more than the core's {have}"
        return None

    reason = misfit(core)
    if reason is not None:
        hint = fitting_boards(lambda other: misfit(other) is None)
        raise ImageError(f"image {name!r} {reason}; {hint}")


def read(path: str | Path, core: CoreConfig | None = None) -> Image:
    """Read and verify an image file, and that it runs on ``core`` if one is given.

    Raises
    ------
    ImageError
        If the file is missing, foreign, too new, truncated, corrupt, or not for this core.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(HEADER_LENGTH)
            if raw.startswith(MAGIC):  # a foreign file may be endless
                raw += file.read()
    except FileNotFoundError:
        raise ImageError(f"image {str(path)!r} must exist, but there is no such file") from None
    except IsADirectoryError:
        raise ImageError(f"image {str(path)!r} must be a file, but it is a folder") from None
    image = Image.from_bytes(raw, str(path))
    if core is not None:
        image.check_core(core, str(path))
    return image
