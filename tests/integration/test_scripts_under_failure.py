"""Every transition on a server that fails in its middle: it happens whole or not at all, and repeating it is safe."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis

from crawler.errors import FrontierFull, FrontierUnavailable
from tests.integration.broken_scripts import BALLAST, COUNT, FILL, HANG, WRITES, fault_at
from tests.integration.cutter import Cutter, cutter
from tests.integration.transitions import TRANSITIONS, Scene, Transition, scene
from tests.invariants import read
from tests.valkey import Valkey

REDIS = shutil.which("redis-server") or ""
NO_MEMORY = 1  # byte: the server is over its limit before the script begins

pytestmark = pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """The embedded server, and the system's own where there is one."""
    if request.param == "redis" and not REDIS:
        pytest.skip("no redis-server on PATH")
    with Valkey(program=REDIS if request.param == "redis" else "") as running:
        yield running


@pytest.fixture(scope="module")
def durable() -> Iterator[Valkey]:
    """A server whose state survives its death; it says BUSY as soon as a script takes longer than a moment."""
    with Valkey(appendonly=True, fsync="always", options={"busy-reply-threshold": "1"}) as running:
        yield running


@pytest.fixture
async def network(valkey_server: Valkey) -> AsyncIterator[Cutter]:
    """Between the frontier and the server."""
    async with cutter(valkey_server.socket) as made:
        yield made


def look(server: Valkey, scene: Scene) -> Any:
    """The state, in which all invariants hold."""
    state = read(server.url, prefix=scene.prefix)
    assert state.violations() == []
    return state


_UNDISTURBED: dict[tuple[Transition, int], tuple[dict[str, Any], int]] = {}


def _places(writes: int, first: int) -> list[int]:
    """Of all writes but the very first: those up to a number, and the last."""
    return sorted({*range(2, first + 1), writes} & {*range(2, writes + 1)})


async def undisturbed(server: Valkey, transition: Transition, shards: int = 1) -> tuple[dict[str, Any], int]:
    """(what the transition comes to when nothing fails, writes of its script); found out once."""
    if (transition, shards) not in _UNDISTURBED:
        _UNDISTURBED[transition, shards] = await _play(server, transition, shards)
    return _UNDISTURBED[transition, shards]


async def _play(server: Valkey, transition: Transition, shards: int) -> tuple[dict[str, Any], int]:
    with redis.Redis.from_url(server.url) as client:
        client.delete(WRITES)
        async with scene(server.url, shards) as it:
            call = await transition.arrange(it)
            with fault_at(it.server, transition.script, 0, COUNT):
                await call()
            return look(server, it).account(), int(client.get(WRITES) or 0)


# --- no memory


async def test_without_memory_nothing_happens_or_all_of_it(server: Valkey, transition: Transition) -> None:
    """The limit is passed before the script: its first write is refused, and then it has no other; or none is."""
    expected, _ = await undisturbed(server, transition)
    async with scene(server.url) as it:
        call = await transition.arrange(it)
        before = read(server.url, prefix=it.prefix)
        await it.raw.config_set("maxmemory", NO_MEMORY)
        try:
            await call()
            refused = False
        except FrontierFull:
            refused = True
        finally:
            await it.raw.config_set("maxmemory", 0)
        assert refused == transition.refused
        if refused:
            assert read(server.url, prefix=it.prefix).raw == before.raw
            await call()
        assert look(server, it).account() == expected


async def test_memory_may_end_at_any_write(server: Valkey, transition: Transition) -> None:
    """The limit is passed between two writes of the script, each in turn: the server lets it through to its end."""
    expected, writes = await undisturbed(server, transition)
    for write in _places(writes, 2 if server.program == REDIS else 12):
        async with scene(server.url) as it:
            call = await transition.arrange(it)
            limit = int((await it.raw.info("memory"))["used_memory"]) + 2_000_000
            await it.raw.config_set("maxmemory", limit)
            try:
                with fault_at(it.server, transition.script, write, FILL):
                    await call()
                assert await it.raw.exists(BALLAST)
            finally:
                await it.raw.config_set("maxmemory", 0)
                await it.raw.delete(BALLAST)
            assert look(server, it).account() == expected


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
async def test_memory_may_end_between_two_shards(server: Valkey, transition: Transition) -> None:
    """Some shards have done their part, the others may have refused; the same call again does the rest."""
    if transition.is_for_one_shard:
        pytest.skip("its scene is laid in one shard")
    expected, _ = await undisturbed(server, transition, shards=3)
    async with scene(server.url, shards=3) as it:
        call = await transition.arrange(it)
        limit = int((await it.raw.info("memory"))["used_memory"]) + 2_000_000
        await it.raw.config_set("maxmemory", limit)
        complete = False
        try:
            with suppress(FrontierFull), fault_at(it.server, transition.script, 2, FILL):
                answer = await call()
                complete = transition.script != "claim"  # which is content with what the first shards gave
        finally:
            await it.raw.config_set("maxmemory", 0)
            await it.raw.delete(BALLAST)
        if not complete:
            answer = await call()
        assert look(server, it).account() == expected
        assert transition.script != "commit" or all(answer) != transition.is_late


