"""Figures in words: the cases that take long to come about for real."""

from __future__ import annotations

import pytest

from crawler.status import Backlog, JobStats, WorkerInfo
from crawler.views.figures import at_work, routes_differ, source_in_words, wait_for_newer, why_idle

WORKERS = [WorkerInfo("w1", 9.0)]


@pytest.mark.parametrize(
    ("backlog", "words"),
    [
        (Backlog("amqp://me@host:5672/?queue=urls", 1_234, 2), "…?queue=urls: 1,234 messages, 2 consumers"),
        (Backlog("redis://:secret@host/0?list=urls", 1), "redis://:***@host/0?list=urls: 1 message"),
    ],
)
def test_what_a_source_still_has(backlog: Backlog, words: str) -> None:
    assert source_in_words(backlog).endswith(words.removeprefix("…"))


def test_people_see_how_many_requests_wait_for_a_newer_worker_and_when_nothing_else_is_left() -> None:
    stats = JobStats("news", pending=1_003, delayed=1_003, later={3: 1, 2: 1_002})
    lines = [
        "1,002 requests of message version 2, which workers did not know; start newer workers",
        "1 request of message version 3, which workers did not know; start newer workers",
    ]
    assert wait_for_newer(stats) == lines
    assert why_idle(stats, WORKERS) == "only requests for newer workers are left: " + ", ".join(lines)
    more = JobStats("news", pending=1_004, delayed=1_004, later={2: 1_003})
    assert "newer" not in why_idle(more, WORKERS)


def routed(name: str, *queues: str, **routes: str) -> WorkerInfo:
    told = {f"spider:{spider}": queue for spider, queue in routes.items()}
    return WorkerInfo(name, 9.0, {"queues": list(queues), "routes": told})


def test_a_job_whose_queue_no_worker_serves_says_which_worker_to_start() -> None:
    shop, site = JobStats("s1", "shop", pending=1, ready=1), JobStats("other", "site", pending=1, ready=1)
    workers = [routed("w1", "default", shop="eu"), routed("w2", "fast", shop="eu", news="fast")]
    assert why_idle(shop, workers) == (
        "no worker serves the queue eu, to which ROUTES lead this job (2 workers for others); crawler worker --queue eu"
    )
    assert [one.worker for one in at_work(site, workers)] == ["w1"]
    assert why_idle(site, workers) == ""
    assert at_work(shop, [*workers, routed("w3", "eu", shop="eu")])
    assert at_work(shop, [*workers, WorkerInfo("w3", 9.0)]), "one without routes takes all jobs"
    assert at_work(shop, [*workers, WorkerInfo("w3", 9.0, {"jobs": ["s1"]})]), "one that names its jobs takes them"
    assert not at_work(site, [WorkerInfo("w3", 9.0, {"jobs": ["s1"]}), WorkerInfo("w4", -1.0)])
    assert at_work(shop, [WorkerInfo("w3", 9.0, {"queues": 5})]), "told in the words of another version"


def test_workers_with_different_routes_are_told() -> None:
    first, second = routed("w1", "default", shop="eu"), routed("w2", "eu", shop="eu")
    assert routes_differ([first, second, WorkerInfo("w3", 9.0, {"jobs": ["s1"]})]) == ""
    assert routes_differ([first, WorkerInfo("w3", -1.0, {})]) == "", "one has gone"
    for other in (routed("w3", "us", shop="us"), WorkerInfo("w3", 9.0, {})):
        assert routes_differ([first, second, other]).startswith("workers have 2 different ROUTES; each obeys its own")
