"""Items to lists and streams of a Redis server: each once, whoever dies, and one sentence for what is wrong there."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from crawler.app.config import Config
from crawler.app.sinks import sink as made
from crawler.errors import ConfigError, CrawlerError, OutputError, UnstorableItems
from crawler.export.target import Target
from crawler.interfaces import Sink
from crawler.model import Exported, Job, OutboxEntry
from crawler.settings import Settings
from tests.integration.cutter import cutter
from tests.valkey import Valkey

JOB = Job("news", epoch="e1")
Client = Any


@pytest.fixture
async def client(valkey_server: Valkey) -> AsyncIterator[Client]:
    client = redis.asyncio.Redis.from_url(valkey_server.url)
    yield client
    await client.aclose()


@pytest.fixture
def key() -> str:
    return f"items-{secrets.token_hex(4)}"


def sink(url: str, words: str, job: Job = JOB, *, append: bool = False) -> Sink:
    target = Target(f"{url}?{words}" if words else url, append=append)
    return made(Config(Settings(), {}, Path()), target, job)


def page(number: int, *items: object, spider: str = "shop") -> OutboxEntry:
    lines = tuple(json.dumps(item).encode() for item in items or ({"n": number},))
    return OutboxEntry(0, f"{number}-0", lines, "http://a.example/p", spider)


def pages(numbers: range) -> list[OutboxEntry]:
    return [page(number) for number in numbers]


async def write(to: Sink, entries: Sequence[OutboxEntry], exported: Exported = Exported()) -> int:  # noqa: B008
    await to.open(exported)
    try:
        return await to.write(entries)
    finally:
        await to.close()


async def numbers(client: Client, key: str) -> list[int]:
    return [json.loads(item)["n"] for item in await client.lrange(key, 0, -1)]


async def test_items_go_to_the_list_of_their_spider_and_a_reader_may_take_them(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    words = f"list={{spider}}:{key}"
    entries = [page(1), page(2, {"n": 2}, {"n": 3}), page(3, {"n": 4}, spider="blog")]
    assert await write(sink(valkey_server.url, words), entries) == 4
    assert (await numbers(client, f"shop:{key}"), await numbers(client, f"blog:{key}")) == ([1, 2, 3], [4])
    await client.delete(f"shop:{key}", f"blog:{key}")
    to = sink(valkey_server.url, words)
    assert dict(await to.open(Exported({0: "3-0"}, to.location))) == {0: "3-0"}
    assert await to.write([*entries, page(5)]) == 5
    assert await numbers(client, f"shop:{key}") == [5]
    await to.close()


async def test_the_key_of_scrapy_redis_is_the_default(valkey_server: Valkey, client: Client) -> None:
    spider = f"s{secrets.token_hex(4)}"
    job = Job("defaults", epoch=spider)
    await write(sink(valkey_server.url, "", job), [page(1, spider=spider)])
    assert await numbers(client, f"{spider}:items") == [1]
    await write(sink(valkey_server.url, "list=%(spider)s:items", job), [page(2, spider=spider)])
    assert await numbers(client, f"{spider}:items") == [1, 2]


async def test_an_entry_of_a_stream_tells_where_its_item_comes_from(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    await write(sink(valkey_server.url, f"stream={key}"), [page(1)])
    ((_, fields),) = await client.xrange(key)
    assert {name.decode(): value.decode() for name, value in fields.items()} == {
        "id": "e1.0.1-0.0",
        "item": '{"n": 1}',
        "spider": "shop",
        "url": "http://a.example/p",
        "job": "news",
    }


async def test_an_item_of_a_list_gets_its_id_in_the_field_that_is_named(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    to = sink(valkey_server.url, f"list={key}&id=_id")
    await write(to, [page(1, {"n": 1}, {})])
    found = [json.loads(item) for item in await client.lrange(key, 0, -1)]
    assert found == [{"n": 1, "_id": "e1.0.1-0.0"}, {"_id": "e1.0.1-0.1"}]


async def test_an_item_that_has_the_ids_field_cannot_be_stored_and_nothing_of_its_batch_is(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    to = sink(valkey_server.url, f"list={key}&id=_id")
    with pytest.raises(UnstorableItems, match=r"field _id \(int\): the item has one already") as caught:
        await write(to, [page(1), page(2, {"_id": 5}), page(3, {"_id": 6}, {"n": 7})])
    assert [(bad.position, bad.number) for bad in caught.value.items] == [("2-0", 0), ("3-0", 0)]
    assert not await client.exists(key)


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_entries_written_again_are_there_once(valkey_server: Valkey, client: Client, key: str, kind: str) -> None:
    to = sink(valkey_server.url, f"{kind}={key}")
    await to.open(Exported())
    for upto in (3, 3, 5):
        await to.write(pages(range(1, upto)))
    await to.close()
    assert await (client.llen(key) if kind == "list" else client.xlen(key)) == 4


async def test_an_exporter_that_was_frozen_repeats_nothing_that_its_heir_has_written(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    frozen, heir = sink(valkey_server.url, f"list={key}"), sink(valkey_server.url, f"list={key}")
    await frozen.open(Exported())
    await frozen.write(pages(range(1, 3)))
    await heir.open(Exported())
    await heir.write(pages(range(1, 6)))
    await frozen.write(pages(range(3, 8)))
    assert await numbers(client, key) == list(range(1, 8))
    await frozen.close()
    await heir.close()


async def test_a_large_batch_goes_in_several_steps_and_stays_in_order(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    entries = [page(number, {"n": number, "text": "x" * 1_000_000}) for number in range(1, 12)]
    await write(sink(valkey_server.url, f"list={key}"), entries)
    assert await numbers(client, key) == list(range(1, 12))


async def test_a_server_that_lost_the_earlier_items_is_not_given_the_later_ones(
    valkey_server: Valkey, key: str
) -> None:
    to = sink(valkey_server.url, f"list={key}")
    with pytest.raises(OutputError, match=r"are no longer in unix"):
        await to.open(Exported({0: "7-0"}, to.location))
    await to.close()
    with pytest.raises(OutputError, match=r"went to items\.jsonl"):
        await to.open(Exported({0: "7-0"}, "items.jsonl"))
    await to.close()


async def test_with_append_only_the_later_ones_come(valkey_server: Valkey, client: Client, key: str) -> None:
    to = sink(valkey_server.url, f"list={key}", append=True)
    assert await write(to, pages(range(6, 9)), Exported({0: "7-0"}, "items.jsonl")) == 3
    assert await numbers(client, key) == [8]


async def test_a_full_list_is_waited_for_and_a_stream_loses_its_oldest(
    valkey_server: Valkey, client: Client, key: str
) -> None:
    to = sink(valkey_server.url, f"list={key}&maxlen=2")
    await to.open(Exported())
    await to.write(pages(range(1, 3)))
    with pytest.raises(OutputError, match=rf"the list {key} has 2 entries: waiting for readers"):
        await to.write([page(3)])
    await client.lpop(key)
    await to.write([page(3)])
    assert await numbers(client, key) == [2, 3]
    await to.close()
    stream = sink(valkey_server.url, f"stream={key}-s&maxlen=100")
    await write(stream, pages(range(1, 1001)))
    assert 100 <= await client.xlen(f"{key}-s") < 300


async def test_a_key_of_another_type_is_named(valkey_server: Valkey, client: Client, key: str) -> None:
    await client.set(key, "x")
    with pytest.raises(OutputError, match=rf"the key {key} is a string, no list; name another key"):
        await sink(valkey_server.url, f"list={key}").open(Exported())
    await client.xadd(f"blog:{key}", {"a": "b"})
    to = sink(valkey_server.url, f"list={{spider}}:{key}")
    await to.open(Exported())
    with pytest.raises(OutputError, match=rf"the key blog:{key} is a stream, no list"):
        await to.write([page(1), page(2, spider="blog")])
    assert not await client.exists(f"shop:{key}")
    await client.delete(f"blog:{key}")
    assert await to.write([page(1), page(2, spider="blog")]) == 2
    await to.close()


async def test_a_server_that_comes_back_gets_the_rest() -> None:
    with Valkey(appendonly=True, tcp=True) as server:
        to = sink(server.url, "list=items")
        await to.open(Exported())
        await to.write(pages(range(1, 4)))
        server.kill()
        with pytest.raises(OutputError, match=r"127\.0\.0\.1"):
            await to.write(pages(range(4, 8)))
        server.start()
        await to.write(pages(range(4, 8)))
        await to.close()
        client = redis.asyncio.Redis.from_url(server.url)
        assert await numbers(client, "items") == list(range(1, 8))
        await client.aclose()


async def test_a_server_out_of_memory_stores_nothing_and_later_all() -> None:
    with Valkey() as server:
        to, client = sink(server.url, "list=items"), redis.asyncio.Redis.from_url(server.url)
        await to.open(Exported())
        await client.config_set("maxmemory", "1")
        with pytest.raises(OutputError, match="out of memory"):
            await to.write(pages(range(1, 4)))
        assert not await client.exists("items")
        await client.config_set("maxmemory", "0")
        assert await to.write(pages(range(1, 4))) == 3
        assert await numbers(client, "items") == [1, 2, 3]
        await to.close()
        await client.aclose()


@pytest.mark.parametrize(
    ("login", "rules", "why"),
    [
        ("", "", "refuses the login|lacks a permission|Authentication required"),
        (":wrong@", "", "refuses the login"),
        ("writer:pw-1@", "~items +@all -@scripting", "lacks a permission"),
        ("writer:pw-1@", "~items* +@all -rpush", "lacks a permission"),
        ("writer:pw-1@", "~items +@all", "lacks a permission"),
    ],
)
async def test_who_may_not_write_gets_one_sentence_without_a_password(login: str, rules: str, why: str) -> None:
    with Valkey(tcp=True, options={"requirepass": "admin-pw"}) as server:
        admin: Client = redis.asyncio.Redis.from_url(server.url, password="admin-pw")
        if rules:
            await admin.execute_command("ACL", "SETUSER", "writer", "on", ">pw-1", *rules.split())
        to = sink(server.url.replace("://", f"://{login}"), "list=items")
        with pytest.raises(CrawlerError, match=why) as caught:
            await write(to, [page(1)])
        assert not any(secret in str(caught.value) for secret in ("pw-1", "wrong"))
        assert not await admin.exists("items")
        await admin.aclose()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("list=a&stream=b", "write list= or stream=, not both"),
        ("stream=a&id=b", "leave out id="),
        ("list={hots}", r"no place \{hots\}; there are \{spider\}, \{host\}, \{job\}"),
        ("list=%(time)s", r"no place %\(time\)s"),
        ("lsit=a", "did you mean list"),
        ("list=a&maxlen=x", "maxlen: expected a whole number"),
    ],
)
def test_words_that_cannot_be_meant(words: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        sink("redis://user:secret@h.example/0", words)


def test_an_address_that_cannot_be_meant_shows_no_password() -> None:
    with pytest.raises(ConfigError, match="databases are numbers") as caught:
        sink("redis://user:secret@h.example/news", "list=a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("arrives", [False, True])
async def test_nothing_is_missing_or_twice_when_connections_break(
    valkey_server: Valkey, client: Client, key: str, arrives: bool
) -> None:
    """With `arrives`, the server stores the batch and its answer is lost."""
    async with cutter(valkey_server.socket) as network:
        to = sink(network.url, f"list={key}")
        await to.open(Exported())
        for first in range(1, 100, 10):
            network.cut(after=0, arrives=arrives, times=1)
            with pytest.raises(OutputError):
                await to.write(pages(range(first, first + 10)))
            assert network.heal()
            assert await to.write(pages(range(first, first + 10))) == 10
        assert await numbers(client, key) == list(range(1, 101))
        await to.close()