# --- killed


async def test_a_script_killed_before_its_first_write(durable: Valkey, transition: Transition) -> None:
    """SCRIPT KILL: nothing has happened, and the same call may be made again."""
    expected, _ = await undisturbed(durable, transition)
    async with scene(durable.url) as it:
        call = await transition.arrange(it)
        before = read(durable.url, prefix=it.prefix)
        with fault_at(it.server, transition.script, 1, HANG):
            calling = asyncio.ensure_future(call())
            await _hangs(durable)
            with redis.Redis.from_url(durable.url) as client:
                client.script_kill()
            with pytest.raises(FrontierUnavailable):
                await calling
        assert transition.is_two_scripts or read(durable.url, prefix=it.prefix).raw == before.raw
        await call()
        assert look(durable, it).account() == expected


async def test_a_server_killed_in_the_middle(durable: Valkey, transition: Transition) -> None:
    """SIGKILL between two writes: the file knows nothing of the script, and after the restart it may run again."""
    expected, writes = await undisturbed(durable, transition)
    for write in _places(writes, 2):
        async with scene(durable.url) as it:
            call = await transition.arrange(it)
            before = read(durable.url, prefix=it.prefix)
            with fault_at(it.server, transition.script, write, HANG):
                calling = asyncio.ensure_future(call())
                await _hangs(durable)
                with (
                    redis.Redis.from_url(durable.url) as client,
                    pytest.raises(redis.ResponseError, match="UNKILLABLE"),
                ):
                    client.script_kill()
                durable.kill()
                with pytest.raises(FrontierUnavailable):
                    await calling
            durable.start()
            assert transition.is_two_scripts or read(durable.url, prefix=it.prefix).raw == before.raw
            await call()
            assert look(durable, it).account() == expected


async def _hangs(server: Valkey) -> None:
    """Wait until the server says that a script keeps it busy."""
    deadline = time.monotonic() + 5
    said = ""
    with redis.Redis.from_url(server.url) as client:
        while not said and time.monotonic() < deadline:
            try:
                client.ping()
            except redis.ResponseError as error:
                said = str(error)
            await asyncio.sleep(0)
    assert said.startswith("BUSY")


# --- cut off


@pytest.mark.parametrize(
    ("arrives", "times", "shards"),
    [(False, 2, 1), (True, 1, 1), (True, 2, 1), (True, 2, 3)],
    ids=["before-it-arrives", "before-one-reply", "before-the-reply", "before-the-reply-of-a-shard"],
)
async def test_a_connection_cut_at_any_command(
    network: Cutter, valkey_server: Valkey, transition: Transition, arrives: bool, times: int, shards: int
) -> None:
    """Each command in turn. Cut once, the client itself repeats it; cut twice, the caller repeats the call."""
    if shards > 1 and transition.is_for_one_shard:
        pytest.skip("its scene is laid in one shard")
    expected, _ = await undisturbed(valkey_server, transition, shards)
    for at in range(100):
        async with scene(network.url, shards) as it:
            call = await transition.arrange(it)
            network.cut(after=at, arrives=arrives, times=times)
            try:
                answer = await call()
            except FrontierUnavailable:
                answer = await call()
            went_wrong = network.heal()
            if transition.script == "claim":
                await call()  # the first was content with what the other shards gave
            assert look(valkey_server, it).account() == expected, f"cut at command {at + 1}"
            if transition.script == "commit" and isinstance(answer, list):
                assert all(answer) != transition.is_late, f"cut at command {at + 1}"
        if not went_wrong:
            return
