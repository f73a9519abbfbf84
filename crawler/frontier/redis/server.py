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
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from crawler.errors import ConfigError, FrontierUnavailable
from crawler.frontier.redis import scripts
from crawler.frontier.redis.address import read
from crawler.frontier.redis.connection import connection_class, endpoint, options
from crawler.frontier.redis.errors import cluster_error, errors

SYNC_MS = 2000  # longest wait for the server's disk, which syncs once a second (`appendfsync everysec`)
# The first write frees memory, so a server that is out of memory still runs it.
_MARK = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 1)"


class Server:
    """Runs scripts and commands on one server, over at most 17 connections."""

    def __init__(self, url: str, *, timeout: float = 5.0, name: str = "crawler", ca_file: str = "") -> None:
        """`timeout` in seconds; `ca_file` holds certificate authorities beside the system's."""
        self.url = url
        self.address = read(url)
        self.shown = self.address.shown
        if self.address.kind != "single":
            raise ConfigError(f"{self.shown}: the crawler cannot use a Sentinel or a cluster yet")
        self.timeout = timeout  # seconds for one reply
        self.clock: Callable[[], float] = time.monotonic  # the clock of `claimed_at` and `asked_at`
        self._name = name
        # Called at each new connection: the server may have lost data since the last one.
        self.connected: Callable[[], None] = lambda: None
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
        disk.

        Returns their replies; their keys must be on that server (see `split`). Writes to `key`, because the server
        waits for the last write of a connection. Does not wait without an append-only file, with `appendfsync no`
        (nothing tells when the file reaches the disk), and on servers older than 7.2. Raises `FrontierUnavailable` when
        the wait takes longer than two seconds.
        """
        pipeline = self.at(key).pipeline(transaction=False)
        for command in before:
            pipeline.execute_command(*command)
        if self._fsync == "no":
            with errors(self.shown):
                return list(await pipeline.execute())
        pipeline.execute_command("EVAL", _MARK, 1, key)
        pipeline.execute_command("WAITAOF", 1, 0, SYNC_MS)
        with errors(self.shown):
            replies: list[Any]
            *replies, marked, synced = await pipeline.execute(raise_on_error=False)
            for reply in (*replies, marked):
                if isinstance(reply, Exception):
                    raise reply
        if self._fsync and isinstance(synced, list) and synced[0] < 1:
            raise FrontierUnavailable(f"the disk of the queue server {self.shown} is slow: waiting for it")
        return replies

    async def uptime(self) -> float:
        """Seconds since the server started; of several, since the last of them started."""
        with errors(self.shown):
            return min([float((await client.info("server"))["uptime_in_seconds"]) for client in self.masters()])

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()
        if self._beating is not None:
            self._beating.close()

    async def run(self, script: str, key: str, *arguments: Any) -> Any:
        """Run a script by name. Raises `FrontierError` and its subclasses, such as `JobGone`."""
        with errors(self.shown):
            try:
                return await self.at(key).execute_command("EVALSHA", self._hashes[script], 1, key, *arguments)
            except NoScriptError:  # first use, or the server was restarted
                return await self.at(key).execute_command("EVAL", self._sources[script], 1, key, *arguments)

    def run_in_thread(self, script: str, key: str, *arguments: Any) -> Any:
        """Do the same from a thread, on a connection of its own. Only one thread may use it."""
        if self._beating is None:
            self._beating = redis.Redis.from_pool(
                redis.ConnectionPool(
                    connection_class(self.address, blocking=True),
                    retry=Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), 1),
                    client_name=f"{self._name}:beat",
                    **self._options,
                )
            )
        with errors(self.shown):
            try:
                return self._beating.execute_command("EVALSHA", self._hashes[script], 1, key, *arguments)
            except NoScriptError:
                return self._beating.execute_command("EVAL", self._sources[script], 1, key, *arguments)

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
        self.connected()
