import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ternforge.cache import cache_dir, cached, content_key


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ternforge"


def test_cache_dir_follows_xdg(own_cache, monkeypatch, tmp_path):
    assert cache_dir("kind") == own_cache / "kind"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_dir("kind") == tmp_path / "home" / ".cache" / "ternforge" / "kind"


def test_key_frames_its_parts(tmp_path):
    keys = [content_key("ab", "c"), content_key("a", "bc"), content_key("abc"),
            content_key(b"abc"), content_key(["a", "bc"]), content_key(1), content_key("1")]
    assert len(set(keys)) == len(keys)
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    assert content_key(file) == content_key(b"abc")
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})


def test_filled_once(own_cache):
    calls = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        (folder / "result").write_text("done")

    for _ in range(3):
        assert (cached("kind", "key", fill) / "result").read_text() == "done"
    assert len(calls) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_nothing(own_cache, error):
    def fill(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise error

    with pytest.raises(error):
        cached("kind", "key", fill)
    assert [p.name for p in (own_cache / "kind").iterdir()] == [".key.lock"]


def test_rest_of_a_killed_process_is_replaced(own_cache):
    left = cache_dir("kind") / ".key.partial"
    left.mkdir()
    (left / "half").write_text("half")
    folder = cached("kind", "key", lambda new: (new / "whole").write_text("whole"))
    assert [p.name for p in folder.iterdir()] == ["whole"]


def test_processes_do_not_fill_twice(own_cache, tmp_path):
    script = textwrap.dedent("""
        import os, sys, time
        from ternforge.cache import cached
        def fill(folder):
            with open(sys.argv[1], "a") as log:
                log.write("filled\\n")
            time.sleep(0.3)
        cached("kind", "key", fill)
    """)
    log = tmp_path / "log"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(log)]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert log.read_text() == "filled\n"
