"""A list or a stream loses no message, whoever dies: what was taken and not settled is taken again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from crawler.errors import BrokerUnavailable, ConfigError
from crawler.model import Request
from crawler.seeding.messages import seeds_of
from crawler.seeding.sources.redis import RedisSource, redis_source
from crawler.status import Backlog
from tests.valkey import Valkey

Client = Any


@pytest.fixture
async def client(valkey_server: Valkey) -> AsyncIterator[Client]:
    client = redis.asyncio.Redis.from_url(valkey_server.url)
    yield client
    await client.aclose()


def source(server: Valkey, words: str) -> RedisSource:
    return redis_source(f"{server.url}?{words}", name="test", seconds=5)


async def bodies(of: RedisSource) -> list[bytes]:
    return [message.body for message in await of.take()]


async def push(client: Client, kind: str, name: str, *messages: bytes) -> None:
    for message in messages:
        await (client.rpush(name, message) if kind == "list" else client.xadd(name, {"url": message}))


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_what_was_not_settled_comes_again_to_whoever_is_next(
    valkey_server: Valkey, client: Client, kind: str
) -> None:
    name = f"again-{kind}"
    await push(client, kind, name, b"1", b"2", b"3")
    dead = source(valkey_server, f"{kind}={name}&prefetch=2")
    await dead.open()
    assert await bodies(dead) == [b"1", b"2"]
    await dead.close()
    heir = source(valkey_server, f"{kind}={name}&prefetch=2")
    await heir.open()
    first = await heir.take()
    assert [message.body for message in first] == [b"1", b"2"]
    await heir.settle(first, [])
    assert await heir.backlog() == Backlog(f"{valkey_server.url}?{kind}={name}&prefetch=2", 1)
    second = await heir.take()
    assert [message.body for message in second] == [b"3"]
    await heir.settle(second, [])
    assert await heir.take() == []
    await heir.close()


@pytest.mark.parametrize("kind", ["list", "stream"])
async def test_a_source_that_seems_empty_takes_what_a_dead_neighbour_left(
    valkey_server: Valkey, client: Client, kind: str
) -> None:
    name = f"neighbour-{kind}"
    mine, neighbour = source(valkey_server, f"{kind}={name}"), source(valkey_server, f"{kind}={name}")
    await mine.open()
    assert await mine.take() == []
    await neighbour.open()
    await push(client, kind, name, b"1")
    assert await bodies(neighbour) == [b"1"]
    await neighbour.close()
    assert await bodies(mine) == [b"1"]
    await mine.close()


async def test_bad_messages_move_to_a_list_with_their_reasons(valkey_server: Valkey, client: Client) -> None:
    await client.rpush("bad-in", b"\xff", b"http://a.example/")
    reading = source(valkey_server, "list=bad-in&rejected=bad-out")
    taken = await reading.take()
    await reading.settle(taken, [(taken[0], "why so")])
    assert [json.loads(line) for line in await client.lrange("bad-out", 0, -1)] == [
        {"why": "why so", "message": "\\xff"}
    ]
    assert await client.exists("bad-in", "bad-in:taken") == 0
    await reading.close()


async def test_an_entry_of_several_fields_is_an_object(valkey_server: Valkey, client: Client) -> None:
    await client.xadd("fields", {"url": "http://a.example/", "spider": "books"})
    reading = source(valkey_server, "stream=fields")
    assert [json.loads(body) for body in await bodies(reading)] == [{"url": "http://a.example/", "spider": "books"}]
    await reading.close()


async def test_bytes_that_are_no_text_are_refused_also_in_an_entry_of_several_fields(
    valkey_server: Valkey, client: Client
) -> None:
    for fields in ({"url": b"http://a.example/caf\xe9"}, {"url": b"http://a.example/caf\xe9", "spider": b"books"}):
        await client.xadd("latin", fields)
    await client.xadd("latin", {"url": "http://a.example/caf\u00e9", "spider": "books"})
    reading = source(valkey_server, "stream=latin")
    *bad, good = await reading.take()
    for message in bad:
        with pytest.raises(ValueError, match=r"invalid continuation byte|unexpected end of data"):
            seeds_of(message)
    (seed,) = seeds_of(good)
    assert isinstance(seed, Request)
    assert seed.url == "http://a.example/caf\u00e9"
    await reading.close()


async def test_an_outage_is_told_and_then_over() -> None:
    with Valkey(appendonly=True) as server:
        client = redis.asyncio.Redis.from_url(server.url)
        await client.rpush("urls", b"1", b"2")
        reading = source(server, "list=urls")
        taken = await reading.take()
        server.kill()
        with pytest.raises(BrokerUnavailable):
            await reading.settle(taken, [])
        server.start()
        assert await bodies(reading) == [b"1", b"2"]
        await reading.close()
        await client.aclose()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://host/0", r"write \?list=NAME or \?stream=NAME"),
        ("redis://host/0?list=a&stream=b", r"write \?list=NAME or \?stream=NAME"),
        ("redis://host/0?lst=a", "unknown word 'lst'; did you mean list"),
        ("redis://:secret@host/x?list=a", r"redis://:\*\*\*@host"),
        ("redis://host/0?list=a&prefetch=0", "prefetch: expected a whole number >= 1"),
    ],
)
def test_a_wrong_url_says_what_to_write(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        redis_source(url, name="test", seconds=5)
    assert "secret" not in str(error.value)


async def test_a_key_of_another_type_is_a_mistake(valkey_server: Valkey, client: Client) -> None:
    await client.set("text", "x")
    for words in ("list=text", "stream=text"):
        reading = source(valkey_server, words)
        with pytest.raises(ConfigError, match="of another type"):
            await reading.open()
        await reading.close()
