"""Items in a table of a real PostgreSQL: what is stored and how, what is refused, what may happen to the server."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from typing import Any

import psycopg
import pytest

from crawler.errors import ConfigError, OutputError, UnstorableItems
from crawler.export.sinks.in_thread import InThread
from crawler.export.sinks.sql import postgres as module
from crawler.export.sinks.sql.address import read
from crawler.export.sinks.sql.postgres import Postgres
from crawler.export.sinks.sql.sink import SqlSink
from crawler.model import Exported, OutboxEntry
from tests.chaos.proxy import proxy_to
from tests.postgres import Postgres as Server
from tests.postgres import needs_postgres

pytestmark = needs_postgres

EPOCH = "e1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def database(server: Server) -> str:
    """The URL of an empty database."""
    run(server.url, "DROP SCHEMA IF EXISTS public, shop CASCADE", "CREATE SCHEMA public")
    return server.url


def run(url: str, *statements: str) -> list[Any]:
    found: list[Any] = []
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
            found = cursor.fetchall() if cursor.description else []
    return found


def rows(url: str, what: str = "*", table: str = "items") -> list[Any]:
    return run(url, f"SELECT {what} FROM {table}")  # noqa: S608 - our own words


def sink(url: str, epoch: str = EPOCH, **how: Any) -> SqlSink:
    address, words = read(url if "?" in url else f"{url}?table=items")
    return SqlSink(Postgres(address, words, "test"), words.names[-1], epoch, document=words.column, **how)


def page(number: int, *items: Mapping[str, Any] | bytes, left_out: frozenset[int] = frozenset()) -> OutboxEntry:
    lines = tuple(item if isinstance(item, bytes) else json.dumps(item).encode() for item in items)
    return OutboxEntry(0, f"{number}-0", lines, left_out=left_out)


def written(to: SqlSink, *pages: OutboxEntry, exported: Exported | None = None) -> int:
    with closing(to):
        to.open(exported or Exported())
        number = to.write(pages)
        to.finish()
    return number


def refused(url: str, *items: Mapping[str, Any] | bytes) -> list[str]:
    """Write the items; return why some cannot be stored, after the others were stored."""
    with closing(sink(url)) as to:
        to.open(Exported())
        with pytest.raises(UnstorableItems) as raised:
            to.write([page(1, *items)])
        bad = raised.value.items
        assert all("?table=items" in one.why for one in bad)
        left_out = frozenset(one.number for one in bad)
        assert to.write([page(1, *items, left_out=left_out)]) == len(items) - len(left_out)
    return [one.why for one in bad]


# ---------------------------------------------------------------------------------------------------------
# values


def test_each_field_is_a_column_typed_by_the_first_values(database: str) -> None:
    first = {
        "t": "a",
        "i": 2**62,
        "f": 1.5,
        "b": True,
        "l": [1, ""],
        "o": {"x": "ü\n\\"},
        "big": 2**70,
        "n": None,
    }
    with closing(sink(database)) as to:
        to.open(Exported())
        to.write([page(1, first, {"f": 3})])
        to.write([page(2, {"i": 1, "select": "x"}, {"n": None})])
    types = "attname, format_type(atttypid, NULL)", "pg_attribute WHERE attrelid = 'items'::regclass AND attnum > 0"
    assert dict(rows(database, *types)) == {
        **dict.fromkeys(("t", "select"), "text"),
        **dict.fromkeys(("l", "o"), "jsonb"),
        **dict(zip(("i", "f", "b", "big"), ("bigint", "double precision", "boolean", "numeric"), strict=True)),
    }
    assert rows(database, 't, i, f, b, l, o, big, "select"') == [
        ("a", 2**62, 1.5, True, [1, ""], {"x": "ü\n\\"}, 2**70, None),
        (None, None, 3.0, None, None, None, None, None),
        (None, 1, None, None, None, None, None, "x"),
        (None,) * 8,
    ]


@pytest.mark.parametrize("text", ["", "\\N", "\\.", "a\tb\nc\rd\\e", '"quoted"', "\x01\x7f\u2028", "😀" * 3000, "NULL"])
def test_any_text_comes_back(database: str, text: str) -> None:
    written(sink(database), page(1, {"a": text, "b": [text], text[:10] or "c": 1}))
    assert rows(database, "a, b") == [(text, [text])]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (b"{}", "the item has no field"),
        (b'{"ok": "\\ud800"}', "field ok (text): half of a surrogate pair"),
        (b'{"ok": NaN}', "field ok (number): it is NaN"),
        ({"ok": "a\0"}, "field ok (text): it contains a NUL, which PostgreSQL cannot store"),
        ({"list": ["a\0"]}, "field list (list): unsupported Unicode escape sequence"),
        ({"": 1}, "field '' (integer): a column must have a name"),
        ({"x" * 64: 1}, "(integer): the name of a column has at most 63 bytes"),
        ({"ctid": "1"}, "field ctid (text): PostgreSQL itself has a column of that name"),
        ({"n": "many"}, 'field n (text): invalid input syntax for type bigint: "many"'),
        ({"n": 2**63}, "field n (number): value"),
        ({"n": 1.5}, 'field n (float): invalid input syntax for type bigint: "1.5"'),
        (
            {"f": 2**53 + 1},
            "field f (integer): 9007199254740993 has more digits than a column of type double precision",
        ),
    ],
)
def test_an_item_that_cannot_be_stored_is_named_and_the_others_go_on(database: str, item: Any, why: str) -> None:
    good = {"ok": "yes", "n": 1, "f": 0.5, "list": [1]}
    written(sink(database, "before"), page(1, good))
    run(database, "COMMENT ON TABLE items IS NULL")
    (said,) = refused(database, good, item, good)
    assert why in said
    assert rows(database, "count(*)") == [(3,)]


@pytest.mark.parametrize(
    ("first", "then", "kind", "stored"),
    [
        (3, 1.5, "numeric", ["3", "1.5"]),
        (3, 2**63, "numeric", ["3", str(2**63)]),
        (1.5, 2**70, "numeric", ["1.5", str(2**70)]),
        (1.5, 2, "double precision", ["1.5", "2"]),
        (3, "n/a", "text", ["3", "n/a"]),
        (True, 7, "text", ["true", "7"]),
        (2**70, [1], "text", [str(2**70), "[1]"]),
        ([1], "x", "jsonb", ["[1]", '"x"']),
        ("x", [1], "text", ["x", "[1]"]),
    ],
)
def test_a_column_that_the_crawler_made_grows_wider(
    database: str, first: Any, then: Any, kind: str, stored: list[str]
) -> None:
    written(sink(database), page(1, {"a": first}))
    written(sink(database), page(2, {"a": then}, {"a": None}))
    assert rows(database, "a::text", "items WHERE a IS NOT NULL") == [(text,) for text in stored]
    assert rows(database, "DISTINCT pg_typeof(a)::text") == [(kind,)]


def test_a_column_stays_as_it_is_in_a_view_and_without_the_comment(database: str) -> None:
    written(sink(database, "before"), page(1, {"a": 1, "b": 1}))
    run(database, "CREATE VIEW seen AS SELECT a FROM items")
    assert "field a (float): invalid input syntax" in refused(database, {"a": 1.5}, {"b": 1.5})[0]
    run(database, "COMMENT ON TABLE items IS NULL", "DROP VIEW seen")
    with closing(sink(database)) as to:
        to.open(Exported())
        with pytest.raises(UnstorableItems, match=r"field a .float.: invalid input syntax"):
            to.write([page(2, {"a": 1.5})])
    assert rows(database, "pg_typeof(a)::text, pg_typeof(b)::text") == [("bigint", "numeric")] * 2


def test_a_table_of_others_keeps_its_types(database: str) -> None:
    run(
        database,
        "CREATE TABLE items (id serial PRIMARY KEY, code varchar(3), n smallint, price numeric(6, 2), at timestamptz,"
        " tags text[], extra json, state text NOT NULL DEFAULT 'new')",
    )
    good = {"code": "abc", "n": 2.0, "price": "1.5", "at": "2026-01-02T03:04:05Z", "tags": ['a"', "b,\\", None, 1]}
    bad: list[dict[str, Any]] = [
        {"code": "abcd"},
        {"n": 40_000},
        {"price": "cheap"},
        {"at": "yesterday-ish"},
        {"tags": "x"},
        {"state": None},
    ]
    said = refused(database, good, *bad, {"extra": "text", "state": "old"})
    assert [one.split(":")[0] for one in said] == [
        *("field code (text)", "field n (integer)", "field price (text)", "field at (text)", "field tags (text)"),
        "field state (null)",
    ]
    assert "value too long for type character varying(3)" in said[0]
    assert rows(database, "code, n, price::text, tags, extra, state") == [
        ("abc", 2, "1.50", ['a"', "b,\\", None, "1"], None, "new"),
        (None, None, None, None, "text", "old"),
    ]


def test_a_field_that_an_item_lacks_has_the_default(database: str) -> None:
    run(database, "CREATE TABLE items (a bigint, state text DEFAULT 'new')")
    written(sink(database), page(1, {"a": 1}, {"a": 2, "state": "old"}, {"a": 3, "state": None}, {"a": 4}))
    assert sorted(rows(database)) == [(1, "new"), (2, "old"), (3, None), (4, "new")]


def test_constraints_name_the_item_and_the_others_go_on(database: str) -> None:
    run(
        database,
        "CREATE TABLE shops (id bigint PRIMARY KEY)",
        "INSERT INTO shops VALUES (1)",
        "CREATE TABLE items (sku text UNIQUE, title text NOT NULL, n bigint CHECK (n > 0),"
        " shop bigint REFERENCES shops DEFERRABLE INITIALLY DEFERRED, url text)",
        "CREATE INDEX ON items (url)",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never on a monday'; END $$",
        "CREATE TRIGGER no BEFORE INSERT ON items FOR EACH ROW WHEN (NEW.title = 'monday') EXECUTE FUNCTION no()",
    )
    url = "".join(chr(0x4E00 + n) for n in range(9_000))  # it does not compress into an index
    good = [{"sku": str(n), "title": "t", "n": 1, "shop": 1} for n in range(40)]
    said = refused(
        database,
        *good,
        *({"sku": "7", "title": "t"}, {"sku": "a"}, {"title": "t", "n": 0}, {"title": "t", "shop": 2}),
        *({"title": "monday"}, {"title": "t", "url": url}, {"sku": "b", "title": "t"}),
    )
    parts = "duplicate key|field title (missing): null value|check constraint|foreign key|never on a monday|index row"
    for part, one in zip(parts.split("|"), said, strict=True):
        assert part in one
    assert rows(database, "count(*)") == [(41,)]


def test_all_items_bad(database: str) -> None:
    run(database, "CREATE TABLE items (a text NOT NULL)")
    assert len(refused(database, *({"b": n} for n in range(300)))) == 300
    assert rows(database) == []


def test_one_column_for_the_whole_item(database: str) -> None:
    written(sink(f"{database}?table=items&column=data"), page(1, {"a": [1]}, {}))
    assert rows(database) == [({"a": [1]},), ({},)]


# ---------------------------------------------------------------------------------------------------------
# keys


def test_rows_of_the_same_key_are_updated(database: str) -> None:
    url = f"{database}?table=items&key=shop,sku"
    with closing(sink(url)) as to:
        to.open(Exported())
        to.write([page(1, {"shop": 1, "sku": "a", "n": 1, "x": "kept"}, {"shop": 1, "sku": "b", "n": 1})])
        to.write([page(2, {"shop": 1, "sku": "a", "n": 2}, {"shop": 1, "sku": "a", "n": 3}, {"shop": 2, "sku": "a"})])
        to.write([page(3, {"shop": 1, "sku": "b", "n": None}, {"shop": 1, "sku": "b"})])
        with pytest.raises(UnstorableItems, match=r"field sku .missing.: it is part of the key"):
            to.write([page(4, {"shop": 1})])
    assert sorted(rows(database, "shop, sku, n, x")) == [
        (1, "a", 3, "kept"),
        (1, "b", None, None),
        (2, "a", None, None),
    ]


def test_a_key_that_the_table_does_not_know_as_one(database: str) -> None:
    run(database, "CREATE TABLE items (sku text)")
    with pytest.raises(OutputError, match=r'needs a unique index: CREATE UNIQUE INDEX ON "items" \("sku"\)'):
        sink(f"{database}?table=items&key=sku").check()
    run(database, 'CREATE UNIQUE INDEX ON "items" ("sku")')
    sink(f"{database}?table=items&key=sku").check()


def test_keys_that_the_database_alone_finds_equal(database: str) -> None:
    run(database, "CREATE TABLE items (sku numeric PRIMARY KEY, n bigint)")
    url = f"{database}?table=items&key=sku"
    with closing(sink(url)) as to:
        to.open(Exported())
        to.write([page(1, {"sku": 1, "n": 1}, {"sku": 1.0, "n": 2}, {"sku": "1.00", "n": 3})])
    assert rows(database) == [(1, 3)]


# ---------------------------------------------------------------------------------------------------------
# positions, other jobs, -O


def test_jobs_share_a_table_and_each_goes_on_where_it_was(database: str) -> None:
    written(sink(database, "e1"), page(1, {"a": 1}))
    written(sink(database, "e2"), page(1, {"a": 2}), page(2, {"a": 3}))
    with closing(sink(database, "e1")) as to:
        assert to.open(Exported()) == {0: "1-0"}
        assert to.write([page(1, {"a": 1}), page(2, {"a": 4})]) == 2
    assert rows(database) == [(1,), (2,), (3,), (4,)]


def test_two_jobs_that_begin_at_once_make_one_table(database: str) -> None:
    sinks = [sink(database, f"e{n}") for n in range(6)]
    ready = threading.Barrier(len(sinks))

    def begin(to: SqlSink, n: int) -> None:
        ready.wait()
        written(to, *(page(m, {"a": n, f"f{m}": m}) for m in range(1, 4)))

    threads = [threading.Thread(target=begin, args=(to, n)) for n, to in enumerate(sinks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database, "count(*)") == [(18,)]


def test_one_that_was_frozen_and_wakes_up_harms_nobody(database: str) -> None:
    with closing(sink(database)) as frozen, closing(sink(database)) as successor:
        frozen.open(Exported())
        successor.open(Exported())
        successor.write([page(1, {"a": 1}), page(2, {"a": 2})])
        frozen.write([page(1, {"a": 1}), page(2, {"a": 2}), page(3, {"a": 3})])
        successor.write([page(3, {"a": 3}), page(4, {"a": 4})])
    assert rows(database) == [(1,), (2,), (3,), (4,)]


def test_two_exporters_at_once_write_each_page_once(database: str) -> None:
    sinks = [sink(database) for _ in range(4)]
    ready = threading.Barrier(len(sinks))

    def write(to: SqlSink) -> None:
        with closing(to):
            to.open(Exported())
            for number in range(1, 30):
                ready.wait()
                to.write([page(number, {"a": number})])

    threads = [threading.Thread(target=write, args=(to,)) for to in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(database) == [(n,) for n in range(1, 30)]


def test_earlier_items_must_be_there(database: str) -> None:
    with closing(sink(database)) as to, pytest.raises(OutputError, match=r"went to /elsewhere\.jsonl"):
        to.open(Exported({0: "5-0"}, "/elsewhere.jsonl"))
    with closing(sink(database, append=True)) as to:
        assert to.open(Exported({0: "5-0"}, "/elsewhere.jsonl")) == {0: "5-0"}
        to.write([page(6, {"a": 1})])
        run(database, "DELETE FROM crawler_position")
        with pytest.raises(OutputError, match="are no longer in postgresql://"):
            to.write([page(7, {"a": 1})])
    assert rows(database) == [(1,)]


def test_overwrite_replaces_the_rows_at_the_end(database: str) -> None:
    run(
        database,
        "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY, a int CHECK (a < 9))",
        "INSERT INTO items (a) VALUES (8)",
        "CREATE VIEW seen AS SELECT a FROM items",
    )
    to = sink(database, overwrite=True)
    to.open(Exported())
    to.write([page(1, {"a": 1, "later": "x"})])
    assert rows(database, "a", "seen") == [(8,)]
    location = to.location
    assert location.endswith(f"?table=items_{EPOCH}")
    to.close()
    with closing(sink(database)) as again:
        again.open(Exported({0: "1-0"}, location))
        with pytest.raises(UnstorableItems, match="violates check constraint"):
            again.write([page(2, {"a": 9})])
        again.write([page(2, {"a": 2})])
        again.finish()
    assert rows(database, "a, later") == [(1, "x"), (2, None)]
    assert rows(database, "a", "seen") == [(1,), (2,)]
    written(sink(database), page(3, {"a": 3}), exported=Exported({0: "2-0"}, location))
    assert rows(database, "a") == [(1,), (2,), (3,)]


# ---------------------------------------------------------------------------------------------------------
# what cannot be used


def test_check_changes_nothing(database: str) -> None:
    sink(database).check()
    assert rows(database, "count(*)", "pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_table_in_a_schema(database: str) -> None:
    with pytest.raises(OutputError, match='schema "shop" does not exist'):
        sink(f"{database}?table=shop.items").check()
    run(database, "CREATE SCHEMA shop")
    written(sink(f"{database}?table=shop.Odd%20%22name"), page(1, {"a": 1}))
    assert rows(database, table='shop."Odd ""name"') == [(1,)]
    assert rows(database, "table_name", "shop.crawler_position") == [('Odd "name',)]


def test_who_may_not(database: str) -> None:
    run(
        database,
        "CREATE ROLE guest LOGIN",
        "CREATE TABLE items (a bigint)",
        "GRANT USAGE ON SCHEMA public TO guest",
    )
    as_guest = database.replace("crawler@", "guest@")
    with pytest.raises(OutputError, match="permission denied for schema public"):
        sink(as_guest).check()
    run(database, "GRANT CREATE ON SCHEMA public TO guest")
    with pytest.raises(OutputError, match="this user may not INSERT into it"):
        sink(as_guest).check()
    run(database, "GRANT INSERT ON items TO guest")
    sink(as_guest).check()


def test_servers_that_refuse_or_are_away(server: Server, database: str) -> None:
    for url, why in (
        (database + "x", "does not exist"),
        (database.replace("crawler@", "nobody:geheim@"), "role .nobody. does not exist"),
        (database.replace(str(server.port), "1").replace("crawler@", "crawler:geheim@"), "Connection refused"),
        ("postgresql://crawler:geheim@/x?host=/nowhere", "No such file or directory"),
        (f"{database}?sslmode=require", "does not support SSL"),
    ):
        with pytest.raises(OutputError, match=why) as raised:
            sink(f"{url}{'&' if '?' in url else '?'}table=items").check()
        assert "geheim" not in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_wrong_password() -> None:
    with Server(access="scram-sha-256") as server:
        socket = server.socket_url
        with psycopg.connect(socket, autocommit=True) as connection:
            connection.execute("ALTER ROLE crawler PASSWORD 'right'")
        with pytest.raises(OutputError, match="password authentication failed") as raised:
            sink(server.url.replace("@", ":wr0ng@")).check()
        assert "wr0ng" not in str(raised.value)
        sink(server.url.replace("@", ":right@")).check()
        sink(f"{server.url}?password=right&table=items").check()
        sink(f"{socket}&table=items").check()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:geheim@h/d?sslmode=require", "table is missing"),
        ("postgresql://u:geheim@h/d?table=", "table must be a NAME"),
        ("postgresql://u:geheim@h/d?table=a.b.c", "table must be a NAME"),
        ("postgresql://u:geheim@h/d?table=" + "x" * 47, "at most 46 bytes"),
        ("postgresql://u:geheim@h/d?table=a&key=b&column=c", "key needs a column for each field"),
        ("postgresql://u:geheim@h/d?table=a&table=b", "a word is given twice"),
        ("postgresql://u:geheim@h/d?table=a&tabel=b", 'invalid URI query parameter: "tabel"'),
        ("postgresql://u:gehe%im@h/d?table=a", "invalid percent-encoded token"),
    ],
)
def test_urls_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises((ConfigError, OutputError)) as raised:
        sink(url).check()
    assert why in str(raised.value)
    assert "geh" not in str(raised.value)


# ---------------------------------------------------------------------------------------------------------
# what happens to connections and servers


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[InThread]:
    to = InThread(sink(url))
    try:
        await to.open(Exported())
        yield to
    finally:
        await to.close()


async def waits_for_a_lock(url: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'test' AND wait_event = 'relation'"
    while not await asyncio.to_thread(run, url, waiting):
        pass


async def test_a_lost_reply_to_commit_doubles_nothing(server: Server, database: str) -> None:
    async with proxy_to(server.port) as network, opened(database.replace(str(server.port), str(network.port))) as to:
        for number in range(1, 6):
            lost = asyncio.create_task(network.lose_replies_to(b"COMMIT", 1))
            await asyncio.sleep(0)
            assert await to.write([page(number, {"a": number})]) == 1
            await lost
    assert network.replies_lost == 5
    assert rows(database) == [(n,) for n in range(1, 6)]


@pytest.mark.parametrize("command", [b"BEGIN", b"FOR UPDATE", b"COPY ", b"crawler_position"])
async def test_a_connection_cut_anywhere_loses_and_doubles_nothing(
    server: Server, database: str, command: bytes
) -> None:
    async with proxy_to(server.port) as network, opened(database.replace(str(server.port), str(network.port))) as to:
        for number in range(1, 4):
            lost = asyncio.create_task(network.lose_replies_to(command, 1))
            await asyncio.sleep(0)
            assert await to.write([page(number, {"a": number})]) == 1
            await lost
    assert rows(database) == [(1,), (2,), (3,)]


async def test_a_connection_ended_by_the_server_is_made_again(database: str) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test'"
    async with opened(database) as to:
        await to.write([page(1, {"a": 1})])
        run(database, end)
        assert await to.write([page(2, {"a": 2})]) == 1
        with psycopg.connect(database) as blocking:
            blocking.execute("LOCK TABLE items")
            writing = asyncio.create_task(to.write([page(3, {"a": 3})]))
            await waits_for_a_lock(database)
            run(database, end)
        assert await writing == 1
    assert rows(database) == [(1,), (2,), (3,)]


async def test_a_server_that_is_away_for_a_while() -> None:
    with Server(fsync=True) as server:
        async with opened(server.url) as to:
            await to.write([page(1, {"a": 1})])
            for end in (server.stop, server.kill):
                end()
                with pytest.raises(OutputError, match=r"postgresql://crawler@.*nothing is lost"):
                    await to.write([page(2, {"a": 2})])
                server.start()
            await to.write([page(2, {"a": 2})])
        assert rows(server.url) == [(1,), (2,)]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a small disk of the server's own")
def test_a_full_disk_stores_nothing_and_then_all() -> None:
    with Server(disk=16_000) as server:
        run(
            server.url,
            f"COPY (SELECT 1) TO PROGRAM 'mkdir {server.small}/t'",
            f"CREATE TABLESPACE small LOCATION '{server.small}/t'",
            "CREATE TABLE items (a text) TABLESPACE small",
            "ALTER TABLE items ALTER a SET STORAGE EXTERNAL",
            "CREATE TABLE filler TABLESPACE small AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)",
        )
        with closing(sink(server.url)) as to:
            to.open(Exported())
            batch = [page(n, {"a": "y" * 1_000_000}) for n in range(1, 9)]
            with pytest.raises(OutputError, match="No space left on device; nothing is lost"):
                to.write(batch)
            run(server.url, "DROP TABLE filler", "CHECKPOINT")
            assert to.write(batch) == 8
        assert rows(server.url, "sum(length(a))") == [(8_000_000,)]


async def test_a_server_that_never_answers_is_given_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(database) as to:
        await to.write([page(1, {"a": 1})])
        monkeypatch.setattr(module, "TRANSACTION_SECONDS", 0.2)
        with psycopg.connect(database) as blocking:
            blocking.execute("LOCK TABLE items")
            with pytest.raises(OutputError, match="nothing is lost"):
                await to.write([page(2, {"a": 2})])
        await to.write([page(2, {"a": 2})])
    assert rows(database) == [(1,), (2,)]


async def test_close_ends_a_write_that_waits(database: str) -> None:
    to = InThread(sink(database))
    await to.open(Exported())
    await to.write([page(1, {"a": 1})])
    with psycopg.connect(database) as blocking:
        blocking.execute("LOCK TABLE items")
        writing = asyncio.create_task(to.write([page(2, {"a": 2})]))
        await waits_for_a_lock(database)
        began = time.monotonic()
        await to.close()
        with pytest.raises(OutputError):
            await writing
        assert time.monotonic() - began < module.TRANSACTION_SECONDS / 2
    assert rows(database) == [(1,)]


async def test_a_statement_timeout_of_the_server_is_said(database: str) -> None:
    run(database, "CREATE TABLE items (a bigint)")
    async with opened(f"{database}?options=-c%20statement_timeout%3D50&table=items") as to:
        with psycopg.connect(database) as blocking:
            blocking.execute("LOCK TABLE items")
            with pytest.raises(OutputError, match="canceling statement due to statement timeout; nothing is lost"):
                await to.write([page(1, {"a": 1})])
        await to.write([page(1, {"a": 1})])
    assert rows(database) == [(1,)]


def test_a_dropped_table_or_column_is_made_again(database: str) -> None:
    with closing(sink(database)) as to:
        to.open(Exported())
        to.write([page(1, {"a": 1, "b": 2})])
        run(database, "ALTER TABLE items DROP COLUMN b")
        to.write([page(2, {"a": 1, "b": 2})])
        run(database, "DROP TABLE items")
        to.write([page(3, {"a": 3})])
    assert rows(database) == [(3,)]


def test_the_socket_folder(server: Server, database: str) -> None:
    written(sink(f"{server.socket_url}&table=items"), page(1, {"a": 1}))
    folder = str(server.folder).replace("/", "%2F")
    with closing(sink(f"postgres://crawler@{folder}:{server.port}/postgres?table=items")) as to:
        assert to.open(Exported()) == {0: "1-0"}
