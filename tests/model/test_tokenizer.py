import pytest

from ternforge_model.tokenizer import ByteTokenizer

EURO = "a\u20acb"  # one byte, three bytes, one byte


def test_round_trip():
    tokenizer = ByteTokenizer.from_text(b"to be or not")
    assert tokenizer.vocabulary == tuple(sorted(b" benort"))
    assert tokenizer.encode("bee") == [1, 2, 2]
    assert tokenizer.decode([1, 2, 2]) == "bee"


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


def test_file_round_trip(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(ByteTokenizer(b"zya").to_json())
    assert ByteTokenizer.from_json(path).vocabulary == tuple(b"zya")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("nonsense", " must be readable JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"type": "bpe"}', ' must hold an object with "type": "byte"'),
        ('{"type": "byte"}', " must list the byte values under the key 'bytes'"),
        ('{"type": "byte", "bytes": [256]}', (": vocabulary entry must be a byte value 0..255, "
         "not 256")),
        ('{"type": "byte", "bytes": [1, 1]}', (": vocabulary must hold at least one byte value "
         "and none twice")),
    ],
)
def test_bad_files_are_named(tmp_path, text, rest):
    path = tmp_path / "tokenizer.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        ByteTokenizer.from_json(path)
    assert str(caught.value) == f"{path}{rest}"
