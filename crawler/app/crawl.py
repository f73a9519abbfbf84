"""The `crawl` command: seed + workers + export + wait, on this machine."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext, suppress

from crawler.app.config import Config
from crawler.app.connect import connect, order_of
from crawler.app.coverage import broken
from crawler.app.events import announced
from crawler.app.in_process import InProcess, Inside
from crawler.app.item_files import files_of
from crawler.app.jobs import create_job, delete_job, exists
from crawler.app.limits import set_limits
from crawler.app.results import largest_groups
from crawler.app.seed import close_if_asked
from crawler.app.sinks import check_targets
from crawler.app.tickets import told
from crawler.app.watching import LACKING_SECONDS, PAUSED_SECONDS, POLL_SECONDS, Lacking, Watch, end_expected_in
from crawler.app.wiring import exporter, outputs, seeder, supervisor
from crawler.control.pauses import Pauses
from crawler.errors import Exit, FrontierError, OutputError, UsageError
from crawler.export.exporter import Exporter
from crawler.export.sinks.stream import STDOUT
from crawler.export.target import Target
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.frontier.redis.keys import check_job_name
from crawler.interfaces import Backend
from crawler.model import Job, Limits, Request
from crawler.runtime.signals import CODES, draining
from crawler.runtime.tasks import end, was_cancelled
from crawler.seeding.admission import Admission, NotAdmitted
from crawler.seeding.seeder import Seeder
from crawler.status import JobStats, WorkerInfo
from crawler.views.figures import several
from crawler.views.history import History
from crawler.views.losses import exit_code
from crawler.views.reports import CrawlReport, Progress, SeedReport
from crawler.worker.supervisor import Supervisor

_CAUSES_NAMED = 3  # in the summary


async def crawl(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    targets: Sequence[Target],
    *,
    limits: Limits = Limits(),  # noqa: B008 - a constant
    fresh: bool = False,
    repeatable: bool = False,
    force: bool = False,
    processes: int = 0,
    concurrency: int = 0,
    refused: Callable[[str, str], None],
    observe: Callable[[Progress], None],
    inside: Inside | None = None,
) -> CrawlReport:
    """Seed, run workers, export and wait, on this machine. Calls `observe` about twice a second. `limits` replace those
    that the job has; none lift them.

    `fresh` deletes the job first, `force` even with items that no export has written; nothing if all URLs are refused
    and they are `repeatable`, that is, may be read twice. `inside`: the program, other than our own command, in whose
    process it all runs.
    """
    check_job_name(job.name)
    files_of(config, config.settings)  # raises before anything is seeded
    async with connect(config, alone=True) as connected:
        if fresh or not await exists(connected.jobs, job.name):
            check_targets(config, targets[1:] if inside and inside.sink else targets)
        if fresh:
            if repeatable:
                guard = AddressGuard(config.settings.ALLOWED_NETWORKS)
                _check_some(urls, Admission(guard, message.check, job.spider), refused)
            await delete_job(connected.jobs, connected.reading, job.name, force=force)
        job = await create_job(connected.jobs, job, order_of(config))
        run = _Crawl(config, connected, job, targets, observe, inside)
        try:
            return await run.run(urls, limits, processes=processes, concurrency=concurrency, refused=refused)
        finally:
            if inside and inside.is_brief:
                with suppress(FrontierError):  # the crawl's own end is what counts
                    await connected.jobs.delete(job.name)


def _check_some(urls: Iterable[str | Request], admission: Admission, refused: Callable[[str, str], None]) -> None:
    """Raise `UsageError` if every seed is refused."""
    errors = []
    for seed in urls:
        try:
            admission.admit(seed)
            return
        except NotAdmitted as error:
            errors.append(error)
    for one in errors:
        refused(one.url, one.why)
    raise UsageError(f"{several(len(errors), 'seed')}, all refused: nothing was deleted")


class _Crawl:
    """One run of the `crawl` command."""

    def __init__(
        self,
        config: Config,
        connected: Backend,
        job: Job,
        targets: Sequence[Target],
        observe: Callable[[Progress], None],
        inside: Inside | None = None,
    ) -> None:
        self._config = config
        self._connected = connected
        self._job = job
        self._targets = targets
        self._observe = observe
        self._inside = inside
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._is_finished = False
        self._history = History()
        self._end_in = math.inf  # seconds, see `end_expected_in`

    async def run(
        self,
        urls: Iterable[str | Request],
        limits: Limits,
        *,
        processes: int,
        concurrency: int,
        refused: Callable[[str, str], None],
    ) -> CrawlReport:
        to = self._inside.sink if self._inside else None
        out = exporter(self._config, self._connected, self._job, self._targets, patient=True, to=to)
        config, connected, job = self._config, self._connected, self._job
        async with announced(config, connected.reading, job, out.begun), told(config, connected, job, out.begun):
            return await self._run(out, urls, limits, processes, concurrency, refused)

    async def _run(
        self,
        out: Exporter,
        urls: Iterable[str | Request],
        limits: Limits,
        processes: int,
        concurrency: int,
        refused: Callable[[str, str], None],
    ) -> CrawlReport:
        seeding = seeder(self._config, self._connected.adding, self._job, refused)
        exporting = asyncio.create_task(
            out.run(self._stop, until=lambda: self._is_finished, follow=True), name="export"
        )
        tasks = [exporting]
        try:
            await self._opened(out, exporting)
            # this may open a closed job
            await set_limits(self._connected.reading, self._connected.closing, self._job, limits)
            seeds = asyncio.create_task(self._seed(seeding, urls), name="seed")
            tasks.append(seeds)
            await self._seeded(exporting, seeding, seeds)
            crew = self._crew(concurrency)
            number = processes or self._config.settings.PROCESSES or os.cpu_count() or 1
            return await self._work(crew, number, out, exporting, seeding, seeds)
        finally:
            await end(*tasks)

    def _crew(self, concurrency: int) -> Supervisor | InProcess:
        if self._inside or not self._connected.capabilities.shared:
            self._config.preforked.keep(0)
            return InProcess(self._config, self._connected, self._job)
        return supervisor(self._config, self._connected, (self._job.name,), concurrency)

    async def _seed(self, seeding: Seeder, urls: Iterable[str | Request]) -> None:
        await seeding.run(urls)
        await close_if_asked(self._connected.closing, self._job, urls)

    async def _opened(self, out: Exporter, exporting: asyncio.Task[None]) -> None:
        """Wait until the sink is open. Raise its error before anything is seeded."""
        begun = asyncio.create_task(out.begun.wait())
        await asyncio.wait({begun, exporting}, timeout=2.0, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if exporting.done():
            exporting.result()

    async def _seeded(self, exporting: asyncio.Task[None], seeding: Seeder, seeds: asyncio.Task[None]) -> None:
        """Wait until, in most crawls, the seeds are added. Raise `CancelledError`."""
        # Most seed lists are short; after this wait we know whether there is anything to do.
        added = asyncio.create_task(seeding.added.wait())
        await asyncio.wait({added, seeds, exporting}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        added.cancel()
        if was_cancelled():  # a Ctrl-C that another await swallowed, see `end`
            raise asyncio.CancelledError

    async def _work(
        self,
        crew: Supervisor | InProcess,
        processes: int,
        out: Exporter,
        exporting: asyncio.Task[None],
        seeding: Seeder,
        seeds: asyncio.Task[None],
    ) -> CrawlReport:
        code = 0
        with draining(crew) if self._inside is None or self._inside.heeds_signals else nullcontext():
            reason = "already finished" if await self._nothing_to_do(seeding, seeds) else ""
            if not reason:
                running = asyncio.create_task(crew.run(processes), name="workers")
                reason, code = await self._until_end(crew, running, seeds, exporting, out)
            self._is_finished = reason in ("finished", "closed", "already finished")
            if self._is_finished and not await self._is_exporting(out, exporting, crew):
                self._is_finished, reason, code = False, "interrupted", crew.code_of_signal
            self._stop.set()
            await exporting
        stats = await self._connected.reading.stats(self._job)
        wrong: tuple[str, ...] = ()
        is_repeated = reason == "already finished" and not out.items and not any(one.append for one in self._targets)
        if is_repeated and any(one.location == STDOUT for one in out.sinks) and stats.counters.get("items"):
            raise OutputError(f"an earlier run printed the items of job {self._job.name}; crawl anew with --fresh")
        if not stats.known and not code and (seeding.refused or self._is_finished):
            reason, code = "no seeds", Exit.USAGE
            await self._connected.jobs.delete(self._job.name)
        else:
            strict = self._config.settings.STRICT
            wrong = await broken(self._config.settings, self._connected.reading, self._job, stats)
            is_lost = strict and (seeding.refused or wrong)
            code = code or exit_code(stats, strict=strict) or (Exit.LOST if is_lost else Exit.DONE)
        report = SeedReport(self._job.name, seeding.new, seeding.known, dict(seeding.refused))
        seconds = time.monotonic() - self._started
        causes = await largest_groups(self._connected.letters, self._job, _CAUSES_NAMED) if stats.dead else ()
        written, kept = outputs(self._targets, out), self._connected.capabilities.durable
        coverage = tuple(await self._connected.reading.coverage(self._job))
        return CrawlReport(reason, stats, report, written, seconds, code, causes, kept, coverage, wrong)

    async def _is_exporting(self, out: Exporter, exporting: asyncio.Task[None], crew: Supervisor | InProcess) -> bool:
        """Wait while another exporter has the right to the items: it writes them all, or it is dead and its right ends
        after a lease. Return False if a signal ended the wait."""
        while not (out.begun.is_set() or exporting.done()):
            if crew.code_of_signal:
                return False
            if not (await self._connected.reading.stats(self._job)).outbox:
                break
            await asyncio.wait({exporting}, timeout=POLL_SECONDS)
        return True

    async def _nothing_to_do(self, seeding: Seeder, seeds: asyncio.Task[None]) -> bool:
        if seeds.done():
            seeds.result()
        if not seeding.added.is_set() or seeding.new:
            return False
        await seeds
        stats = await self._connected.reading.stats(self._job)
        return stats.finished and not stats.outbox

    async def _until_end(
        self,
        crew: Supervisor | InProcess,
        running: asyncio.Task[int],
        seeds: asyncio.Task[None],
        exporting: asyncio.Task[None],
        out: Exporter,
    ) -> tuple[str, int]:
        """Wait until the job is finished, a signal arrives, or a part fails. Return (reason, exit code)."""
        watching = asyncio.create_task(self._watch(out, seeds), name="watch")
        parts: set[asyncio.Task[None]] = {seeds, exporting}
        try:
            while not (running.done() or watching.done()):
                await asyncio.wait({running, watching, *parts}, return_when=asyncio.FIRST_COMPLETED)
                for part in [part for part in parts if part.done()]:
                    part.result()  # a part that fails ends the crawl with its error
                    parts.remove(part)
            end_of_job = watching.result() if watching.done() else None
            if end_of_job and not crew.stopping:
                crew.stop()
                await running
                return end_of_job
            code = await running
            return (
                ("interrupted", code or crew.code_of_signal)
                if code in (Exit.DONE, *CODES.values())
                else ("failed", code)
            )
        finally:
            seeds.cancel()
            if not running.done():
                crew.stop()
                crew.stop()
                await asyncio.wait({running})
            await end(watching)

    async def _watch(self, out: Exporter, seeds: asyncio.Task[None]) -> tuple[str, int]:
        """Wait until the job is finished, or only requests are left that are paused or that no worker can read.

        Return (reason, exit code)."""
        watch, lacking = Watch(lambda: self._look(out)), Lacking()
        pauses = Pauses(resumable=self._connected.capabilities.shared)
        while True:
            stats, workers = await watch.next(expected=self._end_in)
            paused = pauses.seen(stats) > PAUSED_SECONDS
            lacks = lacking.seen(stats, workers) > LACKING_SECONDS
            if seeds.done() and (stats.finished or paused or lacks):
                reason = "closed" if stats.finished and stats.closed else "finished"
                reason = reason if stats.finished else "paused" if paused else "lacking"
                return reason, Exit.DONE if stats.finished else Exit.TRY_LATER

    async def _look(self, out: Exporter) -> tuple[JobStats, tuple[WorkerInfo, ...]]:
        stats = await self._connected.reading.stats(self._job)
        workers = tuple(await self._connected.reading.workers())
        now = time.monotonic()
        momentum = self._history.add(now, stats)
        self._end_in = end_expected_in(stats, momentum)
        self._observe(Progress(stats, workers, now - self._started, momentum, out.items))
        return stats, workers
