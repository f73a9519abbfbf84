"""Items in files that follow one another: full ones are whole, and a crash between two of them loses nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import OutputError
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.sinks.file import FileSink
from crawler.export.sinks.rolling import Limits, RollingSink
from crawler.model import Exported, OutboxEntry

NONE = Exported()
PAGES = [OutboxEntry(0, f"{page}-0", tuple(b'{"n":%d}' % (3 * page + n) for n in range(3))) for page in range(4)]


def sink_of(folder: Path, limits: Limits, epoch: str = "e1", ending: str = "jsonl", **how: Any) -> RollingSink:
    def build(path: Path) -> FileSink:
        return FileSink(path, epoch, ENCODINGS[ending](()), append=True)

    return RollingSink(f"{folder}/items-%(batch_id)d.{ending}", epoch, build, limits, **how)


def files(folder: Path) -> dict[str, list[int]]:
    """The items of the files that have their names."""
    whole = sorted(path for path in folder.iterdir() if path.suffix in (".jsonl", ".json"))
    return {path.stem: numbers(path) for path in whole}


def numbers(path: Path) -> list[int]:
    if path.suffix == ".json":
        return [item["n"] for item in json.loads(path.read_bytes())]
    return [json.loads(line)["n"] for line in path.read_bytes().splitlines()]


def write(folder: Path, limits: Limits, *entries: OutboxEntry, exported: Exported = NONE, **how: Any) -> dict[int, str]:
    sink = sink_of(folder, limits, **how)
    try:
        found = dict(sink.open(exported))
        if entries:
            sink.write(entries)
        sink.finish()
    finally:
        sink.close()
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_each_file_but_the_last_has_just_so_many_items(tmp_path: Path, limit: int, ending: str) -> None:
    write(tmp_path, Limits(items=limit), *PAGES, ending=ending)
    found = files(tmp_path)
    everything = [number for n in range(len(found)) for number in found[f"items-{n + 1}"]]
    assert everything == list(range(12))
    assert [len(one) for one in found.values()].count(limit) >= 12 // limit
    left = {path.name for path in tmp_path.iterdir()} - {f"{name}.{ending}" for name in found}
    assert left == {f"items-batches.{ending}.position"}


def test_a_file_has_its_name_when_the_next_one_begins(tmp_path: Path) -> None:
    sink = sink_of(tmp_path, Limits(items=3))
    sink.open(NONE)
    sink.write(PAGES[:1])
    assert files(tmp_path) == {}
    sink.write(PAGES[1:2])
    sink.close()
    assert files(tmp_path) == {"items-1": [0, 1, 2]}


def test_by_bytes_and_by_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limits in (("bytes", Limits(bytes=20)), ("seconds", Limits(seconds=3600))):
        folder = tmp_path / name
        folder.mkdir()
        sink = sink_of(folder, limits)
        sink.open(NONE)
        sink.write(PAGES[:1])
        later = time.time() + 4000
        monkeypatch.setattr(time, "time", lambda later=later: later)
        sink.write(PAGES[1:2])
        sink.finish()
        sink.close()
        monkeypatch.undo()
        assert files(folder) == {"items-1": [0, 1, 2], "items-2": [3, 4, 5]}, name


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_stopped_after_any_page_the_numbers_go_on(tmp_path: Path, limit: int) -> None:
    found: dict[int, str] = {}
    for page in PAGES:
        sink = sink_of(tmp_path, Limits(items=limit))
        assert all(found.get(shard) == at for shard, at in sink.open(NONE).items())
        sink.write([page])
        found = {0: page.position}
        sink.close()
    write(tmp_path, Limits(items=limit), *PAGES)
    files_ = files(tmp_path)
    assert [number for n in range(len(files_)) for number in files_[f"items-{n + 1}"]] == list(range(12))


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_values_without_a_column_are_counted_over_all_files_wherever_it_is_killed(tmp_path: Path, limit: int) -> None:
    """The first item of each file says which columns it has."""
    pages = [OutboxEntry(0, f"{n}-0", (b'{"n":1}', b'{"n":1,"new":2}', b'{"n":1,"new":2}')) for n in range(4)]
    whole, left_out = sink_of(tmp_path, Limits(items=limit), ending="csv"), 0
    whole.open(NONE)
    whole.write(pages)
    whole.close()
    (other := tmp_path / "other").mkdir()
    for page in pages:
        sink = sink_of(other, Limits(items=limit), ending="csv")
        sink.open(NONE)  # the outbox knows nothing of them
        assert sink.values_left_out == left_out
        sink.write([page])
        left_out = sink.values_left_out
        sink.close()
    assert left_out == whole.values_left_out == {1: 0, 2: 2, 4: 2}[limit]


def test_killed_when_a_file_just_had_its_name(tmp_path: Path) -> None:
    sink = sink_of(tmp_path, Limits(items=3))
    sink.open(NONE)
    sink.write(PAGES[:1])
    sink.close()
    (part,) = tmp_path.glob("*.part")
    os.replace(part, tmp_path / "items-1.jsonl")
    assert write(tmp_path, Limits(items=3), *PAGES) == {0: "0-0"}
    assert files(tmp_path) == {f"items-{n}": list(range(3 * n - 3, 3 * n)) for n in range(1, 5)}


def test_files_of_that_name_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "items-2.jsonl").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"items-2.jsonl is there already: -O replaces it"):
        write(tmp_path, Limits(items=3), *PAGES)
    assert (tmp_path / "items-2.jsonl").read_bytes() == b"precious"
    (tmp_path / "items-2.jsonl").rename(tmp_path / "saved")
    write(tmp_path, Limits(items=3), *PAGES)
    assert files(tmp_path) == {f"items-{n}": list(range(3 * n - 3, 3 * n)) for n in range(1, 5)}


def test_another_crawl_replaces_the_files_or_goes_on_behind_them(tmp_path: Path) -> None:
    write(tmp_path, Limits(items=6), *PAGES, epoch="before")
    with pytest.raises(OutputError, match="is there already"):
        write(tmp_path, Limits(items=6), *PAGES[:1])
    write(tmp_path, Limits(items=6), *PAGES[:1], append=True)
    write(tmp_path, Limits(items=6), *PAGES[1:2], epoch="e3", overwrite=True)
    assert files(tmp_path) == {"items-1": [3, 4, 5], "items-2": [6, 7, 8, 9, 10, 11], "items-3": [0, 1, 2]}


def test_without_its_sidecar_the_earlier_items_are_missed(tmp_path: Path) -> None:
    write(tmp_path, Limits(items=3), *PAGES[:2])
    (tmp_path / "items-batches.jsonl.position").unlink()
    for file in tmp_path.glob("*.jsonl"):
        file.rename(tmp_path / f"{file.name}.kept")
    gone = Exported({0: "1-0"}, str(tmp_path / "items-%(batch_id)d.jsonl"))
    with pytest.raises(OutputError, match=r"put the files and .*items-batches.jsonl.position back"):
        write(tmp_path, Limits(items=3), *PAGES, exported=gone)
    write(tmp_path, Limits(items=3), *PAGES, exported=gone, append=True)
    assert files(tmp_path) == {"items-1": [6, 7, 8], "items-2": [9, 10, 11]}


def test_a_damaged_sidecar_is_told(tmp_path: Path) -> None:
    (tmp_path / "items-batches.jsonl.position").write_bytes(b'{"positions"')
    with pytest.raises(OutputError, match="is damaged"):
        write(tmp_path, Limits(items=3), *PAGES)


def test_a_crawl_without_items_leaves_no_file(tmp_path: Path) -> None:
    write(tmp_path, Limits(items=3))
    assert files(tmp_path) == {}
    assert not list(tmp_path.glob("*.part*"))


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    sink_of(tmp_path, Limits(items=3)).check()
    assert list(tmp_path.iterdir()) == []
