"""The composition root: settings → concrete parts, opened and closed in order. Only this names concrete classes."""

from __future__ import annotations

import asyncio
import gc
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from msgspec import Struct

from crawler import embedded
from crawler.child import Orders, listening
from crawler.contact import ContactCheck, Watched
from crawler.credentials import authorizations
from crawler.ending import end
from crawler.errors import ConfigError, FrontierError, UsageError
from crawler.exporter import Exporter
from crawler.fetch.guard import AddressGuard
from crawler.frontier import message
from crawler.frontier.redis import RedisFrontier
from crawler.frontier.server import mask
from crawler.gate import RobotsGate
from crawler.heartbeat import Heartbeat
from crawler.interfaces import Control, Frontier, Outbox, Pace, Sink
from crawler.joblist import JobList
from crawler.lease import LeaseClock, LeasedFetcher
from crawler.listener import Listener
from crawler.logs import set_level
from crawler.model import Job, Request
from crawler.own_limits import sockets_left
from crawler.parsing.html import ParseLimits
from crawler.places import GroupOf, Places, alone, by_address, by_domain
from crawler.reaper import Reaper
from crawler.registry import find_spiders
from crawler.seeded import SeededHosts
from crawler.seeder import Seeder
from crawler.settings import VERSION, Settings, shown_settings
from crawler.sinks.jsonl import JsonlSink, StdoutSink
from crawler.slot import NoSlot, Slot
from crawler.supervisor import Supervisor, worker_name
from crawler.tally import Tally
from crawler.units import Units
from crawler.visit import Visitor
from crawler.worker import Worker, WorkerOptions

log = structlog.get_logger()


class Config(Struct, frozen=True):
    """What a command runs with: the settings in force, where each came from, and the folder it runs in."""

    settings: Settings
    origins: Mapping[str, str]
    folder: Path

    @property
    def explicit(self) -> tuple[str, ...]:
        """Settings given by environment or command line: a spider's own do not override them."""
        return tuple(name for name, origin in self.origins.items() if origin in ("environment", "-s"))


class Connected(Struct, frozen=True):
    """An open frontier, its outbox, and what people order and ask."""

    frontier: Frontier
    outbox: Outbox
    control: Control
    url: str  # shown to people: without password
    address: str  # for workers: with it
    uptime: Callable[[], Awaitable[float]]  # seconds the server has been running


# --- the queue


@asynccontextmanager
async def connect(config: Config, *, warn: bool = True) -> AsyncIterator[Connected]:
    """The frontier and outbox of `REDIS_URL`; the embedded server when none is set. `warn`: of a careless server."""
    settings = config.settings
    async with AsyncExitStack() as stack:
        url = settings.REDIS_URL
        if not url:
            url = await asyncio.to_thread(_attach_embedded, config, stack)
        connected = _memory(url, settings) if url.startswith("memory:") else _redis(url, settings)
        stack.push_async_callback(connected.frontier.close)
        await connected.frontier.open()
        if warn:
            await _warn(connected, config)
        yield connected


def _attach_embedded(config: Config, stack: AsyncExitStack) -> str:
    settings = config.settings
    binary = embedded.find_binary(settings.EMBEDDED_BINARY)
    server = embedded.attach(data_dir(config), binary=binary, fsync=settings.EMBEDDED_FSYNC)
    stack.callback(server.detach)
    return server.url


def data_dir(config: Config) -> Path:
    """Where the embedded server of this folder keeps its data."""
    chosen = config.settings.DATA_DIR
    return Path(chosen).expanduser() if chosen else embedded.data_dir_for(config.folder)


