"""The connection of this process to the queue server, for the tasks that run in it.

The connection lives on an event loop in a thread of its own. It is made by the first task and kept. A child of a fork,
such as a process of Celery's prefork pool, forgets it and makes its own, because two processes must not share a socket.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.errors import FrontierReplaced
from crawler.interfaces import Backend
from crawler.settings import load
from crawler.spiders.registry import Registry, find_spiders

SECONDS = 20.0  # for one task, after which it is tried again

Result = TypeVar("Result")


class Client:
    """One project's settings, spiders and connection."""

    def __init__(self, folder: Path) -> None:
        settings, origins = load(folder)
        self.config = Config(settings, origins, folder)
        self._spiders: Registry | None = None
        self._connected: Backend | None = None
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._opening = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="crawler", daemon=True)
        self._thread.start()

    @property
    def spiders(self) -> Registry:
        """The spiders of the project."""
        if self._spiders is None:
            settings = self.config.settings
            self._spiders = find_spiders(self.config.folder, settings.SPIDER_MODULES, settings, self.config.explicit)
        return self._spiders

    def run(self, work: Callable[[Backend], Awaitable[Result]]) -> Result:
        """Run `work` on the connection and return its result. Raise what it raises, and `TimeoutError`."""
        return asyncio.run_coroutine_threadsafe(self._run(work), self._loop).result()

    def close(self) -> None:
        """End the connection and its thread."""
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _run(self, work: Callable[[Backend], Awaitable[Result]]) -> Result:
        async with asyncio.timeout(SECONDS):
            async with self._opening:
                if self._connected is None:
                    self._connected = await self._stack.enter_async_context(connect(self.config))
                connected = self._connected
            try:
                return await work(connected)
            except FrontierReplaced:
                if connected is self._connected:  # what it knows of the server is wrong; the next task connects anew
                    self._connected, stale = None, self._stack.pop_all()
                    await stale.aclose()
                raise


_clients: dict[Path, Client] = {}
_inherited: list[dict[Path, Client]] = []  # of the parent, kept so that nothing closes its sockets
_lock = threading.Lock()


def client(folder: Path) -> Client:
    """Return this process's client for a project's folder. Raise `ConfigError` for settings that cannot be used."""
    with _lock:
        if folder not in _clients:
            _clients[folder] = Client(folder)
        return _clients[folder]


def _forget() -> None:
    global _clients, _lock
    _inherited.append(_clients)
    _clients, _lock = {}, threading.Lock()


os.register_at_fork(after_in_child=_forget)
