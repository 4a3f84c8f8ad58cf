"""Texts as tokens in memory and in mapped files."""

import json

import numpy as np
import pytest

from ternforge_model import tokens as module
from ternforge_model.data import MOST_VALIDATION, TextStreams, split_text
from ternforge_model.tokenizer import ByteTokenizer, Tokenizer
from ternforge_model.tokens import open_tokens, text_tokenizer

TEXT = "".join(f"line {n} of the text, naïve, 文字\n" for n in range(200)).encode()
BYTES = ByteTokenizer(range(256))


class Words(Tokenizer):
    """Two control tokens around the text; every word is a token of its length, up to ``most``."""

    def __init__(self, most=2000):
        self.most = most

    @property
    def vocab_size(self):
        return self.most

    def encode(self, text):
        text = text if isinstance(text, str) else text.decode("utf-8")
        return [0, *(1 + len(word) for word in text.split()), 1]

    def to_json(self):
        return json.dumps({"words": self.most})

    def reader(self, *, continued=False):
        raise NotImplementedError


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    return path


@pytest.fixture
def pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 301)


@pytest.mark.parametrize("tokenizer", [BYTES, Words(), Words(70_000)], ids=["bytes", "16", "32"])
def test_pieces_in_a_file_equal_the_whole_in_memory(text, tmp_path, pieces, tokenizer):
    mapped, digest = open_tokens(text, tokenizer, tmp_path / "kept", small=0)
    memory, same = open_tokens(text, tokenizer, tmp_path / "other")
    assert mapped.tolist() == memory.tolist() == tokenizer.encode(TEXT)
    assert mapped.dtype == memory.dtype == ("u4" if tokenizer.vocab_size > 65536 else "u2")
    assert isinstance(mapped, np.memmap)
    assert not isinstance(memory, np.memmap)
    assert same == digest
    assert [p.name for p in (tmp_path / "kept").iterdir()] == [f"text-{digest}.npy"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("text_bytes", [
    "文字".encode() * 400, b" " * 2000, b"x" * 2000, b"word " * 400, "é".encode() * 700,
], ids=["three bytes", "spaces", "one word", "words", "two bytes"])
def test_pieces_never_cut_a_character(tmp_path, pieces, text_bytes):
    (tmp_path / "t").write_bytes(text_bytes)
    found = []

    class Pieces(Words):
        def encode(self, text):
            if text:
                found.append(text.decode("utf-8"))  # raises within a character
            return [5] if text else []

    ids, _ = open_tokens(tmp_path / "t", Pieces(), tmp_path, small=0)
    assert len(ids) == len(found) > 4
    assert "".join(found).encode() == text_bytes


def test_tokens_are_made_once_per_content_and_tokenizer(text, tmp_path, monkeypatch):
    made = []
    encoder = module._encoder
    monkeypatch.setattr(module, "_encoder", lambda t: made.append(t) or encoder(t))
    first, digest = open_tokens(text, BYTES, tmp_path / "kept", small=0)
    text.rename(text.with_name("renamed")).touch()
    again, same = open_tokens(text.with_name("renamed"), BYTES, tmp_path / "kept", small=0)
    assert digest == same
    made.clear()
    text.write_bytes(TEXT)
    open_tokens(text, BYTES, tmp_path / "kept", small=0)
    assert made == []
    assert open_tokens(text, Words(), tmp_path / "kept", small=0)[1] != digest
    text.write_bytes(TEXT[:-1] + b"!")
    changed, other = open_tokens(text, BYTES, tmp_path / "kept", small=0)
    assert other != digest
    assert changed[-1] == ord("!")
    assert len(made) == 2
    assert np.array_equal(first, again)


def test_a_damaged_file_is_made_again(text, tmp_path):
    whole, digest = open_tokens(text, BYTES, tmp_path, small=0)
    expected = whole.tolist()
    path = tmp_path / f"text-{digest}.npy"
    raw = path.read_bytes()
    for damage in (raw[:-7], raw[:50], b"", b"junk"):
        path.unlink()
        path.write_bytes(damage)
        assert open_tokens(text, BYTES, tmp_path, small=0)[0].tolist() == expected
        assert path.read_bytes() == raw


def test_what_goes_wrong_is_said_and_leaves_no_file(text, tmp_path, monkeypatch, pieces):
    def message(tokenizer, path=text):
        with pytest.raises(ValueError) as caught:
            open_tokens(path, tokenizer, tmp_path / "kept", small=0)
        assert list((tmp_path / "kept").glob("*")) == []
        return str(caught.value)

    known = ByteTokenizer(sorted(set(TEXT) - {0xC3, 0xE6}))
    assert message(known) == (
        f"{text}: byte 0xc3 (b'\\xc3') at offset 22 must be one of the {known.vocab_size} bytes "
        "of the vocabulary")
    assert message(Words(3)).endswith("gives the token 7, but its tokenizer says that there are 3")
    assert message(BYTES, tmp_path / "none") == (
        f"{tmp_path / 'none'} must be a readable text file: No such file or directory")
    encoder = module._encoder

    def writes(tokenizer):
        with text.open("r+b") as file:
            file.write(b"LINE")
        return encoder(tokenizer)

    monkeypatch.setattr(module, "_encoder", writes)
    assert message(BYTES) == f"{text} must not change while it is read"
    text.write_bytes(b"")
    assert message(BYTES) == f"{text} must not be empty"


def test_byte_tokenizer_for_a_vocabulary(text):
    assert text_tokenizer(text, 256, "x").vocab_size == 256
    found = sorted(set(TEXT))
    tokenizer = text_tokenizer(text, len(found), "x")
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.vocabulary == tuple(found)
    with pytest.raises(ValueError) as caught:
        text_tokenizer(text, 32000, "370m")
    assert str(caught.value) == ("recipe '370m' has 32000 tokens, more than there are bytes: "
                                 "name the folder of their tokenizer")


def test_large_texts_are_not_read_as_a_whole(tmp_path):
    """A sparse text of 50 MB: neither tokenising nor walking through it holds it in memory."""
    import tracemalloc

    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(50_000_000)
        file.seek(40_000_000)
        file.write(b"abc")
    tracemalloc.start()
    ids, _ = open_tokens(path, BYTES, tmp_path)
    training, validation = split_text(ids)
    streams = TextStreams(training, batch=4, window=32, restart=0.5, seed=1)
    windows = [streams.next(step)[0] for step in range(20)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6
    assert {w.dtype for w in windows} == {np.dtype(np.int64)}
    assert len(ids) == 50_000_000
    assert ids[40_000_000:40_000_003].tolist() == list(b"abc")
    assert len(validation) == MOST_VALIDATION
