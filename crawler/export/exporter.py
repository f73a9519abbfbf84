"""Side task: moves items from the outbox to the sink. Items leave the outbox only once they are durable in the sink."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from crawler.errors import FrontierUnavailable, OutputError, UsageError
from crawler.interfaces import Outbox, Sink
from crawler.model import Exported, Job
from crawler.runtime.patience import OUTAGE, Patience, Stop, pause

LOOK = 0.1  # seconds between two polls of an empty outbox


class OtherExporter(OutputError):
    """Another exporter is at work on this job."""


class Exporter:
    """Moves one job's items into one sink, batch by batch. `name` identifies it among exporters."""

    def __init__(
        self,
        jobs: Callable[[], Awaitable[list[Job]]],
        outbox: Outbox,
        sink: Sink,
        job: Job,
        *,
        name: str,
        batch: int,
        lease_seconds: float,
        patient: bool,
    ) -> None:
        """`jobs()` returns all jobs. After `lease_seconds` without a renewal, another exporter may take over.

        `patient`: wait out a full disk or another exporter instead of raising `OutputError`.
        """
        self._jobs = jobs
        self._outbox = outbox
        self._sink = sink
        self._job = job
        self._name = name
        self._batch = batch
        self._patient = patient
        self._lease = lease_seconds
        self._renewed_at = -lease_seconds
        self._positions: dict[int, str] = {}  # shard → position of the last page that is durable in the sink
        self._acknowledged = Exported()  # what the outbox has confirmed
        self._is_open = False
        self._patience = Patience("export_waits")
        self.begun = asyncio.Event()  # set once the sink is open
        self.items = 0  # written by this exporter

    @property
    def location(self) -> str:
        """Where the items are."""
        return self._sink.location

    async def run(self, stop: Stop, *, until: Callable[[], bool] | None = None, follow: bool = False) -> None:
        """Drain the outbox and end; with `follow`, wait for more items until `stop` is set or `until()` is true.

        An end without the `until` that was asked for is an interruption: it does not finish the sink.
        Waits out obstacles until `stop` is set, then raises them; items that are left wait in the outbox.
        """
        try:
            if not await self._begin(stop):
                return
            while True:
                at_end = until is None or until()
                last = not follow or stop.is_set() or (until is not None and at_end)
                if await self._patience.until_done(self._move, stop, also=(OutputError,) if self._patient else ()):
                    continue
                if last:
                    if at_end:
                        await self._finish()
                    return
                await pause(LOOK, stop)
        finally:
            try:
                await self._sink.close()
            finally:
                if self._renewed_at > 0:
                    await self._let_go()

    async def _begin(self, stop: Stop) -> bool:
        """Become the job's exporter, open the sink, and acknowledge what it holds. Return False if stopped first."""
        also = (OtherExporter,) if self._patient else ()
        try:
            await self._patience.until_done(self._open, stop, also=also)
        except (*OUTAGE, *also):
            return False
        self.begun.set()
        return True

    async def _open(self) -> None:
        await self._hold()
        if not self._is_open:  # the lock on the sink would also keep ourselves out
            exported = await self._outbox.exported(self._job)
            self._positions = dict(await self._sink.open(exported))
            self._is_open = True
        await self._acknowledge()

    async def _move(self) -> bool:
        """Move one batch. Return False if the outbox is empty now."""
        await self._hold()
        entries = await self._outbox.read(self._job, self._positions, self._batch)
        if entries:
            self.items += await self._sink.write(entries)
            for entry in entries:
                self._positions[entry.shard] = entry.position
        await self._acknowledge()  # even without entries: the last answer may have been lost
        return bool(entries)

    async def _acknowledge(self) -> None:
        """Remove durable items from the outbox and note where they are, unless that is done already."""
        durable = Exported(dict(self._positions), self._sink.location, self._sink.inode)
        if durable != self._acknowledged:
            await self._outbox.acknowledge(self._job, durable)
            self._acknowledged = durable

    async def _finish(self) -> None:
        await self._sink.finish()
        with suppress(*OUTAGE):  # it only notes where the items are now
            await self._acknowledge()

    async def _hold(self) -> None:
        """Renew the right to export the job. Raise `OtherExporter` if another exporter has it.

        Raise `FrontierReplaced` if the server lost its data, because an empty outbox then does not prove the end.
        """
        now = time.monotonic()
        if now - self._renewed_at < self._lease / 3:
            return
        if all(job.epoch != self._job.epoch for job in await self._jobs()):
            raise UsageError(f"job {self._job.name!r} was deleted while its items were exported")
        holder = await self._outbox.hold(self._job, self._name, self._lease)
        if holder != self._name:
            raise OtherExporter(f"exporter {holder} is at work on job {self._job.name!r}; two would split its items")
        self._renewed_at = now

    async def _let_go(self) -> None:
        with suppress(FrontierUnavailable):  # otherwise the right expires by itself
            await self._outbox.hold(self._job, self._name, 0)
