"""Figures in words: the cases that take long to come about for real."""

from __future__ import annotations

import pytest

from crawler.status import Backlog, JobStats, WorkerInfo
from crawler.views.figures import source_in_words, wait_for_newer, why_idle

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
