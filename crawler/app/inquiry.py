"""Gathers everything known about one URL, without contacting any host: why was it not fetched?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.spiders import spiders_of
from crawler.errors import ConfigError, Refused, UsageError
from crawler.fetch.guard import AddressGuard
from crawler.interfaces import Backend, Reading, SharedValues, Traces
from crawler.model import Job
from crawler.parsing.scope import Scope
from crawler.parsing.url import host_of, origin_of
from crawler.robots import answer as robots
from crawler.settings import Settings, override, own_settings
from crawler.spiders.base import Spider
from crawler.spiders.registry import Registry
from crawler.status import WorkerInfo
from crawler.views.inquiry import Inquiry, Outlook
from crawler.views.job_names import no_job
from crawler.views.results import State, UrlResult, of_url


async def inquire(config: Config, connected: Backend, url: str, job_name: str = "") -> list[Inquiry]:
    """Return the facts about a canonical URL in one job, or in all. Raise `UsageError` for an unknown job."""
    everything = await connected.jobs.all()
    jobs = [job for job in everything if job_name in ("", job.name)]
    if job_name and not jobs:
        raise UsageError(no_job(job_name, (job.name for job in everything)))
    # importing the user's spider files may take a while
    registry = await asyncio.to_thread(spiders_of, config)
    workers = tuple(await connected.reading.workers())
    found = [await _look(config, connected.reading, connected.traces, workers, job, url) for job in jobs]
    return [
        replace(one, outlook=await _judge(config, connected.asking, registry, job, one))
        for job, one in zip(jobs, found, strict=True)
    ]


async def url_result(config: Config, connected: Backend, job_name: str, url: str) -> UrlResult:
    """Return the result of a canonical URL in a job, without the spiders of this folder; UNKNOWN if there is no such
    job."""
    jobs = {job.name: job for job in await connected.jobs.all()}
    if job_name not in jobs:
        return UrlResult(job_name, url, State.UNKNOWN, no_job(job_name, jobs))
    workers = tuple(await connected.reading.workers())
    return of_url(await _look(config, connected.reading, connected.traces, workers, jobs[job_name], url))


async def _look(
    config: Config, reading: Reading, traces: Traces, workers: tuple[WorkerInfo, ...], job: Job, url: str
) -> Inquiry:
    trace = await traces.trace(job, url)
    spiders = [one.request.spider for one in trace.sightings[:1]]
    return Inquiry(
        job.name,
        url,
        trace,
        await reading.stats(job),
        workers,
        Outlook(next(filter(None, spiders), job.spider)),
        config.settings.CONCURRENT_REQUESTS_PER_DOMAIN,
        config.settings.OUTBOX_LIMIT,
    )


async def _judge(config: Config, shared: SharedValues, registry: Registry, job: Job, inquiry: Inquiry) -> Outlook:
    name, url, trace = inquiry.outlook.spider, inquiry.url, inquiry.trace
    try:
        spider = registry.make(name, job.arguments)
        own = own_settings(config.settings, name, spider.custom_settings)
        settings = override(config.settings, own, f"spider {name}", keep=config.explicit)
    except (UsageError, ConfigError) as error:
        return Outlook(name, (f"{error} (looked for in {config.folder}; the workers may run elsewhere)",))
    told, forbids = await _ask_robots(shared, settings, url)
    # a known URL has already passed the scope
    outside = () if trace.known else _outside(spider, settings, url, seeded=trace.seeded)
    obstacles = (*_address(settings, url), *outside, *((told,) if forbids else ()))
    return Outlook(name, obstacles, told, settings.DEPTH_LIMIT)


def _address(settings: Settings, url: str) -> Iterator[str]:
    try:
        AddressGuard(settings.ALLOWED_NETWORKS).check_host(host_of(url))
    except Refused as error:
        yield str(error)


def _outside(spider: Spider, settings: Settings, url: str, *, seeded: bool) -> Iterator[str]:
    """Yield the reason why a link to the URL would not be followed, if there is one."""
    host = host_of(url)
    if Scope(spider.allowed_domains, settings.DEPTH_LIMIT).reason_out(url):
        domains = ", ".join(spider.allowed_domains)
        yield f"offsite: {host} is not within the allowed_domains of spider {spider.name} ({domains})"
    elif spider.stay_on_seeded_hosts and not seeded:
        yield f"offsite: spider {spider.name} stays on the hosts that were seeded, and {host} was not"


async def _ask_robots(shared: SharedValues, settings: Settings, url: str) -> tuple[str, bool]:
    """Return what the fleet's copy of robots.txt says, and whether it forbids the URL."""
    if not settings.ROBOTSTXT_OBEY:
        return "robots.txt is ignored (ROBOTSTXT_OBEY=false)", False
    where, agent = f"robots.txt of {origin_of(url)}", robots.agent_token(settings.USER_AGENT)
    value = await shared.get_shared(f"robots:{origin_of(url)}")
    answer = None if value is None else robots.RobotsAnswer.decode(value)
    if answer is None:
        return f"{where} is not cached; a worker fetches it before the next page of that host", False
    if answer.kind == "disallow":
        return f"{where} could not be fetched, so no page there may be; a worker tries again later", True
    if answer.kind == "allow":
        return f"{where} does not exist, so all may be fetched", False
    rule = answer.rules().rule(url, agent)
    by = f" ({rule})" if rule else ""
    if rule is None or rule.allow:
        return f"{where} lets {agent} fetch it{by}", False
    return f"{where} forbids {agent} to fetch it{by}", True
