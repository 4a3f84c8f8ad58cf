"""Tokenizers of the libraries, trained here on a few sentences."""

import io
import json
import sys
from copy import deepcopy
from functools import cache

import pytest
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from ternforge.cli import run
from ternforge_model.subword import JsonTokenizer, SentencePieceTokenizer
from ternforge_model.tokenizer import open_tokenizer, tokenizer_from_json

SENTENCES = ["the cat sat on the mat", "a dog ran to the cat and the mat",
             "na\u00efve caf\u00e9s"] * 20
BYTES = [f"<0x{value:02X}>" for value in range(256)]
BOS = 1


@cache
def llama():
    """As in upstream's checkpoints: spaces are U+2581, what is unknown is written in bytes."""
    library = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    library.normalizer = normalizers.Sequence([
        normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    library.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    library.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=316, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False))
    values = json.loads(library.to_str())
    for token in values["added_tokens"]:  # the bytes must not be taken for control tokens
        token["special"] = not token["content"].startswith("<0x")
    values["added_tokens"] = values["added_tokens"][:3]
    values["post_processor"] = json.loads(
        processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
        .__getstate__())
    return values


@cache
def byte_level():
    library = tokenizers.Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=300, show_progress=False, special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(library.to_str())


@cache
def metaspace():
    library = tokenizers.Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    library.train_from_iterator(SENTENCES, trainers.UnigramTrainer(
        vocab_size=60, show_progress=False, unk_token="<unk>", special_tokens=["<unk>"]))
    return json.loads(library.to_str())


@cache
def word_piece():
    library = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.decoder = decoders.WordPiece()
    library.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(
        vocab_size=60, show_progress=False, special_tokens=["[UNK]"]))
    return json.loads(library.to_str())


@cache
def sentence_piece(kind, **options):
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # pyright: ignore
        sentence_iterator=iter(SENTENCES), model_writer=file, vocab_size=300, model_type=kind,
        byte_fallback=True, hard_vocab_limit=False, minloglevel=3, **options)
    return file.getvalue()


KINDS = {
    "llama": lambda: JsonTokenizer(llama()),
    "byte-level": lambda: JsonTokenizer(byte_level()),
    "sentencepiece-bpe": lambda: SentencePieceTokenizer(sentence_piece("bpe")),
    "sentencepiece-unigram": lambda: SentencePieceTokenizer(sentence_piece(
        "unigram", normalization_rule_name="identity", remove_extra_whitespaces=False)),
    "sentencepiece-no-prefix": lambda: SentencePieceTokenizer(sentence_piece(
        "bpe", add_dummy_prefix=False, remove_extra_whitespaces=False)),
}
TEXTS = ["the cat", "a \u20ac and \U0001f600.", "\u20ac", "na\u00efve \u6f22\u5b57 mat", "x"]


