"""Items in a file: what a crash, a full disk or somebody else's last line may leave there, and what becomes of it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crawler.errors import OutputClosed, OutputError
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.stream import STDOUT, StreamSink
from crawler.model import Exported, OutboxEntry

FIRST = OutboxEntry(0, "1-0", (b'{"n":1}', b'{"n":2}'))
SECOND = OutboxEntry(1, "1-1", (b'{"n":3}',))
THIRD = OutboxEntry(0, "2-0", (b'{"n":4}',))

NONE = Exported()


def numbers(text: bytes) -> list[int]:
    return [msgspec.json.decode(line)["n"] for line in text.splitlines()]


def write(
    path: Path, *entries: OutboxEntry, epoch: str = "e1", exported: Exported = NONE, **how: Any
) -> dict[int, str]:
    """What an exporter does that comes, writes and goes; the positions it found."""
    sink = FileSink(path, epoch, **how)
    try:
        found = dict(sink.open(exported))
        if entries:
            sink.write(entries)
        sink.finish()
    finally:
        sink.close()
    return found


def begun(path: Path, *before: OutboxEntry, then: Sequence[OutboxEntry]) -> tuple[bytes, bytes]:
    """Leave a file and its sidecar as they are while a block is written; return what was there, and the block."""
    sink = FileSink(path, "e1")
    sink.open(NONE)
    if before:
        sink.write(before)
    there = path.read_bytes()
    sink.write(then)
    sidecar = path.with_name(f"{path.name}.position")
    announced, text = sidecar.read_bytes(), path.read_bytes()
    sink.close()
    sidecar.write_bytes(announced)
    return there, text[len(there) :]


def rest_of(found: Mapping[int, str]) -> list[OutboxEntry]:
    """What the outbox still gives."""
    return [entry for entry in (FIRST, SECOND, THIRD) if found.get(entry.shard, "") < entry.position]


HAND = b'{"n":7}\n'  # a line that somebody adds


@pytest.mark.parametrize("before", [(), (SECOND,)])
@pytest.mark.parametrize("behind", [b"", HAND, b'{"n":7}'])
def test_wherever_a_block_is_torn_each_item_is_in_it_once_and_lines_of_others_stay(
    path: Path, before: tuple[OutboxEntry, ...], behind: bytes
) -> None:
    there, block = begun(path, *before, then=[FIRST, THIRD])
    sidecar = path.with_name("items.jsonl.position")
    announced = sidecar.read_bytes()
    for end in range(len(block) + 1):
        torn = not block[:end].endswith(b"\n") and end  # somebody's line behind it would be a part of it
        path.write_bytes(there + block[:end] + (b"" if torn else behind))
        sidecar.write_bytes(announced)
        found = write(path)
        write(path, *rest_of(found))
        expected = [1, 2, 3, 4, *([] if torn or not behind else [7])]
        assert sorted(numbers(path.read_bytes())) == expected, f"torn at byte {end}"


def test_lines_of_others_before_an_announced_block_do_not_hide_it(path: Path) -> None:
    there, block = begun(path, SECOND, then=[FIRST])
    path.write_bytes(there + HAND + block)
    assert write(path) == {0: "1-0", 1: "1-1"}
    assert numbers(path.read_bytes()) == [3, 7, 1, 2]


def test_a_block_that_the_disk_kept_only_behind_a_hole_is_written_again(path: Path) -> None:
    there, block = begun(path, SECOND, then=[FIRST])
    path.write_bytes(there + bytes(5) + block[5:])
    assert write(path, FIRST) == {1: "1-1"}
    assert numbers(path.read_bytes()) == [3, 1, 2]


# ---------------------------------------------------------------------------------------------------------
# files of older versions, whose rows have marks


def marked(*entries: OutboxEntry, epoch: str = "e1") -> bytes:
    """The rows that an older version wrote."""
    rows, positions = [], {}
    for entry in entries:
        for number, item in entry.numbered():
            part = "" if number == len(entry.items) - 1 else f"/{number}"
            positions[entry.shard] = entry.position + part
            vector = " ".join(f"{s}:{p}" for s, p in sorted(positions.items(), key=lambda pair: ("/" in pair[1], pair)))
            rows.append(b'%b,"_position":"%b %b"}\n' % (item[:-1], epoch.encode(), vector.encode()))
    return b"".join(rows)


def test_a_file_of_an_older_version_goes_on_wherever_it_is_torn(tmp_path: Path) -> None:
    text = marked(FIRST, SECOND, THIRD)
    for end in range(len(text) + 1):
        path = tmp_path / f"torn{end}.jsonl"
        path.write_bytes(text[:end])
        write(path, *rest_of(write(path)), overwrite=True)
        assert numbers(path.read_bytes()) == [1, 2, 3, 4], f"torn at byte {end}"


def test_later_rows_of_a_file_of_an_older_version_have_no_marks(path: Path) -> None:
    path.write_bytes(marked(FIRST))
    assert write(path, SECOND) == {0: "1-0"}
    assert path.read_bytes() == marked(FIRST) + b'{"n":3}\n'
    assert write(path, THIRD) == {0: "1-0", 1: "1-1"}


def test_a_page_of_an_older_version_cut_off_before_a_line_of_somebody_else_is_completed(path: Path) -> None:
    first, _ = marked(FIRST).splitlines(keepends=True)
    path.write_bytes(first + HAND)
    assert write(path, FIRST, SECOND) == {}, "its entry is needed"
    assert numbers(path.read_bytes()) == [1, 7, 2, 3]


def test_a_file_of_an_older_version_of_another_job_is_refused(path: Path) -> None:
    path.write_bytes(marked(FIRST, epoch="before"))
    with pytest.raises(OutputError, match=r"another crawl \(epoch before\)"):
        write(path, SECOND)


# ---------------------------------------------------------------------------------------------------------


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
    with pytest.raises(OutputError, match="so no export wrote it"):
        write(path, SECOND)
    assert path.read_bytes() == b"Dear reader"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.jsonl"


def test_overwriting_replaces_the_file_of_another_job_and_goes_on_in_its_own(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    write(path, FIRST, epoch="before")
    write(path, SECOND, overwrite=True)
    assert write(path, THIRD, overwrite=True) == {1: "1-1"}
    assert numbers(path.read_bytes()) == [3, 4]


ROOM = 1000
LARGE = OutboxEntry(0, "1-0", tuple(b'{"n":%d,"x":"%b"}' % (n, b"x" * 600) for n in (1, 2)))


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond `ROOM` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    sink = FileSink(path, "e1")
    sink.open(Exported())
    sink.write([SECOND])
    for _ in range(2):
        with pytest.raises(OutputError, match="nothing is lost"):
            sink.write([LARGE, THIRD])
        assert numbers(path.read_bytes()) == [3]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    sink.write([LARGE, THIRD])
    sink.close()
    assert numbers(path.read_bytes()) == [3, 1, 2, 4]


@pytest.mark.usefixtures("small_disk")
def test_a_sidecar_that_a_full_disk_refuses_leaves_the_file_as_it_was(path: Path) -> None:
    many = OutboxEntry(0, "1-0", tuple(b'{"n":%d}' % n for n in range(200)))  # whose checksums need more room
    sink = FileSink(path, "e1")
    sink.open(NONE)
    sink.write([SECOND])
    with pytest.raises(OutputError, match=r"cannot write .*items.jsonl.position: File too large; nothing is lost"):
        sink.write([many])
    assert numbers(path.read_bytes()) == [3]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    sink.write([many])
    sink.close()
    assert numbers(path.read_bytes()) == [3, *range(200)]
    assert len(list(path.parent.iterdir())) == 2, "no temporary file is left"


@pytest.mark.usefixtures("small_disk")
def test_what_a_full_disk_kept_of_a_batch_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    sink = FileSink(path, "e1")
    sink.open(NONE)
    sink.write([SECOND])

    def fail_to_cut(frame: object, event: str, what: object) -> None:
        if event == "c_call" and what is os.ftruncate:
            raise OSError(errno.EIO, "input/output error")

    sys.setprofile(fail_to_cut)
    try:
        with pytest.raises(OutputError, match="nothing is lost"):
            sink.write([LARGE, THIRD])
    finally:
        sys.setprofile(None)
    assert path.stat().st_size == ROOM, "a part of the batch is still there"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
    sink.write([LARGE, THIRD])
    sink.close()
    assert numbers(path.read_bytes()) == [3, 1, 2, 4]


@pytest.mark.usefixtures("small_disk")
def test_standard_output_on_a_full_disk_goes_on_at_the_very_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "items.jsonl"
    with path.open("wb", buffering=0) as file:
        monkeypatch.setattr(sys, "stdout", file)
        sink = StreamSink(STDOUT)
        sink.open(Exported())
        with pytest.raises(OutputError, match="cannot write items to standard output"):
            sink.write([LARGE, SECOND])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before[1], before[1]))
        assert sink.write([LARGE, SECOND, THIRD]) == 4
    assert numbers(path.read_bytes()) == [1, 2, 3, 4]


def test_a_closed_standard_output_is_closed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as file:
        monkeypatch.setattr(sys, "stdout", file)
        sink = StreamSink(STDOUT)
        sink.open(NONE)
        with pytest.raises(OutputClosed):
            sink.write([FIRST])


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


# ---------------------------------------------------------------------------------------------------------
# what is there already


def test_a_file_of_another_job_is_refused_unless_append_is_wanted(path: Path) -> None:
    write(path, FIRST, epoch="before")
    there = path.read_bytes()
    with pytest.raises(OutputError, match=r"another crawl .*-O FILE.*another -o FILE.*--append"):
        write(path, SECOND)
    assert path.read_bytes() == there
    write(path, SECOND, append=True)
    write(path, THIRD)
    assert numbers(path.read_bytes()) == [1, 2, 3, 4]


@pytest.mark.parametrize("there", [b"http://a.example/\nhttp://b.example/\n", b"a,b\n1,2\n", b"[\n{}\n]"])
def test_a_file_of_another_kind_is_refused(path: Path, there: bytes) -> None:
    path.write_bytes(there)
    with pytest.raises(OutputError, match="name another file"):
        write(path, FIRST)
    assert path.read_bytes() == there


def test_a_field_named_position_is_no_mark(path: Path) -> None:
    path.write_bytes(b'{"name":"Ann","_position":"striker"}\n')
    write(path, SECOND)
    assert b"striker" in path.read_bytes()


def test_a_file_without_the_earlier_items_is_refused_and_none_is_left_behind(path: Path) -> None:
    gone = Exported({0: "1-0"}, "/data/first.jsonl")
    with pytest.raises(OutputError, match=r"went to /data/first.jsonl: go on there.*--fresh"):
        write(path, THIRD, exported=gone)
    assert not path.exists()
    write(path, THIRD, exported=gone, append=True)
    assert numbers(path.read_bytes()) == [4]


def test_a_file_that_was_rotated_while_nobody_exported_goes_on_for_those_who_follow(path: Path) -> None:
    with pytest.raises(OutputError, match=r"went to /data/other.jsonl"):
        write(path, THIRD, exported=Exported({0: "1-0"}, "/data/other.jsonl"), rotated=True)
    with pytest.raises(OutputError, match=r"no longer in .*items.jsonl: put the file and .*position back"):
        write(path, THIRD, exported=Exported({0: "1-0"}, str(path)))
    write(path, FIRST, THIRD, exported=Exported({0: "1-0"}, str(path)), rotated=True)
    assert numbers(path.read_bytes()) == [4]


def test_a_batch_in_the_moved_file_that_never_left_the_outbox_is_not_written_again(path: Path) -> None:
    write(path, FIRST, SECOND)
    moved = path.rename(path.with_name("items.1"))
    acknowledged = Exported({0: "1-0"}, str(path), moved.stat().st_ino)
    assert write(path, SECOND, THIRD, exported=acknowledged, rotated=True) == {0: "1-0", 1: "1-1"}
    assert numbers(path.read_bytes()) == [4]


def test_an_empty_file_stays_only_where_it_was(path: Path) -> None:
    write(path)
    assert not path.exists()
    path.touch()
    write(path)
    assert path.read_bytes() == b""


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        FileSink(tmp_path / ("x" * 300), "e").check()


def test_the_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"its folder does not exist; make it: mkdir -p .*/deep/er"):
        write(tmp_path / "deep" / "er" / "items.jsonl")


# ---------------------------------------------------------------------------------------------------------
# -O


def aside(path: Path, *entries: OutboxEntry, exported: Exported = NONE) -> FileSink:
    """An interrupted export with -O of job e1."""
    sink = FileSink(path, "e1", overwrite=True)
    sink.open(exported)
    sink.write(entries)
    sink.close()
    return sink


def test_the_old_file_stays_until_the_new_one_is_whole(path: Path) -> None:
    write(path, FIRST, epoch="before")
    path.chmod(0o640)
    old = path.read_bytes()
    location = Path(aside(path, FIRST).location)
    assert (path.read_bytes(), numbers(location.read_bytes()), location.parent) == (old, [1, 2], path.parent)
    found = write(path, THIRD, exported=Exported({0: "1-0"}, str(location)))  # without -O as well
    assert (found, numbers(path.read_bytes()), path.stat().st_mode & 0o777) == ({0: "1-0"}, [1, 2, 4], 0o640)
    assert sorted(path.parent.iterdir()) == [path, Path(f"{path}.position")], "the sidecar has taken its place as well"
    with pytest.raises(OutputError, match="another crawl"):
        write(path, SECOND, epoch="later")


def test_a_run_without_items_keeps_the_old_file(path: Path) -> None:
    write(path, FIRST, epoch="before")
    old = path.read_bytes()
    write(path, overwrite=True)
    assert path.read_bytes() == old
    assert sorted(path.parent.iterdir()) == [path, Path(f"{path}.position")]
    assert write(path, THIRD, epoch="before") == {0: "1-0"}


def test_a_link_goes_on_naming_the_file_that_is_replaced(path: Path) -> None:
    write(path, FIRST, epoch="before")
    link = path.with_name("current")
    link.symlink_to(path)
    write(link, SECOND, overwrite=True)
    assert (link.is_symlink(), numbers(path.read_bytes())) == (True, [3])


def test_a_link_to_a_file_that_does_not_exist_yet_stays(path: Path) -> None:
    link = path.with_name("current")
    link.symlink_to(path)
    FileSink(link, "e1").check()
    assert (link.is_symlink(), path.exists()) == (True, False)
    write(link, SECOND)
    assert (link.is_symlink(), numbers(path.read_bytes())) == (True, [3])


def test_a_file_that_another_program_replaced_meanwhile_is_not_overwritten(path: Path) -> None:
    write(path, FIRST, epoch="before")
    sink = FileSink(path, "e1", overwrite=True)
    sink.open(NONE)
    sink.write([SECOND])
    other = path.with_name("other")
    other.write_bytes(b"precious")
    other.rename(path)
    with pytest.raises(OutputError, match="replaced by another program; the new items are in"):
        sink.finish()
    sink.close()
    assert path.read_bytes() == b"precious"


def test_a_new_file_that_lost_items_replaces_nothing(path: Path) -> None:
    write(path, FIRST, epoch="before")
    old = path.read_bytes()
    sink = FileSink(path, "e1", overwrite=True)
    sink.open(NONE)
    sink.write([FIRST])
    os.truncate(sink.location, 0)
    sink.write([SECOND])
    with pytest.raises(OutputError, match="lost items while it was written"):
        sink.finish()
    sink.close()
    assert path.read_bytes() == old


def test_two_jobs_cannot_replace_one_file_at_once(path: Path) -> None:
    write(path, FIRST, epoch="before")
    sink = FileSink(path, "e1", overwrite=True)
    sink.open(NONE)
    with pytest.raises(OutputError, match="another exporter is writing to"):
        write(path, SECOND, epoch="e2", overwrite=True)
    sink.close()


# ---------------------------------------------------------------------------------------------------------
# what others do to the file meanwhile


@pytest.fixture
def sink(path: Path) -> Iterator[FileSink]:
    """An export that has written its first page."""
    sink = FileSink(path, "e1")
    sink.open(NONE)
    sink.write([FIRST])
    yield sink
    sink.close()


@pytest.mark.parametrize("line", [b'{"n":7}\n', b'{"n":7}'])
def test_a_line_added_by_hand_stays(path: Path, sink: FileSink, line: bytes) -> None:
    with path.open("ab") as file:
        file.write(line)
    sink.write([SECOND])
    sink.close()
    assert numbers(path.read_bytes()) == [1, 2, 7, 3]
    with path.open("ab") as file:
        file.write(line)
    assert write(path, FIRST, SECOND, THIRD) == {0: "1-0", 1: "1-1"}
    assert numbers(path.read_bytes()) == [1, 2, 7, 3, 7, 4]


def test_a_truncated_file_goes_on_at_its_end(path: Path, sink: FileSink) -> None:
    os.truncate(path, 0)
    sink.write([SECOND])
    assert numbers(path.read_bytes()) == [3]


def test_a_file_that_is_truncated_within_a_line_keeps_later_items_whole(path: Path, sink: FileSink) -> None:
    os.truncate(path, path.stat().st_size - 10)
    sink.write([SECOND])
    assert numbers(path.read_bytes().splitlines(keepends=True)[-1]) == [3]


@pytest.mark.parametrize("content", [b'{"a":1}\n{"b":2', b'{"a":1}'])
def test_a_check_changes_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    FileSink(path, "new").check()
    assert path.read_bytes() == content


def test_a_check_leaves_no_file_behind(path: Path) -> None:
    FileSink(path, "new").check()
    assert not path.exists()


def test_a_moved_file_keeps_what_was_written_and_a_new_one_goes_on(path: Path, sink: FileSink) -> None:
    moved = path.rename(path.with_name("items.1"))
    sink.write([SECOND])
    assert (numbers(moved.read_bytes()), numbers(path.read_bytes())) == ([1, 2], [3])
    sink.close()
    assert write(path, FIRST, SECOND, THIRD) == {0: "1-0", 1: "1-1"}, "the new file knows the position of the old one"
    assert numbers(path.read_bytes()) == [3, 4]


def test_a_deleted_file_is_made_anew(path: Path, sink: FileSink) -> None:
    path.unlink()
    sink.write([SECOND])
    assert numbers(path.read_bytes()) == [3]


def test_a_batch_whose_file_is_deleted_while_it_is_written_is_written_again(path: Path, sink: FileSink) -> None:
    syncs = iter([os.fdatasync])

    def delete_before_first_sync(frame: object, event: str, what: object) -> None:
        if event == "c_call" and what is os.fdatasync and next(syncs, None):
            path.unlink()

    sys.setprofile(delete_before_first_sync)
    try:
        sink.write([SECOND])
    finally:
        sys.setprofile(None)
    assert numbers(path.read_bytes()) == [3]


def test_a_file_deleted_after_the_last_item_is_an_error(path: Path, sink: FileSink) -> None:
    path.unlink()
    with pytest.raises(OutputError, match=r"was deleted with the items in it; --fresh"):
        sink.finish()


def test_a_file_that_an_editor_saved_goes_on(path: Path, sink: FileSink) -> None:
    saved = path.with_name("saved")
    saved.write_bytes(path.read_bytes() + b'{"n":7}\n')
    saved.rename(path)
    sink.write([SECOND])
    assert numbers(path.read_bytes()) == [1, 2, 7, 3]


@pytest.mark.parametrize("instead", ["folder", "pipe", "no folder"])
def test_what_cannot_be_written_waits_and_goes_on_afterwards(path: Path, sink: FileSink, instead: str) -> None:
    folder = path.parent
    old = path.rename(folder / "old")
    if instead == "folder":
        path.mkdir()
    elif instead == "pipe":
        os.mkfifo(path)
    else:
        folder = folder.rename(f"{folder}.away")
    for _ in range(2):
        with pytest.raises(OutputError, match="cannot write items to"):
            sink.write([SECOND])
    if instead == "folder":
        path.rmdir()
    elif instead == "pipe":
        path.unlink()
    else:
        folder.rename(path.parent)
    sink.write([SECOND])
    assert (numbers(old.read_bytes()), numbers(path.read_bytes())) == ([1, 2], [3])


# ---------------------------------------------------------------------------------------------------------
# the sidecar


@pytest.fixture
def sidecar(path: Path) -> Path:
    """The sidecar of a file with the first page."""
    write(path, FIRST)
    return path.with_name("items.jsonl.position")


ACKNOWLEDGED = {0: "1-0"}


def test_rows_are_the_items_alone(path: Path, sidecar: Path) -> None:
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert b'"e1 0:1-0"' in sidecar.read_bytes(), "a person can read it"


def test_a_copy_in_another_folder_goes_on(path: Path, sidecar: Path) -> None:
    folder = path.parent / "copy"
    folder.mkdir()
    for file in (path, sidecar):
        (folder / file.name).write_bytes(file.read_bytes())
    assert write(folder / path.name, SECOND) == {0: "1-0"}
    assert numbers((folder / path.name).read_bytes()) == [1, 2, 3]


def test_a_moved_file_is_found_by_its_sidecar_wherever_that_is(path: Path, sidecar: Path) -> None:
    exported = Exported({}, str(path), path.stat().st_ino)
    moved = path.rename(path.with_name("items.1"))
    assert write(path, exported=exported, rotated=True) == ACKNOWLEDGED
    sidecar.rename(path.with_name("items.1.position"))
    assert write(path, SECOND, exported=exported, rotated=True) == ACKNOWLEDGED
    assert (numbers(moved.read_bytes()), numbers(path.read_bytes())) == ([1, 2], [3])


def test_without_its_sidecar_a_file_with_exported_items_is_refused(path: Path, sidecar: Path) -> None:
    sidecar.unlink()
    with pytest.raises(OutputError, match=r"put the file and .*items.jsonl.position back"):
        write(path, SECOND, exported=Exported(ACKNOWLEDGED, str(path)))
    write(path, SECOND, exported=Exported(ACKNOWLEDGED, str(path)), append=True)
    assert numbers(path.read_bytes()) == [1, 2, 3]


def test_a_file_that_was_edited_while_nobody_exported_is_refused_unless_append_is_wanted(
    path: Path, sidecar: Path
) -> None:
    edited = b'{"n":2}\n{"n":8}\n'
    path.write_bytes(edited)
    with pytest.raises(OutputError, match=r"not the file that .*position describes.*--append"):
        write(path, SECOND, exported=Exported(ACKNOWLEDGED, str(path)))
    assert path.read_bytes() == edited
    write(path, SECOND, exported=Exported(ACKNOWLEDGED, str(path)), append=True)
    assert numbers(path.read_bytes()) == [2, 8, 3]


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 80, b"[]", b'{"jobs":["e1 0:x"]}', b'{"jobs":["e1 0:1-0"]', b'{"size":"4"}']
)
def test_a_damaged_sidecar_is_told_and_nothing_changes(path: Path, sidecar: Path, damage: bytes) -> None:
    sidecar.write_bytes(damage)
    there = path.read_bytes()
    with pytest.raises(OutputError, match=r"items.jsonl.position is damaged.*--append"):
        write(path, SECOND)
    assert (path.read_bytes(), sidecar.read_bytes()) == (there, damage)
    write(path, SECOND, epoch="e2", overwrite=True)
    assert numbers(path.read_bytes()) == [3]


def test_the_sidecar_of_a_deleted_file_says_nothing_about_a_new_one(path: Path, sidecar: Path) -> None:
    path.unlink()
    assert write(path, SECOND, epoch="e2") == {}
    assert numbers(path.read_bytes()) == [3]


def test_two_crawls_in_one_file_go_on_in_turn(path: Path, sidecar: Path) -> None:
    write(path, SECOND, epoch="e2", append=True)
    assert write(path, THIRD) == {0: "1-0"}
    assert write(path, epoch="e2") == {1: "1-1"}
    assert numbers(path.read_bytes()) == [1, 2, 3, 4]


def test_a_sidecar_that_cannot_be_written_costs_nothing(path: Path, sink: FileSink) -> None:
    sidecar = path.with_name("items.jsonl.position")
    sidecar.unlink()
    (sidecar / "x").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write .*items.jsonl.position: .*; nothing is lost"):
        sink.write([SECOND])
    assert numbers(path.read_bytes()) == [1, 2]
    (sidecar / "x").rmdir()
    sidecar.rmdir()
    sink.write([SECOND])
    assert numbers(path.read_bytes()) == [1, 2, 3]


def test_a_link_and_its_file_have_one_sidecar(path: Path, sidecar: Path) -> None:
    link = path.parent / "links" / "current.jsonl"
    link.parent.mkdir()
    link.symlink_to(path)
    assert write(link, SECOND) == {0: "1-0"}
    assert list(link.parent.iterdir()) == [link]
    assert write(path) == {0: "1-0", 1: "1-1"}


def test_killed_between_the_file_and_its_sidecar_an_overwriting_goes_on(path: Path) -> None:
    write(path, FIRST, epoch="before")
    new = Path(aside(path, FIRST).location)
    new.rename(path)
    assert write(path, SECOND, overwrite=True) == {0: "1-0"}
    assert numbers(path.read_bytes()) == [1, 2, 3]
    assert not list(path.parent.glob("*.part*"))


def test_pages_without_items_move_the_position(tmp_path: Path) -> None:
    """They leave the outbox, so an exporter after a crash must not take them for items that are missing."""
    path = tmp_path / "items.jsonl"
    killed = FileSink(path, "epoch")
    killed.open(Exported())
    killed.write([OutboxEntry(0, "1-1", (b'{"a":1}',))])
    killed.write([OutboxEntry(0, "1-2", (), archived="x {}")])
    os.close(killed._file)
    again = FileSink(path, "epoch")
    assert again.open(Exported({0: "1-2"}, str(path))) == {0: "1-2"}
    again.close()
    assert path.read_bytes() == b'{"a":1}\n'


def test_pages_of_which_nothing_is_wanted_move_the_position_on(path: Path) -> None:
    nothing = OutboxEntry(0, "1-0", FIRST.items, left_out=frozenset({0, 1}))
    for written in ([nothing], [SECOND, nothing]):
        sink = FileSink(path, "e1")
        sink.open(NONE)
        for entry in written:
            sink.write([entry])
        later = FileSink(path.with_name("copy.jsonl"), "e1")  # as after a crash: the first one is not closed
        for file in (path, path.with_name("items.jsonl.position")):
            file.with_name(file.name.replace("items", "copy")).write_bytes(file.read_bytes())
        assert later.open(Exported({0: "1-0"}, later.location))[0] == "1-0"
        later.close()
        sink.close()
