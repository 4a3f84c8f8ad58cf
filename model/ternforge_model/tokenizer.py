"""Byte tokenizer with a chosen subset of the 256 byte values. Imports no torch."""

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["ByteTokenizer"]


class ByteTokenizer:
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

    @classmethod
    def from_json(cls, path: str | Path) -> "ByteTokenizer":
        """Read ``tokenizer.json``: ``{"type": "byte", "bytes": [...]}``.

        Raises
        ------
        ValueError
            The file is missing or is not such an object; the message names it.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} must exist, but there is no such file") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} must be readable JSON: {error}") from None
        if not isinstance(values, dict) or values.get("type") != "byte":
            raise ValueError(f"{path} must hold an object with \"type\": \"byte\"")
        if not isinstance(values.get("bytes"), list):
            raise ValueError(f"{path} must list the byte values under the key 'bytes'")
        try:
            return cls(values["bytes"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_json(self) -> str:
        """Text of ``tokenizer.json``."""
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

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Bytes of a token sequence.

        Raises
        ------
        ValueError
            A token is not in ``range(vocab_size)``.
        """
        out = bytearray()
        for token in tokens:
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"token must be in 0..{self.vocab_size - 1}, not {token!r}")
            out.append(self.vocabulary[token])
        return bytes(out)

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of a token sequence; malformed UTF-8 becomes U+FFFD."""
        return self.decode_bytes(tokens).decode("utf-8", errors="replace")

    def stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """Yield text as tokens arrive, whole characters only.

        Bytes of an unfinished UTF-8 character are held back until it is complete; what is still
        unfinished when ``tokens`` ends becomes one U+FFFD.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for token in tokens:
            if text := decoder.decode(self.decode_bytes([token])):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text
