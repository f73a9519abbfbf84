"""The connection to a Redis or Valkey server: runs scripts by name, checks the server at start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError
from redis.retry import Retry

from crawler.errors import ConfigError
from crawler.frontier.redis import scripts
from crawler.frontier.redis.address import read
from crawler.frontier.redis.barrier import Barrier
from crawler.frontier.redis.connection import connection_class, endpoint, options
from crawler.frontier.redis.errors import cluster_error, errors
from crawler.frontier.redis.generations import Generations


class Server:
    """Runs scripts and commands on one server, over at most 17 connections."""

    def __init__(
        self, url: str, *, timeout: float = 5.0, name: str = "crawler", ca_file: str = "", replicas: int = 0
    ) -> None:
        """`timeout` in seconds; `ca_file` holds certificate authorities beside the system's; `replicas` are those that
        must have what is written behind the barrier."""
        self.url = url
        self.address = read(url)
        self.shown = self.address.shown
        if self.address.kind != "single":
            raise ConfigError(f"{self.shown}: the crawler cannot use a Sentinel or a cluster yet")
        self.timeout = timeout  # seconds for one reply
        self.barrier = Barrier(self.shown, replicas, timeout)
        self.clock: Callable[[], float] = time.monotonic  # the clock of `claimed_at` and `asked_at`
        self._name = name
        # Called at each new connection: the server may have lost data since the last one.
        self.connected: Callable[[], None] = lambda: None
        self._generations = Generations(self.shown)
        self._sources = {script: scripts.source(script) for script in scripts.NAMES}
        self._hashes = {script: sha1(source).hexdigest() for script, source in self._sources.items()}  # noqa: S324
        self._options = {
            **options(self.address, ca_file),
            **endpoint(self.address),
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
        }
        # The library's annotations include replies that we never request; `Any` is the honest type of its results.
        self.client: Any = self._connect()
        self._beating: Any = None
        self._fsync = ""  # the server's `appendfsync`; empty if unknown
        self._min_replicas = 0  # its `min-replicas-to-write`; 0 if unknown

    def at(self, key: str) -> Any:
        """The library's client of the server that has this key. All keys of a shard are on one server, and the prefix
        of the shard names it as well as a key."""
        return self.client

    def pipeline(self) -> Any:
        """A pipeline of the library, without a transaction. The first argument of each command is its key; the keys may
        lie in several shards."""
        return self.client.pipeline(transaction=False)

    def split(self, keys: Sequence[str]) -> list[list[str]]:
        """The keys of each server that has some of them."""
        return [list(keys)]

    def masters(self) -> list[Any]:
        """The clients of all servers that have keys."""
        return [self.client]

    async def open(self) -> None:
        """Check that the servers can be trusted with a crawl. Raises `ConfigError`, `FrontierUnavailable`."""
        with errors(self.shown):
            for client in self.masters():
                await self._check(client)

    async def _check(self, client: Any) -> None:
        await client.ping()
        info = await client.info("server")
        policy = (await client.info("memory")).get("maxmemory_policy", "noeviction")
        is_node = (await client.info("cluster")).get("cluster_enabled")
        if is_node and int((await client.cluster("info"))["cluster_size"]) != 1:
            raise cluster_error(self.shown)
        with suppress(ResponseError):  # the account may lack the permission
            self._fsync = (await client.config_get("appendfsync")).get("appendfsync", "")
            self._min_replicas = int((await client.config_get("min-replicas-to-write")).get("min-replicas-to-write", 0))
        version = str(info.get("valkey_version") or info.get("redis_version") or "0")
        if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
            raise ConfigError(f"{self.shown}: server version {version}; Redis 6.2 is the oldest that works")
        if policy != "noeviction":
            raise ConfigError(
                f"{self.shown}: maxmemory-policy is {policy}, so the server may evict requests; "
                "set `maxmemory-policy noeviction` on it"
            )

    async def keeps_data(self) -> bool:
        """Whether each server writes an append-only file; without one a restart loses the crawl."""
        with errors(self.shown):
            found = [(await client.info("persistence")).get("aof_enabled") for client in self.masters()]
        return all(found)

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
            found = min([int((await client.info("replication"))["connected_slaves"]) for client in self.masters()])
        return self.barrier.advice(found, self._min_replicas)

    async def adopt(self, shards: Sequence[str]) -> None:
        """From now on each new connection looks whether another server answers for these shards, and there is no other
        connection."""
        self._generations.shards = shards
        with errors(self.shown):
            for client in self.masters():
                await client.connection_pool.disconnect()
                await client.ping()

    async def uptime(self) -> float:
        """Seconds since the server started; of several, since the last of them started."""
        with errors(self.shown):
            return min([float((await client.info("server"))["uptime_in_seconds"]) for client in self.masters()])

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()
        if self._beating is not None:
            self._beating.close()

    async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
        """Run a script by name, and with `barrier` return behind the barrier (see `write`).

        Raises `FrontierError` and its subclasses, such as `JobGone`.
        """
        execute = self._execute_behind_barrier if barrier and self.barrier.replicas else self.at(key).execute_command
        with errors(self.shown):
            try:
                with suppress(NoScriptError):  # first use, or the server was restarted
                    return await execute("EVALSHA", self._hashes[script], 1, key, *arguments)
                return await execute("EVAL", self._sources[script], 1, key, *arguments)
            except ReadOnlyError:  # it is a replica now; when it is promoted again, a new connection must notice
                await self.at(key).connection_pool.disconnect()
                raise

    async def _execute_behind_barrier(self, *command: Any) -> Any:
        key = command[3]
        (reply,) = await self.barrier.write(self.at(key), key, [command])
        return reply

    def run_in_thread(self, script: str, key: str, *arguments: Any) -> Any:
        """Do the same from a thread, on a connection of its own. Only one thread may use it."""
        if self._beating is None:
            self._beating = redis.Redis.from_pool(
                redis.ConnectionPool(
                    connection_class(self.address, blocking=True),
                    retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
                    client_name=f"{self._name}:beat",
                    redis_connect_func=self._generations.greet_in_thread,
                    **self._options,
                )
            )
        with errors(self.shown):
            try:
                with suppress(NoScriptError):
                    return self._beating.execute_command("EVALSHA", self._hashes[script], 1, key, *arguments)
                return self._beating.execute_command("EVAL", self._sources[script], 1, key, *arguments)
            except ReadOnlyError:
                self._beating.connection_pool.disconnect()
                raise

    def _connect(self) -> redis.asyncio.Redis:
        # Few retries here: every caller retries in its own loop and reports the outage.
        pool = redis.asyncio.BlockingConnectionPool(
            max_connections=16,
            timeout=self.timeout * 4,
            connection_class=connection_class(self.address),
            retry=AsyncRetry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
            client_name=self._name,
            encoding_errors="backslashreplace",  # for the names of files that are no UTF-8
            redis_connect_func=self._greet,
            **self._options,
        )
        return redis.asyncio.Redis.from_pool(pool)

    async def _greet(self, connection: Any) -> None:
        await connection.on_connect()
        await self._generations.greet(connection)
        self.connected()
