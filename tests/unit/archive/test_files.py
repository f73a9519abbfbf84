"""What a crash leaves in the folder of an archive, and what becomes of it."""

from __future__ import annotations

import gzip
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.archive.files import GrowingFile, repair
from crawler.errors import OutputError

MEMBERS = [gzip.compress(f"member {number} ".encode() * 50, mtime=0) for number in range(3)]
LARGEST = len(MEMBERS[0]) + 20


@pytest.fixture
def no_larger_files() -> Iterator[None]:
    """No file may grow beyond `LARGEST` bytes; what would be a signal is an error."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def left(folder: Path, content: bytes) -> Path:
    """A file that a killed worker has left."""
    path = folder / "a.warc.gz.open"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("cut", [1, 8, 30, len(MEMBERS[2]) - 1])
def test_a_torn_last_member_is_cut(tmp_path: Path, cut: int) -> None:
    left(tmp_path, b"".join(MEMBERS)[:-cut])
    repair(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.warc.gz": b"".join(MEMBERS[:2])}


@pytest.mark.parametrize("torn", [b"\0" * 5000, b"\x1f\x8b\x08" + b"\xff" * 500, b"junk"])
def test_what_is_no_member_is_cut(tmp_path: Path, torn: bytes) -> None:
    left(tmp_path, b"".join(MEMBERS) + torn)
    repair(tmp_path)
    assert (tmp_path / "a.warc.gz").read_bytes() == b"".join(MEMBERS)


def test_whole_members_all_stay_also_large_ones(tmp_path: Path) -> None:
    large = gzip.compress(os.urandom(3_000_000)) + gzip.compress(b"\0" * 40_000_000)
    left(tmp_path, MEMBERS[0] + large + MEMBERS[1] + MEMBERS[2][:9])
    repair(tmp_path)
    assert (tmp_path / "a.warc.gz").read_bytes() == MEMBERS[0] + large + MEMBERS[1]


@pytest.mark.parametrize("content", [b"", MEMBERS[0][:20]])
def test_a_file_without_a_whole_member_goes_away(tmp_path: Path, content: bytes) -> None:
    left(tmp_path, content)
    repair(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_living_worker_is_left_alone(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "b.warc.gz", MEMBERS[0])
    file.sync()
    with (tmp_path / "b.warc.gz.open").open("ab") as torn:
        torn.write(MEMBERS[1][:9])
    repair(tmp_path)
    assert (tmp_path / "b.warc.gz.open").read_bytes() == MEMBERS[0] + MEMBERS[1][:9]


def test_members_are_on_disk_after_sync_and_know_their_place(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "c.warc.gz", MEMBERS[0])
    offset = file.add(MEMBERS[1])
    assert list(tmp_path.iterdir()) == []
    assert not file.sync()
    written = (tmp_path / "c.warc.gz.open").read_bytes()
    assert written[offset:] == MEMBERS[1]
    file.is_full = True
    assert file.sync()
    assert [path.name for path in tmp_path.iterdir()] == ["c.warc.gz"]
    assert (tmp_path / "c.warc.gz").stat().st_mode & 0o077 == 0


def test_what_a_full_disk_refuses_waits_and_is_written_once(tmp_path: Path, no_larger_files: None) -> None:
    file = GrowingFile(tmp_path / "d.warc.gz", MEMBERS[0])
    file.sync()
    for member in MEMBERS[1:]:
        file.add(member)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"WARC_DIR: pages cannot be written to .*d\.warc\.gz: .*nothing is lost"):
            file.sync()
        assert (tmp_path / "d.warc.gz.open").read_bytes() == MEMBERS[0]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    file.sync()
    assert (tmp_path / "d.warc.gz.open").read_bytes() == b"".join(MEMBERS)


def test_a_folder_that_is_gone_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    file = GrowingFile(folder / "e.warc.gz", MEMBERS[0])
    with pytest.raises(OutputError, match="No such file"):
        file.sync()
    folder.mkdir()
    file.sync()
    assert (folder / "e.warc.gz.open").read_bytes() == MEMBERS[0]
