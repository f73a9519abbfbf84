"""What the commands do, built from the parts that `wiring.py` makes: seed, work, export, and all three as a crawl."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from msgspec import Struct

from crawler.errors import FrontierFull, FrontierUnavailable, UsageError
from crawler.exporter import Exporter
from crawler.incident import Incident
from crawler.model import Job, JobStats, Request, WorkerInfo
from crawler.slot import NoSlot
from crawler.supervisor import Supervisor, worker_name
from crawler.wiring import (
    Config,
    Connected,
    connect,
    data_dir,
    exporter,
    seeder,
    start_worker,
    supervisor,
)

log = structlog.get_logger()

LOOK = 0.5  # seconds between looks at the counters
REPORT = 10.0  # seconds between log lines
FORCED = {signal.SIGINT: 130, signal.SIGTERM: 143}


class SeedReport(Struct, frozen=True):
    """What became of the seeds. `refused` counts by reason."""

    job: str
    new: int
    known: int
    refused: Mapping[str, int]


class ExportReport(Struct, frozen=True):
    """What an export did. `left` is what still waits in the outbox (pages)."""

    job: str
    target: str
    items: int
    left: int


class Progress(Struct, frozen=True):
    """One look at a running crawl, for the live display and the 10-second log line."""

    stats: JobStats
    workers: tuple[WorkerInfo, ...]
    seconds: float  # since this command started
    pages_per_second: float  # over the last few seconds
    exported: int  # items in the sink so far, by this command


class CrawlReport(Struct, frozen=True):
    """How a crawl ended. `reason`: finished, already finished, interrupted, failed."""

    reason: str
    stats: JobStats
    seeds: SeedReport
    target: str
    items: int
    seconds: float
    code: int = 0  # exit code


# --- the single steps


async def seed(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    *,
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Stream URLs into the job, creating it when it is new.

    `refused(url, why)` is called for each that is not taken, `progress(new, known)` now and then.
    """
    async with connect(config) as connected:
        job = await connected.frontier.create_job(job)
        seeding = seeder(config, connected, job, refused)
        await seeding.run(urls, progress)
        return SeedReport(job.name, seeding.new, seeding.known, dict(seeding.refused))


async def work(
    config: Config,
    *,
    jobs: tuple[str, ...] = (),
    processes: int = 0,
    concurrency: int = 0,
    until_finished: bool = False,
) -> int:
    """Run a supervisor and its worker processes until stopped, or until the jobs (all, when none is named) are
    proven finished and their outboxes drained by an exporter that is at work. Returns the exit code."""
    _needs_server(config, "worker")
    async with connect(config) as connected:
        crew = supervisor(config, connected, jobs, concurrency)
        with _signals(crew):
            running = asyncio.create_task(crew.run(processes or config.settings.PROCESSES or os.cpu_count() or 1))
            watching = asyncio.create_task(_watch_jobs(connected, jobs, until_finished))
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                crew.stop()
            try:
                code = await running
            finally:
                watching.cancel()
            if watching.done() and not watching.cancelled():
                watching.result()
        return code


async def export(
    config: Config,
    job: str,
    target: str,
    *,
    overwrite: bool = False,
    follow: bool = False,
    until_finished: bool = False,
) -> ExportReport:
    """Outbox → sink: what is there now, or with `follow` until stopped, or until the job is proven finished.

    `target` is a path, or `-` for stdout.
    """
    _needs_server(config, "export")
    patient = follow or until_finished
    stop = asyncio.Event()
    async with connect(config) as connected:
        with _signals_set(stop):
            record = await _find_job(connected, job, stop if patient else None)
            if record is None:
                return ExportReport(job, target, 0, 0)
            out = exporter(config, connected, record, target, overwrite=overwrite, patient=patient)
            finished = _Finished(connected, record)
            watching = asyncio.create_task(finished.watch()) if until_finished else None
            try:
                await out.run(stop, until=finished.is_set if until_finished else None, follow=patient)
            finally:
                if watching is not None:
                    watching.cancel()
        left = (await connected.frontier.stats(record)).outbox
        return ExportReport(job, target, out.items, left)


# --- all of it


async def crawl(
    config: Config,
    job: Job,
    urls: Iterable[str | Request],
    target: str,
    *,
    overwrite: bool = False,
    fresh: bool = False,
    processes: int = 0,
    concurrency: int = 0,
    refused: Callable[[str, str], None],
    observe: Callable[[Progress], None],
) -> CrawlReport:
    """seed + workers + export + wait on this machine. `observe` is called about twice a second."""
    async with connect(config) as connected:
        if fresh:
            await connected.frontier.delete_job(job.name)
        job = await connected.frontier.create_job(job)
        run = _Crawl(config, connected, job, target, observe)
        return await run.run(urls, overwrite=overwrite, processes=processes, concurrency=concurrency, refused=refused)


