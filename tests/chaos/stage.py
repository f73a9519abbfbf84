"""One scenario's world: a site, a queue server, a fleet, the faults done to them, and the row they end as."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import redis

from tests.chaos.fleet import Command, Fleet, Overdue, until
from tests.chaos.judge import TABLE, Crawl, Row, judge, refetch_delays
from tests.chaos.limits import own_hosts
from tests.chaos.proxy import Proxy, proxy_to
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve, slow

PER_HOST = 4  # requests at once to a host
IN_FLIGHT = 16  # and in a worker process: the C of the promises
LEASE = 2.0  # seconds

SETTINGS: Mapping[str, object] = {
    "ALLOWED_NETWORKS": "127.0.0.0/8",
    "DOWNLOAD_DELAY": 0,
    "CONCURRENT_REQUESTS_PER_DOMAIN": PER_HOST,
    "CONCURRENT_REQUESTS": IN_FLIGHT,
    "LEASE_SECONDS": LEASE,
    "GRACE_SECONDS": 5,
    "REDIS_TIMEOUT": 2,
    "RETRY_DELAY": 0.2,
    "BACKOFF_SECONDS": 0.4,
    "EXPORT_BATCH": 20,
}


@dataclass(frozen=True)
class Scale:
    """How large a run is: short ones are part of every test run, long ones are the proof."""

    pages: int = 240
    hosts: int = 4
    workers: int = 2
    faults: int = 3
    minutes: int = 0  # for which memory is watched; 0: a few seconds
    is_long: bool = False

    @property
    def page_seconds(self) -> float:
        """What a page takes: a crawl lasts about a second a fault at least, so that faults come while it goes on."""
        return max(0.04, self.paced(self.faults))

    def paced(self, seconds: float) -> float:
        """What a page must take for the whole crawl to last that long."""
        return seconds * PER_HOST * self.hosts / self.pages if self.is_long else 0.01

    @property
    def patience(self) -> float:
        """Seconds in which a crawl must come to its end, faults included."""
        return 45.0 + self.pages / 10 + self.faults * 8


class Servers(AbstractContextManager[object], Protocol):
    """Several queue servers behind one address, which are there in the `with` block."""

    @property
    def nodes(self) -> Sequence[Valkey]:
        """Those with data."""

    @property
    def url(self) -> str:
        """Where clients find them."""


class Stage:
    """What a scenario plays with."""

    def __init__(
        self, row: Row, scale: Scale, web: Running, site: Site, server: Valkey, fleet: Fleet, network: Proxy | None
    ) -> None:
        self.row = row
        self.scale = scale
        self.web = web
        self.site = site
        self.server = server
        self.fleet = fleet
        self._network = network
        self.chance = random.Random(f"{row.seed} {row.promise}")
        self.output = fleet.folder / "items.jsonl"
        self.more_outputs: list[Path] = []  # beside it
        self.exporter: Command | None = None
        self.finished_at = 0.0  # monotonic seconds
        self._asked: set[str] = set()  # pages in the first `_looked_at` entries of the web server's log
        self._looked_at = 0
        self._queue: Any = redis.Redis(unix_socket_path=str(server.socket))

    @property
    def network(self) -> Proxy:
        """Between the fleet and the queue server."""
        assert self._network is not None
        return self._network

    @property
    def queue(self) -> Any:
        """A client of the queue server, for doing harm and for looking at bytes."""
        return self._queue

    # --- running

    async def start(self, workers: int = 0, *, spider: str = "site", seeds: Sequence[str] = ()) -> None:
        """Seeder, workers and exporter, all at the same time."""
        for _ in range(workers or self.scale.workers):
            await self.fleet.worker()
        await self.export()
        seeder = await self.fleet.run("seed", "--spider", spider, *(seeds or self.web.seeds))
        if await seeder.ended() != 0:
            raise Overdue(f"the seeder ended with exit code {seeder.code}")

    async def export(self, **how: Any) -> Command:
        """An exporter that ends when the job is finished and all its items are in the files."""
        outputs = [word for output in (self.output, *self.more_outputs) for word in ("-o", str(output))]
        self.exporter = await self.fleet.run("export", *outputs, "--until-finished", **how)
        return self.exporter

    async def another_job(self, name: str) -> Command:
        """The same site once more, into a file of its own; returns its exporter."""
        output = self.fleet.folder / f"{name}.jsonl"
        exporter = await self.fleet.run("export", "--job", name, "-o", str(output), "--until-finished")
        await self.fleet.finished("seed", "--job", name, *self.web.seeds)
        return exporter

    async def finish(self, seconds: float = 0.0) -> Crawl:
        """Wait until the exporter says that it was all, and judge."""
        await self.exporter_ended(seconds)
        return self.judged()

    async def exporter_ended(self, seconds: float = 0.0) -> None:
        """Wait until the exporter says that it was all."""
        assert self.exporter is not None
        code = await self.exporter.ended(seconds or self.scale.patience)
        self.finished_at = time.monotonic()
        if code != 0:
            raise Overdue(f"the exporter ended with exit code {code}")

    def judged(self) -> Crawl:
        """As things stand."""
        return judge(self.site, self.web.log, self.output)

    async def reached(self, share: float) -> None:
        """Wait until that share of the site's pages has been asked for; asking again does not count."""
        while self._pages_asked() < int(share * self.site.pages):
            await self.asked(len(self.web.log) + 1)

    def _pages_asked(self) -> int:
        self._asked.update(hit.url for hit in self.web.log[self._looked_at :] if self.site.page(hit.url) is not None)
        self._looked_at = len(self.web.log)
        return len(self._asked)

    async def asked(self, requests: int, seconds: float = 0.0) -> None:
        """Wait until the web server has got so many requests."""
        seconds = seconds or self.scale.patience
        try:
            async with asyncio.timeout(seconds):
                await self.web.until(requests)
        except TimeoutError:
            have = len(self.web.log)
            raise Overdue(f"waited {seconds:g} s for request {requests}; there were {have}") from None

    def moments(self, number: int = 0, first: float = 0.08, last: float = 0.85) -> list[float]:
        """Shares of the site at which to do harm, by chance, in order."""
        number = number or self.scale.faults
        width = (last - first) / number
        return [first + width * (n + self.chance.random()) for n in range(number)]

    async def all_at_work(self) -> None:
        """Wait until the queue server knows every worker: one that is still on its way ends when the server is away."""
        for worker in self.fleet.running:
            await until(lambda worker=worker: self._has_a_lease(worker), f"{worker.name} at work")  # type: ignore[misc]

    async def exporter_at_work(self) -> None:
        """Wait until the exporter holds the job, or says that it waits: until then it ends when the server is away."""
        exporter = self.exporter
        assert exporter is not None
        await until(lambda: exporter.output or self._exports(exporter), f"{exporter.name} at work")

    def _exports(self, exporter: Command) -> bool:
        return f":{exporter.pid}:".encode() in (self.queue.get("{crawler:0}:job:default:exporter") or b"")

    def _has_a_lease(self, worker: Command) -> bool:
        alive = self.queue.zrangebyscore("{crawler:0}:workers", time.time() * 1000, "+inf")
        return any(f":{worker.pid}:".encode() in name for name in alive)

    # --- harm

    def fault(self, what: str) -> None:
        """Note that harm is done now."""
        self.row.faults.append((time.monotonic(), what))

    async def busiest(self) -> Command:
        """Wait until a worker has requests in flight, for only then is there something to lose; the one with most."""
        await until(lambda: any(self.held_by(worker) for worker in self.fleet.running), "a worker with requests")
        return max(self.fleet.running, key=self.held_by)

    def held_by(self, worker: Command) -> int:
        """How many requests a worker has claimed and not committed, as its supervisor's name tells."""
        keys = self.queue.scan_iter(match=f"*:processing:*:{worker.pid}:*", count=10_000)
        return sum(self.queue.llen(key) for key in keys)

    async def kill_a_child(self) -> None:
        """SIGKILL to the worker process of a random supervisor."""
        await self.fleet.working()
        pids = [pid for worker in self.fleet.running for pid in worker.children]
        pid = self.chance.choice(pids)
        self.fault(f"kill -9 of worker process {pid}")
        os.kill(pid, signal.SIGKILL)

    async def kill_a_machine(self) -> None:
        """SIGKILL to a random supervisor and its worker process at once; another machine takes their place."""
        await self.fleet.working()
        worker = self.chance.choice(self.fleet.running)
        self.fault(f"kill -9 of {worker.name} and its processes")
        worker.kill()
        await worker.ended()
        await self.fleet.worker()

    async def kill_all_workers(self) -> None:
        """SIGKILL to every supervisor and worker process, reapers and all; as many come again."""
        await self.busiest()
        victims = self.fleet.running
        self.fault("kill -9 of all workers")
        for worker in victims:
            worker.kill()
        for worker in victims:
            await worker.ended()
            await self.fleet.worker()

    async def kill_the_server(self, down: float = 0.0) -> None:
        """SIGKILL to the queue server; it starts again on the same data after `down` seconds."""
        self.fault("kill -9 of the queue server")
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(down)  # the outage itself
        await asyncio.to_thread(self.server.start)

    async def lose_a_second(self, requests: int) -> int:
        """Kill the queue server and take from its log what was written in the time of the last `requests` requests.

        As a power failure does with what had not reached the disk; so the exporter, which waits for the disk, sleeps
        meanwhile. Returns how many requests the web server got in the time that was lost.
        """
        assert self.exporter is not None
        log, before = self.server.folder / "appendonlydir", self.server.folder / "before"
        self.exporter.signal(signal.SIGSTOP)
        first = len(self.web.log)
        await asyncio.to_thread(shutil.copytree, log, before)
        await self.asked(first + requests)
        self.fault("kill -9 of the queue server, its last second lost")
        await asyncio.to_thread(self.server.kill)
        lost = len(self.web.log) - first
        shutil.rmtree(log)
        before.rename(log)
        await asyncio.to_thread(self.server.start)
        self.exporter.signal(signal.SIGCONT)
        return lost

    async def recovery(self, what: str = "recovery s", limit: float = 0.0) -> None:
        """Measure how long it takes from now to the next request at the web server, if there is one more."""
        before, exporter = len(self.web.log), self.exporter

        def goes_on() -> bool:
            return len(self.web.log) > before or (exporter is not None and exporter.code is not None)

        seconds = await until(goes_on, f"a request after number {before}", self.scale.patience)
        if len(self.web.log) == before:
            return
        figure = next((figure for figure in self.row.figures if figure.name == what), None)
        if figure is None:
            self.row.at_most(what, seconds, limit) if limit else self.row.told(what, seconds)
        elif seconds > figure.value:
            figure.value, figure.met = seconds, not limit or seconds <= limit

    def expect_refetch_within(self, seconds: float) -> None:
        """Of 100 requests that a fault cut off, 99 are made again in that time."""
        delays = refetch_delays(self.web.log, self.row.faults)
        if delays:
            self.row.at_most("fault to refetch s, p99", delays[int(0.99 * (len(delays) - 1))], seconds)

    # --- looking

    async def status(self) -> dict[str, Any]:
        """What `status --json` says of the job."""
        command = await self.fleet.finished("status", "--json")
        found: dict[str, Any] = json.loads(_json_line(command))
        return found

    async def job(self) -> dict[str, Any]:
        """The first job in `status --json`."""
        job: dict[str, Any] = (await self.status())["jobs"][0]
        return job

    async def dead(self) -> list[dict[str, Any]]:
        """What `dead --list --json` lists."""
        command = await self.fleet.finished("dead", "--list", "--limit", "100000", "--json")
        return [json.loads(line) for line in command.output.splitlines() if line.startswith("{")]

    # --- the verdict

    def expect(self, crawl: Crawl, *, refetched: float, faults: bool = True, end: float = 0.0) -> None:
        """What is promised of every crawl; `refetched` is the limit. Faults count when they came before `end`."""
        row = self.row
        row.told("pages", crawl.pages)
        if faults:
            row.faults_before(end or crawl.end)
        row.exactly("lost", crawl.lost, 0)
        row.at_most("refetched", crawl.refetched, refetched)
        for name in ("missing", "duplicates", "foreign", "broken"):
            row.exactly(name, getattr(crawl, name), 0)


