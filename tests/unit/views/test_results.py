"""The state of a job and of a URL: one row for each way to it, and the rule that decides between two."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crawler.control.dead_letters import Group
from crawler.model import Failure, Request
from crawler.status import (
    DeadLetter,
    Failing,
    HostTurn,
    HostView,
    JobStats,
    PageRead,
    Pause,
    Sighting,
    Skipped,
    Trace,
    WorkerInfo,
)
from crawler.views.inquiry import Inquiry, Outlook
from crawler.views.results import VERSION, Counts, JobResult, State, UrlResult, of_job, of_url

AT_WORK = (WorkerInfo("w1", 9.0, {"rates": {"news": 2.5, "other": 9.0}}), WorkerInfo("w2", 9.0, {"rates": {"news": 1}}))
SILENT = WorkerInfo("w3", -1.0, {"rates": {"news": 50.0}})
KEY_ERROR = Failure("callback", "KeyError: 'price'", 200, "Traceback …", "KeyError", "spiders/shop.py:9")
LARGEST = Group(("callback/KeyError", "spiders/shop.py:9"), 3, failure=KEY_ERROR)
RESTING = HostView("a.example", 0, HostTurn(rest=60.0, cause="http_503", rests=1))
PERSON = Pause("host", "a.example", "its owner asked (by me@here)", 0.0, "", "me@here")
ALARM = Pause("host", "b.example", "9 of 9 pages failed alike: http_403", 0.0, "news")
WHOLE = Pause("job", "news", "ordered (by me@here)", 0.0, "", "me@here")


def job(**figures: Any) -> JobStats:
    return JobStats("news", **figures)


def over(**figures: Any) -> JobStats:
    """A finished job of ten pages that were read, unless the figures say otherwise."""
    counters = {"pages": 10, "items": 10, **figures.pop("counters", {})}
    return job(**{"known": 10, "done": 10, "finished": True, "counters": counters, **figures})


@pytest.mark.parametrize(
    ("stats", "state"),
    [
        (job(), "PENDING"),
        (job(seeding=1), "PENDING"),
        (job(known=3, pending=3, ready=1), "PENDING"),
        (job(known=3, pending=3, resting=(RESTING,)), "PENDING"),  # another job had the host put to rest
        (job(known=3, pending=2, processing=1), "STARTED"),
        (job(known=3, pending=2, done=1), "STARTED"),
        *((job(known=3, pending=3, counters={name: 1}), "STARTED") for name in ("released", "reaped", "set_aside")),
        (job(known=3, pending=3, counters={"redriven": 1}), "STARTED"),
        (job(known=3, done=3, seeding=1), "STARTED"),
        (job(known=3, pending=2, done=1, failing=2), "RETRY"),
        (job(known=3, pending=3, counters={"retried": 3}, failing=3, delayed=3), "RETRY"),
        (job(known=3, pending=3, counters={"spared": 1}, resting=(RESTING,)), "RETRY"),
        (job(known=3, pending=2, done=1, failing=1), "STARTED"),  # another page has not failed yet
        (job(known=3, pending=2, processing=1, failing=2), "STARTED"),
        (job(known=3, pending=2, done=1, failing=2, seeding=1), "STARTED"),
        (job(known=3, pending=2, done=1, resting=(RESTING,), ready=1), "STARTED"),
        (job(known=3, pending=2, done=1, resting=(RESTING,), is_pacing=True), "STARTED"),
    ],
)
def test_a_job_that_is_not_finished(stats: JobStats, state: str) -> None:
    found = of_job(stats, AT_WORK)
    assert found.state == state
    assert found.failure is None


@pytest.mark.parametrize(
    ("paused", "more", "state"),
    [
        ((WHOLE,), {"processing": 1, "ready": 1}, "REVOKED"),  # at once: what is in flight ends by itself
        ((WHOLE,), {"pending": 0, "seeding": 1}, "REVOKED"),
        ((WHOLE,), {"outbox": 1}, "REVOKED"),
        ((PERSON,), {}, "REVOKED"),
        ((PERSON,), {"ready": 1}, "STARTED"),  # others go on
        ((PERSON,), {"seeding": 1}, "STARTED"),
        ((ALARM,), {}, "FAILURE"),
        ((PERSON, ALARM), {}, "FAILURE"),
        ((msgspec.structs.replace(WHOLE, by=""),), {"ready": 1}, "FAILURE"),
        ((WHOLE, ALARM), {}, "REVOKED"),
        ((ALARM,), {"processing": 1}, "STARTED"),
    ],
)
def test_a_pause_of_a_person_revokes_and_one_for_pages_that_fail_alike_fails(
    paused: tuple[Pause, ...], more: dict[str, int], state: str
) -> None:
    found = of_job(job(**{"known": 9, "pending": 5, "done": 4, "paused": paused, **more}), AT_WORK)
    assert found.state == state
    if state == "REVOKED":
        assert "(by me@here); crawler control resume" in found.reason


def test_a_pause_for_pages_that_fail_alike_is_the_failure() -> None:
    stats = job(known=9, pending=5, dead=4, paused=(ALARM,))
    found = of_job(stats, AT_WORK, largest=LARGEST)
    assert found.failure == Failure("paused", found.reason, traceback="Traceback …")
    assert "host b.example: 9 of 9 pages failed alike: http_403; crawler control resume b.example" in found.reason
    assert of_job(stats, AT_WORK).failure == Failure("paused", found.reason)


def test_a_block_of_the_job_revokes_it_before_and_after_its_pages_have_ended() -> None:
    for stats in (job(known=9, pending=9), over(counters={"skip/blocked": 1})):
        found = of_job(msgspec.structs.replace(stats, blocked="wrong site (by me@here)"))
        assert (found.state, found.reason) == ("REVOKED", "blocked: wrong site (by me@here)")
    assert of_job(over(blocked="too late (by me@here)")).state == "SUCCESS"
    assert of_job(over(counters={"skip/blocked": 1})).state == "SUCCESS"  # one of its hosts was blocked


def test_a_pause_of_a_job_that_is_finished_changes_nothing() -> None:
    assert of_job(over(paused=(WHOLE,))).state == "SUCCESS"


@pytest.mark.parametrize(
    ("stats", "strict", "state", "kind"),
    [
        (over(), True, "SUCCESS", ""),
        (over(dead=10), False, "SUCCESS", ""),
        (over(dead=11), False, "FAILURE", "callback"),
        (over(dead=1), True, "FAILURE", "callback"),
        (over(counters={"cut/links": 1}), False, "SUCCESS", ""),
        (over(counters={"cut/links": 1}), True, "FAILURE", "cut/links"),
        (over(counters={"skip/robots": 1}), True, "SUCCESS", ""),
        (over(counters={"pages": 0, "items": 0, "skip/robots": 10}), True, "FAILURE", "nothing"),
    ],
)
def test_a_finished_job_fails_exactly_if_its_command_would(
    stats: JobStats, strict: bool, state: str, kind: str
) -> None:
    found = of_job(stats, largest=LARGEST if stats.dead else None, strict=strict)
    assert found.state == state
    assert (found.failure.kind if found.failure else "") == kind


def test_a_failure_says_what_most_of_it_failed_of() -> None:
    found = of_job(over(dead=11), largest=LARGEST)
    assert found.failure == KEY_ERROR
    assert found.reason == "11 pages: given up; crawler dead --job news; 3 pages: callback/KeyError"
    dropped_meanwhile = of_job(over(dead=11))
    assert dropped_meanwhile.failure == Failure("dead", "11 pages: given up; crawler dead --job news")


def test_what_was_lost_is_the_reason_of_a_success() -> None:
    assert of_job(over(dead=1), largest=LARGEST).reason == "1 page: given up; crawler dead --job news"
    assert of_job(over()).reason == ""


@pytest.mark.parametrize(
    "stats", [over(outbox=2), over(outbox=2, dead=11), over(outbox=2, blocked="by me", counters={"skip/blocked": 1})]
)
def test_nothing_is_final_before_all_items_are_exported(stats: JobStats) -> None:
    found = of_job(stats, largest=LARGEST)
    assert (found.state, found.progress.unexported) == ("STARTED", 2)
    assert found.reason == "items of 2 pages wait to be written: crawler export --job news -o FILE"


def test_a_retry_says_the_last_error_and_which_hosts_rest() -> None:
    stats = job(known=3, pending=2, done=1, failing=2, resting=(RESTING,))
    last = Failing("http://a.example/1", "http://a.example/1: 503 Service Unavailable", 0.0)
    error, rests = of_job(stats, AT_WORK, last=last).reason.split("; ", 1)
    assert error == last.error
    assert rests.startswith("a.example answered 503 (1st time); next try")
    assert of_job(job(known=3, pending=3, failing=3, counters={"retried": 3})).reason.startswith("no worker is running")


def test_one_that_waits_says_what_for() -> None:
    assert of_job(job(known=3, pending=3)).reason == "no worker is running; start one with: crawler worker"
    lacking = WorkerInfo("w1", 9.0, {"no_spider": {"news": {"shop": "no such spider"}}})
    assert "cannot use spider shop: no such spider" in of_job(job(known=3, pending=3, ready=1), [lacking]).reason
    assert of_job(job(known=3, pending=2, processing=1), AT_WORK).reason == ""


def test_how_far_it_is() -> None:
    stats = job(
        known=15, pending=1, processing=2, done=5, dead=4, dropped=3, outbox=7, counters={"pages": 4, "items": 8}
    )
    found = of_job(stats, [*AT_WORK, SILENT])
    assert found.progress == Counts(15, 1, 2, 5, 4, 3, 4, 8, 7, 3.5)


def test_a_program_reads_it_from_json_with_all_its_fields() -> None:
    read = msgspec.json.decode(msgspec.json.encode(of_job(over(dead=11), largest=LARGEST)))
    assert list(read) == ["job", "state", "reason", "failure", "progress", "version"]
    assert (read["state"], read["version"]) == ("FAILURE", VERSION)
    assert set(read["failure"]) == {"kind", "message", "status", "traceback", "error", "line"}
    assert msgspec.convert(read, JobResult).state is State.FAILURE


def test_a_closed_job_is_a_success_that_says_what_it_leaves() -> None:
    left = over(closed="closespider_pagecount", known=52, pending=42)
    found = of_job(left, strict=True)
    assert (found.state, found.failure) == ("SUCCESS", None)
    assert found.reason.startswith("closed: closespider_pagecount; 42 requests were left pending")
    assert "control resume job:news" in found.reason


def test_a_closed_job_that_gave_up_more_than_it_read_fails() -> None:
    assert of_job(over(closed="closespider_errorcount", dead=11)).state == "FAILURE"


def test_a_job_that_is_closed_says_so_while_pages_are_in_flight() -> None:
    found = of_job(job(closed="enough", known=9, pending=4, processing=2, done=3), AT_WORK)
    assert found.state == "STARTED"
    assert found.reason == "closed: enough; 2 requests in flight will end; 4 requests were left pending"


def test_a_page_that_a_closed_job_leaves_is_revoked() -> None:
    closed = over(closed="enough", known=12, pending=1)
    trace = Trace(known=True, host="a.example", sightings=(PENDING,))
    found = of_url(Inquiry("news", URL, trace, closed, AT_WORK, Outlook("shop"), 2, 10))
    assert found.state == "REVOKED"
    assert found.reason.startswith("not fetched: the job was closed: enough; 1 request was left pending; ")


# ---------------------------------------------------------------------------------------------------------
# URLs

URL = "http://a.example/1"
PENDING = Sighting("pending", Request(URL))
READ = PageRead(0.0, "w1", 200, 12, 1, 0)
LETTER = DeadLetter("id1", URL, "shop", "parse", 1, "w1", 0.0, KEY_ERROR, "")
LAST = Failing(URL, f"{URL}: 503 Service Unavailable", 0.0)


def url(*sightings: Sighting, **trace: Any) -> UrlResult:
    known = Trace(**{"known": True, "host": "a.example", "sightings": sightings, **trace})
    return of_url(Inquiry("news", URL, known, JobStats("news"), AT_WORK, Outlook("shop"), 2, 10))


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (url(known=False), "UNKNOWN", "unknown: nobody seeded it"),
        (url(PENDING), "PENDING", "nothing: a worker takes it with one of its next claims"),
        (url(unseen=5), "PENDING", "nothing"),
        (url(Sighting("delayed", Request(URL), due=60.0)), "PENDING", "its own time, in 1 min 00 s"),
        (url(Sighting("pending", Request(URL), delivery=1)), "PENDING", ""),  # handed back unharmed
        (url(PENDING, pauses=(ALARM,)), "PENDING", "host b.example is paused since"),
        (url(PENDING, pauses=(ALARM, PERSON)), "REVOKED", "host b.example is paused since"),
        (url(Sighting("processing", Request(URL), worker="w1")), "STARTED", "in flight: w1 has it"),
        (url(Sighting("processing", Request(URL), worker="w1"), pauses=(PERSON,)), "STARTED", "in flight"),
        (url(Sighting("delayed", Request(URL), attempt=1, due=9.0), failing=LAST), "RETRY", f"{LAST.error}; its own"),
        (url(PENDING, failing=LAST), "RETRY", LAST.error),  # its host is to blame: no attempt counted
        (url(Sighting("pending", Request(URL), crashes=1)), "RETRY", "nothing"),
        (url(PENDING, failing=LAST, pauses=(PERSON,)), "REVOKED", "host a.example is paused since"),
        (url(skipped=Skipped(URL, "blocked", "", 0.0)), "REVOKED", "skipped: a person has blocked it"),
        (
            url(skipped=Skipped(URL, "redirect", "http://a.example/2", 0.0)),
            "SUCCESS",
            "skipped: it redirects elsewhere",
        ),
        (url(read=READ), "SUCCESS", "done: fetched and read"),
        (url(), "SUCCESS", "done: fetched and read"),
        (url(read=msgspec.structs.replace(READ, exported=False)), "STARTED", "done: fetched and read"),
    ],
)
def test_a_url(found: UrlResult, state: str, reason: str) -> None:
    assert (found.job, found.url, found.state, found.failure) == ("news", URL, state, None)
    assert found.reason.startswith(reason)


def test_a_url_that_was_given_up_tells_what_of() -> None:
    found = url(Sighting("dead", Request(URL), letter=LETTER))
    assert (found.state, found.failure) == ("FAILURE", KEY_ERROR)
    assert "given up 1970-01-01 00:00:00 UTC after the first try: callback/KeyError" in found.reason


def test_a_url_that_was_not_read_is_no_success() -> None:
    found = url(skipped=Skipped(URL, "robots", "Disallow: /", 0.0))
    assert found.state == "FAILURE"
    assert found.failure == Failure(
        "skip/robots", "skipped: robots.txt forbids it: Disallow: / (1970-01-01 00:00:00 UTC)"
    )
