"""What a task of another system orders: a crawl, a page, more URLs, another try. Each may be ordered again at any time.

The ticket comes last, because a job with a ticket may be finished at any time: the exporter that stores its result must
not find a job without seeds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog
from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.connect import order_of
from crawler.app.jobs import create_job, job_named
from crawler.app.limits import limits_of, set_limits
from crawler.app.tickets import by_task
from crawler.app.wiring import admission
from crawler.control.dead_letters import meets, parse_condition
from crawler.control.rules import ON, parse
from crawler.errors import UsageError
from crawler.interfaces import Adding, Backend, Closing, Reading
from crawler.model import DEFAULT_SPIDER, Job, Limits, Request, Rule, Ticket
from crawler.runtime.safe_text import shown
from crawler.seeding.admission import NotAdmitted
from crawler.seeding.messages import request_of
from crawler.seeding.presence import present
from crawler.seeding.seeder import BATCH
from crawler.spiders.base import Spider
from crawler.spiders.own_seeds import OwnSeeds
from crawler.spiders.registry import Registry
from crawler.views.reports import SeedReport
from crawler.worker.supervisor import worker_name

Seed = str | Mapping[str, Any]
SAID = 3  # refused seeds that an error quotes
SHOWN_LENGTH = 200  # characters of one in the log

log = structlog.get_logger()


async def order_crawl(
    config: Config,
    connected: Backend,
    registry: Registry,
    job: Job,
    seeds: Sequence[Seed] | None,
    ticket: Ticket,
    *,
    rate: str = "",
) -> None:
    """Make the job, add its seeds (None: the spider's own), and issue the ticket. `rate`: of the job, such as `10/m`.

    Raises `UsageError` if no seed may be asked for, and what `Registry.make`, `OwnSeeds` and `create_job` raise.
    """
    pace = parse("rate", [f"job:{job.name}", rate]) if rate else None
    spider = await asyncio.to_thread(registry.make, job.spider or DEFAULT_SPIDER, job.arguments)
    wanted = await asyncio.to_thread(lambda: list(OwnSeeds(spider))) if seeds is None else seeds
    job = await create_job(connected.jobs, job, order_of(config))
    await _limit(config, connected.reading, connected.closing, job, spider)
    adding = _Seeding(config, connected.adding, job, wanted)
    if not adding.requests:
        if not (await connected.reading.stats(job)).known:
            await connected.jobs.delete(job.name)
        raise UsageError(f"no seed may be asked for: {'; '.join(adding.said) or 'there is none'}")
    if pace:
        await connected.control.set_rule(replace(pace, why="ordered", by=by_task(ticket.id)))
    await adding.run()
    await connected.tickets.issue(replace(ticket, epoch=job.epoch, refused=sum(adding.refused.values())))
    await connected.adding.durable()


async def submit(config: Config, connected: Backend, registry: Registry, job: Job, seeds: Sequence[Seed]) -> SeedReport:
    """Add seeds to a job, and make it if it is new. Nobody waits for them."""
    spider = await asyncio.to_thread(registry.make, job.spider or DEFAULT_SPIDER, job.arguments)
    job = await create_job(connected.jobs, job, order_of(config))
    await _limit(config, connected.reading, connected.closing, job, spider)
    adding = _Seeding(config, connected.adding, job, seeds)
    await adding.run()
    await connected.adding.durable()
    return SeedReport(job.name, adding.new, adding.known, dict(adding.refused))


async def _limit(config: Config, reading: Reading, closing: Closing, job: Job, spider: Spider) -> None:
    """Set the limits that the spider's settings name, if there are any."""
    limits = limits_of(config, spider)
    if limits != Limits():
        await set_limits(reading, closing, job, limits)


class _Seeding:
    """Adds the seeds of one order: `requests`, without those `refused` (by reason). `new` and `known` count them."""

    def __init__(self, config: Config, adding: Adding, job: Job, seeds: Iterable[Seed | Request]) -> None:
        self._adding = adding
        self._job = job
        self._admission = admission(config, job)
        self._lease = config.settings.LEASE_SECONDS
        self.new = 0
        self.known = 0
        self.refused: Counter[str] = Counter()
        self.said: list[str] = []  # why the first ones were refused
        self.requests = list(self._admitted(seeds))

    async def run(self) -> None:
        """Add them; the job counts as unfinished meanwhile."""
        async with present(self._adding, self._job, worker_name(), self._lease):
            for at in range(0, len(self.requests), BATCH):
                added = await self._adding.add(self._job, self.requests[at : at + BATCH], seed=True)
                self.new += added.new
                self.known += added.known

    def _admitted(self, seeds: Iterable[Seed | Request]) -> Iterator[Request]:
        for seed in seeds:
            try:
                if not isinstance(seed, (str, Mapping, Request)):
                    raise ValueError(f"{seed!r} is neither a URL nor an object with one")
                yield self._admission.admit(request_of(seed) if isinstance(seed, Mapping) else seed)
            except ValueError as error:
                self._refuse(seed, error)

    def _refuse(self, seed: Seed | Request, error: ValueError) -> None:
        """Count it, and log it: what the task returns does not name it."""
        reason, why = (error.reason, error.why) if isinstance(error, NotAdmitted) else ("bad seed", str(error))
        self.refused[reason] += 1
        if len(self.said) < SAID:
            self.said.append(str(error))
        url = seed.get("url") if isinstance(seed, Mapping) else getattr(seed, "url", seed)
        log.warning("seed_refused", job=self._job.name, url=shown(str(url))[:SHOWN_LENGTH], why=shown(why))


async def redrive(connected: Backend, name: str, where: Sequence[str], ticket: Ticket) -> None:
    """Give dead letters of a job another try (those that meet all conditions), and issue the ticket."""
    conditions = [parse_condition(text) for text in where]
    job = await job_named(connected.jobs, name)
    ids = [one.id async for one in connected.letters.each(job) if meets(one, conditions)] if conditions else None
    await connected.letters.redrive(job, ids)
    await connected.tickets.issue(replace(ticket, epoch=job.epoch))
    await connected.adding.durable()


async def stop(connected: Backend, name: str, why: str, by: str) -> str:
    """Pause a job, named by itself or by the task that ordered it. Return its name; empty if there is none."""
    tickets = {ticket.id: ticket.job for ticket in await connected.tickets.open()}
    name = tickets.get(name, name)
    if name not in [job.name for job in await connected.jobs.all()]:
        return ""
    await connected.control.set_rule(Rule("pause", "job", name, ON, why=why, by=by))
    return name
