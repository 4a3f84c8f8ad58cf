import json

import pytest

from ternforge_model.tokenizer import ByteTokenizer, open_tokenizer, tokenizer_from_json

EURO = "a\u20acb"  # one byte, three bytes, one byte


def test_round_trip():
    tokenizer = ByteTokenizer.from_text(b"to be or not")
    assert tokenizer.vocabulary == tuple(sorted(b" benort"))
    assert tokenizer.encode("bee") == [1, 2, 2]
    assert tokenizer.decode([1, 2, 2]) == "bee"
    assert tokenizer.decode_bytes([1, 2, 2], continued=True) == b"bee"


def test_a_byte_outside_the_vocabulary_is_named_with_its_offset():
    tokenizer = ByteTokenizer(b"abc")
    with pytest.raises(ValueError) as caught:
        tokenizer.encode("abxc")
    assert str(caught.value) == (
        "byte 0x78 (b'x') at offset 2 must be one of the 3 bytes of the vocabulary"
    )


@pytest.mark.parametrize("token", [-1, 3])
def test_a_token_outside_the_vocabulary_is_refused(token):
    with pytest.raises(ValueError) as caught:
        ByteTokenizer(b"abc").decode([0, token])
    assert str(caught.value) == f"token must be in 0..2, not {token}"


def test_streaming_holds_half_characters_back():
    tokenizer = ByteTokenizer(range(256))
    tokens = tokenizer.encode(EURO)
    assert list(tokenizer.stream(tokens)) == ["a", "\u20ac", "b"]
    assert list(tokenizer.stream(tokens[:2])) == ["a", "\ufffd"]
    text = tokenizer.text_stream()
    assert [text.push(token) for token in tokens[:3]] == ["a", "", ""]
    assert text.finish() == "\ufffd"


def test_file_round_trip(tmp_path):
    (tmp_path / "tokenizer.json").write_text(ByteTokenizer(b"zya").to_json())
    tokenizer = open_tokenizer(tmp_path, 3)
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.vocabulary == tuple(b"zya")
    again = tokenizer_from_json(json.loads(tokenizer.to_json()))
    assert again.encode("ay") == [2, 1]


NEITHER = ('tokenizer must be of the library tokenizers, with the key "model", or have "type": '
           '"byte" or "type": "sentencepiece"')


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("nonsense", "tokenizer must be JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "tokenizer must be JSON, but it is nested too deeply"),
        ("[]", "tokenizer must be a JSON object, not list"),
        ("{}", NEITHER),
        ('{"type": "bpe", "model": {}}', NEITHER),
        ('{"type": "byte"}', "tokenizer must list the byte values under the key 'bytes'"),
        ('{"type": "byte", "bytes": [256]}', ("vocabulary entry must be a byte value 0..255, "
         "not 256")),
        ('{"type": "byte", "bytes": [1, 1]}', ("vocabulary must hold at least one byte value "
         "and none twice")),
    ],
    ids=lambda value: value[:12],
)
def test_bad_files_are_named(tmp_path, text, rest):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        open_tokenizer(tmp_path)
    assert str(caught.value) == f"{path}: {rest}"


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(ValueError) as caught:
        open_tokenizer(tmp_path)
    assert str(caught.value) == f"{tmp_path} must hold tokenizer.json or tokenizer.model"


def test_a_tokenizer_of_another_size(tmp_path):
    (tmp_path / "tokenizer.json").write_text(ByteTokenizer(b"zya").to_json())
    with pytest.raises(ValueError) as caught:
        open_tokenizer(tmp_path, 4)
    assert str(caught.value) == (f"{tmp_path / 'tokenizer.json'} must hold 4 tokens as the model "
                                 "does, not 3")
