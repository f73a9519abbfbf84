"""Reports to the tasks that wait for a job how it goes (CELERY_APP). The process that exports the job does this.

A ticket stays open until its result is stored, so the next exporter stores a result that this one could not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec.structs import replace

from crawler.app.config import Config
from crawler.app.results import result_from
from crawler.app.watching import PAUSED_SECONDS
from crawler.errors import ConfigError, CrawlFailed
from crawler.interfaces import Backend
from crawler.model import Job, Ticket
from crawler.program import PROGRAM, extra
from crawler.runtime.patience import OUTAGE, Patience, every
from crawler.runtime.tasks import end
from crawler.status import JobStats
from crawler.views.figures import several
from crawler.views.results import JobResult, State

if TYPE_CHECKING:
    from crawler.app.celery_results import CeleryResults

log = structlog.get_logger()

POLL_SECONDS = 0.5  # between two polls of the tickets
LAST = 5.0  # seconds at most for the last poll, after the job's work has ended
AT_ONCE = 1_000  # entries of the outbox of a job of one page: those of the page, and each item that waited for files


def celery_results(config: Config) -> CeleryResults:
    """Open the results of CELERY_APP. Raise `ConfigError` for an app that cannot be used."""
    try:
        from crawler.app.celery_results import CeleryResults, app_of  # the client is an extra
    except ImportError:
        raise ConfigError(f"CELERY_APP needs the extra `celery`: {extra('celery')}") from None
    return CeleryResults(app_of(config.settings.CELERY_APP))


@asynccontextmanager
async def told(config: Config, connected: Backend, job: Job, begun: asyncio.Event) -> AsyncIterator[None]:
    """Report to the tasks that wait for the job while this is open, once its exporter has begun, and once more at the
    end. Do nothing without CELERY_APP."""
    if not config.settings.CELERY_APP:
        yield
        return
    telling = Telling(config, connected, celery_results(config))

    async def look() -> None:
        tickets = await connected.tickets.open()
        await telling.tell(job, [one for one in tickets if (one.job, one.epoch) == (job.name, job.epoch)])

    async def look_for_ever() -> None:
        await begun.wait()
        patience = Patience(outage=OUTAGE)  # those who work on the job log the outage
        await every(POLL_SECONDS, lambda: patience.attempt(look))

    looking = asyncio.create_task(look_for_ever())
    try:
        yield
    finally:
        await end(looking)
        try:
            async with asyncio.timeout(LAST):
                if begun.is_set():
                    await look()
        except (TimeoutError, *OUTAGE) as error:
            log.warning("results_untold", job=job.name, why=str(error), then=f"{PROGRAM} export --ordered stores them")


class Telling:
    """Tells the tasks that wait for jobs of which this process is the exporter."""

    def __init__(self, config: Config, connected: Backend, results: CeleryResults) -> None:
        self._strict = config.settings.STRICT
        self._connected = connected
        self._results = results
        self._thread = ThreadPoolExecutor(1, "results")  # one, because a client of Celery belongs to its thread
        self._waits = Patience("results_wait", (Exception,))  # whatever the user's broker and database raise
        self._paused_since: dict[str, float] = {}  # job → when it was first seen with nothing left but paused pages

    async def tell(self, job: Job, tickets: Sequence[Ticket]) -> None:
        """Report to these tasks, which all wait for this job, how far it is; store the result of those that it ends."""
        if not tickets:
            return
        stats = await self._connected.reading.stats(job)
        if any(ticket.is_page for ticket in tickets):
            stats = replace(stats, outbox=0)  # no sink gets its items: they are the result
        workers = await self._connected.reading.workers()
        result = await result_from(self._connected.letters, job, stats, workers, strict=self._strict)
        is_over = self._is_over(stats, result)
        if is_over:
            await self._connected.adding.durable()  # nothing that the server may lose is an end
        for ticket in tickets:
            if not is_over:
                await self._call(self._results.note, ticket, result)
            elif await self._end(job, ticket, stats, result):
                await self._close(job, ticket, is_finished=stats.finished)

    async def tell_deleted(self, ticket: Ticket) -> None:
        """Tell a task that its job is gone."""
        why = f"job {ticket.job} was deleted before its result was stored"
        if await self._call(self._results.told, ticket) or await self._call(
            self._results.fail, ticket, CrawlFailed(why)
        ):
            await self._connected.tickets.close(ticket.id)

    def _is_over(self, stats: JobStats, result: JobResult) -> bool:
        """Whether the state is final. Nothing is left but paused pages: final when that has lasted."""
        if result.state is State.FAILURE and not stats.finished:
            since = self._paused_since.setdefault(stats.job, time.monotonic())
            return time.monotonic() - since >= PAUSED_SECONDS
        self._paused_since.pop(stats.job, None)
        return result.state in (State.SUCCESS, State.FAILURE, State.REVOKED)

    async def _end(self, job: Job, ticket: Ticket, stats: JobStats, result: JobResult) -> bool:
        """Store the final state, unless that is done already. Return whether it is stored."""
        told = await self._call(self._results.told, ticket)
        if told is not False:
            return bool(told)
        if result.state is State.REVOKED:
            return bool(await self._call(self._results.revoke, ticket, result.reason))
        if error := self._failure(ticket, stats, result):
            return bool(await self._call(self._results.fail, ticket, error))
        value = await self._items(job) if ticket.is_page else _summary(ticket, stats, result)
        return bool(await self._call(self._results.succeed, ticket, value))

    def _failure(self, ticket: Ticket, stats: JobStats, result: JobResult) -> CrawlFailed | None:
        """Return why the task has failed, as a command would that waited for the job; None if it has not."""
        if ticket.is_page and not result.progress.pages:
            return _unread(stats, result)
        if result.state is State.FAILURE:
            return CrawlFailed(result.reason, result.failure.traceback if result.failure else "")
        if ticket.refused and self._strict:
            return CrawlFailed(f"{several(ticket.refused, 'seed')}: refused; the log of Celery's worker says why")
        return None

    async def _items(self, job: Job) -> list[Any]:
        items: list[Any] = []
        after: dict[int, str] = {}
        while entries := await self._connected.outbox.read(job, after, AT_ONCE):
            items += (msgspec.json.decode(item) for entry in entries for item in entry.items)
            after |= {entry.shard: entry.position for entry in entries}
        return items

    async def _close(self, job: Job, ticket: Ticket, *, is_finished: bool) -> None:
        """Forget the ticket and what was made for it alone."""
        if ticket.is_page:
            await self._connected.jobs.delete(job.name)
        for rule in await self._connected.control.rules():
            ours = ticket.is_page or (is_finished and rule.by == by_task(ticket.id))
            if ours and (rule.what, rule.name) == ("job", job.name):
                await self._connected.control.set_rule(replace(rule, value="", why="its crawl has ended"))
        await self._connected.tickets.close(ticket.id)

    async def _call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the results in their thread. Return None if that fails, True if it returns nothing."""
        loop = asyncio.get_running_loop()

        async def call() -> Any:
            answer = await loop.run_in_executor(self._thread, method, *arguments)
            return True if answer is None else answer

        return await self._waits.attempt(call)


def by_task(ticket_id: str) -> str:
    """Return who a rule is by that a task has set."""
    return f"task {ticket_id}"


def _unread(stats: JobStats, result: JobResult) -> CrawlFailed:
    """Return why the only page of a job was not read."""
    if result.failure is not None:
        return CrawlFailed(f"{result.failure.kind}: {result.failure.message}", result.failure.traceback)
    if stats.closed:
        return CrawlFailed(f"the page was not fetched: the job was closed: {stats.closed}")
    skips = [name.removeprefix("skip/") for name in stats.counters if name.startswith("skip/")]
    return CrawlFailed(f"the page was skipped: {', '.join(sorted(skips)) or 'blocked'}")


def _summary(ticket: Ticket, stats: JobStats, result: JobResult) -> dict[str, Any]:
    """Return what `get()` of a crawl returns."""
    return {
        "job": result.job,
        "pages": result.progress.pages,
        "items": result.progress.items,
        "dead": stats.dead,
        "refused": ticket.refused,
        "reason": result.reason or "finished",
        "seconds": round(max(0.0, time.time() - ticket.issued), 3),  # the clocks of two machines
    }
