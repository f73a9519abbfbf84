"""What counts as a failure that many pages share, when it is said, and in which words."""

from __future__ import annotations

import pytest
import structlog
import structlog.testing

from crawler.control.pauses import Pauses
from crawler.model import Dead, Done, Failure, Outcome, Release, Retry, Skip, Visit
from crawler.policy import verdict
from crawler.status import JobStats, Pause
from crawler.views import figures

HOST = Pause("host", "a.example", "23 of 25 failed with http_403", 1.0, "news")
JOB = Pause("job", "news", "till Monday", 2.0)


def http(status: int) -> Failure:
    """As `policy.judge` makes it."""
    return Failure(f"http_{status}", "x", status)


@pytest.mark.parametrize(
    ("outcome", "status", "word"),
    [
        (Done(), 200, "ok"),
        (Skip("redirect"), 301, "ok"),
        (Skip("robots"), None, ""),
        (Release("shutdown"), None, ""),
        (Dead(http(404)), 404, "ok"),
        (Dead(http(410)), 410, "ok"),
        (Dead(http(403)), 403, "http_403"),
        (Dead(http(401)), 401, "http_401"),
        (Retry(http(403), 1.0), 403, "http_403"),
        (Retry(http(429), 1.0), 429, ""),
        (Retry(http(503), 1.0), 503, ""),
        (Dead(http(599)), 599, ""),
        (Retry(Failure("timeout", "x"), 1.0), None, ""),
        (Dead(Failure("dns", "x")), None, ""),
        (Dead(Failure("callback", "x")), 200, "callback"),
        (Dead(Failure("redirects", "x", 302)), 302, "ok"),
        (Retry(Failure("truncated", "x"), 1.0), None, ""),
        (Dead(Failure("malformed", "x")), None, ""),
        (Retry(Failure("spider", "x"), 1.0), None, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_visit_says_about_its_host_and_spider(outcome: Outcome, status: int | None, word: str) -> None:
    assert verdict(Visit(outcome, status=status)) == word


@pytest.mark.parametrize(
    ("changes", "held"),
    [
        ({"held": 1}, True),
        ({"held": 1, "ready": 1}, False),
        ({"held": 1, "cooling": 1}, False),
        ({"held": 1, "delayed": 1}, False),
        ({"processing": 1}, False),
        ({"seeding": 1}, False),
        ({"pending": 0}, False),
        ({"paused": ()}, False),
        ({"paused": (JOB,), "ready": 3}, True),
    ],
)
def test_a_job_is_held_when_nothing_moves_before_somebody_resumes_it(changes: dict[str, object], held: bool) -> None:
    given: dict[str, object] = {"job": "news", "pending": 5, "paused": (HOST,), **changes}
    assert JobStats(**given).is_all_paused is held  # type: ignore[arg-type]


def test_what_is_pending_may_be_paused_while_a_seeder_brings_more() -> None:
    stats = JobStats("news", pending=5, held=1, paused=(HOST,), seeding=1)
    assert (stats.is_pending_paused, stats.is_all_paused) == (True, False)


def test_each_pause_is_said_once() -> None:
    pauses = Pauses()
    with structlog.testing.capture_logs() as said:
        for stats in (JobStats("news", paused=(HOST,)), JobStats("news", paused=(HOST, JOB)), JobStats("news")):
            pauses.seen(stats)
    usual = {"event": "paused", "log_level": "warning", "job": "news"}
    assert said == [
        {**usual, "host": "a.example", "why": HOST.why, "then": "crawler control resume a.example --job news"},
        {**usual, "why": "till Monday", "then": "crawler control resume job:news"},
    ]


def test_no_command_is_named_that_cannot_reach_the_job() -> None:
    with structlog.testing.capture_logs() as said:
        Pauses(resumable=False).seen(JobStats("news", paused=(HOST,)))
    assert [line.get("then") for line in said] == [None]


def test_status_names_what_is_paused_and_the_command_that_resumes_it() -> None:
    many = tuple(Pause("host", f"h{n}.example", "x", 1.0) for n in range(10))
    assert figures.pauses(JobStats("news", paused=(HOST,))) == [
        "paused: host a.example: 23 of 25 failed with http_403; crawler control resume a.example --job news"
    ]
    assert figures.pauses(JobStats("news", paused=many), 3)[-1] == "7 more are paused; crawler status --json names them"
    assert figures.pauses(JobStats("news")) == []
