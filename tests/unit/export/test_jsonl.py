"""Items in a file: what a crash, a full disk or somebody else's last line may leave there, and what becomes of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from crawler.errors import OutputClosed, OutputError
from crawler.export.sinks.jsonl import JsonlSink, StdoutSink
from crawler.model import OutboxEntry

FIRST = OutboxEntry(0, "1-0", (b'{"n":1}', b'{"n":2}'))
SECOND = OutboxEntry(1, "1-1", (b'{"n":3}',))
THIRD = OutboxEntry(0, "2-0", (b'{"n":4}',))


def numbers(text: bytes) -> list[int]:
    return [msgspec.json.decode(line)["n"] for line in text.splitlines()]


def write(path: Path, *entries: OutboxEntry, epoch: str = "e1", overwrite: bool = False) -> dict[int, str]:
    """What an exporter does that comes, writes and goes; the positions it found."""
    sink = JsonlSink(path, epoch, overwrite=overwrite)
    try:
        found = dict(sink.open())
        if entries:
            sink.write(entries)
    finally:
        sink.close()
    return found


def test_wherever_the_file_is_torn_each_item_is_in_it_once_afterwards(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    write(whole, FIRST, SECOND, THIRD)
    text = whole.read_bytes()
    for end in range(len(text) + 1):
        path = tmp_path / "torn.jsonl"
        path.write_bytes(text[:end])
        found = write(path)
        rest = [entry for entry in (FIRST, SECOND, THIRD) if found.get(entry.shard, "") < entry.position]
        write(path, *rest, overwrite=True)
        assert path.read_bytes() == text, f"torn at byte {end}"


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        (b'{"mine":1}\n{"mine":2}', b'{"mine":1}\n{"mine":2}\n'),
        (b"[1,2]", b"[1,2]\n"),
        (b'{"mine":1}\n{"torn', b'{"mine":1}\n'),
    ],
)
def test_a_last_line_without_its_end_is_kept_when_it_is_whole(tmp_path: Path, there: bytes, kept: bytes) -> None:
    path = tmp_path / "items.jsonl"
    path.write_bytes(there)
    write(path, SECOND)
    assert path.read_bytes().startswith(kept + b'{"n":3')


def test_a_file_that_is_no_json_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"Dear reader")
    with pytest.raises(OutputError, match="was not written by an export"):
        write(path, SECOND)
    assert path.read_bytes() == b"Dear reader"


def test_overwriting_empties_the_file_of_another_job_and_goes_on_in_its_own(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    write(path, FIRST, epoch="before")
    write(path, SECOND, overwrite=True)
    assert write(path, THIRD, overwrite=True) == {1: "1-1"}
    assert numbers(path.read_bytes()) == [3, 4]


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    sink = JsonlSink(path, "e1")
    sink.open()
    sink.write([SECOND])
    for _ in range(2):
        with pytest.raises(OutputError, match="nothing is lost"):
            sink.write([FIRST, THIRD])
        assert numbers(path.read_bytes()) == [3]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    sink.write([FIRST, THIRD])
    sink.close()
    assert numbers(path.read_bytes()) == [3, 1, 2, 4]


@pytest.mark.usefixtures("small_disk")
def test_standard_output_on_a_full_disk_goes_on_at_the_very_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "items.jsonl"
    with path.open("wb", buffering=0) as file:
        monkeypatch.setattr(sys, "stdout", file)
        sink = StdoutSink("e1")
        sink.open()
        with pytest.raises(OutputError, match="cannot write items to standard output"):
            sink.write([FIRST, SECOND])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
        assert sink.write([FIRST, SECOND, THIRD]) == 4
    assert numbers(path.read_bytes()) == [1, 2, 3, 4]


def test_a_closed_standard_output_is_closed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file:
        monkeypatch.setattr(sys, "stdout", file)
        with pytest.raises(OutputClosed):
            StdoutSink("e1").write([FIRST])


def test_two_exporters_on_one_file(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    code = "import sys,fcntl; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match="another exporter is writing to"):
            write(path, FIRST)
        other.communicate(b"")
    write(path, FIRST)
