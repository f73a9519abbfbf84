"""Items in a SQLite file: what is stored and how, what is refused, and what no crash and no stranger can break."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import ConfigError, OutputError, UnstorableItems
from crawler.export.sinks.sql import sqlite as module
from crawler.export.sinks.sql.sink import SqlSink
from crawler.export.sinks.sql.sqlite import Sqlite, affinity, read
from crawler.model import Exported, OutboxEntry

EPOCH = "e1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.sqlite"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCKED_SECONDS", 0.2)


def sink(path: Path, epoch: str = EPOCH, **how: Any) -> SqlSink:
    return SqlSink(Sqlite(path), "items", epoch, **how)


def page(number: int, *items: Mapping[str, Any] | bytes, shard: int = 0, left_out: frozenset[int] = frozenset()) -> Any:
    lines = tuple(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)
    return OutboxEntry(shard, f"{number}-0", lines, left_out=left_out)


def written(to: SqlSink, *pages: OutboxEntry, exported: Exported | None = None) -> int:
    with closing(to):
        to.open(exported or Exported())
        count = to.write(pages)
        to.finish()
    return count


def rows(path: Path, what: str = "*", table: str = "items") -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f'SELECT {what} FROM "{table}"').fetchall()  # noqa: S608 - our own words


def types(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(items)")}


def test_each_field_is_a_column_typed_by_its_first_values(path: Path) -> None:
    first = {"title": "a", "price": 1.5, "stock": 3, "new": True, "tags": ["x"], "at": {"b": 1}, "none": None}
    assert written(sink(path), page(1, first), page(2, {"title": "b", "extra": "e"})) == 2
    assert types(path) == {
        **dict.fromkeys(("title", "tags", "at", "extra"), "TEXT"),
        **dict.fromkeys(("stock", "new"), "INTEGER"),
        "price": "REAL",
    }
    assert rows(path) == [
        ("a", 1.5, 3, 1, '["x"]', '{"b": 1}', None),
        ("b", None, None, None, None, None, "e"),
    ]


def test_columns_appear_with_the_fields(path: Path) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        to.write([page(1, {"a": 1})])
        to.write([page(2, {"a": 2, "Later": "x"})])
    assert types(path) == {"a": "INTEGER", "Later": "TEXT"}
    assert rows(path) == [(1, None), (2, "x")]


@pytest.mark.parametrize(
    ("first", "then", "stored"),
    [
        ("text", 12, "12"),
        ("text", True, "true"),
        ("text", [1], "[1]"),
        ("text", 2**70, str(2**70)),
        ("text", "nul\0there", "nul\0there"),
        (1, "n/a", "n/a"),
        (1, "1_000", "1_000"),
        (1, "12", 12),
        (1, str(2**53 + 1), 2**53 + 1),
        (1, 1.5, 1.5),
        (1, False, 0),
        (1, {"from": 2}, '{"from": 2}'),
        (1.5, 2, 2.0),
        (1.5, "1.5", 1.5),
        (2**70, 1, "1"),
        ([1], "x", "x"),
    ],
)
def test_a_value_of_another_type_keeps_what_it_says(path: Path, first: Any, then: Any, stored: Any) -> None:
    written(sink(path), page(1, {"a": first}))
    written(sink(path), page(2, {"a": then}))
    assert rows(path)[1] == (stored,)


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [
        (1, "007", "field a (text): the text '007' would become a number in a column of type INTEGER"),
        (1, "1.50", "field a (text): the text '1.50'"),
        (1, " 1 ", "field a (text): the text ' 1 '"),
        (1, 2**64, "field a (number): 18446744073709551616 is beyond 64 bits"),
        (1.5, 2**53 + 1, "field a (integer): 9007199254740993 has more digits"),
    ],
)
def test_a_value_that_would_say_less_is_refused_alone(path: Path, first: Any, then: Any, why: str) -> None:
    written(sink(path), page(1, {"a": first}))
    with closing(sink(path)) as to:
        to.open(Exported())
        with pytest.raises(UnstorableItems) as raised:
            to.write([page(2, {"a": first}, {"a": then})])
        (bad,) = raised.value.items
        assert (bad.position, bad.number) == ("2-0", 1)
        assert why in bad.why
        assert str(path) in bad.why
        assert rows(path) == [(first,)], "nothing of the batch is stored"
        assert to.write([page(2, {"a": first}, {"a": then}, left_out=frozenset({1}))]) == 1
    assert rows(path) == [(first,), (first,)]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (b"{}", "the item has no field"),
        (b"[1]", "no JSON object"),
        (b'{"a": NaN}', "field a (number): it is NaN"),
        (b'{"a": "\\ud800"}', "field a (text): half of a surrogate pair"),
        (b'{"": 1}', "field '' (integer): a column must have a name"),
        (b'{"a\\u0000b": 1}', "without NUL"),
        (
            b'{"Price": 1, "price": 2}',
            "field price (integer): another field has the same name but for upper and lower case",
        ),
        (b'{"a": 1e400}', ""),
    ],
)
def test_hostile_items(path: Path, item: bytes, why: str) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        if not why:
            assert to.write([page(1, item)]) == 1
            assert rows(path) == [("1e400",)]
            return
        with pytest.raises(UnstorableItems, match=r"items\.sqlite") as raised:
            to.write([page(1, item, {"ok": 1})])
        (bad,) = raised.value.items
        assert why in bad.why
        assert bad.number == 0
        assert to.write([page(1, item, {"ok": 1}, left_out=frozenset({0}))]) == 1
    assert rows(path) == [(1,)]


def test_field_names_of_sql_and_of_any_script_are_columns(path: Path) -> None:
    item = {"select": 1, 'a"; DROP TABLE items; --': 2, "größe": 3, "a b": 4, "rowid": 5, "x" * 500: 6}
    written(sink(path), page(1, item))
    assert list(types(path)) == list(item)
    assert rows(path) == [tuple(item.values())]


def test_a_field_goes_into_the_column_of_its_name_in_any_case(path: Path) -> None:
    written(sink(path), page(1, {"Price": 1}), page(2, {"price": 2}), page(3, {"PRICE": 3}))
    assert types(path) == {"Price": "INTEGER"}
    assert rows(path) == [(1,), (2,), (3,)]


def test_more_fields_than_columns(path: Path) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        to.write([page(1, {f"f{n}": n for n in range(2000)})])
        with pytest.raises(UnstorableItems, match=r"field late .integer.: the table has as many columns .*\(2000\)"):
            to.write([page(2, {"late": 1}, {"f1": 1})])
        to.write([page(2, {"late": 1}, {"f1": 1}, left_out=frozenset({0}))])
    assert rows(path, "f1") == [(1,), (1,)]


def test_the_table_may_be_made_by_others_with_types_and_constraints(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, n INT CHECK (n < 10), at DEFAULT 7)"
        )
    with closing(sink(path)) as to:
        to.open(Exported())
        batch = [page(n, {"sku": sku, "n": n}) for n, sku in enumerate(["a", "b", "a", "c", "d"], start=6)]
        with pytest.raises(UnstorableItems) as raised:
            to.write(batch)
        why = {bad.position: bad.why for bad in raised.value.items}
        assert list(why) == ["8-0", "10-0"]
        assert why["8-0"].startswith("field sku (text): UNIQUE constraint failed: items.sku; ")
        assert why["10-0"].startswith("CHECK constraint failed: n < 10; ")
    assert rows(path) == []


def test_not_null_and_defaults(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE items (title TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'new')")
    with closing(sink(path)) as to:
        to.open(Exported())
        with pytest.raises(UnstorableItems, match=r"field title .missing.: NOT NULL constraint failed: items\.title"):
            to.write([page(1, {"state": "x"})])
        to.write([page(2, {"title": "a"}, {"title": "b", "state": "old"})])
    assert rows(path) == [("a", "new"), ("b", "old")]


def test_the_position_is_noted_and_read_back(path: Path) -> None:
    with closing(sink(path)) as to:
        assert to.open(Exported()) == {}
        to.write([page(1, {"a": 1}), page(7, {"a": 2}, shard=3)])
    with closing(sink(path)) as to:
        assert to.open(Exported()) == {0: "1-0", 3: "7-0"}
        assert to.write([page(1, {"a": 1}), page(2, {"a": 3}), page(7, {"a": 2}, shard=3)]) == 3
    assert rows(path) == [(1,), (2,), (3,)], "what the position covers is not stored again"


def test_one_that_was_frozen_and_wakes_up_harms_nobody(path: Path) -> None:
    with closing(sink(path)) as frozen, closing(sink(path)) as successor:
        frozen.open(Exported())
        successor.open(Exported())
        successor.write([page(1, {"a": 1}), page(2, {"a": 2})])
        frozen.write([page(1, {"a": 1}), page(2, {"a": 2}), page(3, {"a": 3})])
        successor.write([page(3, {"a": 3}), page(4, {"a": 4})])
    assert rows(path) == [(1,), (2,), (3,), (4,)]


def test_items_of_another_crawl_are_left_alone(path: Path) -> None:
    written(sink(path, "other"), page(1, {"a": 1}))
    for trial in (sink(path).check, lambda: sink(path).open(Exported())):
        with pytest.raises(OutputError, match="holds rows of another crawl or program: -O replaces"):
            trial()
    written(sink(path, append=True), page(1, {"a": 2, "b": 3}))
    assert rows(path) == [(1, None), (2, 3)]


def test_overwrite_replaces_at_the_end_and_goes_on_after_a_crash(path: Path) -> None:
    written(sink(path, "other"), page(1, {"a": 1}))
    to = sink(path, overwrite=True)
    to.open(Exported())
    to.write([page(1, {"b": 2})])
    assert rows(path) == [(1,)]
    assert to.location == f"{path}?table=items_{EPOCH}"
    to.close()
    written(sink(path), page(1, {"b": 2}), page(2, {"b": 3}), exported=Exported({0: "1-0"}, to.location))
    assert rows(path) == [(2,), (3,)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone() == (2,)
        assert connection.execute("SELECT * FROM crawler_position").fetchall() == [(EPOCH, "items", "0:2-0")]
    written(sink(path), page(3, {"b": 4}), exported=Exported({0: "2-0"}, str(path)))
    assert rows(path) == [(2,), (3,), (4,)]


def test_overwrite_without_items_keeps_what_is_there(path: Path) -> None:
    written(sink(path, "other"), page(1, {"a": 1}))
    to = sink(path, overwrite=True)
    written(to)
    assert rows(path) == [(1,)]
    assert to.location == str(path)


def test_earlier_items_must_be_there(path: Path) -> None:
    exported = Exported({0: "5-0"}, "/elsewhere/items.jsonl")
    with pytest.raises(OutputError, match=r"went to /elsewhere/items\.jsonl"):
        sink(path).open(exported)
    with closing(sink(path, append=True)) as to:
        assert to.open(exported) == {0: "5-0"}
        to.write([page(6, {"a": 1})])
    with closing(sink(path)) as to:
        assert to.open(Exported({0: "6-0"}, str(path))) == {0: "6-0"}


def test_check_changes_nothing(path: Path) -> None:
    sink(path).check()
    assert list(path.parent.iterdir()) == []
    written(sink(path, "other"), page(1, {"a": 1}))
    before = path.read_bytes()
    with pytest.raises(OutputError):
        sink(path).check()
    assert path.read_bytes() == before


def test_a_crawl_without_items_leaves_a_file_that_the_next_may_use(path: Path) -> None:
    written(sink(path))
    written(sink(path, "next"), page(1, {"a": 1}))
    assert rows(path) == [(1,)]


@pytest.fixture
def foreign(path: Path) -> Iterator[Path]:
    path.write_text("no database, but somebody's text\n" * 100)
    yield path
    assert path.read_text().startswith("no database")


def test_a_file_that_is_no_database(foreign: Path) -> None:
    with pytest.raises(OutputError, match="is no SQLite database; name another file"):
        sink(foreign).open(Exported())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        sink(tmp_path / "none" / "items.db").check()
    with pytest.raises(OutputError, match="it is no file, or you may not write there"):
        sink(tmp_path).check()
    with pytest.raises(OutputError, match=r"cannot open /proc/items\.db"):
        sink(Path("/proc/items.db")).check()


def test_a_lock_of_another_program_is_waited_out_then_said(path: Path) -> None:
    with closing(sink(path)) as to, closing(sqlite3.connect(path, isolation_level=None)) as other:
        to.open(Exported())
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"another program keeps .*items\.sqlite locked for more than 0\.2 s"):
            to.write([page(1, {"a": 1})])
        other.execute("COMMIT")
        to.write([page(1, {"a": 1})])
    assert rows(path) == [(1,)]


def test_a_full_disk_stores_nothing_and_then_all(path: Path) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        database = to._database
        assert isinstance(database, Sqlite)
        database._run("PRAGMA max_page_count = 10")
        with pytest.raises(OutputError, match="database or disk is full; nothing is lost"):
            to.write([page(1, {"a": "x" * 100_000})])
        database._run("PRAGMA max_page_count = 100000")
        to.write([page(1, {"a": "x" * 100_000})])
    assert rows(path, "length(a)") == [(100_000,)]


@pytest.mark.parametrize("move", [Path.unlink, lambda path: path.rename(path.with_suffix(".old"))])
def test_a_file_taken_away_is_said_and_not_acknowledged(path: Path, move: Any) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        to.write([page(1, {"a": 1})])
        move(path)
        for _ in range(2):
            with pytest.raises(OutputError, match="was deleted, moved or replaced"):
                to.write([page(2, {"a": 2})])
    with pytest.raises(OutputError, match="are no longer in"):
        sink(path).open(Exported({0: "1-0"}, str(path)))


def test_commits_wait_for_the_disk(path: Path) -> None:
    with closing(sink(path)) as to:
        to.open(Exported())
        database = to._database
        assert isinstance(database, Sqlite)
        assert database._run("PRAGMA synchronous") == [(3,)], "EXTRA: FULL, and the folder"
        assert database._run("PRAGMA journal_mode") == [("wal",)]
    assert [file.name for file in path.parent.iterdir()] == ["items.sqlite"]


def test_one_column_for_the_whole_item(path: Path) -> None:
    written(sink(path, document="data"), page(1, {"a": [1, 2]}, {}))
    assert rows(path, "data ->> '$.a[1]'") == [(2,), (None,)]


def test_the_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("sqlite:///a%20b.db?table=x")[0] == tmp_path / "a b.db"
    path, words = read("sqlite:////data/items.db?column=data")
    assert (path, words.table, words.column) == (Path("/data/items.db"), "items", "data")
    for wrong in ("sqlite://items.db", "sqlite://", "sqlite:///"):
        with pytest.raises(ConfigError, match="write sqlite:///items"):
            read(wrong)
    for wrong in ("sqlite:///x?table=", "sqlite:///x?table=crawler_position", "sqlite:///x?tabel=a"):
        with pytest.raises(ConfigError, match="table"):
            read(wrong)


@pytest.mark.parametrize(
    ("declared", "is_of"),
    [("", ""), ("varchar(9)", "TEXT"), ("BIGINT", "INTEGER"), ("double", "REAL"), ("decimal", "NUMERIC"), ("blob", "")],
)
def test_affinity(declared: str, is_of: str) -> None:
    assert affinity(declared) == is_of
