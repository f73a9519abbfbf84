"""Builds and starts all parts of a worker process."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from crawler.app.archiving import archiving
from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.fetching import caching, http_fetcher
from crawler.app.item_files import files_of
from crawler.app.limits import end_reasons
from crawler.app.spiders import spiders_of
from crawler.control.routes import Assignment, assignment
from crawler.errors import ConfigError, CrawlerError
from crawler.fetch.middleware import Middlewares
from crawler.frontier import message
from crawler.interfaces import Backend, Pace
from crawler.model import DEFAULT_SPIDER, Job, Request
from crawler.program import VERSION, extra
from crawler.robots.gate import RobotsGate
from crawler.runtime import components
from crawler.runtime.logs import set_level
from crawler.runtime.own_limits import sockets_left
from crawler.settings import Settings, shown_settings
from crawler.spiders import pipelines
from crawler.spiders.hooks import EXTENSIONS
from crawler.visit.admission import Admission
from crawler.visit.host_groups import GroupOf, HostGroups, alone, by_address, by_domain
from crawler.visit.ready_spiders import ReadySpiders
from crawler.visit.seeded_hosts import SeededHosts
from crawler.visit.visit import Visitor
from crawler.worker.access_log import AccessLog
from crawler.worker.blame_slot import Making, NoSlot, Slot
from crawler.worker.heartbeat import Heartbeat
from crawler.worker.instructions import Instructions, listening
from crawler.worker.job_list import JobList
from crawler.worker.lease import LeaseClock, LeasedFetcher
from crawler.worker.listener import Listener
from crawler.worker.process_stats import Tally
from crawler.worker.reaper import Reaper
from crawler.worker.running import RunningWorker
from crawler.worker.worker import Worker, WorkerOptions

log = structlog.get_logger()


async def run_child(instructions: Instructions, pipe: int) -> None:
    """Work by the supervisor's instructions until it sends "stop" through the pipe."""
    config = Config(instructions.settings, dict.fromkeys(instructions.explicit, "-s"), Path(instructions.folder))
    async with connect(config, warn=False) as connected:
        slot = Slot(instructions.slot)
        slot.write_stacks()
        assigned = assignment(instructions.settings.ROUTES, instructions.jobs, instructions.queues)
        running = await start_worker(config, connected, instructions.worker, assigned, slot, dict(instructions.deadly))
        with listening(pipe, running.worker.stop):
            await running.until_stopped()


async def start_worker(
    config: Config,
    connected: Backend,
    name: str,
    assigned: Assignment,
    slot: Slot | NoSlot,
    deadly: Mapping[Making, str] = {},
) -> RunningWorker:
    """Build a worker with all its parts, and start it. It makes no `deadly` spider; the values say why. The log level
    and the memory of a program that crawls in its own process are its own."""
    settings, links, leases = config.settings, connected.links, connected.leases
    jobs, reading = connected.jobs, connected.reading
    stack = AsyncExitStack()
    archive = await archiving(config, name, stack)
    access = AccessLog(settings.ACCESS_LOG, name)
    stack.callback(access.close)
    lease = LeaseClock(settings.LEASE_SECONDS, slot.lease)
    concurrency, connections = _at_once(settings.CONCURRENT_REQUESTS)
    is_guest = config.registry is not None
    registry = spiders_of(config)  # makes the modules of the folder importable
    http = http_fetcher(settings, connections)
    stack.push_async_callback(http.close)
    inside = caching(config, LeasedFetcher(http, lease), http.sent)
    middlewares = Middlewares(settings.DOWNLOADER_MIDDLEWARES, inside, settings.CALLBACK_TIMEOUT)
    fetcher = middlewares.fetcher
    job_list = JobList(jobs.all, assigned)
    gate = RobotsGate(
        connected.asking,
        fetcher,
        worker=name,
        user_agent=settings.USER_AGENT,
        cache_seconds=settings.ROBOTSTXT_CACHE_SECONDS,
        max_delay=settings.ROBOTSTXT_MAX_DELAY,
        hop_delay=settings.DOWNLOAD_DELAY,
    )
    ready_spiders = ReadySpiders(
        registry,
        settings,
        config.explicit,
        gate,
        job_list.job,
        slot,
        deadly,
        middlewares.fetcher_for,
        partial(files_of, config),
    )

    async def close_spiders() -> None:
        await ready_spiders.close(await end_reasons(jobs, reading, ready_spiders.epochs, ready_spiders.learn))

    stack.push_async_callback(close_spiders)
    try:
        await _open_hooks(settings, ready_spiders, await job_list(), assigned)
    except BaseException:
        await stack.aclose()
        raise

    def maybe_new(job: str, requests: Sequence[Request]) -> Sequence[Request]:
        return links.maybe_new(job_list.job(job), requests)

    def maybe_new_urls(job: str, urls: Sequence[str]) -> Sequence[str]:
        return links.maybe_new_urls(job_list.job(job), urls)

    seeded = SeededHosts(links.in_scope, job_list.job)
    admission = Admission(seeded, message.check, maybe_new)
    groups = HostGroups(connected.ledger, _group_of(settings, http.addresses), name, pace(settings))
    visitor = Visitor(
        fetcher, ready_spiders, admission, slot, maybe_new_urls, groups.too_early, settings.CALLBACK_TIMEOUT, archive
    )
    tally = Tally(VERSION, assigned)
    recycle_pages = settings.RECYCLE_PAGES if isinstance(slot, Slot) else 0  # nobody else starts another process
    options = WorkerOptions(name, pace(settings), concurrency, settings.GRACE_SECONDS, recycle_pages)
    worker = Worker(connected.queue, visitor.visit, job_list, options, tally, lease, access.note, archive)
    heartbeat = Heartbeat(leases.beat, name, settings.LEASE_SECONDS / 5, tally.info, lease.renewed)
    reaper = Reaper(leases.reap, settings.LEASE_SECONDS, connected.store.uptime)
    told: dict[str, Callable[[], object]] = {"active": worker.active, "conf": partial(shown_settings, settings)}
    listener = Listener(
        connected.broadcasts, name, told, lambda level: None if is_guest else set_level(level or settings.LOG_LEVEL)
    )
    if not is_guest:
        gc.freeze()  # as after `lasting_imports`: the HTTP client and spiders stay too; scanning them would stall us
    return RunningWorker(worker, heartbeat, reaper, listener, partial(leases.reap, name), stack)


