"""What is known of one URL, in words: the cases that take long to come about for real."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.model import Request
from crawler.status import HostTurn, JobStats, Kept, PageRead, Pause, Sighting, Skipped, Trace, WorkerInfo, clock
from crawler.views import reasons
from crawler.views.inquiry import Inquiry, Outlook

URL = "http://a.example/"
NOW = 1_760_000_000.0


def inquiry(*sightings: Sighting, workers: tuple[WorkerInfo, ...] = (WorkerInfo("w1", 9.0),), **trace: Any) -> Inquiry:
    counters = trace.pop("counters", {})
    outlook = trace.pop("outlook", Outlook("site", robots="robots.txt lets it"))
    return Inquiry(
        job="news",
        url=URL,
        trace=Trace(**{"known": True, "host": "a.example", "sightings": sightings, **trace}),
        stats=JobStats("news", at=NOW, outbox=trace.pop("outbox", 0), counters=counters),
        workers=workers,
        outlook=outlook,
        cap=2,
        outbox_limit=10,
    )


def waiting(**sighting: Any) -> Sighting:
    return Sighting("pending", Request(URL, depth=3), **sighting)


def test_a_done_one_is_certain_only_while_all_skips_are_remembered() -> None:
    assert reasons.told(inquiry()) == ["done: fetched and read"]
    read = PageRead(0.0, "w1", 200, 12_300, 1, 60)
    assert reasons.told(inquiry(read=read)) == [
        "done: fetched and read 1970-01-01 00:00:00 UTC by w1: status 200, 12.3 kB, 1 item, 60 links passed on"
    ]
    (said,) = reasons.told(inquiry(counters={"skip/robots": 6_000, "skip/redirect": 4_001}))
    assert said == "done: fetched and read, or skipped too long ago to be remembered (which of these is not kept)"


@pytest.mark.parametrize(
    ("pause", "then"),
    [
        (Pause("callback", "shop.parse", "x", 0.0, "news"), ", then crawler control resume callback:shop.parse"),
        (Pause("host", "a.example", "x", 0.0), ""),
    ],
)
def test_one_that_is_kept_to_be_fetched_again_says_why_and_how(pause: Pause, then: str) -> None:
    kept = Kept("shop.parse", {"price": "in 0 of 5 items, before in 20 of 20", "name": "in 1 of 5 items"})
    assert reasons.told(inquiry(kept=kept, pauses=(pause,)))[1:] == [
        "kept, because its items lack fields that others of shop.parse had: name is filled in 1 of 5 items; "
        "price is filled in 0 of 5 items, before in 20 of 20",
        f"after the fix: crawler redrive --incomplete --job news{then}" + " --job news" * bool(then),
    ]


def test_one_that_is_too_far_back_is_pending_for_all_we_know() -> None:
    told = inquiry(unseen=5_000)
    assert reasons.state(told) == "pending"
    assert reasons.told(told) == ["pending: not among the first 100,000, and 5,000 more wait behind them"]


@pytest.mark.parametrize(
    ("left", "text"), [(7.0, "(its lease: 7.0 s more"), (-3.0, "which is silent: the reaper will take it back")]
)
def test_in_flight_tells_whether_its_worker_lives(left: float, text: str) -> None:
    one = Sighting("processing", Request(URL), worker="w1")
    (said,) = reasons.told(inquiry(one, workers=(WorkerInfo("w1", left),)))
    assert said.startswith("in flight: w1 has it")
    assert text in said


def test_what_its_message_tells_of_its_past() -> None:
    assert reasons.origin(inquiry(waiting(attempt=1, delivery=4, crashes=2), redirected_from="http://a.example/0")) == [
        "redirected from http://a.example/0",
        "3 links away from a seed; which page linked to it is not kept",
        "failed 1 time so far",
        "its worker's machine was gone 2 times",
        "handed out 4 times before",
    ]


def test_what_it_waits_for_at_its_host() -> None:
    assert reasons.waits(inquiry(waiting(ahead=1), turn=HostTurn(90.0, inflight=2, delay=5.0))) == [
        "a.example has 2 requests in flight, its limit",
        f"a.example is at its pace; it asked for 5.0 s between requests; next request {clock(NOW, 90.0)}",
        "the 1 request before it",
    ]
    shared = inquiry(waiting(), turn=HostTurn(group="192.0.2.1"), group_turn=HostTurn(2.0))
    assert reasons.waits(shared) == [
        f"192.0.2.1, with which it shares its turns, is at its pace; next request {clock(NOW, 2.0)}",
    ]
    busy = HostTurn(90.0, rest=90.0, cause="http_503", rests=3)
    assert reasons.waits(inquiry(waiting(), turn=busy)) == [
        f"a.example answered 503 (3rd time); next try {clock(NOW, 90.0)}"
    ]
    assert reasons.waits(inquiry(waiting())) == ["nothing: a worker takes it with one of its next claims"]
    assert reasons.waits(inquiry()) == []


@pytest.mark.parametrize(
    ("left", "text"),
    [(7.0, "(its lease: 7.0 s more, renewed while it lives)"), (-3.0, ", which is silent: the reaper will")],
)
def test_it_waits_for_its_hosts_robots_txt(left: float, text: str) -> None:
    asked = inquiry(waiting(), workers=(WorkerInfo("w1", left), WorkerInfo("w2", 9.0)), turn=HostTurn(asking="w1"))
    (said,) = reasons.waits(asked)
    assert said.startswith("a.example is being asked for its robots.txt by w1")
    assert text in said


def test_a_skip_of_any_reason_is_told_with_its_detail() -> None:
    skipped = Skipped(URL, "noindex", "meta robots: noindex", 0.0)
    assert reasons.told(inquiry(skipped=skipped)) == [
        "skipped: noindex: meta robots: noindex (1970-01-01 00:00:00 UTC)"
    ]


def test_what_the_rules_say_is_told_only_of_what_is_still_to_be_asked_for() -> None:
    assert reasons.rules(inquiry(waiting())) == ["robots.txt lets it"]
    assert reasons.rules(inquiry(known=False, outlook=Outlook("x", ("no spider",), "robots.txt"))) == ["no spider"]
    assert reasons.rules(inquiry()) == []


def test_an_unknown_one_that_nothing_forbids_can_be_seeded() -> None:
    assert reasons.told(inquiry(known=False, outlook=Outlook("site", depth_limit=2))) == [
        "unknown: nobody seeded it, and the crawl has followed no link to it",
        "links more than 2 away from a seed are not followed (DEPTH_LIMIT)",
        "to fetch it: crawler seed http://a.example/ --job news",
    ]


def test_one_in_a_message_of_a_later_version_waits_for_a_newer_worker() -> None:
    told = inquiry(Sighting("delayed", Request(URL), due=60.0, later=2))
    assert reasons.waits(told)[0] == "a newer worker: its message is of version 2, which this crawler does not know"
    assert reasons.origin(told) == [], "its depth was not read"
