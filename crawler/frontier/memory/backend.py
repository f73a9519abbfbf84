"""Opens the frontier of `memory://`: the Redis frontier on a server inside this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from crawler.frontier.memory.bounded import Bounded
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.backend import open_redis
from crawler.interfaces import Backend, Capabilities

ALONE = Capabilities(shared=False, durable=False)


@asynccontextmanager
async def open_memory(
    server: MemoryServer | None = None, *, maxsize: int = 0, capabilities: Capabilities = ALONE, **options: Any
) -> AsyncIterator[Backend]:
    """A backend on `server`, or on a new one; `options` are those of `open_redis`.

    `maxsize` bounds each job's pending requests (0: no bound); only seeders wait for room.
    """
    async with open_redis(server or MemoryServer(), capabilities=capabilities, **options) as backend:
        yield replace(backend, adding=Bounded(backend.adding, backend.reading, maxsize)) if maxsize else backend
