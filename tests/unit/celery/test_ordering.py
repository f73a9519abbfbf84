"""What all tasks have in common, without a worker."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from crawler.celery import install, ordering
from crawler.celery.ordering import FOLDER
from crawler.errors import ConfigError, FrontierReplaced, FrontierUnavailable, UsageError


def test_install_routes_our_tasks_and_keeps_the_routes_of_others() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_routes = {"shop.*": {"queue": "slow"}}
    install(app, folder="/srv/shop", queue="crawls")
    router = app.amqp.Router()
    assert router.route({}, "crawler.celery.crawl")["queue"].name == "crawls"
    assert router.route({}, "shop.index")["queue"].name == "slow"
    assert app.conf[FOLDER] == "/srv/shop"


def test_no_order_is_sent_whose_result_nobody_could_get() -> None:
    app = Celery("shop", broker="memory://", backend="rpc://", set_as_current=False)
    install(app)
    app.loader.import_default_modules()
    with pytest.raises(ConfigError, match="rpc:// cannot tell"):
        app.tasks["crawler.celery.crawl"].delay(["http://a.example/"])


class Again(Exception):
    """What `Task.retry` returns."""


@pytest.mark.parametrize("error", [TimeoutError(), FrontierUnavailable("away"), FrontierReplaced("emptied")])
def test_a_task_that_the_queue_server_could_not_serve_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(ordering, "client_of", lambda app: SimpleNamespace(run=fail))
    request = SimpleNamespace(called_directly=False)
    task = SimpleNamespace(app=None, request=request, retry=lambda exc, countdown: Again(exc, countdown))
    with pytest.raises(Again) as again:
        ordering.run(task, fail)
    assert again.value.args == (error, ordering.AGAIN)
    request.called_directly = True
    with pytest.raises(type(error)):
        ordering.run(task, fail)


def test_a_job_is_named_when_its_task_is_sent() -> None:
    """Two beats send the task of one tick at one moment; when a worker takes the messages is another matter."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_ignore_result = True
    install(app)
    app.loader.import_default_modules()
    crawl = app.tasks["crawler.celery.crawl"]
    for job in ("news-{date}-{id}", None):
        crawl.apply_async((["http://a.example/"],), {"job": job}, task_id="t1")
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        named, unnamed = (queue.get(timeout=5).payload[1]["job"] for _ in range(2))
    assert re.fullmatch(r"news-20\d\d-\d\d-\d\d-t1", named)
    assert unnamed is None, "the task's id will be its name"
    with pytest.raises(UsageError, match=r"a name has places for \{id\}, \{date\}, \{hour\}, \{minute\}, \{second\}"):
        crawl.delay(["http://a.example/"], job="news-{datetime}")


def test_places_in_the_name_of_a_job() -> None:
    for place, form in (
        ("{date}", r"20\d\d-\d\d-\d\d"),
        ("{hour}", r"20\d\d-\d\d-\d\dT\d\d"),
        ("{minute}", r"20\d\d-\d\d-\d\dT\d{4}"),
        ("{second}", r"20\d\d-\d\d-\d\dT\d{6}"),
        ("{id}", "t1"),
    ):
        assert re.fullmatch(f"news-{form}", ordering.job_name(f"news-{place}", "t1"))