def _redis(url: str, settings: Settings) -> Connected:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"REDIS_URL {mask(url)}: expected redis://, rediss://, unix:// or memory://, "
            "for example redis://127.0.0.1:6379/0"
        )
    frontier = RedisFrontier(
        url,
        prefix=settings.KEY_PREFIX,
        shards=settings.SHARDS,
        lease_seconds=settings.LEASE_SECONDS,
        attempts=settings.RETRY_TIMES + 1,
        max_crashes=settings.MAX_CRASHES,
        outbox_limit=settings.OUTBOX_LIMIT,
        exploding_share=settings.EXPLODING_SHARE,
        exploding_min=settings.EXPLODING_MIN,
        timeout=settings.REDIS_TIMEOUT,
    )
    return Connected(frontier, frontier.outbox, frontier.control, mask(url), url, frontier.server.uptime)


def _memory(url: str, settings: Settings) -> Connected:
    from crawler.frontier.memory import MemoryFrontier  # few crawls need it, and all processes start

    maxsize = parse_qs(urlsplit(url).query).get("maxsize", ["0"])[0]
    if not maxsize.isdigit():
        raise ConfigError(f"REDIS_URL {url}: maxsize must be a number, for example memory://?maxsize=10000")
    frontier = MemoryFrontier(
        lease_seconds=settings.LEASE_SECONDS,
        attempts=settings.RETRY_TIMES + 1,
        max_crashes=settings.MAX_CRASHES,
        outbox_limit=settings.OUTBOX_LIMIT,
        exploding_share=settings.EXPLODING_SHARE,
        exploding_min=settings.EXPLODING_MIN,
        maxsize=int(maxsize),
    )

    async def uptime() -> float:
        return math.inf

    return Connected(frontier, frontier, frontier.control, url, url, uptime)


async def _warn(connected: Connected, config: Config) -> None:
    """Once, at start: what a careful person would want to know."""
    url = config.settings.REDIS_URL
    frontier = connected.frontier
    if not url or not isinstance(frontier, RedisFrontier):
        return
    if not await frontier.server.keeps_data():
        log.warning("no_append_only_file", server=connected.url, why="a restart of the server loses the crawl")
    parts = urlsplit(url)
    is_near = parts.scheme == "unix" or parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not is_near and (parts.scheme != "rediss" or not parts.password):
        log.warning("queue_server_open", server=connected.url, why="use rediss:// and a password across a network")


# --- parts


def supervisor(config: Config, connected: Connected, jobs: tuple[str, ...], concurrency: int) -> Supervisor:
    """A supervisor whose children work for these jobs (none: all)."""
    settings = config.settings
    changes: dict[str, object] = {"REDIS_URL": connected.address}
    if concurrency:
        changes["CONCURRENT_REQUESTS"] = concurrency
    settings = msgspec.structs.replace(settings, **changes)

    def orders(name: str, slot: int) -> bytes:
        return msgspec.json.encode(Orders(name, slot, os.getpid(), settings, config.explicit, str(config.folder), jobs))

    return Supervisor(
        connected.frontier,
        orders,
        callback_seconds=settings.CALLBACK_TIMEOUT,
        grace_seconds=settings.GRACE_SECONDS,
        lease_seconds=settings.LEASE_SECONDS,
    )


def sink(target: str, job: Job, *, overwrite: bool) -> Sink:
    """The sink of a target: a path, or `-`. Raises `UsageError` for a format that does not exist."""
    if target == "-":
        return StdoutSink(job.epoch)
    path = Path(target)
    if path.suffix in (".csv", ".xml", ".parquet", ".json"):
        raise UsageError(f"{target}: items are written as JSON lines; name the file {path.with_suffix('.jsonl')}")
    return JsonlSink(path, job.epoch, overwrite=overwrite)


def exporter(
    config: Config, connected: Connected, job: Job, target: str, *, overwrite: bool, patient: bool
) -> Exporter:
    """An exporter of one job to one target."""
    return Exporter(
        connected.frontier,
        connected.outbox,
        sink(target, job, overwrite=overwrite),
        job,
        name=worker_name(),
        batch=config.settings.EXPORT_BATCH,
        lease_seconds=config.settings.LEASE_SECONDS,
        patient=patient,
    )


