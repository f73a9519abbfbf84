"""The store of `memory://` replies and ends as a real server does, whatever sequence of commands it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from crawler.frontier.memory.store import Store
from crawler.frontier.memory.values import Status
from tests.valkey import Valkey

# Few keys and members, so that commands meet each other's traces and each other's types.
KEYS = st.sampled_from([b"k1", b"k2", b"{p:0}:k3"])
WORDS = st.sampled_from([b"", b"a", b"b", b"ab", b"\xff\x00", b"7", b"-3", b"1e3", b"x y"])
INTEGERS = st.sampled_from([b"0", b"1", b"2", b"-1", b"-2", b"3", b"100", b"-100", b"x", b"01", b"9223372036854775807"])
COUNTS = st.sampled_from([b"0", b"1", b"2", b"3", b"50"])
SCORES = st.sampled_from(
    [b"0", b"1", b"-2", b"1.5", b"0.1", b"1795900000000", b"1795900000000.25", b"inf", b"-inf", b"z"]
)
BOUNDS = st.sampled_from(b"-inf +inf (1 1 (1.5 (1795900000000 1795900000000 (inf q".split())
IDS = st.sampled_from([b"1-0", b"1-1", b"1-2", b"2", b"2-0", b"3-5", b"4", b"0", b"x"])
STARTS = st.one_of(st.just(b"-"), IDS, IDS.map(lambda name: b"(" + name))
ENDS = st.one_of(st.just(b"+"), IDS)


def command(name: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[bytes, ...]]:
    """A command; a part that is a tuple stands for several words."""
    words = st.tuples(*parts).map(lambda found: [part if type(part) is tuple else (part,) for part in found])
    return words.map(lambda found: (name.encode(), *(word for part in found for word in part)))


def some(*parts: st.SearchStrategy[bytes], least: int = 1) -> st.SearchStrategy[tuple[bytes, ...]]:
    """One or a few such groups of words."""
    groups = st.lists(st.tuples(*parts), min_size=least, max_size=4)
    return groups.map(lambda found: tuple(word for group in found for word in group))


def maybe(*words: bytes) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.sampled_from([(), words])


LIMIT = st.one_of(st.just(()), COUNTS.map(lambda count: (b"LIMIT", b"0", count)))
COUNT = st.sampled_from([(), (b"COUNT", b"1"), (b"COUNT", b"3")])
TRIM = st.one_of(
    COUNTS.map(lambda count: (b"MAXLEN", count)),
    COUNTS.map(lambda count: (b"MAXLEN", b"=", count)),
    IDS.map(lambda name: (b"MINID", name)),
)
NO_TRIM: st.SearchStrategy[tuple[bytes, ...]] = st.just(())
COMMANDS = st.one_of(
    command("EXISTS", KEYS),
    command("TYPE", KEYS),
    command("DEL", some(KEYS, least=0)),
    command("UNLINK", some(KEYS, least=0)),
    command("PTTL", KEYS),  # no time limit here: see below
    command("PEXPIRE", KEYS, st.sampled_from([b"0", b"-1", b"x"])),
    command("GET", KEYS),
    command("MGET", some(KEYS, least=0)),
    command("SET", KEYS, WORDS, maybe(b"NX")),
    command("HSET", KEYS, some(WORDS, WORDS, least=0)),
    command("HSETNX", KEYS, WORDS, WORDS),
    command("HGET", KEYS, WORDS),
    command("HMGET", KEYS, some(WORDS, least=0)),
    command("HGETALL", KEYS),
    command("HKEYS", KEYS),
    command("HLEN", KEYS),
    command("HEXISTS", KEYS, WORDS),
    command("HDEL", KEYS, some(WORDS, least=0)),
    command("HINCRBY", KEYS, WORDS, INTEGERS),
    command("HSCAN", KEYS, st.just(b"0"), maybe(b"COUNT", b"1000")),
    command("HRANDFIELD", KEYS, st.just(b"50"), st.just(b"WITHVALUES")),
    command("LPUSH", KEYS, some(WORDS, least=0)),
    command("RPUSH", KEYS, some(WORDS, least=0)),
    command("LPOP", KEYS),
    command("RPOP", KEYS),
    command("RPOPLPUSH", KEYS, KEYS),
    command("LLEN", KEYS),
    command("LINDEX", KEYS, INTEGERS),
    command("LRANGE", KEYS, INTEGERS, INTEGERS),
    command("LPOS", KEYS, WORDS),
    command("LREM", KEYS, st.just(b"1"), WORDS),
    command("SADD", KEYS, some(WORDS, least=0)),
    command("SREM", KEYS, some(WORDS, least=0)),
    command("SISMEMBER", KEYS, WORDS),
    command("SMEMBERS", KEYS),
    command("ZADD", KEYS, st.sampled_from([(), (b"NX",), (b"XX",), (b"XX", b"LT"), (b"LT",)]), some(SCORES, WORDS)),
    command("ZREM", KEYS, some(WORDS, least=0)),
    command("ZSCORE", KEYS, WORDS),
    command("ZCARD", KEYS),
    command("ZCOUNT", KEYS, BOUNDS, BOUNDS),
    command("ZRANGE", KEYS, INTEGERS, INTEGERS, maybe(b"WITHSCORES")),
    command("ZREVRANGE", KEYS, INTEGERS, INTEGERS),
    command("ZRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, LIMIT),
    command("ZREVRANGEBYSCORE", KEYS, BOUNDS, BOUNDS, LIMIT),
    command("ZPOPMIN", KEYS),
    command("ZPOPMIN", KEYS, COUNTS),
    command("XADD", KEYS, st.one_of(NO_TRIM, TRIM), IDS, some(WORDS, WORDS)),
    command("XDEL", KEYS, some(IDS, least=0)),
    command("XINFO", st.just(b"STREAM"), KEYS),
    command("XLEN", KEYS),
    command("XRANGE", KEYS, STARTS, ENDS, COUNT),
    command("XREVRANGE", KEYS, ENDS, STARTS, COUNT),
    command("XREAD", st.just(b"STREAMS"), KEYS, IDS),
    command("XTRIM", KEYS, TRIM),
    command("SCAN", st.just(b"0"), maybe(b"MATCH", b"{p:*"), maybe(b"COUNT", b"1000")),
)
UNORDERED = {b"SMEMBERS": 1, b"HGETALL": 2, b"HKEYS": 1, b"HRANDFIELD": 2}
LOOKS = {
    b"string": (b"GET",),
    b"hash": (b"HGETALL",),
    b"list": (b"LRANGE", b"0", b"-1"),
    b"set": (b"SMEMBERS",),
    b"zset": (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
    b"stream": (b"XRANGE", b"-", b"+"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[redis.Redis]:
    """A real one, spoken to without the library's shapes for replies."""
    with Valkey() as valkey, redis.Redis.from_url(valkey.url, protocol=2) as client:
        client.response_callbacks.clear()
        yield client