def _json_line(command: Command) -> str:
    lines = [line for line in command.output.splitlines() if line.startswith("{")]
    if not lines:
        raise Overdue(f"{command.name} printed no JSON (exit code {command.code})")
    return lines[-1]


@dataclass(frozen=True)
class Theatre:
    """Makes stages for one test."""

    folder: Path
    seed: int
    scale: Scale

    @asynccontextmanager
    async def __call__(
        self,
        promise: str,
        title: str,
        *,
        settings: Mapping[str, object] | None = None,
        pages: int = 0,
        hosts: int = 0,
        page_seconds: float | None = None,
        fsync: str = "everysec",
        options: Mapping[str, str] | None = None,
        network: bool = False,
        folder: str = "project",
        names: bool = False,
        tree: bool = False,
        addresses: str = "127.0.1.{}",
        servers: Servers | None = None,
    ) -> AsyncIterator[Stage]:
        """Set the stage; at the end print its row, and fail when a figure misses its target.

        With `names` the hosts are names of one address; in a `tree` each page is linked once; `addresses` are those of
        the hosts. `servers` play the queue server, if it is not one alone.
        """
        row = Row(promise, title, self.seed)
        TABLE.append(row)
        started = time.monotonic()
        pages, hosts = pages or self.scale.pages, hosts or self.scale.hosts
        site = Site(pages, hosts, self.seed, size=400, names=names, tree=tree, addresses=addresses)
        site.on("/", slow(self.scale.page_seconds if page_seconds is None else page_seconds))
        async with AsyncExitStack() as stack:
            if servers is None:
                server = stack.enter_context(Valkey(appendonly=True, fsync=fsync, options=options))
            else:
                stack.enter_context(servers)
                server = servers.nodes[0]
            web = await stack.enter_async_context(serve(site))
            proxy = await stack.enter_async_context(proxy_to(server.socket)) if network else None
            project = self.folder / folder
            project.mkdir()
            url = (proxy or servers or server).url
            fleet = Fleet(project, url, {**SETTINGS, **(settings or {})})
            stack.push_async_callback(fleet.close)
            if names:
                (project / "hosts").write_text(site.hosts_file)
                fleet.wrapper = own_hosts(project / "hosts")
            stage = Stage(row, self.scale, web, site, server, fleet, proxy)
            stack.callback(stage.queue.close)
            try:
                yield stage
            except BaseException as error:
                row.problem = row.problem or f"{type(error).__name__}: {error}"
                if isinstance(error, Exception):
                    raise AssertionError(f"{row}\n{row.problem}\n{fleet.tails()}") from error
                raise
            finally:
                row.seconds = time.monotonic() - started
            assert row.passed, f"{row}\n{row.faults}\n{fleet.tails()}"


__all__ = ["IN_FLIGHT", "LEASE", "PER_HOST", "Scale", "Stage", "Theatre", "until"]
