"""Items as CSV, as an array and compressed: read back by other programs, torn anywhere, and gone on with."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest
from structlog.testing import capture_logs

from crawler.errors import OutputError, UnstorableItems
from crawler.export.sinks.columns import Kind
from crawler.export.sinks.encodings import ENCODINGS
from crawler.export.sinks.file import FileSink
from crawler.model import Exported, OutboxEntry

NONE = Exported()
ITEMS = [
    {"n": 1, "name": 'quote " comma , and\nline\r\nbreak', "tags": ["a", {"b": None}], "price": 1.50},
    {"n": 2, "name": "", "tags": [], "price": None},
    {"n": 18446744073709551616, "name": "ü\x00\ufeff", "tags": None, "price": True},
]
HOSTILE = OutboxEntry(0, "1-0", tuple(json.dumps(item, ensure_ascii=False).encode() for item in ITEMS))


def entry(n: int, *numbers: int, shard: int = 0) -> OutboxEntry:
    return OutboxEntry(shard, f"{n}-0", tuple(b'{"n":%d,"text":"%d"}' % (m, m) for m in numbers))


FIRST, SECOND, THIRD = entry(1, 1, 2), entry(1, 3, shard=1), entry(2, 4)


def write(
    path: Path, *entries: OutboxEntry, epoch: str = "e1", fields: Sequence[str] = (), **how: Any
) -> dict[int, str]:
    """What an exporter does that comes, writes and goes; the positions it found."""
    sink = FileSink(path, epoch, ENCODINGS[path.name.partition(".")[2]](fields), **how)
    try:
        found = dict(sink.open(NONE))
        if entries:
            sink.write(entries)
        sink.finish()
    finally:
        sink.close()
    return found


def sink_of(path: Path, epoch: str = "e1", **how: Any) -> FileSink:
    return FileSink(path, epoch, ENCODINGS[path.name.partition(".")[2]](()), **how)


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(data.decode(), newline="")))


def lines_of(data: bytes) -> list[int]:
    return [json.loads(line)["n"] for line in data.splitlines()]


def csv_of(data: bytes) -> list[int]:
    return [int(row["n"]) for row in rows_of(data)]


def unzstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def asked(query: str) -> list[Any]:
    """What DuckDB answers."""
    with duckdb.connect() as database:
        return database.execute(query).fetchall()


READERS: dict[str, Callable[[bytes], list[int]]] = {
    "jsonl": lines_of,
    "jsonl.gz": lambda data: lines_of(gzip.decompress(data)),
    "jsonl.zst": lambda data: lines_of(unzstd(data)),
    "csv": csv_of,
    "csv.gz": lambda data: csv_of(gzip.decompress(data)),
    "json": lambda data: [item["n"] for item in json.loads(data)],
}


@pytest.fixture(params=READERS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"items.{request.param}"


def numbers(path: Path) -> list[int]:
    return READERS[path.name.partition(".")[2]](path.read_bytes())


def test_every_format_has_a_reader_here() -> None:
    assert READERS.keys() == ENCODINGS.keys()


def test_a_file_goes_on_where_it_was(path: Path) -> None:
    write(path, FIRST)
    assert write(path, SECOND) == {0: "1-0"}
    assert write(path, THIRD) == {0: "1-0", 1: "1-0"}
    assert numbers(path) == [1, 2, 3, 4]


@pytest.mark.parametrize("before", [(), (SECOND,)])
def test_wherever_a_block_is_torn_each_item_is_in_it_once_afterwards(
    path: Path, before: tuple[OutboxEntry, ...]
) -> None:
    sink = FileSink(path, "e1", ENCODINGS[path.name.partition(".")[2]](()))
    sink.open(NONE)
    if before:
        sink.write(before)
    there = path.stat().st_size
    sink.write([FIRST, THIRD])
    sidecar = path.with_name(f"{path.name}.position")
    announced, text = sidecar.read_bytes(), path.read_bytes()
    sink.finish()
    end = path.read_bytes()[len(text) :]
    sink.close()
    for stop in (*range(there, len(text + end), 3), len(text), len(text + end)):
        path.write_bytes((text + end)[:stop])
        sidecar.write_bytes(announced)
        found = write(path)
        write(path, *[one for one in (SECOND, FIRST, THIRD) if found.get(one.shard, "") < one.position])
        assert sorted(numbers(path)) == [1, 2, 3, 4], f"torn at byte {stop}"


def test_overwriting_replaces_the_file_of_another_crawl(path: Path) -> None:
    write(path, FIRST, epoch="before")
    with pytest.raises(OutputError, match="another crawl"):
        write(path, SECOND)
    write(path, SECOND, overwrite=True)
    assert numbers(path) == [3]


def test_another_crawl_is_added_to_a_file_if_that_is_wanted(path: Path) -> None:
    write(path, FIRST, epoch="before")
    write(path, SECOND, append=True)
    assert numbers(path) == [1, 2, 3]


def test_a_truncated_file_begins_anew(path: Path) -> None:
    sink = FileSink(path, "e1", ENCODINGS[path.name.partition(".")[2]](()))
    sink.open(NONE)
    sink.write([FIRST])
    path.write_bytes(b"")
    sink.write([SECOND])
    sink.finish()
    sink.close()
    assert numbers(path) == [3]


@pytest.mark.parametrize("there", [b"Dear reader,\n", b"\0\1\2", b'{"n":7'])
def test_a_file_that_no_export_wrote_is_left_alone(path: Path, there: bytes) -> None:
    if path.suffix == ".jsonl":
        return  # a line of JSON may be anybody's
    path.write_bytes(there)
    with pytest.raises(OutputError, match="no export wrote it"):
        write(path, FIRST)
    assert path.read_bytes() == there
    write(path, FIRST, overwrite=True)
    assert numbers(path) == [1, 2]


@pytest.mark.parametrize("ending", ["jsonl.gz", "jsonl.zst", "csv.gz", "json"])
def test_a_part_that_another_program_cut_away_is_told_and_a_new_file_goes_on(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"items.{ending}"
    sink = FileSink(path, "e1", ENCODINGS[ending](()))
    sink.open(NONE)
    sink.write([FIRST])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(OutputError, match=r"another program changed .*later items go to a new file"):
        sink.write([SECOND])
    path.unlink()
    sink.write([SECOND])
    sink.finish()
    sink.close()
    assert numbers(path) == [3]


def test_other_programs_read_what_is_compressed(tmp_path: Path) -> None:
    for ending, tool in (("jsonl.gz", ["gzip", "-t"]), ("jsonl.zst", ["zstd", "-tq"]), ("csv.gz", ["gzip", "-t"])):
        path = tmp_path / f"items.{ending}"
        write(path, FIRST)
        write(path, SECOND, THIRD)
        subprocess.run([*tool, str(path)], check=True)
        read = "read_csv" if "csv" in ending else "read_json"
        assert asked(f"select n from {read}('{path}') order by n") == [(1,), (2,), (3,), (4,)], ending  # noqa: S608
    assert subprocess.run(["zcat", str(path)], stdout=subprocess.PIPE, check=True).stdout.count(b"\n") == 5


def test_an_array_is_whole_at_the_end_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    write(path, FIRST)
    assert path.read_bytes() == b'[\n{"n":1,"text":"1"},\n{"n":2,"text":"2"}\n]\n'
    assert asked(f"select sum(n) from read_json('{path}')") == [(3,)]  # noqa: S608


# ---------------------------------------------------------------------------------------------------------
# CSV


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "items.csv"


def test_values_that_are_hard_on_csv_come_back(table: Path) -> None:
    write(table, HOSTILE)
    assert rows_of(table.read_bytes()) == [
        {"n": "1", "name": ITEMS[0]["name"], "tags": '["a", {"b": null}]', "price": "1.5"},
        {"n": "2", "name": "", "tags": "[]", "price": ""},
        {"n": "18446744073709551616", "name": "ü\x00\ufeff", "tags": "", "price": "true"},
    ]
    assert table.read_bytes().startswith(b"n,name,tags,price\r\n")


def test_columns_are_the_fields_that_are_wanted(table: Path) -> None:
    with capture_logs() as logs:
        write(table, HOSTILE, fields=["price", "none", "n"])
    assert table.read_bytes().splitlines()[:2] == [b"price,none,n", b"1.5,,1"]
    assert [line for line in logs if line["event"] == "field_left_out"]


def test_values_without_a_column_are_counted_and_named(table: Path) -> None:
    sink = FileSink(table, "e1", ENCODINGS["csv"](()))
    sink.open(NONE)
    with capture_logs() as logs:
        sink.write([FIRST])
        for n in (3, 4):
            sink.write([OutboxEntry(0, f"{n}-0", (b'{"n":3,"new":1,"other":null}', b'{"new":2,"n":4}'))])
        sink.finish()
        sink.close()
    told = [(line["event"], line["fields"]) for line in logs]
    assert told == [("field_left_out", "new"), ("values_left_out", "new (4)")]
    assert "fields" in logs[0]["why"]


def test_fields_that_the_class_does_not_declare_follow_those_that_it_does(table: Path) -> None:
    """As `files` of an item that named some, or what a pipeline adds."""
    page = OutboxEntry(0, "1-0", (b'{"n":1,"files":[]}', b'{"n":2}'), kinds=("Book", "Book"))
    write(table, page, declared=lambda spider, kind: {"text": Kind.TEXT, "n": Kind.INT})
    assert table.read_bytes() == b"text,n,files\r\n,1,[]\r\n,2,\r\n"


def test_a_header_that_differs_is_refused(table: Path) -> None:
    write(table, FIRST, fields=["n", "text"])
    with pytest.raises(OutputError, match=r"has the columns n,text and not text,n: name another file"):
        write(table, SECOND, fields=["text", "n"])
    write(table, OutboxEntry(1, "1-0", (b'{"text":"3","n":3}',)))
    assert rows_of(table.read_bytes())[-1] == {"n": "3", "text": "3"}, "without fields, the header holds"


def test_a_table_of_somebody_is_added_to_if_that_is_wanted(table: Path) -> None:
    table.write_bytes(b"\xef\xbb\xbftext,n\n0,0")
    write(table, FIRST, append=True)
    assert table.read_bytes() == b"\xef\xbb\xbftext,n\n0,0\n1,1\r\n2,2\r\n"


def test_a_row_added_by_hand_stays(table: Path) -> None:
    write(table, FIRST)
    with table.open("ab") as file:
        file.write(b"7,by hand")
    assert write(table, SECOND) == {0: "1-0"}
    assert csv_of(table.read_bytes()) == [1, 2, 7, 3]


def test_an_item_without_fields_makes_no_header(table: Path) -> None:
    sink = FileSink(table, "e1", ENCODINGS["csv"](()))
    sink.open(NONE)
    nothing = OutboxEntry(0, "1-0", (b"{}", b'{"n":1}'))
    with pytest.raises(UnstorableItems, match="write the `fields`") as refused:
        sink.write([nothing])
    assert [(item.position, item.number) for item in refused.value.items] == [("1-0", 0)]
    assert table.read_bytes() == b""
    sink.write([OutboxEntry(0, "1-0", nothing.items, left_out=frozenset({0}))])
    sink.close()
    assert table.read_bytes() == b"n\r\n1\r\n"


EXTRA = [OutboxEntry(0, f"{n}-0", (b'{"n":1,"new":2}', b'{"n":3,"new":null,"other":4}')) for n in (2, 3)]
"""Two values of each have no column beside `n` and `text`."""


@pytest.mark.parametrize("name", ["items.csv", "items.csv.gz"])
def test_values_without_a_column_are_counted_once_wherever_their_block_is_torn(tmp_path: Path, name: str) -> None:
    sink = sink_of(tmp_path / name)
    sink.open(NONE)
    sink.write([FIRST, EXTRA[0]])
    there = (tmp_path / name).read_bytes()
    sink.write([EXTRA[1]])
    block, announced = (tmp_path / name).read_bytes()[len(there) :], (tmp_path / f"{name}.position").read_bytes()
    sink.close()
    for end in range(len(block) + 1):
        (tmp_path / name).write_bytes(there + block[:end])
        (tmp_path / f"{name}.position").write_bytes(announced)
        sink = sink_of(tmp_path / name)
        is_there = sink.open(NONE) == {0: "3-0"}
        assert sink.values_left_out == (4 if is_there else 2)
        assert is_there is (end == len(block))
        sink.write([FIRST, *EXTRA])
        sink.close()
        assert sink.values_left_out == 4


def test_values_without_a_column_count_on_in_a_file_that_takes_the_place_of_another(table: Path) -> None:
    sink = sink_of(table)
    sink.open(NONE)
    sink.write([FIRST, EXTRA[0]])
    table.rename(table.with_name("moved.csv"))
    sink.write([OutboxEntry(0, "3-0", (b'{"n":1}', b'{"n":1,"more":"x"}'))])
    sink.close()
    assert sink.values_left_out == 3
    table.unlink()
    sink = sink_of(table, rotated=True)
    sink.open(Exported({0: "3-0"}, str(table), values_left_out=3))
    sink.close()
    assert sink.values_left_out == 3, "the outbox knows them"


def test_values_that_another_crawl_left_out_are_not_those_of_this_one(table: Path) -> None:
    write(table, FIRST, EXTRA[0])
    sink = sink_of(table, "e2", append=True)
    sink.open(NONE)
    assert sink.values_left_out == 0
    sink.write([OutboxEntry(0, "1-0", (b'{"n":1,"new":2}',))])
    sink.close()
    sink = sink_of(table, "e1", append=True)
    sink.open(Exported({0: "2-0"}, str(table), values_left_out=2))
    assert sink.values_left_out == 2
    sink.close()


def test_a_value_that_is_no_text_names_its_field(table: Path) -> None:
    sink = FileSink(table, "e1", ENCODINGS["csv"](()))
    sink.open(NONE)
    with pytest.raises(UnstorableItems, match="surrogate"):
        sink.write([OutboxEntry(0, "1-0", (b'{"n":"\\ud800"}',))])
    sink.close()