class _Crawl:
    """One run of the `crawl` command."""

    def __init__(
        self, config: Config, connected: Connected, job: Job, target: str, observe: Callable[[Progress], None]
    ) -> None:
        self._config = config
        self._connected = connected
        self._job = job
        self._target = target
        self._observe = observe
        self._started = time.monotonic()
        self._stop = asyncio.Event()
        self._rate = _Rate()

    async def run(
        self,
        urls: Iterable[str | Request],
        *,
        overwrite: bool,
        processes: int,
        concurrency: int,
        refused: Callable[[str, str], None],
    ) -> CrawlReport:
        out = exporter(self._config, self._connected, self._job, self._target, overwrite=overwrite, patient=True)
        seeding = seeder(self._config, self._connected, self._job, refused)
        exporting = asyncio.create_task(out.run(self._stop, until=self._stop.is_set, follow=True), name="export")
        seeds = asyncio.create_task(seeding.run(urls), name="seed")
        # Most lists of seeds are short: then we know now whether there is anything to do.
        await asyncio.wait({seeds, exporting}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        crew = _crew(self._config, self._connected, self._job, concurrency)
        code = 0
        with _signals(crew):
            reason = "already finished" if await self._nothing_to_do(seeds, seeding.new) else ""
            if not reason:
                running = asyncio.create_task(
                    crew.run(processes or self._config.settings.PROCESSES or os.cpu_count() or 1), name="workers"
                )
                reason, code = await self._until_end(crew, running, seeds, exporting, out)
            self._stop.set()
            await exporting
        stats = await self._connected.frontier.stats(self._job)
        if not stats.known and seeding.refused:
            reason, code = "failed", 1
        report = SeedReport(self._job.name, seeding.new, seeding.known, dict(seeding.refused))
        seconds = time.monotonic() - self._started
        return CrawlReport(reason, stats, report, self._target, out.items, seconds, code)

    async def _nothing_to_do(self, seeds: asyncio.Task[None], new: int) -> bool:
        if not seeds.done():
            return False
        seeds.result()
        stats = await self._connected.frontier.stats(self._job)
        return stats.finished and not new

    async def _until_end(
        self,
        crew: Supervisor | InProcess,
        running: asyncio.Task[int],
        seeds: asyncio.Task[None],
        exporting: asyncio.Task[None],
        out: Exporter,
    ) -> tuple[str, int]:
        """Until the job is finished, somebody stops us, or a part dies. Returns (reason, exit code)."""
        away = Incident("queue_server_away")
        try:
            while not running.done():
                try:
                    stats = await self._look(out)
                    away.over()
                    if stats.finished and seeds.done() and not crew.stopping:
                        crew.stop()
                        await running
                        return "finished", 0
                except (FrontierUnavailable, FrontierFull) as error:
                    away.met(error)
                await asyncio.wait({running, exporting}, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                for part in (seeds, exporting):
                    if part.done():
                        part.result()  # a part that dies takes the crawl with it, and says why
            code = running.result()
            return ("interrupted", code or crew.code_of_signal) if code in (0, 130, 143) else ("failed", code)
        finally:
            seeds.cancel()
            if not running.done():
                crew.stop()
                crew.stop()
                await asyncio.wait({running})

    async def _look(self, out: Exporter) -> JobStats:
        stats = await self._connected.frontier.stats(self._job)
        workers = tuple(await self._connected.frontier.workers())
        rate = self._rate.of(stats.counters.get("pages", 0))
        self._observe(Progress(stats, workers, time.monotonic() - self._started, rate, out.items))
        return stats


class InProcess:
    """A worker in this very process, for a frontier that lives in it (`memory://`). Stands in for a supervisor."""

    def __init__(self, config: Config, connected: Connected, job: Job) -> None:
        self._config = config
        self._connected = connected
        self._job = job
        self._stop: Callable[[], None] | None = None
        self.stopping = False
        self.code_of_signal = 0

    async def run(self, processes: int) -> int:
        """Until `stop()`; `processes` does not matter."""
        running = await start_worker(
            self._config, self._connected, worker_name(), (self._job.name,), NoSlot(), handle_signals=False
        )
        self._stop = running.worker.stop
        if self.stopping:
            self._stop()
        await running.until_stopped()
        return self.code_of_signal if self.code_of_signal else 0

    def stop(self, code: int = 0) -> None:
        """Drain; again: now."""
        self.stopping = True
        self.code_of_signal = self.code_of_signal or code
        if self._stop is not None:
            self._stop()


def _crew(config: Config, connected: Connected, job: Job, concurrency: int) -> Supervisor | InProcess:
    if connected.address.startswith("memory:"):
        return InProcess(config, connected, job)
    return supervisor(config, connected, (job.name,), concurrency)


# --- watching


class _Rate:
    """Pages a second over the last few seconds."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, pages: int) -> float:
        now = time.monotonic()
        self._seen.append((now, pages))
        while now - self._seen[0][0] > self._seconds:
            self._seen.popleft()
        since, before = self._seen[0]
        return (pages - before) / (now - since) if now > since else 0.0


class _Finished:
    """Set once a job is proven finished. Waits out a queue server that is away."""

    def __init__(self, connected: Connected, job: Job) -> None:
        self._connected = connected
        self._job = job
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def watch(self) -> None:
        away = Incident("queue_server_away")
        while not self._event.is_set():
            try:
                if (await self._connected.frontier.stats(self._job)).finished:
                    self._event.set()
                away.over()
            except (FrontierUnavailable, FrontierFull) as error:
                away.met(error)
            await asyncio.sleep(LOOK)


async def _watch_jobs(connected: Connected, names: tuple[str, ...], until_finished: bool) -> None:
    """Log how the jobs stand every 10 s; with `until_finished` return when they have ended."""
    away = Incident("queue_server_away")
    reported = time.monotonic()
    waiting_for_export = False
    while True:
        await asyncio.sleep(LOOK)
        try:
            jobs = [job for job in await connected.frontier.jobs() if not names or job.name in names]
            stats = [await connected.frontier.stats(job) for job in jobs]
            exporters = [await connected.outbox.holder(job) for job in jobs]
            away.over()
        except (FrontierUnavailable, FrontierFull) as error:
            away.met(error)
            continue
        if time.monotonic() - reported >= REPORT:
            reported = time.monotonic()
            _report(stats)
        if not until_finished or not jobs or len(jobs) < len(names) or not all(one.finished for one in stats):
            continue
        undrained = [one for one, holder in zip(stats, exporters, strict=True) if one.outbox and holder]
        if not undrained:
            for one in stats:
                if one.outbox:
                    log.warning("items_wait", job=one.job, pages=one.outbox, why="no exporter is running")
            return
        if not waiting_for_export:
            waiting_for_export = True
            log.info("finished_waiting_for_exporter", jobs=[one.job for one in undrained])


def _report(stats: list[JobStats]) -> None:
    if not stats:
        log.info("waiting", why="no job has been seeded yet")
    for one in stats:
        if not one.finished:
            log.info(
                "progress",
                job=one.job,
                pages=one.counters.get("pages", 0),
                items=one.counters.get("items", 0),
                pending=one.pending,
                processing=one.processing,
                dead=one.dead,
                outbox=one.outbox,
            )


async def _find_job(connected: Connected, name: str, stop: asyncio.Event | None) -> Job | None:
    """The job of that name. With `stop`: wait for it to be seeded; None when stopped before."""
    said = False
    while True:
        try:
            jobs = {job.name: job for job in await connected.frontier.jobs()}
        except (FrontierUnavailable, FrontierFull):
            if stop is None:
                raise
            jobs = {}
        if name in jobs:
            return jobs[name]
        if stop is None:
            known = ", ".join(sorted(jobs)) or "none yet; `crawler seed URL` makes one"
            raise UsageError(f"no job {name!r}; jobs: {known}")
        if not said:
            log.info("waiting", why=f"job {name!r} has not been seeded yet")
            said = True
        try:
            await asyncio.wait_for(stop.wait(), 0.5)
        except TimeoutError:
            continue
        return None


def _needs_server(config: Config, command: str) -> None:
    if config.settings.REDIS_URL.startswith("memory:"):
        raise UsageError(
            f"REDIS_URL={config.settings.REDIS_URL} lives in one process, so `{command}` would find nothing in it; "
            "use `crawler crawl`, or a Redis or Valkey server"
        )


# --- signals


@contextmanager
def _signals(crew: Supervisor | InProcess) -> Iterator[None]:
    """First SIGINT or SIGTERM: drain. Second: hand back at once, and end with 130 or 143."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        again = crew.stopping
        crew.stop(FORCED[number] if again else 0)
        if not again:
            crew.code_of_signal = FORCED[number]
            log.info("stopping", why=number.name, again="once more: stop now")

    for number in FORCED:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in FORCED:
            loop.remove_signal_handler(number)


@contextmanager
def _signals_set(event: asyncio.Event) -> Iterator[None]:
    """SIGINT and SIGTERM set the event."""
    loop = asyncio.get_running_loop()
    for number in FORCED:
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in FORCED:
            loop.remove_signal_handler(number)


__all__ = [
    "Config",
    "Connected",
    "CrawlReport",
    "ExportReport",
    "Progress",
    "SeedReport",
    "connect",
    "crawl",
    "data_dir",
    "export",
    "seed",
    "work",
]
