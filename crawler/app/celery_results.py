"""Stores the results of the jobs that tasks of Celery have ordered, as a worker of Celery stores what a task returns.

A task that has ordered a crawl leaves with `Ignore`: Celery then stores no result, and starts nothing that follows. All
of that is done here instead, when the result is durable: what follows the task is started (callbacks, the rest of its
chain), then the result is stored. If this process dies in between, both are done again. The tasks that follow keep
their ids then, as with every message that Celery delivers twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from celery import Celery, states
from celery.app.task import Context
from celery.app.utils import find_app
from celery.backends.base import DisabledBackend
from celery.result import denied_join_result
from kombu.utils import json as kombu_json

from crawler.errors import ConfigError, CrawlFailed, CrawlRetries
from crawler.model import Ticket
from crawler.runtime.standard_output import kept_from_users
from crawler.views.results import JobResult, State

PROGRESS = "PROGRESS"

json: Any = kombu_json  # with the types that it knows, such as dates; its functions have none

KEPT = (
    *("id", "task", "root_id", "parent_id", "group", "group_index", "chord", "chain", "callbacks", "errbacks"),
    *("ignore_result", "retries", "hostname", "delivery_info"),
)
"""What a ticket keeps of a task's request: what Celery needs to store its result and to start what follows it."""


def reply_of(request: Any) -> str:
    """Return the request as a ticket keeps it."""
    kept = {name: value for name in KEPT if (value := getattr(request, name, None))}
    return str(json.dumps({**kept, "delivery_info": {**(request.delivery_info or {}), "redelivered": None}}))


def check_app(app: Any) -> None:
    """Raise `ConfigError` for an app of Celery whose results nobody could rely on."""
    url, serializer = str(app.conf.result_backend or ""), app.conf.result_serializer
    if url.partition(":")[0] == "rpc":
        raise ConfigError(
            "result_backend rpc:// cannot tell how a crawl ended: there a result is a message, which only the "
            "process that sent the task can take, once; r.ready() stays False after a RETRY. Use redis:// or a database"
        )
    if serializer != "json":
        raise ConfigError(f"result_serializer is {serializer!r}: results of crawls are JSON, and nothing is unpickled")


def app_of(name: str) -> Any:
    """Import the app that CELERY_APP names. Raise `ConfigError`."""
    try:
        with kept_from_users():
            app = find_app(name)
    except (Exception, SystemExit) as error:  # it is the user's code
        raise ConfigError(f"CELERY_APP={name}: {type(error).__name__}: {error}; write it as for celery -A") from error
    if not isinstance(app, Celery):
        raise ConfigError(f"CELERY_APP={name}: it is {type(app).__name__}, not an app of Celery")
    check_app(app)
    # What follows a task must not get lost with the broker: its result is stored then, and nobody sends it again.
    app.conf.broker_transport_options = {**(app.conf.broker_transport_options or {}), "confirm_publish": True}
    # An outage is waited out here, where it is logged and where a signal ends the wait.
    options = app.conf.result_backend_transport_options or {}
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 1}, **options}
    return app


class CeleryResults:
    """The results of one app. Its methods block, and are called in one thread at a time."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._said: dict[str, Any] = {}  # id of a task → what was stored for it last

    def told(self, ticket: Ticket) -> bool:
        """Return whether the task has its final state: this, or another process, stored it and died."""
        backend = self._app.backend
        return not isinstance(backend, DisabledBackend) and backend.get_state(ticket.id) in states.READY_STATES

    def note(self, ticket: Ticket, result: JobResult) -> None:
        """Store how far the job is, unless that is stored already."""
        request, backend = self._request(ticket), self._app.backend
        said: Any
        if result.state is State.RETRY:
            said = result.reason
        elif result.state is State.STARTED:
            said = progress(result)
        else:
            return  # nobody works on it yet: it is STARTED, as its task said
        if self._said.get(ticket.id) == said or request.ignore_result:
            return
        if result.state is State.RETRY:
            backend.mark_as_retry(ticket.id, CrawlRetries(result.reason), request=request)
        else:
            backend.store_result(ticket.id, said, PROGRESS, request=request)
        self._said[ticket.id] = said

    def succeed(self, ticket: Ticket, value: Any) -> None:
        """Start what follows the task, then store its result."""
        request = self._request(ticket)
        with denied_join_result():  # otherwise this process would wait for the results of what follows
            self._go_on(request, value)
            self._app.backend.mark_as_done(ticket.id, value, request=request)
        self._end(request, "task-succeeded", result=repr(value)[:1_000], runtime=time.time() - ticket.issued)

    def fail(self, ticket: Ticket, error: CrawlFailed) -> None:
        """Store why the crawl failed, also for the rest of the chain, and start the errbacks."""
        request = self._request(ticket)
        with denied_join_result():
            self._app.backend.mark_as_failure(
                ticket.id,
                error,
                traceback=error.traceback or None,
                request=request,
                store_result=not request.ignore_result,
            )
        self._end(request, "task-failed", exception=repr(error), traceback=error.traceback)

    def revoke(self, ticket: Ticket, why: str) -> None:
        """Store who stopped the crawl."""
        request = self._request(ticket)
        with denied_join_result():
            self._app.backend.mark_as_revoked(ticket.id, why, request=request, store_result=not request.ignore_result)
        self._end(request, "task-revoked", terminated=False, signum=None, expired=False)

    def _request(self, ticket: Ticket) -> Any:
        return Context(json.loads(ticket.reply))

    def _go_on(self, request: Any, value: Any) -> None:
        """Start the callbacks and the next task of the chain, as `celery.app.trace` does."""
        family: dict[str, Any] = {"parent_id": request.id, "root_id": request.root_id or request.id}
        if self._app.conf.task_inherit_parent_priority:
            family["priority"] = (request.delivery_info or {}).get("priority")
        for callback in request.callbacks or ():
            self._app.signature(callback).apply_async((value,), **family)
        if request.chain:
            following = self._app.signature(request.chain[-1])
            following.apply_async((value,), chain=request.chain[:-1], **family)

    def _end(self, request: Any, event: str, **facts: Any) -> None:
        """Tell monitors, such as Flower, if the workers do."""
        self._said.pop(request.id, None)
        if self._app.conf.worker_send_task_events:
            with self._app.events.default_dispatcher(hostname=request.hostname) as dispatcher:
                dispatcher.send(event, uuid=request.id, **facts)


def progress(result: JobResult) -> Mapping[str, Any]:
    """Return what `r.info` of a crawl in the state PROGRESS is."""
    counts = result.progress
    return {
        "job": result.job,
        "known": counts.known,
        "done": counts.done,
        "pending": counts.pending,
        "dead": counts.dead,
        "pages": counts.pages,
        "items": counts.items,
        "pages_per_second": counts.pages_per_second,
        "reason": result.reason,
    }
