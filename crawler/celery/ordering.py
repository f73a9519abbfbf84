"""What the tasks have in common: they are short, may be delivered twice, and leave before their crawl has ended."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from celery import Task, states
from celery.exceptions import Ignore, Reject
from celery.utils import uuid

from crawler.app.celery_results import check_app, reply_of
from crawler.celery.client import Client, client
from crawler.errors import CrawlerError, FrontierReplaced, UsageError
from crawler.interfaces import Backend
from crawler.model import Ticket
from crawler.runtime.patience import OUTAGE

AGAIN = 5.0  # seconds before a task is tried again that the queue server could not serve
TIMES = {
    "{date}": "%Y-%m-%d",
    "{hour}": "%Y-%m-%dT%H",
    "{minute}": "%Y-%m-%dT%H%M",
    "{second}": "%Y-%m-%dT%H%M%S",
}
"""Places in the name of a job, each for the whole time down to that unit."""

FOLDER = "crawler_folder"  # in the configuration of Celery: the project whose settings and spiders count


class Ordering(Task):
    """A task of the crawler. The message is acknowledged when the order is on the queue server's disk."""

    abstract = True
    serializer = "json"
    acks_late = True
    reject_on_worker_lost = True
    track_started = False  # its own STARTED names the job
    max_retries = None
    throws = (CrawlerError,)  # told to whoever called it, and no bug: no traceback in the worker's log

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Send the task, and note that it is PENDING, so that `state` can tell it from one that nobody sent.

        Its job is named now, not when a worker takes the message: two beats that send the task of one tick name one
        job. Raises `ConfigError` for an app whose results nobody could rely on, `UsageError` for an unknown place.
        """
        app = self._get_app()
        check_app(app)
        task_id = task_id or uuid()
        if kwargs and kwargs.get("job"):
            kwargs = {**kwargs, "job": job_name(str(kwargs["job"]), task_id)}
        if not (options.get("ignore_result") or app.conf.task_ignore_result or app.conf.task_always_eager):
            note_pending(app, task_id)
        return super().apply_async(args, kwargs, task_id=task_id, **options)


def note_pending(app: Any, task_id: str) -> None:
    """Store PENDING, unless the task has a state."""
    if app.conf.result_backend and not app.backend.task_result_exists(task_id):
        app.backend.store_result(task_id, None, states.PENDING)


def client_of(app: Any) -> Client:
    """Return the client for the app's project: `crawler_folder`, or the working directory."""
    return client(Path(app.conf.get(FOLDER) or ".").resolve())


def order(task: Any, job: str, work: Callable[[Client, Backend, Ticket], Awaitable[None]]) -> NoReturn:
    """Order what `work(client, connection, ticket)` orders, and leave: the exporter tells the result.

    `job` may have places, as for `job_name`; empty: the task's id. Does nothing if the task has its result. `work` must
    have the same effect if it is called again.
    """
    check_app(task.app)
    name = _begin(task, job)
    ticket = Ticket(task.request.id, name, "", issued=time.time(), reply=reply_of(task.request))

    async def with_ticket(client: Client, connected: Backend) -> None:
        await work(client, connected, ticket)

    run(task, with_ticket, kwargs={**task.request.kwargs, **({"job": name} if job else {})})
    raise Ignore


def run(task: Any, work: Callable[[Client, Backend], Awaitable[Any]], **again: Any) -> Any:
    """Return what `work(client, connection)` returns. During an outage of the queue server, or if it was replaced under
    the connection, try the task again later; `again` are arguments of `Task.retry`."""
    mine = client_of(task.app)
    try:
        return mine.run(lambda connected: work(mine, connected))
    except (TimeoutError, FrontierReplaced, *OUTAGE) as error:
        if task.request.called_directly:
            raise
        raise task.retry(exc=error, countdown=AGAIN, **again) from error


def _begin(task: Any, job: str) -> str:
    """Store STARTED with the name of the job, and return the name, which stays when the task is delivered again. Raise
    `Ignore` if the task has its result."""
    request, name = task.request, job_name(str(job or "{id}"), task.request.id)
    try:
        has_result = task.app.conf.result_backend and not request.ignore_result
        said = task.backend.get_task_meta(request.id, cache=False) if has_result else {}
        if said.get("status") in states.READY_STATES:
            raise Ignore
        before = said.get("result")
        name = (before.get("job") if isinstance(before, dict) else None) or name
        if has_result:
            task.backend.store_result(request.id, {"job": name}, states.STARTED, request=request)
    except Ignore:
        raise
    except Exception as error:  # whatever the database of the results raises; it has tried for a while
        raise Reject(error, requeue=True) from error
    return name


def job_name(text: str, task_id: str) -> str:
    """Return the name with `{id}` replaced by the task's, and each of `TIMES` by the time (UTC). Raise `UsageError`."""
    now, name = datetime.now(UTC), text.replace("{id}", task_id)
    for place, form in TIMES.items():
        name = name.replace(place, f"{now:{form}}")
    if "{" in name:
        raise UsageError(f"job {text!r}: a name has places for {', '.join(('{id}', *TIMES))}")
    return name