@pytest.fixture(params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_whole_and_streamed(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokenizer.encode(text.encode()) == tokens
    assert all(type(token) is int for token in tokens)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.decode_bytes(tokens) == text.encode()
    parts = list(tokenizer.stream(tokens))
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts)
    for n in range(len(tokens)):  # no prefix shows more than whole characters of the text
        shown = tokenizer.text_stream()
        assert text.startswith("".join(shown.push(token) for token in tokens[:n]))


@pytest.mark.parametrize("kind", ["llama", "sentencepiece-unigram", "sentencepiece-no-prefix"])
def test_spaces_are_kept(kind):
    tokenizer = KINDS[kind]()
    for text in (" the cat", "the  cat ", "  ", " a"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", TEXTS[:1] + ["the mat sat", "a dog and a cat"])
@pytest.mark.parametrize("kind", [metaspace, word_piece, llama, byte_level])
def test_decoding_is_the_library_s(kind, text):
    tokenizer, library = JsonTokenizer(kind()), tokenizers.Tokenizer.from_str(json.dumps(kind()))
    tokens = tokenizer.encode(text)
    assert tokens == library.encode(text).ids
    assert tokenizer.decode(tokens) == library.decode(tokens) == text


@pytest.mark.parametrize("kind", ["llama", "sentencepiece-bpe"])
def test_text_that_follows_a_prompt_keeps_its_space(kind):
    tokenizer = KINDS[kind]()
    prompt, rest = tokenizer.encode("the"), tokenizer.encode("cat")
    assert prompt[0] == rest[0] == BOS
    assert tokenizer.decode(rest) == "cat"
    assert tokenizer.decode(rest, continued=True) == " cat"
    assert "".join(tokenizer.stream(rest, continued=True)) == " cat"
    assert tokenizer.decode(prompt + rest[1:]) == "the cat"


@pytest.mark.parametrize("kind", ["llama", "sentencepiece-bpe"])
def test_broken_characters(kind):
    tokenizer = KINDS[kind]()
    euro = tokenizer.encode("x\u20ac")[-3:]
    assert tokenizer.decode_bytes(euro) == "\u20ac".encode()
    assert list(tokenizer.stream(euro[:2])) == ["\ufffd"]
    parts = list(tokenizer.stream([*euro, euro[0], *tokenizer.encode(" cat")[1:]]))
    assert parts[0] == "\u20ac"
    assert "".join(parts[1:]).split() == ["\ufffd", "cat"]


def test_control_tokens_have_no_text(tokenizer):
    first = tokenizer.encode("the cat")[0]
    control = first if tokenizer.decode([first]) == "" else 0
    if isinstance(tokenizer, SentencePieceTokenizer):
        control = BOS
    assert tokenizer.decode([control]) == ""
    tokens = tokenizer.encode("the cat")
    assert tokenizer.decode([control, tokens[0], control, *tokens[1:], control]) == "the cat"


def test_tokens_out_of_range_are_refused(tokenizer):
    size = tokenizer.vocab_size
    for token in (-1, size):
        with pytest.raises(ValueError) as caught:
            tokenizer.decode([token])
        assert str(caught.value) == f"token must be in 0..{size - 1}, not {token}"
    assert isinstance(tokenizer.decode(range(size)), str)


def test_text_must_be_utf8(tokenizer):
    with pytest.raises(ValueError) as caught:
        tokenizer.encode(b"ab\xff")
    assert str(caught.value) == "text must be UTF-8, but it is not at byte 2"


def test_json_makes_the_same_tokenizer(tokenizer):
    again = tokenizer_from_json(json.loads(tokenizer.to_json()))
    assert type(again) is type(tokenizer)
    tokens = tokenizer.encode(TEXTS[1])
    assert again.encode(TEXTS[1]) == tokens
    assert again.decode(tokens) == TEXTS[1]


def test_a_length_limit_of_the_file_is_not_ours():
    values = dict(llama())
    values["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst",
                            "stride": 0}
    tokenizer = JsonTokenizer(values)
    assert tokenizer.decode(tokenizer.encode(TEXTS[1])) == TEXTS[1]


def test_the_folder_decides(tmp_path):
    model = sentence_piece("bpe")
    (tmp_path / "tokenizer.model").write_bytes(model)
    found = open_tokenizer(tmp_path)
    assert isinstance(found, SentencePieceTokenizer)
    assert found.decode(found.encode("the cat")) == "the cat"
    (tmp_path / "tokenizer.json").write_text(json.dumps(llama()))
    assert isinstance(open_tokenizer(tmp_path, 316), JsonTokenizer)


@pytest.mark.parametrize("content", [b"", b"junk", b"\x00" * 50])
def test_a_file_that_is_no_sentencepiece_model(tmp_path, content):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        open_tokenizer(tmp_path)
    assert str(caught.value) == f"{path}: tokenizer must be a SentencePiece model"
    for bad in ({}, {"model": 3}, {"model": "?"}):
        with pytest.raises(ValueError, match=r"model in base 64 under the key 'model'$"):
            tokenizer_from_json({"type": "sentencepiece", **bad})


def gap(values):
    values["model"]["vocab"][max(values["model"]["vocab"], key=len)] = 999


def no_model(values):
    values["model"] = 3


def other_decoder(values):
    values["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "CTC", "pad_token": "x", "word_delimiter_token": "|", "cleanup": False}]}


@pytest.mark.parametrize(("change", "message"), [
    (gap, "tokenizer must number its tokens from 0 without a gap"),
    (no_model, "the library tokenizers cannot read it: data did not match"),
    (other_decoder, "tokenizer must have a decoder that works token by token, not 'CTC'"),
])
def test_files_that_cannot_be_used(tmp_path, change, message):
    values = deepcopy(byte_level())
    values["model"]["merges"] = []
    change(values)
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(ValueError) as caught:
        open_tokenizer(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'tokenizer.json'}: {message}")


def test_a_missing_library_is_named(toy_model, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((toy_model / name).read_bytes())
    (folder / "tokenizer.json").write_text(json.dumps(llama()))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert run(["image", "--model", str(folder), "--board", "icebreaker", "-o",
                str(tmp_path / "x.tfi")]) == 2
    assert capsys.readouterr().err == ("error: this command needs tokenizers, which is not "
                                       "installed: install ternforge[tokenizers]\n")