def seeder(config: Config, connected: Connected, job: Job, refused: Callable[[str, str], None]) -> Seeder:
    """A seeder for one job."""
    guard = Watched(AddressGuard(config.settings.ALLOWED_NETWORKS), ContactCheck(config.settings.USER_AGENT))
    lease = config.settings.LEASE_SECONDS
    return Seeder(
        connected.frontier,
        job,
        guard,
        name=worker_name(),
        lease_seconds=lease,
        refused=refused,
        check=message.check,
    )


# --- one worker process


async def run_child(orders: Orders, pipe: int) -> None:
    """Work as the supervisor's orders say, until it says stop through the pipe."""
    config = Config(orders.settings, dict.fromkeys(orders.explicit, "-s"), Path(orders.folder))
    async with connect(config, warn=False) as connected:
        running = await start_worker(config, connected, orders.worker, orders.jobs, Slot(orders.slot))
        with listening(pipe, running.worker.stop):
            await running.until_stopped()


class RunningWorker:
    """A worker with its side tasks: heartbeat, reaper and listener. `sign_off()` ends its lease."""

    def __init__(
        self,
        worker: Worker,
        heartbeat: Heartbeat,
        reaper: Reaper,
        listener: Listener,
        sign_off: Callable[[], Awaitable[object]],
        stack: AsyncExitStack,
    ) -> None:
        self.worker = worker
        self._sign_off = sign_off
        self._heartbeat = heartbeat
        self._reaper = reaper
        self._listener = listener
        self._stack = stack

    async def until_stopped(self) -> None:
        """Order of the end: no more claims, drain, commit; only then may the lease run out."""
        self._heartbeat.start()
        sides = [
            asyncio.create_task(self._reaper.run(), name="reap"),
            asyncio.create_task(self._listener.run(), name="listen"),
        ]
        working = asyncio.create_task(self.worker.run(), name="work")
        try:
            await asyncio.wait({*sides, working}, return_when=asyncio.FIRST_COMPLETED)
            for side in sides:
                if side.done():
                    side.result()  # it never ends by itself: this raises
            await working
        finally:
            await end(*sides, working)
            await asyncio.to_thread(self._heartbeat.stop)
            with suppress(FrontierError):  # else the lease runs out by itself, and others report a death
                await self._sign_off()
            await self._stack.aclose()


