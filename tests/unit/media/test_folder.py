"""The store of files: each is there whole or not at all, and never outside the folder."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from crawler.media.endings import ending
from crawler.media.folder import Folder
from crawler.media.library import DAY, Library


def store(path: Path) -> Folder:
    made = Folder("FILES_STORE", path / "files")
    made.check()
    return made


def test_a_file_replaces_one_of_its_name_and_leaves_nothing_else(tmp_path: Path) -> None:
    files = store(tmp_path)
    files.put("ab/c.jpg", b"first")
    files.put("ab/c.jpg", b"second")
    assert files.get("ab/c.jpg") == b"second"
    assert files.has("ab/c.jpg")
    assert not files.has("ab/d.jpg")
    assert files.get("no/d.jpg") is None
    assert list((tmp_path / "files" / "incoming").iterdir()) == []


def test_a_write_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = store(tmp_path)
    files.put("ab/c.jpg", b"first")

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.put("ab/c.jpg", b"second")
    assert files.get("ab/c.jpg") == b"first"
    assert list((tmp_path / "files" / "incoming").iterdir()) == []


def test_a_symbolic_link_leads_nowhere_else(tmp_path: Path) -> None:
    files = store(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "files" / "ab").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="leads out of FILES_STORE"):
        files.put("ab/c.jpg", b"x")
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "files" / "cd").mkdir()
    (tmp_path / "files" / "cd" / "e.jpg").symlink_to(tmp_path / "target")
    files.put("cd/e.jpg", b"new")
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_a_killed_process_left_is_removed_later(tmp_path: Path) -> None:
    incoming = tmp_path / "files" / "incoming"
    store(tmp_path)
    for name, age in (("old", 7_200), ("new", 60)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age,) * 2)
    store(tmp_path)
    assert [path.name for path in incoming.iterdir()] == ["new"]


@pytest.mark.parametrize(
    ("content_type", "url", "found"),
    [
        ("image/jpeg", "http://a.example/x", ".jpg"),
        ("Image/PNG; q=1", "http://a.example/x.exe", ".png"),
        ("", "http://a.example/x.PDF?y=.zip", ".pdf"),
        ("application/octet-stream", "http://a.example/x.tar.gz", ".gz"),
        ("application/octet-stream", "http://a.example/x.sh", ""),
        ("text/x-evil/../../etc", "http://a.example/../x.jpg", ""),
        ("", "http://a.example/jpg", ""),
    ],
)
def test_a_name_ends_as_its_content_type_says_and_by_nobody_s_wish(content_type: str, url: str, found: str) -> None:
    assert ending(content_type, url) == found


def test_a_url_is_known_until_it_expires_or_its_file_is_gone(tmp_path: Path) -> None:
    now = 1_000.0
    library = Library(store(tmp_path), "urls", 2.0, lambda: now)
    kept = library.keep("http://a.example/x", b"x", ".gif")
    assert library.known("http://a.example/x") == kept
    assert library.known("http://a.example/y") is None
    now += 2 * DAY
    assert library.known("http://a.example/x") is None
    now -= DAY
    (tmp_path / "files" / kept.path).unlink()
    assert library.known("http://a.example/x") is None


def test_an_index_that_somebody_else_has_written_counts_for_nothing(tmp_path: Path) -> None:
    library = Library(store(tmp_path), "urls", 2.0)
    library.keep("http://a.example/x", b"x", ".gif")
    (index,) = (tmp_path / "files" / "urls").rglob("*.json")
    for written in (b"", b"{", b'{"url":"http://a.example/other","path":"a","checksum":"b","at":1e12}', b"\xff"):
        index.write_bytes(written)
        assert library.known("http://a.example/x") is None
