"""Tokenizers of words and parts of words, through the libraries that made them.

Both libraries decode whole sequences only. Here a sequence is decoded token by token: what a token
adds to a text is what it adds after one other token, and tokens that stand for bytes are kept as
bytes, so that characters which take several of them appear when they are complete.
"""

import base64
import binascii
import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import Any

from .tokenizer import Tokenizer

__all__ = ["JsonTokenizer", "SentencePieceTokenizer"]


class _SubwordTokenizer(Tokenizer):
    """Bytes of single tokens from a library that decodes sequences."""

    def __init__(self):
        self._after = lru_cache(maxsize=None)(self._bytes_after)

    @abstractmethod
    def _decode(self, tokens: list[int]) -> str:
        """Text of a sequence, control tokens left out."""

    @abstractmethod
    def _raw(self, token: int) -> bytes | None:
        """Bytes of a token that stands for bytes; None for one that stands for text."""

    @cached_property
    def _anchor(self) -> tuple[int, str]:
        """A token of text, and that text."""
        for token in range(self.vocab_size):
            if self._raw(token) is None and (text := self._decode([token])) and (
                    text == text.strip()):  # so not the unknown one, which has spaces around
                return token, text
        raise ValueError("tokenizer must have a token of text")

    def _bytes_after(self, token: int) -> bytes:
        """Bytes that a token adds to a text."""
        if (raw := self._raw(token)) is not None:
            return raw
        anchor, before = self._anchor
        return self._decode([anchor, token]).partition(before)[2].encode()

    def reader(self, *, continued: bool = False) -> Callable[[int], bytes]:
        """See :meth:`Tokenizer.reader`."""
        start: list[int] | None = None if continued else []

        def next_bytes(token: int) -> bytes:
            nonlocal start
            token = int(token)
            self._check(token)
            if start is None or self._raw(token) is not None:
                start = None
                return self._after(token)
            # The library takes the space away from the first token that leaves any text.
            start.append(token)
            if text := self._decode(start):
                start = None
            return text.encode()

        return next_bytes


def _utf8(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"text must be UTF-8, but it is not at byte {error.start}") from None


def _byte_alphabet() -> dict[str, int]:
    """Byte by the character that byte-level vocabularies write for it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [value for value in range(256) if value not in plain]
    return {chr(value): value for value in plain} | {
        chr(256 + n): value for n, value in enumerate(other)}


def _steps(decoder: Any) -> list[str]:
    """Types of a decoder and of the decoders in it."""
    if not isinstance(decoder, dict):
        return []
    inner = decoder.get("decoders")
    return [str(decoder.get("type"))] + [
        step for part in (inner if isinstance(inner, list) else []) for step in _steps(part)]


class JsonTokenizer(_SubwordTokenizer):
    """A ``tokenizer.json`` of the library ``tokenizers`` (spec section 11).

    Control tokens such as BOS and EOS have no text.

    Parameters
    ----------
    values : mapping
        Content of the file.

    Raises
    ------
    ValueError
        The library refuses it, its tokens are not numbered from 0 without a gap, or its decoder
        cannot work token by token.
    ModuleNotFoundError
        The extra ``tokenizers`` is not installed.
    """

    def __init__(self, values: Mapping[str, Any]):
        import tokenizers

        super().__init__()
        self._values = dict(values)
        try:
            self._library = tokenizers.Tokenizer.from_str(json.dumps(self._values))
        except Exception as error:  # the library raises nothing more special
            raise ValueError(f"the library tokenizers cannot read it: {error}") from None
        self._library.no_truncation()
        self._library.no_padding()
        numbers = set(self._library.get_vocab(with_added_tokens=True).values())
        if not numbers or numbers != set(range(len(numbers))):
            raise ValueError("tokenizer must number its tokens from 0 without a gap")
        self._size = len(numbers)
        steps = _steps(self._values.get("decoder"))
        for step in ("CTC", "BPEDecoder"):
            if step in steps:
                raise ValueError(f"tokenizer must have a decoder that works token by token, not "
                                 f"{step!r}")
        self._alphabet = _byte_alphabet() if "ByteLevel" in steps else {}
        self._fallback = "ByteFallback" in steps
        self._control = {number for number, token in
                         self._library.get_added_tokens_decoder().items() if token.special}

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return self._size

    def encode(self, text: str | bytes) -> list[int]:
        """Tokens, with the control tokens that the file's post-processor adds."""
        return self._library.encode(_utf8(text)).ids

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return json.dumps(self._values)

    def _decode(self, tokens: list[int]) -> str:
        return self._library.decode(tokens, skip_special_tokens=True)

    def _raw(self, token: int) -> bytes | None:
        piece = self._library.id_to_token(token)
        assert piece is not None
        if token in self._control:
            return b"" if self._alphabet else None
        if self._alphabet:
            if all(character in self._alphabet for character in piece):
                return bytes(self._alphabet[character] for character in piece)
            return piece.encode()
        if self._fallback and len(piece) == 6 and piece.startswith("<0x") and piece[-1] == ">":
            try:
                return bytes([int(piece[3:5], 16)])
            except ValueError:
                return None
        return None


class SentencePieceTokenizer(_SubwordTokenizer):
    """A ``tokenizer.model`` of the library ``sentencepiece`` (spec section 11).

    Parameters
    ----------
    model : bytes
        Content of the file.

    Raises
    ------
    ValueError
        It is not a SentencePiece model.
    ModuleNotFoundError
        The extra ``tokenizers`` is not installed.
    """

    def __init__(self, model: bytes):
        import sentencepiece

        super().__init__()
        self._model = model
        self._library: Any = sentencepiece.SentencePieceProcessor()
        try:
            self._library.LoadFromSerializedProto(model)
        except RuntimeError:
            raise ValueError("tokenizer must be a SentencePiece model") from None
        if not model or not self.vocab_size:
            raise ValueError("tokenizer must be a SentencePiece model")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SentencePieceTokenizer":
        """Tokenizer of an object that :meth:`to_json` wrote."""
        try:
            return cls(base64.b64decode(values["model"], validate=True))
        except (KeyError, TypeError, binascii.Error):
            raise ValueError("tokenizer must hold the model in base 64 under the key "
                             "'model'") from None

    def to_json(self) -> str:
        """``{"type": "sentencepiece", "model": ...}``, the file in base 64."""
        return json.dumps({"type": "sentencepiece",
                           "model": base64.b64encode(self._model).decode("ascii")}) + "\n"

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return self._library.GetPieceSize()

    def encode(self, text: str | bytes) -> list[int]:
        """Tokens, after BOS if the model has one."""
        tokens = self._library.EncodeAsIds(_utf8(text))
        bos = self._library.bos_id()
        return [bos, *tokens] if bos >= 0 else tokens

    def _decode(self, tokens: list[int]) -> str:
        return self._library.DecodeIds(tokens)

    def _raw(self, token: int) -> bytes | None:
        if not self._library.IsByte(token):
            return None
        return bytes([int(self._library.IdToPiece(token)[1:-1], 16)])