async def _open_hooks(settings: Settings, ready_for: ReadySpiders, jobs: Sequence[Job], assigned: Assignment) -> None:
    """Load the pipelines and extensions of all spiders, and open those of the jobs that this worker is for.
    Raise `ConfigError` before the first page."""
    for path in settings.ITEM_PIPELINES:
        pipelines.check(path)
    for path in components.wanted(EXTENSIONS, settings.EXTENSIONS):
        components.load(EXTENSIONS, path)
    for job in jobs:
        if job.name in assigned.jobs:
            try:
                ready = ready_for(job.name, job.spider or DEFAULT_SPIDER)
            except CrawlerError:
                continue  # it leaves the job to others, and says why at the first page
            await ready.open()


def _at_once(wanted: int) -> tuple[int, int]:
    """Return how many requests at once this process has file descriptors for, and how many connections it may keep.

    A request may need two: its host has two addresses, or the connection that it replaces is not closed yet.
    """
    sockets = sockets_left()
    concurrency = min(wanted, sockets // 2)
    if concurrency < wanted:
        log.warning(
            "fewer_requests_at_once",
            wanted=wanted,
            allowed=concurrency,
            why=f"this process has file descriptors for {sockets} sockets: raise ulimit -n, or systemd's LimitNOFILE=",
        )
    return concurrency, sockets - concurrency


def _group_of(settings: Settings, addresses_of: Callable[[str], Awaitable[Sequence[str]]]) -> GroupOf:
    """Return the function that groups hosts which share turns. Raise `ConfigError` if its package is missing."""
    if settings.PACE_PER == "address":
        return by_address(addresses_of)
    return alone if settings.PACE_PER == "host" else by_domain(public_suffixes().privatesuffix)


def public_suffixes() -> Any:
    """Return the list that PACE_PER=domain needs. Raise `ConfigError` if its package is missing."""
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        raise ConfigError(f"PACE_PER=domain needs the extra `domain`: {extra('domain')}") from None
    return PublicSuffixList()


def pace(settings: Settings) -> Pace:
    """Return the pace for hosts that have asked for no other."""
    return Pace(
        delay=settings.DOWNLOAD_DELAY,
        jitter=settings.DOWNLOAD_DELAY_JITTER,
        concurrency=settings.CONCURRENT_REQUESTS_PER_DOMAIN,
        backoff=settings.BACKOFF_SECONDS,
        patience=settings.HOST_PATIENCE,
        target=settings.AUTOTHROTTLE_TARGET_CONCURRENCY if settings.AUTOTHROTTLE_ENABLED else 0.0,
        longest=settings.AUTOTHROTTLE_MAX_DELAY,
    )
