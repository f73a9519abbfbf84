"""A queue server inside this process, for `memory://`. It runs the scripts and commands of a real one and keeps
nothing beyond the process."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis.asyncio
import redis.asyncio.client
from redis.exceptions import ResponseError

from crawler.frontier.memory.lua import Scripts
from crawler.frontier.memory.store import Store
from crawler.frontier.redis.barrier import Barrier
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.nodes import OneNode
from crawler.frontier.redis.server import Server


class MemoryServer(Server):
    """Replaces a real server. All methods but `run_in_thread` belong to one event loop. `clock` returns seconds and
    never runs backwards."""

    def __init__(self, url: str = "memory://", *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = self.shown = url
        self.is_cluster = False
        self.timeout = math.inf  # no answer is late
        self.barrier = Barrier(url, 0, self.timeout)
        self.clock = clock
        self._doubt: Callable[[], None] = lambda: None  # no connection can be lost
        epoch = time.time() - clock()
        self.store = Store(lambda: epoch + clock(), self._added)
        self.scripts = Scripts(self.store)
        self._lock = threading.Lock()
        self._arrivals: dict[bytes, asyncio.Event] = {}  # by stream; its next entry sets the event
        self._nodes = OneNode(_Client(self))

    async def open(self) -> None:
        """Do nothing: there is no connection to open."""

    async def adopt(self, shards: Sequence[str]) -> None:
        """Do nothing: no other server will ever answer."""

    async def close(self) -> None:
        """Do nothing: the data stays."""

    async def keeps_data(self) -> bool:
        """Return False: no data survives the process."""
        return False

    async def is_slowed_by_allocator(self) -> bool:
        """Return False: there is no server."""
        return False

    async def synced(self, key: str, *before: tuple[Any, ...]) -> list[Any]:
        """Run the commands `before` and return their replies; there is no disk to wait for."""
        return await self.write(key, *before)

    async def uptime(self) -> float:
        """Return infinity: this server cannot have restarted while the process ran."""
        return math.inf

    async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
        """Run a script by name. Raises `FrontierError` and its subclasses, such as `JobGone`."""
        return self.run_in_thread(script, key, *arguments)

    def run_in_thread(self, script: str, key: str, *arguments: Any) -> Any:
        """Do the same from a thread."""
        with errors(self.shown), self._lock:
            self.store.tick()
            return self.scripts.run(script, _word(key), *map(_word, arguments))

    async def execute(self, *command: Any) -> Any:
        """Run a command; XREAD with BLOCK waits for an entry. Raises `ResponseError`."""
        words = [_word(part) for part in command]
        reply = self._execute(words)
        if reply is None and b"BLOCK" in words:
            key, seconds = words[-2], int(words[words.index(b"BLOCK") + 1]) / 1000
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrivals.setdefault(key, asyncio.Event()).wait()
            reply = self._execute(words)
        return reply

    def _execute(self, words: list[bytes]) -> Any:
        with self._lock:
            self.store.tick()
            return self.store.execute(*words)

    def _added(self, key: bytes) -> None:
        """Wake the readers that wait for an entry in this stream."""
        if arrival := self._arrivals.pop(key, None):
            arrival.set()


class _Client(redis.asyncio.Redis):
    """The library's client with its commands and reply shapes, but with calls to `MemoryServer` for a connection."""

    def __init__(self, server: MemoryServer) -> None:
        super().__init__(protocol=2)
        self._server = server

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        reply = await self._server.execute(*args)
        options.pop("keys", None)  # for the library's own cache
        shape = self.response_callbacks.get(args[0])
        return shape(reply, **options) if shape else reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> redis.asyncio.client.Pipeline:
        if transaction:
            raise NotImplementedError("a transaction is not part of memory://")
        return _Pipeline(self)


class _Pipeline(redis.asyncio.client.Pipeline):
    """Runs its commands one after the other."""

    def __init__(self, client: _Client) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack, self.command_stack = self.command_stack, []
        replies: list[Any] = []
        for command, options in stack:
            try:
                replies.append(await self._client.execute_command(*command, **options))
            except ResponseError as error:
                replies.append(error)
        failed = [reply for reply in replies if isinstance(reply, ResponseError)]
        if failed and raise_on_error:
            raise failed[0]
        return replies


def _word(value: Any) -> bytes:
    """Encode a value as the library does."""
    if type(value) is bytes:
        return value
    return value.encode() if type(value) is str else repr(value).encode()
