"""What is read for the result of a job, and when: its dead letters and last errors."""

from __future__ import annotations

import pytest

from crawler.app import results
from crawler.interfaces import Pace
from crawler.model import Dead, Done, Failure, Job, Outcome, Request, Retry, Visit
from tests.memory import MemoryFrontier

AT_ONCE = Pace(delay=0.0, concurrency=1000)
BROKEN = Failure("callback", "KeyError: 'price'", None, "Traceback …", "KeyError", "spiders/shop.py:9")
MISSING = Dead(Failure("http_404", "404 Not Found", 404))


async def visited(*outcomes: Outcome) -> MemoryFrontier:
    """A frontier with a job of one page for each outcome, each visited."""
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    await frontier.add(job, [Request(f"http://a.example/{number}") for number in range(len(outcomes))], seed=True)
    claim = await frontier.claim("w1", 10_000, [job], AT_ONCE)
    assert len(claim.leases) == len(outcomes)
    visits = [(lease, Visit(outcome)) for lease, outcome in zip(claim.leases, outcomes, strict=True)]
    for at in range(0, len(visits), 100):
        assert all(await frontier.commit("w1", visits[at : at + 100], AT_ONCE))
    return frontier


async def test_a_job_that_nobody_made_is_unknown_and_not_pending() -> None:
    frontier = await visited(Done())
    found = await results.job_result(frontier.backend, "new")
    assert (found.job, found.state) == ("new", "UNKNOWN")
    assert found.reason == "no job is named 'new'; did you mean news? there are: news"
    assert (await results.job_result(frontier.backend, "news")).state == "SUCCESS"


async def test_a_failure_is_that_of_the_largest_group() -> None:
    frontier = await visited(MISSING, Dead(BROKEN), Dead(BROKEN), Done())
    found = await results.job_result(frontier.backend, "news")
    assert (found.state, found.failure) == ("FAILURE", BROKEN)


async def test_a_loss_is_a_failure_if_the_settings_are_strict() -> None:
    frontier = await visited(MISSING, Done())
    assert (await results.job_result(frontier.backend, "news")).state == "SUCCESS"
    found = await results.job_result(frontier.backend, "news", strict=True)
    assert (found.state, found.failure) == ("FAILURE", MISSING.failure)


async def test_a_pause_for_pages_that_fail_alike_tells_their_traceback() -> None:
    frontier = await visited(Dead(BROKEN), Retry(Failure("timeout", "no answer"), 60.0))
    (job,) = await frontier.jobs()
    await frontier.backend.pauses.pause(job, "job", "news", "9 of 9 pages failed alike")
    found = await results.job_result(frontier.backend, "news")
    assert (found.state, found.failure and found.failure.kind) == ("FAILURE", "paused")
    assert found.failure is not None
    assert found.failure.traceback == BROKEN.traceback


async def test_a_page_that_waits_for_another_try_tells_its_last_error() -> None:
    frontier = await visited(Done(), Retry(Failure("timeout", "no answer within 30 s"), 60.0))
    found = await results.job_result(frontier.backend, "news")
    assert (found.state, found.reason) == ("RETRY", "no answer within 30 s")


async def test_a_thousand_of_the_dead_letters_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "LETTERS_READ", 3)
    (group,) = await results.largest_groups((await visited(*[MISSING] * 5)).backend.letters, Job("news"), 1)
    assert group.count == 3


async def test_no_dead_letter_is_read_for_a_result_that_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    frontier = await visited(MISSING, Done())
    monkeypatch.setattr(results, "largest_groups", None)
    assert (await results.job_result(frontier.backend, "news")).state == "SUCCESS"
