"""Items in a folder of Parquet files, read back by DuckDB and pandas: what a crash, a full disk or other programs leave
there, and what becomes of it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from crawler.errors import OutputError
from crawler.export.sinks.columns import Kind
from crawler.export.sinks.parquet import ParquetSink
from crawler.model import Exported, OutboxEntry

FIRST = OutboxEntry(0, "1-0", (b'{"n":1}', b'{"n":2}'))
SECOND = OutboxEntry(1, "1-1", (b'{"n":3}',))
THIRD = OutboxEntry(0, "2-0", (b'{"n":4}',))
ALL = (FIRST, SECOND, THIRD)
NONE = Exported()

DRIFT: list[dict[str, Any]] = [
    {"url": "http://a.example/1", "price": None, "stock": 1, "tags": [], "is_new": True, "seller": {}},
    {"url": "http://a.example/2", "price": 12, "stock": 2, "tags": ["a"], "is_new": False, "seller": {"name": "x"}},
    {"url": "http://a.example/3", "price": 12.5, "stock": 2**53 + 1, "only_here": None},
    {},
    {"price": "12.50 €", "is_new": 1, "a.b": "dotted", "seller": [1, "a", None, [2.5, {"deep": {}}]]},
    {"stock": 0.5, "tags": "a, b", "Url": "another case", "text": "\0 nul, 🦀, \ufffd, 'quoted', \"twice\"\r\n"},
    {"stock": 2**64, "huge": 10**400, "tiny": -(2**63)},
    {"tiny": 1.5, "": "no name", "_other": "taken"},
    {"only_here": "at last", "tags": {"a": 1}, "text": "x" * 300_000},
    {"is_new": None, "price": False},
]


def written(path: Path, items: Sequence[dict[str, Any]], **limits: Any) -> None:
    sink = ParquetSink(path, "e1", **limits)
    sink.open(NONE)
    for number, item in enumerate(items, 1):
        sink.write([OutboxEntry(0, f"{number}-0", (json.dumps(item, ensure_ascii=False).encode(),))])
    sink.finish()
    sink.close()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of the folder, as the documentation tells people to read them with DuckDB."""
    found = duckdb.execute(f"from read_parquet('{path}/*.parquet', union_by_name=true, filename=true)")
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    return sorted(rows, key=lambda row: row.pop("filename"))  # DuckDB keeps the order within a file


def numbers(path: Path) -> list[int]:
    return [row["n"] for row in rows_of(path)] if list(path.glob("*.parquet")) else []


def has(cell: Any, value: Any) -> bool:
    """Whether a cell has the value of an item's field, in whatever type."""
    is_json = isinstance(cell, str) and not isinstance(value, str)
    return bool((json.loads(cell) if is_json and value is not None else cell) == value)


def cells(item: dict[str, Any]) -> dict[str, Any]:
    others = {name: value for name, value in item.items() if name in ("", "_other")}
    own = {name: value for name, value in item.items() if name not in others}
    return own | ({"_other": others} if others else {})


def test_columns_that_a_class_declares_are_there_before_any_value(tmp_path: Path) -> None:
    """Also when the exporter ends before the first segment, and the next one gets no item of that class."""
    declared = {"n": Kind.FLOAT, "title": Kind.TEXT, "stock": Kind.INT, "is_new": Kind.BOOL}
    path, entry = tmp_path / "items.parquet", replace(FIRST, kinds=("Book", "Book"))
    killed = ParquetSink(path, "e1", lambda spider, kind: declared)
    killed.open(NONE)
    killed.write([entry])
    killed._release()  # as `kill -9` does
    sink = ParquetSink(path, "e1")
    sink.open(NONE)
    sink.finish()
    sink.close()
    described = duckdb.execute(f"describe from read_parquet('{path}/*.parquet')").fetchall()
    assert [row[:2] for row in described] == [
        ("n", "DOUBLE"), ("title", "VARCHAR"), ("stock", "BIGINT"), ("is_new", "BOOLEAN")
    ]  # fmt: skip
    assert numbers(path) == [1, 2]
    assert pd.read_parquet(path, dtype_backend="pyarrow")["stock"].dtype == "int64[pyarrow]"
    assert [one.name for one in path.iterdir() if one.suffix != ".parquet"] == []


