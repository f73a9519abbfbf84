"""The composition root: settings → concrete parts, opened and closed in order. Only this file names concrete classes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from crawler.interfaces import Frontier, Outbox
from crawler.model import Job, JobStats, WorkerInfo
from crawler.settings import Settings


class Config(Struct, frozen=True):
    """What a command runs with: the settings in force, where each came from, and the folder it runs in."""

    settings: Settings
    origins: Mapping[str, str]
    folder: Path


class Connected(Struct, frozen=True):
    """An open frontier and outbox (on Redis and in memory they are two views of one thing)."""

    frontier: Frontier
    outbox: Outbox
    url: str  # shown to people: without password


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


@asynccontextmanager
async def connect(config: Config) -> AsyncIterator[Connected]:
    """The frontier and outbox of `REDIS_URL`; the embedded server when none is set."""
    raise NotImplementedError
    yield


async def seed(
    config: Config,
    job: Job,
    urls: Iterable[str],
    *,
    refused: Callable[[str, str], None],
    progress: Callable[[int, int], None] | None = None,
) -> SeedReport:
    """Stream URLs (one a line, blank and `#` lines skipped) into the job, creating it when it is new.

    `refused(url, why)` is called for each that is not taken, `progress(new, known)` now and then.
    """
    raise NotImplementedError


async def work(
    config: Config,
    *,
    jobs: tuple[str, ...] = (),
    processes: int = 0,
    concurrency: int = 0,
    until_finished: bool = False,
) -> int:
    """Run a supervisor and its worker processes until stopped, or until the jobs (all, when none is named) are
    proven finished and their outboxes drained. Returns the exit code."""
    raise NotImplementedError


async def export(
    config: Config,
    job: str,
    target: str,
    *,
    overwrite: bool = False,
    follow: bool = False,
    until_finished: bool = False,
) -> ExportReport:
    """Outbox → sink. `target` is a path, or `-` for stdout."""
    raise NotImplementedError


async def crawl(
    config: Config,
    job: Job,
    urls: Iterable[str],
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
    raise NotImplementedError
