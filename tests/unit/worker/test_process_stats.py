"""What a worker process tells of itself in its heartbeat."""

from __future__ import annotations

import time

import pytest

from crawler.model import Done, Lease, Outcome, Release, Request, Visit
from crawler.worker.process_stats import Tally


def visited(tally: Tally, job: str, outcome: Outcome) -> None:
    tally.visited(Lease(job, Request("http://a.example/"), b"", "a.example"), Visit(outcome))


def test_a_rate_counts_the_pages_of_each_job_since_the_last_heartbeat() -> None:
    began, tally = time.monotonic(), Tally("1")
    for job in ("news", "news", "shop"):
        visited(tally, job, Done())
    visited(tally, "news", Release("shutdown"))
    rates = tally.info()["rates"]
    assert list(rates) == ["news", "shop"]
    assert rates["news"] == pytest.approx(2 * rates["shop"], rel=0.1)
    assert rates["shop"] >= 1 / (time.monotonic() - began) - 0.01
    assert tally.info()["rates"] == {}
