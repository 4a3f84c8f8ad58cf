"""Texts of any size as memory-mapped tokens, kept under the hash of text and tokenizer. No torch.

The files are plain ``.npy`` arrays of unsigned integers of 16 bits, or 32 where the vocabulary is
larger.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from ternforge.output import atomic_file

from .tokenizer import ByteTokenizer, Tokenizer

__all__ = ["BYTES", "open_tokens", "text_blocks", "text_tokenizer"]

#: Size of the vocabulary that has every byte.
BYTES = 256
#: Bytes that are tokenised at once; a piece ends after a line where it can.
PIECE = 2**20
#: Texts below this size are tokenised in memory unless a folder is named.
SMALL = 2**24
#: Part of the hash: changes when the same text would give other tokens.
VERSION = b"1"

Progress = Callable[[str, int, int], None]


def text_tokenizer(path: str | Path, vocab_size: int, recipe: str) -> Tokenizer:
    """Byte tokenizer for a model of ``vocab_size`` tokens: of all bytes, or of those in the text.

    Raises
    ------
    ValueError
        The text cannot be read, or holds another number of distinct bytes; names ``recipe``.
    """
    if vocab_size > BYTES:
        raise ValueError(f"recipe {recipe!r} has {vocab_size} tokens, more than there are bytes: "
                         f"name the folder of their tokenizer")
    found = np.zeros(BYTES, dtype=bool)
    for raw in text_blocks(Path(path)):
        found[np.frombuffer(raw, dtype=np.uint8)] = True
    if vocab_size == BYTES:
        return ByteTokenizer(range(BYTES))
    vocabulary = np.flatnonzero(found).tolist()
    if len(vocabulary) != vocab_size:
        raise ValueError(f"{path} must hold {vocab_size} distinct bytes for recipe {recipe!r}, "
                         f"not {len(vocabulary)}")
    return ByteTokenizer(vocabulary)


def open_tokens(
    path: str | Path,
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    small: int = SMALL,
    progress: Progress | None = None,
) -> tuple[np.ndarray, str]:
    """Tokens of a text file.

    Large texts are tokenised piece by piece into a file in ``folder``, which later calls for the
    same content map again. Where a tokenizer joins across lines or puts a space before a text, the
    first token of a piece (1 MiB) can differ from that of the whole text.

    Parameters
    ----------
    path : str or Path
        Text file.
    tokenizer : Tokenizer
        What makes the tokens; its control tokens stand at the ends of the text only.
    folder : str or Path
        Where tokens are kept; made when needed.
    small : int
        Texts of fewer bytes are tokenised in memory.
    progress : callable or None
        Called with (what is done, bytes done, bytes in all).

    Returns
    -------
    tokens : numpy.ndarray
        uint16 or uint32, ``[N]``; read-only and memory-mapped if it lies in a file.
    digest : str
        Hash of text and tokenizer.

    Raises
    ------
    ValueError
        The file cannot be read, is empty, holds what the tokenizer has no tokens for, or changes
        while it is read.
    """
    path, told = Path(path), progress or (lambda what, done, total: None)
    seen = _digest(tokenizer)
    size = sum(len(raw) for raw in text_blocks(path, told, seen))
    digest = seen.hexdigest()
    kind = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    kept = Path(folder) / f"{path.stem}-{digest}.npy"
    if (tokens := _kept(kept, kind)) is not None:
        return tokens, digest
    again = _digest(tokenizer)
    pieces = _tokens(path, tokenizer, size, kind, again, told)
    if size < small:
        tokens = np.concatenate(list(pieces))
        _check_unchanged(path, again, digest)
        return tokens, digest
    with atomic_file(kept) as staged, staged.open("wb") as file:
        count = 0
        npy.write_array_header_1_0(file, _header(count, kind))
        for part in pieces:
            file.write(part.tobytes())
            count += len(part)
        _check_unchanged(path, again, digest)
        file.seek(0)
        npy.write_array_header_1_0(file, _header(count, kind))  # numpy leaves room for its growth
    tokens = _kept(kept, kind)
    assert tokens is not None
    return tokens, digest


def _header(count: int, kind: type) -> dict[str, object]:
    return {"shape": (count,), "fortran_order": False, "descr": npy.dtype_to_descr(np.dtype(kind))}


def _kept(path: Path, kind: type) -> np.ndarray | None:
    """The file's tokens; None if there is none, or it is damaged and must be made again."""
    try:
        tokens = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return tokens if tokens.dtype == kind and tokens.ndim == 1 else None


