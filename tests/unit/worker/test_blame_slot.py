"""What a worker notes about the page it parses, its supervisor can read."""

from __future__ import annotations

import pytest

from crawler.frontier.message import MAX_BYTES, encode
from crawler.model import Lease, Request
from crawler.policy import RetryPolicy
from crawler.worker.blame_slot import Making, NoSlot, Page, Slot


def lease(**meta: object) -> Lease:
    request = Request("http://a.example/", meta=meta)
    return Lease("news", request, encode(request), "a.example", attempt=1)


def parsed_in(slot: Slot) -> bytes:
    """The message of the page that the slot names."""
    seen = slot.read()
    assert seen is not None
    assert isinstance(seen.on, Page)
    return seen.on.lease.message


@pytest.mark.parametrize(
    "parsing",
    [lease(), lease(text="x" * (MAX_BYTES - 2_000)), lease(number=2**100)],
    ids=["plain", "as large as can be", "a number msgpack cannot write"],
)
def test_the_page_that_is_parsed_can_be_blamed(parsing: Lease) -> None:
    supervisor = Slot()
    worker = Slot(supervisor.descriptor)
    rules = RetryPolicy(retry_times=7, retry_http_codes=frozenset({500, 503}), retry_delay=0.25, retry_max_delay=9.0)
    worker.enter(parsing, rules)
    seen = supervisor.read()
    assert seen is not None
    assert isinstance(seen.on, Page)
    blamed = seen.on.lease
    assert (blamed.job, blamed.message, blamed.attempt) == ("news", parsing.message, 1)
    assert blamed.request.url == "http://a.example/"
    assert seen.on.retry == rules
    worker.leave(parsing)
    assert supervisor.read() is None


def test_of_overlapping_pages_the_one_begun_last_is_named() -> None:
    slot = Slot()
    first, second = lease(n=1), lease(n=2)
    slot.enter(first, RetryPolicy())
    slot.enter(second, RetryPolicy())
    assert parsed_in(slot) == second.message
    slot.leave(second)
    assert parsed_in(slot) == first.message


def test_while_a_spider_is_made_it_is_named_and_then_the_page_again() -> None:
    slot = Slot()
    page = lease()
    slot.enter(page, RetryPolicy())
    with slot.making("e1", "shop"):
        assert (seen := slot.read()) is not None
        assert seen.on == Making("e1", "shop")
    assert parsed_in(slot) == page.message
    slot.leave(page)
    with pytest.raises(KeyError), slot.making("e1", "shop"):
        raise KeyError("price")
    assert slot.read() is None
    with NoSlot().making("e1", "shop"):
        pass


def test_only_a_worker_that_has_come_to_its_end_has_an_exit_code_of_ours() -> None:
    supervisor = Slot()
    assert not supervisor.has_ended
    Slot(supervisor.descriptor).end()
    assert supervisor.has_ended
    supervisor.clear()
    assert not supervisor.has_ended, "the next process has not ended"