@pytest.mark.parametrize("size", [1, 2, 3, len(DRIFT)])
@pytest.mark.parametrize("order", [1, -1])
def test_schema_drift_is_read_back_by_duckdb_and_pandas(tmp_path: Path, size: int, order: int) -> None:
    path, items = tmp_path / "items.parquet", DRIFT[::order]
    written(path, items, most_items=size)
    assert len(list(path.glob("*.parquet"))) == -(-len(items) // size)
    rows = rows_of(path)
    files = [pd.read_parquet(file, dtype_backend="pyarrow") for file in sorted(path.glob("*.parquet"))]
    frame = pd.concat(files, ignore_index=True)
    assert len(rows) == len(frame) == len(items)
    for number, (row, item) in enumerate(zip(rows, items, strict=True)):
        row = {"Url" if name == "Url_1" else "url" if name == "url_1" else name: cell for name, cell in row.items()}
        for name, value in cells(item).items():
            assert has(row[name], value), f"{name} in DuckDB, row {number}"
            cell = frame[name][number]
            assert has(None if pd.isna(cell) else cell, value), f"{name} in pandas, row {number}"
        assert all(cell is None for name, cell in row.items() if name not in cells(item))


def test_a_later_segment_has_the_columns_of_the_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    written(path, [{"a": "x", "b": 1}, {"c": None}, {"a": 5}], most_items=1)
    schemas = [pq.read_schema(file) for file in sorted(path.glob("*.parquet"))]
    assert [schema.names for schema in schemas] == [["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]
    assert {str(schema.field("a").type) for schema in schemas} == {"string"}


def test_the_same_items_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name, DRIFT)
    first, second = (next((tmp_path / name).glob("*.parquet")).read_bytes() for name in ("one", "two"))
    assert first == second


# ---------------------------------------------------------------------------------------------------------


def opened(
    path: Path, *, epoch: str = "e1", exported: Exported = NONE, **how: Any
) -> tuple[ParquetSink, dict[int, str]]:
    sink = ParquetSink(path, epoch, **how)
    try:
        return sink, dict(sink.open(exported))
    except BaseException:
        sink.close()
        raise


def write(path: Path, *entries: OutboxEntry, **how: Any) -> dict[int, str]:
    """What an exporter does that comes, writes and goes; the positions it found."""
    sink, found = opened(path, **how)
    try:
        if entries:
            sink.write(entries)
        sink.finish()
    finally:
        sink.close()
    return found


def test_a_batch_is_durable_before_it_is_in_a_segment(tmp_path: Path) -> None:
    path, left = tmp_path / "items.parquet", tmp_path / "left"
    sink, _ = opened(path)
    assert sink.write([FIRST, SECOND]) == 3
    shutil.copytree(path, left)  # what is there if the process is killed now
    sink.close()
    assert not list(left.glob("*.parquet"))
    assert write(left, THIRD) == {0: "1-0", 1: "1-1"}
    assert numbers(left) == [1, 2, 3, 4]
    assert numbers(path) == [1, 2, 3], "an interrupted export leaves readable files"
    assert os.listdir(left) == ["part-000001-e1.parquet"]


def test_wherever_the_journal_is_torn_each_item_is_there_once_afterwards(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    sink, _ = opened(whole)
    for entry in ALL:
        sink.write([entry])
    text = next(whole.glob(".open*")).read_bytes()
    sink.close()
    path = tmp_path / "torn"
    for end in range(0, len(text) + 1, 3):
        path.mkdir()
        (path / ".open-e1.jsonl").write_bytes(text[:end])
        found = write(path)
        write(path, *(entry for entry in ALL if found.get(entry.shard, "") < entry.position))
        assert numbers(path) == [1, 2, 3, 4], f"torn at byte {end}"
        shutil.rmtree(path)


def test_a_batch_that_comes_again_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    sink, _ = opened(path)
    assert sink.write([FIRST, SECOND]) == 3
    assert sink.write([FIRST, SECOND, THIRD]) == 1
    sink.finish()
    assert sink.write([THIRD]) == 0
    sink.close()
    assert numbers(path) == [1, 2, 3, 4]


def test_a_journal_that_is_in_a_segment_already_is_dropped(tmp_path: Path) -> None:
    path, left = tmp_path / "items.parquet", tmp_path / "left"
    sink, _ = opened(path)
    sink.write(ALL)
    shutil.copytree(path, left)
    sink.close()
    shutil.copy(path / "part-000001-e1.parquet", left)  # killed between the rename and the journal's end
    (left / ".part-000002-e1.parquet.unfinished").write_bytes(b"PAR1 torn")
    assert write(left) == {0: "2-0", 1: "1-1"}
    assert numbers(left) == [1, 2, 3, 4]
    assert os.listdir(left) == ["part-000001-e1.parquet"]


def test_a_segment_is_made_when_it_is_large_or_old_enough(tmp_path: Path) -> None:
    reached: dict[str, dict[str, Any]] = {
        "items": {"most_items": 2},
        "bytes": {"most_bytes": 10},
        "old": {"most_seconds": 0.0},
    }
    for name, limits in reached.items():
        sink, _ = opened(tmp_path / name, **limits)
        sink.write([FIRST])
        sink.write([SECOND])
        assert numbers(tmp_path / name) == [1, 2], name
        sink.close()
        assert numbers(tmp_path / name) == [1, 2, 3], name


def test_no_item_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write(path)
    assert not path.exists()
    path.mkdir()
    write(path)
    assert path.is_dir(), "it was there before"


# ---------------------------------------------------------------------------------------------------------
# what others have there


def foreign(path: Path) -> None:
    path.mkdir()
    (path / "mine.parquet").write_text("mine")


def another_crawl(path: Path) -> None:
    write(path, THIRD, epoch="e0")


def a_file(path: Path) -> None:
    pd.DataFrame({"n": [4]}).to_parquet(path)


REFUSED = {
    foreign: "mine.parquet, which no crawl wrote: another -o keeps it",
    another_crawl: r"another crawl \(epoch e0\): -O replaces the folder at the end",
    a_file: "is a file, and a crawl writes a folder of Parquet files: -O replaces the file",
}


@pytest.mark.parametrize("make", REFUSED)
def test_what_is_there_is_not_touched(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "items.parquet"
    make(path)
    with pytest.raises(OutputError, match=REFUSED[make]):
        ParquetSink(path, "e1").check()
    with pytest.raises(OutputError, match=REFUSED[make]):
        write(path, FIRST)
    assert not list(tmp_path.rglob("*e1*"))


@pytest.mark.parametrize("make", [another_crawl, a_file])
def test_overwrite_replaces_at_the_end(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "items.parquet"
    make(path)
    ParquetSink(path, "e1", overwrite=True).check()
    sink, _ = opened(path, overwrite=True)
    beside = sink.location
    sink.write([FIRST])
    sink.close()  # interrupted: it goes on there, also without -O
    assert beside == f"{path}.e1.part"
    assert numbers(path) == [4] if path.is_dir() else path.exists()
    sink, found = opened(path, exported=Exported({0: "1-0"}, beside))
    assert found == {0: "1-0"}
    sink.write([SECOND])
    sink.finish()
    assert sink.location == str(path)
    sink.close()
    assert numbers(path) == [1, 2, 3]
    assert os.listdir(tmp_path) == ["items.parquet"]
    assert write(path, overwrite=True, exported=Exported({0: "1-0", 1: "1-1"}, beside)) == {0: "1-0", 1: "1-1"}
    assert numbers(path) == [1, 2, 3]


def test_overwrite_deletes_no_file_that_no_crawl_wrote(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    foreign(path)
    with pytest.raises(OutputError, match=r"holds mine\.parquet, which no crawl wrote: move that away"):
        write(path, FIRST, overwrite=True)
    assert os.listdir(path) == ["mine.parquet"]


def test_overwrite_without_an_item_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    another_crawl(path)
    write(path, overwrite=True)
    assert numbers(path) == [4]
    assert os.listdir(tmp_path) == ["items.parquet"]


@pytest.mark.parametrize("make", [another_crawl, foreign])
def test_append_adds_to_it(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "items.parquet"
    make(path)
    before = set(os.listdir(path))
    write(path, FIRST, append=True)
    assert set(os.listdir(path)) > before
    assert write(path, append=True) == {0: "1-0"}


def test_items_that_are_no_longer_there_are_said(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    before = Exported({0: "1-0"}, str(path))
    with pytest.raises(OutputError, match="are no longer in"):
        write(path, SECOND, exported=before)
    assert not path.exists()
    assert write(path, SECOND, exported=before, append=True) == {0: "1-0"}
    assert write(path, exported=before) == {0: "1-0", 1: "1-1"}


def test_two_exporters_of_one_folder(tmp_path: Path) -> None:
    sink, _ = opened(tmp_path / "items.parquet")
    with pytest.raises(OutputError, match="another exporter is writing"):
        write(tmp_path / "items.parquet", FIRST)
    sink.write([FIRST])
    sink.close()
    assert numbers(tmp_path / "items.parquet") == [1, 2]


@pytest.mark.parametrize("how", ["moved", "deleted"])
def test_a_folder_that_goes_away_takes_no_item_with_it_unsaid(tmp_path: Path, how: str) -> None:
    path, moved = tmp_path / "items.parquet", tmp_path / "moved"
    sink, _ = opened(path)
    sink.write([FIRST])
    path.rename(moved)
    with pytest.raises(OutputError, match="was moved or deleted while items were written: put it back"):
        sink.write([SECOND])
    if how == "deleted":
        shutil.rmtree(moved)
    else:
        moved.rename(path)
        assert sink.write([SECOND]) == 1
    sink.close()
    assert numbers(path) == ([1, 2, 3] if how == "moved" else [])


def test_a_segment_that_others_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    write(path, FIRST)
    segment = next(path.glob("*.parquet"))
    os.truncate(segment, 50)
    with pytest.raises(OutputError, match=r"part-000001-e1\.parquet cannot be read .*: put back what the crawl wrote"):
        write(path, SECOND)


def test_a_missing_folder_is_said_before_the_crawl(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist; make it: mkdir -p"):
        ParquetSink(tmp_path / "no" / "items.parquet", "e1").check()


# ---------------------------------------------------------------------------------------------------------
# a disk that is full


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Call it with the number of bytes beyond which no file may grow from now on."""
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("full", ["journal", "segment"])
def test_a_full_disk_loses_nothing(tmp_path: Path, limit: Callable[[int], None], full: str) -> None:
    path = tmp_path / "items.parquet"
    texts = [os.urandom(4_000).hex() for _ in range(2)]
    entries = [OutboxEntry(0, f"{n}-0", (b'{"n":%d,"text":"%b"}' % (n, texts[n].encode()),)) for n in range(2)]
    sink, _ = opened(path, most_items=1 if full == "segment" else 100)
    assert sink.write(entries[:1]) == 1
    limit(1_000 if full == "segment" else 10_000)
    with pytest.raises(OutputError, match="File too large; nothing is lost"):
        sink.write(entries[1:])
    assert not list(path.glob(".part-*"))
    limit(resource.RLIM_INFINITY)
    assert sink.write(entries[1:]) == 1
    sink.finish()
    sink.close()
    assert numbers(path) == [0, 1]


def test_without_pyarrow_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from crawler.errors import ConfigError\n"
        "try:\n import crawler.export.sinks.parquet\n"
        "except ConfigError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'fleetcrawler[parquet]'" in said