def reply(run: Any, words: tuple[bytes, ...]) -> Any:
    """What is said, where order has no meaning in one order; of an error its kind."""
    try:
        found = run(*words)
    except ResponseError as error:
        return f"error {'WRONGTYPE' if 'WRONGTYPE' in str(error) else ''}"
    name = words[0].upper()
    if name == b"XINFO":
        return found[found.index(b"last-generated-id") + 1]
    if name in (b"HSCAN", b"SCAN"):
        found = [found[0], ordered(found[1], 2 if name == b"HSCAN" else 1)]
    return ordered(found, UNORDERED[name]) if name in UNORDERED else plain(found)


def ordered(flat: list[bytes], size: int) -> list[list[bytes]]:
    return sorted(flat[at : at + size] for at in range(0, len(flat), size))


def plain(found: Any) -> Any:
    return bytes(found) if isinstance(found, Status) else found


def state(run: Any) -> dict[bytes, Any]:
    """All keys, with what they hold."""
    keys = run(b"SCAN", b"0", b"COUNT", b"1000")[1]
    looks = {key: LOOKS[bytes(run(b"TYPE", key))] for key in sorted(keys)}
    return {key: reply(run, (look[0], key, *look[1:])) for key, look in looks.items()}


@example([(b"ZADD", b"z", b"1", b"a"), (b"ZADD", b"z", b"XX", b"LT", b"1.5", b"a"), (b"ZSCORE", b"z", b"a")])
@given(st.lists(COMMANDS, min_size=1, max_size=40))
@settings(max_examples=300)
@example([(b"ZADD", b"k1", b"2", b"b", b"2", b"a", b"1", b"c"), (b"ZRANGE", b"k1", b"0", b"-1", b"WITHSCORES")])
@example([(b"XADD", b"s", b"1-0", b"a", b"b"), (b"XTRIM", b"s", b"MINID", b"2"), (b"XADD", b"s", b"1-0", b"a", b"b")])
def test_the_same_commands_have_the_same_replies(server: redis.Redis, commands: list[tuple[bytes, ...]]) -> None:
    server.flushall()
    store = Store(lambda: 1_795_900_000.0)
    for number, words in enumerate(commands):
        ours, theirs = reply(store.execute, words), reply(server.execute_command, words)
        assert ours == theirs, commands[: number + 1]
    assert state(store.execute) == state(server.execute_command)


