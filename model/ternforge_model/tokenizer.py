"""Tokenizers: their common interface, the one of bytes, and the right one for a folder. No torch.

The byte tokenizer needs nothing but Python; those of :mod:`.subword` need the extra ``tokenizers``.
"""

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["ByteTokenizer", "TextStream", "Tokenizer", "open_tokenizer", "tokenizer_from_json"]

JSON_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "tokenizer.model"


class TextStream:
    """Text of tokens as they arrive, whole characters only.

    Bytes of an unfinished UTF-8 character are held back until it is complete; bytes that belong to
    no character become U+FFFD.

    Parameters
    ----------
    next_bytes : callable
        Bytes of the next token, as :meth:`Tokenizer.reader` returns it.
    """

    def __init__(self, next_bytes: Callable[[int], bytes]):
        self._next = next_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """Text that ``token`` completes; may be empty."""
        return self._decoder.decode(self._next(token))

    def finish(self) -> str:
        """U+FFFD if the tokens ended within a character, else nothing."""
        return self._decoder.decode(b"", final=True)


class Tokenizer(ABC):
    """Text to tokens and back.

    ``continued`` says that the tokens follow others, as generated tokens follow a prompt. Only
    SentencePiece makes a difference: it puts a space before a text and takes it away again, so
    that a first token loses its space, and one in the middle keeps it.
    """

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of tokens; they are numbered from 0."""

    @abstractmethod
    def encode(self, text: str | bytes) -> list[int]:
        """Tokens of a text, which begins with the token BOS if the model was trained so.

        Raises
        ------
        ValueError
            The text has no tokens, or ``bytes`` are not UTF-8.
        """

    @abstractmethod
    def to_json(self) -> str:
        """Text of a JSON object from which :func:`tokenizer_from_json` makes this tokenizer."""

    @abstractmethod
    def reader(self, *, continued: bool = False) -> Callable[[int], bytes]:
        """Function that returns the bytes of each token of one sequence, called in order.

        It raises :exc:`ValueError` for a token that is not in ``range(vocab_size)``.
        """

    def _check(self, token: int) -> None:
        if not 0 <= token < self.vocab_size:
            raise ValueError(f"token must be in 0..{self.vocab_size - 1}, not {token!r}")

    def decode_bytes(self, tokens: Iterable[int], *, continued: bool = False) -> bytes:
        """Bytes of a token sequence; raises what :meth:`reader` raises."""
        return b"".join(map(self.reader(continued=continued), tokens))

    def decode(self, tokens: Iterable[int], *, continued: bool = False) -> str:
        """Text of a token sequence; malformed UTF-8 becomes U+FFFD."""
        return "".join(self.stream(tokens, continued=continued))

    def text_stream(self, *, continued: bool = False) -> TextStream:
        """Decoder that takes one token at a time."""
        return TextStream(self.reader(continued=continued))

    def stream(self, tokens: Iterable[int], *, continued: bool = False) -> Iterator[str]:
        """Yield text as tokens arrive, whole characters only, as :class:`TextStream` makes it."""
        text = self.text_stream(continued=continued)
        for token in tokens:
            if part := text.push(token):
                yield part
        if part := text.finish():
            yield part


class ByteTokenizer(Tokenizer):
    """One token per byte; token ``n`` is the n-th entry of ``vocabulary``.

    Parameters
    ----------
    vocabulary : iterable of int
        Distinct byte values in token order, at least one.

    Raises
    ------
    ValueError
        The vocabulary is empty, repeats a value or holds something that is not a byte.
    """

    def __init__(self, vocabulary: Iterable[int]):
        self.vocabulary = tuple(vocabulary)
        for value in self.vocabulary:
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 256:
                raise ValueError(f"vocabulary entry must be a byte value 0..255, not {value!r}")
        if not self.vocabulary or len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("vocabulary must hold at least one byte value and none twice")
        self._token = {value: token for token, value in enumerate(self.vocabulary)}

    @classmethod
    def from_text(cls, text: bytes) -> "ByteTokenizer":
        """Tokenizer of the bytes that occur in ``text``, in ascending order."""
        return cls(sorted(set(text)))

    def to_json(self) -> str:
        """Text of ``tokenizer.json``: ``{"type": "byte", "bytes": [...]}``."""
        return json.dumps({"type": "byte", "bytes": list(self.vocabulary)}) + "\n"

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        return len(self.vocabulary)

    def encode(self, text: str | bytes) -> list[int]:
        """Tokens of a text; a ``str`` is taken as UTF-8.

        Raises
        ------
        ValueError
            A byte is not in the vocabulary; the message names it and its offset.
        """
        raw = text.encode("utf-8") if isinstance(text, str) else bytes(text)
        try:
            return [self._token[value] for value in raw]
        except KeyError:
            offset = next(n for n, value in enumerate(raw) if value not in self._token)
            raise ValueError(
                f"byte 0x{raw[offset]:02x} ({bytes(raw[offset : offset + 1])!r}) at offset "
                f"{offset} must be one of the {self.vocab_size} bytes of the vocabulary"
            ) from None

    def reader(self, *, continued: bool = False) -> Callable[[int], bytes]:
        """See :meth:`Tokenizer.reader`."""

        def next_bytes(token: int) -> bytes:
            self._check(token)
            return bytes([self.vocabulary[token]])

        return next_bytes


def tokenizer_from_json(values: Mapping[str, Any]) -> Tokenizer:
    """Tokenizer of the object that its :meth:`Tokenizer.to_json` wrote, or of a Hugging Face one.

    ``{"type": "byte", "bytes": [...]}`` is a byte tokenizer, ``{"type": "sentencepiece", "model":
    BASE64}`` holds a SentencePiece model; an object without ``type`` is read by the library
    ``tokenizers``. Packet images hold such an object.

    Raises
    ------
    ValueError
        The object is none of these; the message says why, without naming a file.
    """
    kind = values.get("type")
    if kind == "byte":
        if not isinstance(values.get("bytes"), list):
            raise ValueError("tokenizer must list the byte values under the key 'bytes'")
        return ByteTokenizer(values["bytes"])
    if kind == "sentencepiece":
        from .subword import SentencePieceTokenizer

        return SentencePieceTokenizer.from_json(values)
    if kind is not None or "model" not in values:
        raise ValueError('tokenizer must be of the library tokenizers, with the key "model", or '
                         'have "type": "byte" or "type": "sentencepiece"')
    from .subword import JsonTokenizer

    return JsonTokenizer(values)


def open_tokenizer(folder: str | Path, vocab_size: int | None = None) -> Tokenizer:
    """Tokenizer of a model folder: ``tokenizer.json``, else a SentencePiece ``tokenizer.model``.

    Parameters
    ----------
    folder : str or Path
        Model folder.
    vocab_size : int or None
        Tokens of the model, which the tokenizer must have as well.

    Raises
    ------
    ValueError
        There is no such file, it is damaged, or the numbers of tokens differ; names the file.
    """
    path = Path(folder) / JSON_FILE
    if not path.exists() and (other := path.with_name(SENTENCEPIECE_FILE)).exists():
        path = other
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{folder} must hold {JSON_FILE} or {SENTENCEPIECE_FILE}") from None
    except OSError as error:
        raise ValueError(f"{path} must be a readable file: {error.strerror}") from None
    try:
        tokenizer = _parse(raw, path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if vocab_size is not None and tokenizer.vocab_size != vocab_size:
        raise ValueError(f"{path} must hold {vocab_size} tokens as the model does, not "
                         f"{tokenizer.vocab_size}")
    return tokenizer


def _parse(raw: bytes, path: Path) -> Tokenizer:
    if path.name == SENTENCEPIECE_FILE:
        from .subword import SentencePieceTokenizer

        return SentencePieceTokenizer(raw)
    try:
        values = json.loads(raw)
    except RecursionError:
        raise ValueError("tokenizer must be JSON, but it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"tokenizer must be JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"tokenizer must be a JSON object, not {type(values).__name__}")
    return tokenizer_from_json(values)
