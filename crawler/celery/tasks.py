"""The tasks, and how an app gets them."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from celery import shared_task
from celery.signals import worker_init
from msgspec.structs import replace

from crawler.app import order as ordering
from crawler.app.connect import has_server
from crawler.app.results import job_result
from crawler.app.tickets import by_task
from crawler.celery import revoking
from crawler.celery.ordering import FOLDER, Ordering, client_of, order, run
from crawler.errors import UsageError
from crawler.model import Job
from crawler.views.results import State

NAMES = "crawler.celery.*"


def install(app: Any, *, folder: str | Path = "", queue: str = "") -> None:
    """Give an app the tasks. The settings and spiders are those of `folder` (default: the working directory), and the
    tasks wait in `queue` (default: where the app's other tasks wait).

    The app becomes Celery's default one, so that the tasks belong to it in every thread, as in a web server.
    """
    app.set_default()
    app.autodiscover_tasks(["crawler.celery"])
    if folder:
        app.conf[FOLDER] = str(Path(folder).resolve())
    if queue:
        routes = app.conf.task_routes or {}
        app.conf.task_routes = (
            {NAMES: {"queue": queue}},
            *(routes if isinstance(routes, (list, tuple)) else (routes,)),
        )


@shared_task(base=Ordering, bind=True, name="crawler.celery.crawl")
def crawl(
    self: Any,
    urls: str | Sequence[str | Mapping[str, Any]] | None = None,
    *,
    spider: str = "",
    arguments: Mapping[str, Any] | None = None,
    job: str = "{id}",
    rate: str = "",
) -> None:
    """Order a crawl of these URLs, or requests with the fields of `seed --from`; without any, of the spider's own.

    `job` may have places for `{id}` (of the task) and for the time (UTC) when it is sent: `{date}`, `{hour}`,
    `{minute}`, `{second}`. Tasks that name one job add to one crawl, and all get its result. `rate`, such as
    `10/m`, is that of the whole job, over all workers. Result: `job`, `pages`, `items`, `dead`, `refused` (seeds),
    `reason`, `seconds`. Raises `CrawlFailed`.
    """

    async def work(client: Any, connected: Any, ticket: Any) -> None:
        wanted = _job(ticket.job, spider, arguments)
        seeds = None if urls is None else _seeds(urls)
        await ordering.order_crawl(client.config, connected, client.spiders, wanted, seeds, ticket, rate=str(rate))

    order(self, job, work)


@shared_task(base=Ordering, bind=True, name="crawler.celery.fetch")
def fetch(self: Any, url: str, *, spider: str = "", arguments: Mapping[str, Any] | None = None) -> None:
    """Order one page, with the politeness of the fleet. Result: its items, as a list. No link of it is followed.

    Raises `CrawlFailed` if the page is given up or skipped.
    """

    async def work(client: Any, connected: Any, ticket: Any) -> None:
        wanted = replace(_job(ticket.job, spider, arguments), follow=False)
        ticket = replace(ticket, is_page=True)
        await ordering.order_crawl(client.config, connected, client.spiders, wanted, [url], ticket)

    order(self, "", work)


@shared_task(base=Ordering, bind=True, name="crawler.celery.redrive")
def redrive(self: Any, *, job: str, where: Sequence[str] = ()) -> None:
    """Give the dead letters of a job another try: all, or those that meet conditions such as `error=http_5*`.

    Result: that of `crawl`, when the job has finished again.
    """

    async def work(client: Any, connected: Any, ticket: Any) -> None:
        await ordering.redrive(connected, ticket.job, where, ticket)

    order(self, job, work)


@shared_task(base=Ordering, bind=True, name="crawler.celery.submit")
def submit(
    self: Any,
    urls: str | Sequence[str | Mapping[str, Any]],
    *,
    job: str,
    spider: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Add URLs to a job and wait for nothing. Result: `job`, `new`, `known`, `refused` (by reason)."""

    async def work(client: Any, connected: Any) -> Any:
        wanted = _job(job, spider, arguments)
        return await ordering.submit(client.config, connected, client.spiders, wanted, _seeds(urls))

    return dict(msgspec.to_builtins(run(self, work)))


@shared_task(base=Ordering, bind=True, name="crawler.celery.status")
def status(self: Any, job: str) -> dict[str, Any]:
    """Return the result of a job so far, as `crawler status --json` has it (docs/results.md)."""

    async def work(client: Any, connected: Any) -> Any:
        return await job_result(connected, job, strict=client.config.settings.STRICT)

    return dict(msgspec.to_builtins(run(self, work)))


@shared_task(base=Ordering, bind=True, name="crawler.celery.stop")
def stop(self: Any, job: str, why: str = "stopped by a task") -> str:
    """Pause a job, named by itself or by the id of the task that ordered it. The tasks that wait for it end as REVOKED.

    Returns the job's name; empty if there is no such job. `crawler control resume job:NAME` lets it go on.
    """

    async def work(client: Any, connected: Any) -> Any:
        by = by_task(self.request.id) if self.request.id else getpass.getuser()
        return await ordering.stop(connected, job, why, by)

    return str(run(self, work))


@shared_task(base=Ordering, bind=True, name="crawler.celery.state")
def state(self: Any, task_id: str) -> str:
    """Return the state of a task: call it as a function. UNKNOWN: nobody has sent it, or its result has expired.

    Celery itself calls both of these PENDING.
    """
    if self.app.conf.result_backend and self.app.backend.task_result_exists(task_id):
        return str(self.app.backend.get_state(task_id))
    if not has_server(client_of(self.app).config):
        return str(State.UNKNOWN)

    async def work(client: Any, connected: Any) -> Any:
        job = next((one.job for one in await connected.tickets.open() if one.id == task_id), task_id)
        return (await job_result(connected, job, strict=client.config.settings.STRICT)).state

    return str(run(self, work))


def _seeds(urls: Any) -> Sequence[Any]:
    """Return the seeds of a task. Raise `UsageError`."""
    if not isinstance(urls, (str, Mapping, list, tuple)):
        raise UsageError(f"urls: expected URLs, not {urls!r}")
    return [urls] if isinstance(urls, (str, Mapping)) else urls


def _job(name: str, spider: str, arguments: Mapping[str, Any] | None) -> Job:
    """Return the job that a task wants. Its values are JSON of anybody who may send tasks; a job's are text."""
    return Job(str(name), spider=str(spider), arguments={name: str(value) for name, value in (arguments or {}).items()})


worker_init.connect(revoking.install, weak=False)
