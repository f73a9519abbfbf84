"""What is stored for a task of Celery, and what is started after it, without a worker and without a crawl."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, states
from celery.result import AsyncResult

from crawler.app.celery_results import PROGRESS, CeleryResults, app_of, check_app, reply_of
from crawler.errors import ConfigError, CrawlFailed, CrawlRetries
from crawler.model import Ticket
from crawler.views.results import Counts, JobResult, State

AT_WORK = JobResult("news", State.STARTED, "waits", progress=Counts(known=7, done=2))


@pytest.fixture
def app() -> Iterator[Any]:
    """An app that sends messages and keeps results in this process."""
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield app
    app.close()


def ticket(app: Any, id: str, **request: Any) -> Ticket:
    asked = {"id": id, "task": "crawler.celery.crawl", "delivery_info": {"routing_key": "crawls"}, **request}
    return Ticket(id, "news", "e1", reply=reply_of(SimpleNamespace(**asked)))


def of(app: Any, id: str) -> tuple[str, Any]:
    result = AsyncResult(id, app=app)
    return result.state, result.result


def sent(app: Any) -> list[dict[str, Any]]:
    """The messages that wait: their headers and arguments."""
    found = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        while len(queue):
            message = queue.get(block=False)
            found.append({**message.headers, "given": message.payload[0], "chain": message.payload[2]["chain"]})
            message.ack()
        queue.close()
    return found


def test_progress_is_stored_and_a_retry_has_its_reason(app: Any) -> None:
    results, one = CeleryResults(app), ticket(app, "t1")
    results.note(one, JobResult("news", State.PENDING))
    assert of(app, "t1") == (states.PENDING, None), "nobody works on it yet"
    results.note(one, AT_WORK)
    state, info = of(app, "t1")
    assert (state, info["job"], info["known"], info["done"], info["reason"]) == (PROGRESS, "news", 7, 2, "waits")
    results.note(one, JobResult("news", State.RETRY, "http_503"))
    state, error = of(app, "t1")
    assert (state, type(error), str(error)) == (states.RETRY, CrawlRetries, "http_503")
    assert not results.told(one)


def test_the_rest_of_the_chain_follows_with_its_ids(app: Any) -> None:
    rest = [app.signature("last", task_id="t3"), app.signature("next", task_id="t2")]  # as Celery keeps it: reversed
    callback = app.signature("call", task_id="t4", immutable=True)
    results, one = CeleryResults(app), ticket(app, "t1", chain=rest, callbacks=[callback], root_id="t0")
    results.succeed(one, {"pages": 3})
    assert results.told(one)
    assert of(app, "t1") == (states.SUCCESS, {"pages": 3})
    call, following = sent(app)
    assert (call["id"], call["given"], call["root_id"], call["parent_id"]) == ("t4", [], "t0", "t1")
    assert (following["id"], following["given"], following["root_id"]) == ("t2", [{"pages": 3}], "t0")
    assert [task["options"]["task_id"] for task in following["chain"]] == ["t3"]


def test_a_failure_ends_the_rest_of_the_chain(app: Any) -> None:
    results, one = CeleryResults(app), ticket(app, "t5", chain=[app.signature("next", task_id="t6")])
    results.fail(one, CrawlFailed("1 page: callback/KeyError", "Traceback …"))
    for id in ("t5", "t6"):
        state, error = of(app, id)
        assert (state, error.reason, error.traceback) == (states.FAILURE, "1 page: callback/KeyError", "Traceback …")
    assert AsyncResult("t5", app=app).traceback == "Traceback …"
    assert sent(app) == []


def test_nothing_is_stored_for_a_task_that_ignores_its_result(app: Any) -> None:
    results, one = CeleryResults(app), ticket(app, "t7", ignore_result=True)
    results.note(one, AT_WORK)
    results.succeed(one, {})
    results.revoke(one, "stopped")
    results.fail(one, CrawlFailed("x"))
    assert of(app, "t7") == (states.PENDING, None)


def test_a_revoked_task(app: Any) -> None:
    results, one = CeleryResults(app), ticket(app, "t8")
    results.revoke(one, "paused (by ann)")
    state, error = of(app, "t8")
    assert (state, str(error)) == (states.REVOKED, "paused (by ann)")


def test_apps_that_nobody_could_rely_on() -> None:
    rpc = Celery("shop", broker="memory://", backend="rpc://", set_as_current=False)
    with pytest.raises(ConfigError, match="rpc:// cannot tell"):
        check_app(rpc)
    pickled = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    pickled.conf.result_serializer = "pickle"
    with pytest.raises(ConfigError, match="nothing is unpickled"):
        check_app(pickled)


def test_a_celery_app_that_cannot_be_meant() -> None:
    for name, why in (("nowhere:app", "ModuleNotFoundError"), ("json:dumps", "not an app of Celery")):
        with pytest.raises(ConfigError, match=f"CELERY_APP={name}: .*{why}"):
            app_of(name)