def _digest(tokenizer: Tokenizer):
    return hashlib.blake2b(VERSION + tokenizer.to_json().encode(), digest_size=12)


def _check_unchanged(path: Path, seen, digest: str) -> None:
    if seen.hexdigest() != digest:
        raise ValueError(f"{path} must not change while it is read")


def text_blocks(path: Path, told: Progress | None = None, digest=None) -> Iterator[bytes]:
    """A text file in blocks, each added to ``digest``.

    Raises
    ------
    ValueError
        The file cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            total, done = path.stat().st_size, 0
            while raw := file.read(PIECE):
                done += len(raw)
                if digest is not None:
                    digest.update(raw)
                if told is not None:
                    told("hashing", done, total)
                yield raw
    except OSError as error:
        raise ValueError(f"{path} must be a readable text file: {error.strerror}") from None
    if not done:
        raise ValueError(f"{path} must not be empty")


def _tokens(path: Path, tokenizer: Tokenizer, size: int, kind: type, digest, told: Progress
            ) -> Iterator[np.ndarray]:
    """Tokens of one piece of the text after the other."""
    encode = _encoder(tokenizer)
    ends = [] if isinstance(tokenizer, ByteTokenizer) else tokenizer.encode("")
    done, tail = 0, 0
    with path.open("rb") as file:
        while raw := _piece(file):
            digest.update(raw)
            try:
                ids = np.asarray(encode(raw), dtype=np.int64)
            except ValueError as error:
                where = f" after byte {done}" if done else ""
                raise ValueError(f"{path}{where}: {error}") from None
            if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
                raise ValueError(f"{path} gives the token {ids.max()}, but its tokenizer says that "
                                 f"there are {tokenizer.vocab_size}")
            done += len(raw)
            head = _common(ids, ends)
            tail = len(ends) - head
            first, last = done == len(raw), done >= size
            yield ids[0 if first else head : None if last else len(ids) - tail].astype(kind)
            told("tokenising", done, size)


def _common(ids: np.ndarray, ends: list[int]) -> int:
    """How many of the control tokens ``ends`` stand before the text; the others stand after."""
    for count, (one, other) in enumerate(zip(ids.tolist(), ends, strict=False)):
        if one != other:
            return count
    return min(len(ids), len(ends))


def _encoder(tokenizer: Tokenizer) -> Callable[[bytes], np.ndarray | list[int]]:
    if not isinstance(tokenizer, ByteTokenizer):
        return tokenizer.encode
    table = np.full(BYTES, -1, dtype=np.int64)
    table[list(tokenizer.vocabulary)] = np.arange(tokenizer.vocab_size)

    def encode(raw: bytes) -> np.ndarray | list[int]:
        ids = table[np.frombuffer(raw, dtype=np.uint8)]
        return tokenizer.encode(raw) if ids.min() < 0 else ids  # which says what is wrong

    return encode


def _piece(file: BinaryIO) -> bytes:
    """The next bytes: up to the end of a line, else of a word, else of a character."""
    raw = file.read(PIECE)
    if len(raw) < PIECE:
        return raw
    end = raw.rfind(b"\n") + 1
    if end < 1:
        end = raw.rfind(b" ")
    if end < 1:
        end = len(raw)
        while end > len(raw) - 4 and raw[end - 1] & 0xC0 == 0x80:
            end -= 1  # not after a part of a character
        if raw[end - 1] >= 0xC0:
            end -= 1
    file.seek(end - len(raw), 1)
    return raw[:end]