async def start_worker(
    config: Config,
    connected: Connected,
    name: str,
    jobs: tuple[str, ...],
    slot: Slot | NoSlot,
) -> RunningWorker:
    """Build a worker and all it needs."""
    from crawler.fetch.http import HttpFetcher, Limits  # aiohttp costs 0.2 s; only workers need it

    settings, frontier = config.settings, connected.frontier
    stack = AsyncExitStack()
    lease = LeaseClock(settings.LEASE_SECONDS, slot.lease)
    concurrency, connections = _at_once(settings.CONCURRENT_REQUESTS)
    http = HttpFetcher(
        settings.USER_AGENT,
        AddressGuard(settings.ALLOWED_NETWORKS),
        headers=settings.DEFAULT_REQUEST_HEADERS,
        authorizations=authorizations(settings.HTTP_AUTH),
        limits=Limits(
            seconds=settings.DOWNLOAD_TIMEOUT,
            connect_seconds=settings.CONNECT_TIMEOUT,
            silent_seconds=settings.READ_TIMEOUT,
            body_bytes=settings.DOWNLOAD_MAXSIZE,
            active_bytes=settings.SCRAPER_SLOT_MAX_ACTIVE_SIZE,
        ),
        parse_limits=ParseLimits(settings.PARSE_MAXSIZE, settings.PARSE_MAXNODES),
        tls_ca_file=settings.TLS_CA_FILE,
        connections=connections,
    )
    stack.push_async_callback(http.close)
    fetcher = LeasedFetcher(http, lease)
    job_list = JobList(frontier, jobs)
    gate = RobotsGate(
        frontier,
        fetcher,
        worker=name,
        user_agent=settings.USER_AGENT,
        cache_seconds=settings.ROBOTSTXT_CACHE_SECONDS,
        max_delay=settings.ROBOTSTXT_MAX_DELAY,
        hop_delay=settings.DOWNLOAD_DELAY,
    )
    registry = find_spiders(config.folder, settings.SPIDER_MODULES)
    units = Units(registry, settings, config.explicit, gate, job_list.job)
    stack.callback(units.close, "shutdown")

    def maybe_new(job: str, requests: Sequence[Request]) -> Sequence[Request]:
        return frontier.maybe_new(job_list.job(job), requests)

    def maybe_new_urls(job: str, urls: Sequence[str]) -> Sequence[str]:
        return frontier.maybe_new_urls(job_list.job(job), urls)

    seeded = SeededHosts(frontier, job_list.job)
    places = Places(frontier, _group_of(settings, http.addresses))
    visitor = Visitor(fetcher, units, seeded, slot, message.check, maybe_new, maybe_new_urls, places.booked)
    tally = Tally(VERSION, jobs)
    options = WorkerOptions(name, pace(settings), concurrency, settings.GRACE_SECONDS)
    worker = Worker(frontier, visitor.visit, job_list, options, tally, lease)
    heartbeat = Heartbeat(frontier.beat, name, settings.LEASE_SECONDS / 5, tally.info, lease.renewed)
    reaper = Reaper(frontier, settings.LEASE_SECONDS, connected.uptime)
    told: dict[str, Callable[[], object]] = {"active": worker.active, "conf": partial(shown_settings, settings)}
    listener = Listener(connected.control, name, told, lambda level: set_level(level or settings.LOG_LEVEL))
    gc.freeze()  # as after `lasting_imports`: the HTTP client and the spiders stay, too; each search of them is a stall
    return RunningWorker(worker, heartbeat, reaper, listener, partial(frontier.reap, name), stack)


def _at_once(wanted: int) -> tuple[int, int]:
    """How many requests at once this process has file descriptors for, and how many connections it may keep open.

    A request may need two: its host has two addresses, or the connection it replaces is not closed yet.
    """
    sockets = sockets_left()
    concurrency = min(wanted, sockets // 2)
    if concurrency < wanted:
        log.warning(
            "fewer_requests_at_once",
            wanted=wanted,
            allowed=concurrency,
            why=f"this process has file descriptors for {sockets} sockets: ulimit -n, LimitNOFILE= of systemd",
        )
    return concurrency, sockets - concurrency


def _group_of(settings: Settings, addresses_of: Callable[[str], Awaitable[Sequence[str]]]) -> GroupOf:
    """What makes hosts share their turns. Raises `ConfigError` when a package is missing."""
    if settings.PACE_PER == "address":
        return by_address(addresses_of)
    if settings.PACE_PER == "host":
        return alone
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError:
        raise ConfigError("PACE_PER=domain needs the list of public suffixes: pip install publicsuffixlist") from None
    return by_domain(PublicSuffixList().privatesuffix)


def pace(settings: Settings) -> Pace:
    """How hosts are treated that have asked for nothing else."""
    return Pace(
        delay=settings.DOWNLOAD_DELAY,
        jitter=settings.DOWNLOAD_DELAY_JITTER,
        concurrency=settings.CONCURRENT_REQUESTS_PER_DOMAIN,
        backoff=settings.BACKOFF_SECONDS,
        patience=settings.HOST_PATIENCE,
        target=settings.AUTOTHROTTLE_TARGET_CONCURRENCY if settings.AUTOTHROTTLE_ENABLED else 0.0,
        longest=settings.AUTOTHROTTLE_MAX_DELAY,
    )
