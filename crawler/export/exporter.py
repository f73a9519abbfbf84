"""Side task: moves items from the outbox to one or several sinks, each at its own pace.

Items leave the outbox only once they are durable in all sinks. A sink that is away, or slow, holds up no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import structlog

from crawler.errors import OutputError
from crawler.export.draining import Draining
from crawler.export.records import OtherExporter, Records
from crawler.interfaces import Outbox, Sink
from crawler.model import Job
from crawler.runtime.patience import OUTAGE, Patience, Stop
from crawler.runtime.safe_text import shown

log = structlog.get_logger()


class Exporter:
    """Moves one job's items into its sinks. `name` identifies it among exporters."""

    def __init__(
        self,
        jobs: Callable[[], Awaitable[list[Job]]],
        outbox: Outbox,
        sinks: Sequence[Sink],
        job: Job,
        *,
        name: str,
        batch: int,
        lease_seconds: float,
        patient: bool,
        leaving: bool = False,
    ) -> None:
        """`jobs()` returns all jobs. After `lease_seconds` without a renewal, another exporter may take over.

        `patient`: wait out a full disk, a sink that is away or another exporter instead of raising `OutputError`.
        `leaving`: leave sinks of earlier exporters behind that still lack pages and are none of these.
        """
        self._job = job
        self._patient = patient
        self._leaving = leaving
        self._records = Records(jobs, outbox, job, name, lease_seconds)
        self._patience = Patience("export_waits")
        self.sinks = [Draining(sink, self._records, batch=batch, patient=patient) for sink in sinks]
        self.begun = asyncio.Event()  # set once this is the job's exporter and its sinks are open

    @property
    def items(self) -> int:
        """Written by this exporter, into the sink that got most."""
        return max(one.items for one in self.sinks)

    async def run(self, stop: Stop, *, until: Callable[[], bool] | None = None, follow: bool = False) -> None:
        """Drain the outbox and end; with `follow`, wait for more items until `stop` is set or `until()` is true.

        If `until` is given and never becomes true, the export counts as interrupted and does not finish the sinks.
        Waits out obstacles until `stop` is set, then raises them; items that are left wait in the outbox. When one of
        several sinks has failed for good, the others go on to the end; then its error is raised.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._records.let_go)
            for one in self.sinks:
                stack.push_async_callback(one.close)
            if await self._begin(stop):
                await self._drain(stop, until, follow=follow)

    async def _begin(self, stop: Stop) -> bool:
        """Become the job's exporter and open the sinks. Return False if stopped first."""
        also = (OtherExporter,) if self._patient else ()
        try:
            await self._patience.until_done(self._open, stop, also=also)
        except (*OUTAGE, *also):
            return False
        self.begun.set()
        return True

    async def _open(self) -> None:
        await self._records.begin([one.name for one in self.sinks])
        results = await asyncio.gather(*(one.open() for one in self.sinks), return_exceptions=True)
        for one, error in zip(self.sinks, results, strict=True):
            if error and not self._may_wait(one, error):
                raise error
        await self._leave_others()
        for one in self.sinks:
            await one.acknowledge()

    def _may_wait(self, one: Draining, error: BaseException) -> bool:
        """Whether others can begin without this sink: it has worked before, so its name and its parameters are
        right."""
        has_worked = bool(self._records.earlier.get(one.name))
        return has_worked and isinstance(error, OutputError) and any(other.is_open for other in self.sinks)

    async def _leave_others(self) -> None:
        """Leave sinks of earlier exporters behind. Raise `OutputError` if one lacks pages that wait, and that was not
        asked for."""
        for name, pages in (await self._records.others()).items():
            if not pages:
                then = "it gets no later pages; to continue it, end this command and name it as well, with another -o"
                log.warning("output_not_named", output=shown(name), why="it has all pages so far", then=then)
                continue
            lacks = f"{shown(name)} still lacks {pages:,} pages that wait in the outbox of job {self._job.name}"
            if not self._leaving:
                raise OutputError(
                    f"{lacks}: name it as well, with another -o, or leave it behind with -o FILE --append"
                )
            await self._records.leave_behind(name, pages)
            log.warning("output_left_behind", output=shown(name), pages=pages, why="it is no longer named")

    async def _drain(self, stop: Stop, until: Callable[[], bool] | None, *, follow: bool) -> None:
        running = [self._run(one, stop, until, follow=follow) for one in self.sinks]
        for error in await asyncio.gather(*running, return_exceptions=True):
            if error:
                raise error

    async def _run(self, one: Draining, stop: Stop, until: Callable[[], bool] | None, *, follow: bool) -> None:
        try:
            await one.run(stop, until, follow=follow)
        except Exception as error:
            if len(self.sinks) > 1:
                then = "its items stay in the outbox; the other outputs go on"
                log.error("output_failed", output=shown(one.location), why=str(error), then=then)
            raise
