import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from ternforge.errors import UserError
from ternforge.output import atomic_file, atomic_folder, print_json, to_json, write_text


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def fail_while_writing(path, error):
    with atomic_file(path) as staged:
        staged.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = write_text(tmp_path / "sub" / "file.txt", "old")
    with pytest.raises(type(error)):
        fail_while_writing(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["sub/file.txt"]


def test_file_is_replaced_and_keeps_its_mode(tmp_path):
    path = write_text(tmp_path / "file.txt", "old")
    path.chmod(0o640)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_file_cannot_replace_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"^cannot write the file '.*': a folder has that name$"):
        write_text(tmp_path, "text")


def test_parent_must_be_a_folder(tmp_path):
    write_text(tmp_path / "file", "text")
    with pytest.raises(UserError, match=r"^cannot write '.*': its parent is not a folder$"):
        write_text(tmp_path / "file" / "sub", "text")


def fill(path, **files):
    with atomic_folder(path) as staged:
        for name, text in files.items():
            write_text(staged / name.replace("__", "/"), text)


def fill_and_fail(path):
    with atomic_folder(path) as staged:
        (staged / "a").write_text("half")
        raise KeyboardInterrupt


def test_folder_replaces_its_own_files_and_keeps_others(tmp_path):
    out = tmp_path / "out"
    fill(out, a="1", sub__b="2", old="3")
    (out / "notes.txt").write_text("mine")
    fill(out, a="4", sub__c="5")
    assert names(out) == [".ternforge-files", "a", "notes.txt", "sub/c"]
    assert (out / "a").read_text() == "4"
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(out)
    assert (out / "a").read_text() == "4"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_interrupted_first_folder_is_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_folder_list_cannot_lead_outside(tmp_path):
    keep = write_text(tmp_path / "keep.txt", "precious")
    fill(tmp_path / "out", a="1")
    (tmp_path / "out" / ".ternforge-files").write_text(f"../keep.txt\n{keep}\na\n")
    fill(tmp_path / "out", b="1")
    assert keep.read_text() == "precious"


def test_folder_cannot_replace_a_file(tmp_path):
    path = write_text(tmp_path / "file", "text")
    with pytest.raises(UserError, match=r"^cannot write the folder '.*': a file has that name$"):
        fill(path, a="1")


@dataclass
class Record:
    path: Path
    names: set[str]


def test_json_takes_records_paths_sets_and_numpy(capsys):
    numpy = pytest.importorskip("numpy")
    print_json({"r": Record(Path("a/b"), {"y", "x"}), "n": numpy.int64(3), "t": "é"})
    assert json.loads(capsys.readouterr().out) == {
        "r": {"path": "a/b", "names": ["x", "y"]}, "n": 3, "t": "é",
    }


def test_json_refuses_what_is_not_data():
    with pytest.raises(TypeError, match=r"^JSON output must be plain data, not <object"):
        to_json(object())
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        to_json(float("nan"))
