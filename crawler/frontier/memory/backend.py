"""The frontier in this process as a backend: one object stands in for all parts."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from crawler.frontier.memory.frontier import MemoryFrontier
from crawler.interfaces import Backend, Capabilities
from crawler.model import Job
from crawler.status import DeadLetter

_ALONE = Capabilities(shared=False, durable=False)


class _Jobs:
    def __init__(self, frontier: MemoryFrontier) -> None:
        self.create, self.all, self.delete = frontier.create_job, frontier.jobs, frontier.delete_job


class _Letters:
    def __init__(self, frontier: MemoryFrontier) -> None:
        self._frontier = frontier

    async def newest(self, job: Job, limit: int = 1000) -> list[DeadLetter]:
        return await self._frontier.dead_letters(job, limit)

    def each(self, job: Job, ids: Collection[str] | None = None) -> AsyncIterator[DeadLetter]:
        return self._frontier.each_dead(job, ids)

    async def redrive(self, job: Job, ids: Collection[str] | None = None) -> int:
        return await self._frontier.redrive(job, ids)

    async def drop(self, job: Job, ids: Collection[str] | None = None) -> int:
        return await self._frontier.drop(job, ids)


class _Store:
    async def uptime(self) -> float:
        return math.inf

    async def keeps_data(self) -> bool:
        return False


@asynccontextmanager
async def open_memory(
    frontier: MemoryFrontier, url: str = "memory://", capabilities: Capabilities = _ALONE
) -> AsyncIterator[Backend]:
    """The backend of that frontier."""
    yield memory_backend(frontier, url, capabilities)


def memory_backend(frontier: MemoryFrontier, url: str = "memory://", capabilities: Capabilities = _ALONE) -> Backend:
    """The same for those who need not wait."""
    return Backend(
        queue=frontier,
        adding=frontier,
        links=frontier,
        ledger=frontier,
        asking=frontier,
        leases=frontier,
        jobs=_Jobs(frontier),
        reading=frontier,
        hosts=frontier,
        traces=frontier,
        letters=_Letters(frontier),
        pauses=frontier,
        outbox=frontier,
        control=frontier.control,
        calls=frontier.control,
        store=_Store(),
        address=url,
        url=url,
        capabilities=capabilities,
    )