def test_time_limits_are_those_of_a_server(server: redis.Redis) -> None:
    """The clock is ours, so the moments just before and at the end can be looked at."""
    now = 1_000.0
    store = Store(lambda: now)

    def at(seconds: float, *words: bytes) -> Any:
        nonlocal now
        now = seconds
        store.tick()
        return store.execute(*words)

    at(1_000.0, b"SET", b"k", b"v", b"PX", b"500")
    assert at(1_000.25, b"PTTL", b"k") == 250
    assert at(1_000.499, b"GET", b"k") == b"v"
    assert at(1_000.5, b"GET", b"k") is None
    at(1_000.5, b"HSET", b"h", b"a", b"b")
    assert at(1_000.5, b"PTTL", b"h") == -1
    assert at(1_000.5, b"EXPIRE", b"h", b"2") == 1
    at(1_001.0, b"HSET", b"h", b"c", b"d")  # a write keeps the limit
    assert at(1_001.0, b"PTTL", b"h") == 1_500
    at(1_001.0, b"SET", b"h", b"v")  # another value has none
    assert at(1_009.0, b"GET", b"h") == b"v"
    assert at(1_009.0, b"PTTL", b"k") == -2


def test_keys_that_nobody_asks_for_any_more_go_too() -> None:
    now = 1_000.0
    store = Store(lambda: now)
    for number in range(1_000):
        store.execute(b"SET", b"old%d" % number, b"v", b"PX", b"10")
    now = 1_001.0
    store.tick()
    for number in range(2_000):
        store.execute(b"SET", b"new%d" % number, b"v", b"PX", b"1000")
    assert len(store._values) == 2_000


@pytest.mark.parametrize(
    "words",
    [
        (b"KEYS", b"*"),
        (b"SET", b"k", b"v", b"EX", b"1"),
        (b"ZADD", b"k", b"GT", b"1", b"a"),
        (b"ZRANGE", b"k", b"0", b"-1", b"REV"),
        (b"LREM", b"k", b"-1", b"a"),
        (b"XREAD", b"COUNT", b"1", b"STREAMS", b"k", b"0"),
        (b"SCAN", b"0", b"MATCH", b"[ab]"),
        (b"HSCAN", b"k", b"0", b"NOVALUES"),
    ],
)
def test_what_is_not_implemented_is_an_error(words: tuple[bytes, ...]) -> None:
    with pytest.raises(ResponseError):
        Store(lambda: 0.0).execute(*words)
