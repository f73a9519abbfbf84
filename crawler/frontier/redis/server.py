"""The connection to a Redis or Valkey server: runs scripts by name, checks the server at start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError
from redis.retry import Retry

from crawler.errors import ConfigError
from crawler.frontier.redis import scripts
from crawler.frontier.redis.address import for_sentinels, read
from crawler.frontier.redis.barrier import Barrier
from crawler.frontier.redis.connection import connection_class, endpoint, options
from crawler.frontier.redis.errors import cluster_error, errors, sentinel_error
from crawler.frontier.redis.generations import Generations
from crawler.frontier.redis.keys import absent_beside
from crawler.frontier.redis.nodes import ManyNodes, OneNode
from crawler.frontier.redis.slots import Slots
from crawler.frontier.rules import LARGE_BYTES
from crawler.settings import DEFAULTS


class Server:
    """Runs scripts and commands on one server, or on the masters of several, over at most 17 connections to each."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = DEFAULTS.REDIS_TIMEOUT,
        name: str = "crawler",
        ca_file: str = "",
        replicas: int = DEFAULTS.REDIS_REPLICAS,
    ) -> None:
        """`timeout` in seconds; `ca_file` holds certificate authorities beside the system's; `replicas` are those that
        must have what is written behind the barrier."""
        self.url = url
        self.address = read(url)
        self.shown = self.address.shown
        self.is_cluster = self.address.kind == "cluster"
        self.timeout = timeout  # seconds for one reply
        self.barrier = Barrier(self.shown, replicas, timeout)
        self.clock: Callable[[], float] = time.monotonic  # the clock of `claimed_at` and `asked_at`
        self._doubt: Callable[[], None] = lambda: None
        self._generations = Generations(self.shown)
        self._sources = {script: scripts.source(script) for script in scripts.NAMES}
        self._hashes = {script: sha1(source).hexdigest() for script, source in self._sources.items()}  # noqa: S324
        self._options = {
            "encoding_errors": "backslashreplace",  # for the names of files that are no UTF-8
            "socket_timeout": timeout,
            "driver_info": DriverInfo(),  # shared, because each one looks for the library's version in the file system
            "socket_connect_timeout": timeout,
            **options(self.address, ca_file),
        }
        self._name = name
        self._nodes = self._connect(ca_file)
        self._fsync = ""  # the weakest `appendfsync` of the servers; empty if unknown
        self._has_file = False  # whether each writes an append-only file
        self._is_slowed = False  # whether one was slowed by its allocator when it was opened

    def call_when_connected(self, doubt: Callable[[], None]) -> None:
        """From now on each new connection calls `doubt`: the server may have lost data since the last one."""
        self._doubt = doubt

    def connected(self) -> None:
        """Do what is to be done for a new connection."""
        self._doubt()

    def at(self, key: str) -> Any:
        """The library's client of the server that has this key. All keys of a shard are on one server, and the prefix
        of the shard names it as well as a key."""
        return self._nodes.at(key)

    def pipeline(self) -> Any:
        """A pipeline of the library, without a transaction. The first argument of each command is its key; the keys may
        lie in several shards, and the commands may run twice."""
        return self._nodes.pipeline()

    def split(self, keys: Sequence[str]) -> list[list[str]]:
        """The keys of each server that has some of them."""
        return self._nodes.split(keys)

    def masters(self) -> list[Any]:
        """The clients of all servers that have keys."""
        return self._nodes.masters()

    async def open(self) -> None:
        """Check that the servers can be trusted with a crawl. Raises `ConfigError`, `FrontierUnavailable`."""
        with errors(self.shown):
            await self._nodes.open()
            infos = [await self._check(client) for client in self.masters()]
            found = [await _configured(client, "appendfsync") for client in self.masters()]
        self._has_file = all(info.get("aof_enabled") for info in infos)
        self._is_slowed = any(_is_slowed(info) for info in infos)
        self._fsync = "no" if "no" in found else min(found)

    async def _check(self, client: Any) -> dict[str, Any]:
        """Return what the server says of itself. Raises `ConfigError`."""
        info: dict[str, Any] = await client.info()
        if "sentinel" in (info.get("redis_mode"), info.get("server_mode")):  # of Redis; of Valkey
            raise sentinel_error(self.shown, [*await client.sentinel_masters()])
        is_node = not self.is_cluster and info.get("cluster_enabled")
        if is_node and int((await client.cluster("info"))["cluster_size"]) != 1:
            raise cluster_error(self.shown)
        version = str(info.get("valkey_version") or info.get("redis_version") or "0")
        if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
            raise ConfigError(f"{self.shown}: server version {version}; Redis 6.2 is the oldest that works")
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise ConfigError(
                f"{self.shown}: maxmemory-policy is {policy}, so the server may evict requests; "
                "set `maxmemory-policy noeviction` on it"
            )
        return info

    async def keeps_data(self) -> bool:
        """Whether each server wrote an append-only file when it was opened; without one a restart loses the crawl."""
        return self._has_file

    async def is_slowed_by_allocator(self) -> bool:
        """Whether a server held much data with the C library's allocator when it was opened. An allocator that is
        loaded in front of it cannot be seen from here."""
        return self._is_slowed

    async def synced(self, key: str, *before: tuple[Any, ...]) -> list[Any]:
        """Run the commands `before`, then wait until everything written so far to the server that has `key` is on its
        disk, and on the disks of its replicas (REDIS_REPLICAS).

        Returns their replies; their keys must be on that server (see `split`). Waits for the replicas alone without an
        append-only file, with `appendfsync no` (nothing tells when the file reaches the disk), and on servers older
        than 7.2. Raises `ReplicasMissing`, and `FrontierUnavailable` when the wait takes longer than two seconds.
        """
        with errors(self.shown):
            return await self.barrier.synced(self.at(key), key, before, self._fsync)

    async def write(self, key: str, *commands: tuple[Any, ...]) -> list[Any]:
        """Run the commands on the server that has `key`, and return their replies behind the barrier: once its replicas
        (REDIS_REPLICAS) have what they wrote, and all that others had written there before.

        Without commands it is the barrier alone. Raises `ReplicasMissing`.
        """
        with errors(self.shown):
            return await self.barrier.write(self.at(key), key, commands)

    async def replica_advice(self) -> list[str]:
        """What to change so that an outage of one server neither stops the crawl nor harms it."""
        if not self.barrier.replicas:
            return []
        with errors(self.shown):
            found = [int((await client.info("replication"))["connected_slaves"]) for client in self.masters()]
            # An unknown value gives no advice.
            least = [int(await _configured(client, "min-replicas-to-write") or 1) for client in self.masters()]
        return self.barrier.advice(min(found), min(least))

    async def adopt(self, shards: Sequence[str]) -> None:
        """From now on each connection checks whether another server answers for these shards. The one that `open` has
        made to each server checks now, others when they begin."""
        self._generations.shards = shards
        with errors(self.shown):
            for client in self.masters():
                connection = await client.connection_pool.get_connection()
                try:
                    await self._generations.greet(connection)
                except BaseException:
                    await connection.disconnect()  # a reply may still come
                    raise
                finally:
                    await client.connection_pool.release(connection)

    async def uptime(self) -> float:
        """Seconds for which the same server has answered for every shard: since it started, or since a replica took
        its place. A promoted replica may have run for long, but not with the last heartbeats."""
        found = [await self.run("now", f"{shard}clock") for shard in self._generations.shards]
        return min((float(now - since) / 1000 for now, _, since in found if since <= now), default=math.inf)

    async def close(self) -> None:
        """Close the connections."""
        await self._nodes.close()

    async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
        """Run a script by name, and with `barrier` return behind the barrier (see `write`).

        Raises `FrontierError` and its subclasses, such as `JobGone`.
        """
        client = self.at(key)
        execute = self._execute_behind_barrier if barrier and self.barrier.replicas else client.execute_command
        with errors(self.shown):
            try:
                with suppress(NoScriptError):  # first use, or the server was restarted
                    return await execute("EVALSHA", self._hashes[script], *self._keys(key), *arguments)
                return await execute("EVAL", self._sources[script], *self._keys(key), *arguments)
            except ReadOnlyError:  # it is a replica now; when it is promoted again, a new connection must notice
                await client.connection_pool.disconnect(inuse_connections=False)
                await client.connection_pool.update_active_connections_for_reconnect()
                raise

    async def _execute_behind_barrier(self, *command: Any) -> Any:
        key = command[3]
        (reply,) = await self.barrier.write(self.at(key), key, [command])
        return reply

    def run_in_thread(self, script: str, key: str, *arguments: Any) -> Any:
        """Do the same from a thread, on a connection of its own. Only one thread may use it."""
        client: Any = self._nodes.in_thread(key)
        with errors(self.shown):
            try:
                with suppress(NoScriptError):
                    return client.execute_command("EVALSHA", self._hashes[script], *self._keys(key), *arguments)
                return client.execute_command("EVAL", self._sources[script], *self._keys(key), *arguments)
            except ReadOnlyError:
                client.connection_pool.disconnect()
                raise

    def _keys(self, key: str) -> tuple[Any, ...]:
        """The keys of a script, with their number.

        A cluster may be moving the keys of a slot one by one. A node then runs a script only if it has all its keys, so
        each also names one that nobody has."""
        return (1, key) if self.address.kind == "single" else (2, key, absent_beside(key))

    def _connect(self, ca_file: str) -> OneNode | ManyNodes:
        if self.address.kind == "single":
            where = endpoint(self.address)
            client = redis.asyncio.Redis.from_pool(self._pool(where))
            return OneNode(client, lambda: redis.Redis.from_pool(self._pool_in_thread(where)))
        to_ask = options(for_sentinels(self.address), ca_file) if self.address.kind == "sentinel" else {}
        slots = Slots(self.address, self._pool_in_thread, to_ask, self._generations.doubt)
        return ManyNodes(slots, self._pool, self._pool_in_thread)

    def _pool(self, where: Mapping[str, Any]) -> redis.asyncio.ConnectionPool:
        # Few retries here: every caller retries in its own loop and reports the outage.
        return redis.asyncio.BlockingConnectionPool(
            max_connections=16,
            timeout=self.timeout * 4,
            connection_class=connection_class(self.address),
            retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
            client_name=self._name,
            redis_connect_func=self._greet,
            **{**self._options, **where},
        )

    def _pool_in_thread(self, where: Mapping[str, Any]) -> redis.ConnectionPool:
        return redis.ConnectionPool(
            connection_class(self.address, blocking=True),
            client_name=f"{self._name}:beat",
            **{
                "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
                "redis_connect_func": self._generations.greet_in_thread,
                **self._options,
                **where,
            },
        )

    async def _greet(self, connection: Any) -> None:
        await connection.on_connect()
        await self._nodes.confirm(connection)
        await self._generations.greet(connection)
        self.connected()


def _is_slowed(info: Mapping[str, Any]) -> bool:
    return info.get("mem_allocator") == "libc" and int(info.get("used_memory", 0)) >= LARGE_BYTES


async def _configured(client: Any, name: str) -> str:
    """A value of the server's configuration; empty if it does not tell, because the user may lack the permission."""
    with suppress(ResponseError):
        return str((await client.config_get(name)).get(name, ""))
    return ""
