"""The visit of one URL: whatever a spider or a page does costs that page and nothing else."""

from __future__ import annotations

import asyncio
import errno
import gc
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.errors import ConfigError, FetchError, OwnLimit
from crawler.frontier.message import MAX_BYTES, check, decode, encode
from crawler.interfaces import Fetcher
from crawler.model import Dead, Done, Failure, Follow, Lease, Release, Request, Retry, Visit
from crawler.parsing.limits import ParseLimits
from crawler.parsing.scope import Scope
from crawler.parsing.url import host_of
from crawler.policy import RetryPolicy, counts
from crawler.response import Response
from crawler.robots.gate import RobotsGate
from crawler.spiders.base import CloseSpider, Spider
from crawler.spiders.context import Crawler
from crawler.testing import FakeFetcher
from crawler.testing.contract.asking import held
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import LACKS_DELAY, Visitor
from crawler.worker.blame_slot import NoSlot
from tests.memory import MemoryFrontier

URL = "http://a.example/"


class Nobody:
    """No host was seeded."""

    async def among(self, job: str, hosts: Iterable[str]) -> set[str]:
        return set()


class Speechless(Exception):
    """Fails even when it is shown."""

    def __str__(self) -> str:
        raise ValueError


class Mischief(Spider):
    """Each callback does one thing no callback should."""

    name = "mischief"

    def parse(self, response: Response) -> Any:
        yield {"url": response.url}
        yield Request("http://a.example/next", meta={"page": 2})

    def wanders(self, response: Response) -> Any:
        for url in (
            "http://a.example/next",
            "http://b.example/",
            "http://b.example/2",
            "mailto:me@a.example",
            "http://",
        ):
            yield Request(url)

    def meta_no_json(self, response: Response) -> Any:
        yield Request("http://a.example/next", meta={"when": object()})

    def meta_too_large(self, response: Response) -> Any:
        yield Request("http://a.example/next", meta={"text": "x" * MAX_BYTES})

    def meta_nearly_too_large(self, response: Response) -> Any:
        yield Request("http://a.example/next", meta={"text": "x" * (MAX_BYTES - 600)})

    def priority_too_high(self, response: Response) -> Any:
        yield Request("http://a.example/next", priority=10**15)

    def priority_half(self, response: Response) -> Any:
        yield Request("http://a.example/next", priority=0.5)  # type: ignore[arg-type]

    def delay_endless(self, response: Response) -> Any:
        yield Request("http://a.example/next", delay=float("inf"))

    def headers_no_text(self, response: Response) -> Any:
        yield Request("http://a.example/next", headers={"x-page": 2.5})

    def url_no_text(self, response: Response) -> Any:
        yield Request(b"http://a.example/next")  # type: ignore[arg-type]

    def no_url(self, response: Response) -> Any:
        yield Request(None)  # type: ignore[arg-type]

    def logs_in(self, response: Response) -> Any:
        meta = {"step": 1}
        yield Request("http://a.example/login", method="POST", body="loginann", meta=meta)
        self.kept = meta

    def secret_in_url(self, response: Response) -> Any:
        yield Request("http://me:secret@a.example/", spider="other")

    def exits(self, response: Response) -> Any:
        sys.exit(2)

    async def cancels_itself(self, response: Response) -> Any:
        raise asyncio.CancelledError

    def surrogates(self, response: Response) -> Any:
        raise ValueError("price \ud800 is no number")

    def interrupts(self, response: Response) -> Any:
        raise KeyboardInterrupt

    def asks_a_database(self, response: Response) -> Any:
        raise RuntimeError("no answer") from TimeoutError()

    def reads_no_number(self, response: Response) -> Any:
        try:
            raise TimeoutError
        except TimeoutError:
            raise ValueError("no price") from None

    def raises(self, response: Response) -> Any:
        raise KeyError("price")

    def raises_too(self, request: Request, failure: Failure) -> Any:
        raise KeyError("price")

    def closes(self, response: Response) -> Any:
        yield {"url": response.url}
        yield Request(f"{response.url}next")
        raise CloseSpider("enough")

    def closes_for(self, request: Request, failure: Failure) -> Any:
        yield {"failed": request.url}
        raise CloseSpider(failure.kind)

    def gives_nothing(self, request: Request, failure: Failure) -> Any:
        return None

    def reads_the_answer(self, failure: Any) -> Any:
        yield {"text": failure.value.response.visible_text}

    def keeps_nothing(self, failure: Any) -> Any:
        assert failure.value.response.status == 404
        return None

    def speechless(self, response: Response) -> Any:
        raise Speechless

    def finds_the_disk_full(self, response: Response) -> Any:
        yield {"url": response.url}
        raise RuntimeError("cannot save") from OSError(errno.ENOSPC, "No space left on device")

    def opens_what_is_not_there(self, response: Response) -> Any:
        raise OSError(errno.ENOENT, "No such file or directory")

    def takes_all_memory(self, response: Response) -> Any:
        raise MemoryError

    async def waits(self, response: Response) -> Any:
        await asyncio.sleep(3600)

    def waits_in_process_item(self, response: Response) -> Any:
        yield {"wait": True}

    def counts_and_fails(self, response: Response) -> Any:
        self.crawler.stats.inc_value("read")
        yield {"url": response.url}
        raise ValueError("no price")

    def counts_the_failure(self, request: Request, failure: Failure) -> Any:
        self.crawler.stats.inc_value("given up")

    def counts_and_fails_again(self, request: Request, failure: Failure) -> Any:
        self.crawler.stats.inc_value("given up")
        raise ValueError("no price")

    async def process_item(self, item: Any) -> Any:
        if "wait" in item:
            await asyncio.sleep(3600)
        return item


def visitor(fetcher: Fetcher | None = None, scope: Scope | None = None) -> Visitor:
    ready = ReadySpider(spider=Mischief(), scope=scope or Scope(), retry=RetryPolicy(), gate=None)
    return Visitor(
        fetcher or FakeFetcher({URL: "<p>text"}), lambda job, spider: ready, Admission(Nobody(), check), NoSlot()
    )


def lease(callback: str = "parse", attempt: int = 0) -> Lease:
    request = Request(URL, callback=callback, spider="mischief")
    return Lease("news", request, encode(request), host_of(URL), attempt=attempt)


async def visit(callback: str, attempt: int = 0) -> Visit:
    return await visitor().visit(lease(callback, attempt))


class Counting:
    """A fetcher whose middlewares count."""

    def __init__(self, spider: Spider) -> None:
        self._spider = spider

    async def fetch(self, request: Request) -> Response:
        self._spider.crawler.stats.inc_value("asked")
        return Response(request.url, status=503 if "busy" in request.url else 200, request=request)

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("callback", "errback", "path", "counted"),
    [
        ("parse", "", "", {"own/asked": 1}),
        ("counts_and_fails", "", "", {"own/asked": 1}),
        ("counts_and_fails", "counts_the_failure", "", {"own/asked": 1, "own/given up": 1}),
        ("counts_and_fails", "counts_and_fails_again", "", {"own/asked": 1}),
        ("parse", "", "busy", {"own/asked": 1}),
    ],
)
async def test_what_an_attempt_counts_is_committed_with_it_but_not_what_a_failed_callback_counts(
    callback: str, errback: str, path: str, counted: dict[str, int]
) -> None:
    spider = Mischief.from_crawler(Crawler(Mischief))
    ready = ReadySpider(spider=spider, scope=Scope(), retry=RetryPolicy(), gate=None)
    found = Visitor(Counting(spider), lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
    request = Request(URL + path, callback=callback, errback=errback, spider="mischief")
    visit = await found.visit(Lease("news", request, encode(request), host_of(URL)))
    assert {name: count for name, count in counts(visit).items() if name.startswith("own/")} == counted


async def test_what_a_callback_gives_becomes_a_visit() -> None:
    found = await visit("parse")
    assert found.outcome == Done()
    assert found.items == (b'{"url":"http://a.example/"}',)
    assert found.links == (Request("http://a.example/next", meta={"page": 2}, depth=1, spider="mischief"),)


@pytest.mark.parametrize("kind", ["malformed", "decode", "truncated", "too_large"])
async def test_a_robots_txt_that_cannot_be_read_is_asked_for_again(kind: str) -> None:
    """Before its site is given up."""
    fetcher = FakeFetcher({"http://a.example/robots.txt": FetchError(kind, "no HTTP", transient=False)})
    frontier = MemoryFrontier()
    gate = RobotsGate(frontier, fetcher, worker="w1", user_agent="t/1", cache_seconds=60, max_delay=60)
    ready = ReadySpider(spider=Mischief(), scope=Scope(), retry=RetryPolicy(), gate=gate)
    (first,) = await held(frontier.backend, URL, "w1")
    for attempt in range(3):
        found = Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
        visit = await found.visit(replace(first, attempt=attempt))
        outcome = visit.outcome
        assert visit.health == "down"
        await frontier.put_shared("robots:http://a.example", b"", 0.001)
        gate._cached.clear()
        if attempt < 2:
            assert isinstance(outcome, Retry)
            assert 4 < outcome.delay <= 5
    assert outcome == Dead(Failure(kind, "no HTTP"), spent=True)
    assert len(fetcher.requests) == 3


class Limited:
    """This machine cannot fetch."""

    async def fetch(self, request: Request) -> Response:
        raise OwnLimit("no file descriptor is left")

    async def close(self) -> None:
        pass


async def test_a_limit_of_our_own_is_no_fault_of_the_page() -> None:
    """Nor does the host get the blame. It may have been asked, so its next turn counts from now."""
    for found in (await visitor(Limited()).visit(lease(attempt=2)), await visit("finds_the_disk_full", attempt=2)):
        assert isinstance(found.outcome, Release)
        assert found.outcome.own_limit
        assert (found.items, found.links, found.health, found.unasked) == ((), (), "", False)
        assert found.asked_at is not None
    for callback in ("opens_what_is_not_there", "takes_all_memory"):
        found = await visit(callback, attempt=2)
        assert isinstance(found.outcome, Dead), callback


async def test_a_host_keeps_its_own_delay_whatever_becomes_of_the_fetch() -> None:
    ready = ReadySpider(spider=Mischief(), scope=Scope(), retry=RetryPolicy(), gate=None, delay=7.0)
    slow = FetchError("timeout", "slow", transient=True)
    for fetcher in (FakeFetcher({URL: ""}), FakeFetcher({URL: slow}), Limited()):
        visits = Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot())
        assert (await visits.visit(lease(attempt=2))).host_delay == 7.0


class Giving:
    """A fetcher whose answers are looked for later."""

    def __init__(self) -> None:
        self.given: list[weakref.ref[Response]] = []

    async def fetch(self, request: Request) -> Response:
        response = Response(request.url, status=404, request=request)
        self.given.append(weakref.ref(response))
        return response

    async def close(self) -> None: ...


@pytest.mark.parametrize("errback", ["", "gives_nothing", "keeps_nothing"])
async def test_no_answer_is_kept_once_its_page_is_given_up(errback: str) -> None:
    fetcher = Giving()
    request = Request(URL, errback=errback, spider="mischief")
    visits = visitor(fetcher)
    await visits.visit(Lease("news", request, encode(request), host_of(URL)))
    gc.collect()
    assert [one() for one in fetcher.given] == [None]


async def test_a_link_off_the_domains_may_be_allowed_but_not_below_the_depth() -> None:
    ready = ReadySpider(spider=Mischief(), scope=Scope(["b.example"], 1), retry=RetryPolicy(), gate=None)
    admission, parent = Admission(Nobody(), check), lease()
    links = [Request("http://c.example/"), Request("http://c.example/1", meta={"allow_offsite": True})]
    admitted, left_out = admission.admit(parent, ready, links)
    assert ([one.url for one in admitted], left_out) == (["http://c.example/1"], {"offsite": 1})
    deeper = replace(parent, request=replace(parent.request, depth=1))
    assert admission.admit(deeper, ready, links) == ([], {"offsite": 1, "depth": 1})


async def test_an_errback_that_gives_nothing_is_no_page_that_gave_nothing() -> None:
    request = Request(URL, errback="gives_nothing", spider="mischief")
    page = Lease("news", request, encode(request), host_of(URL), attempt=2)
    found = await visitor(FakeFetcher({URL: FetchError("dns", "no such name", transient=True)})).visit(page)
    assert isinstance(found.outcome, Dead)
    assert "empty/pages" not in found.noted


class Missing(Giving):
    """Answers with a long text."""

    async def fetch(self, request: Request) -> Response:
        limits = ParseLimits(text=3)
        return Response(request.url, status=404, body=b"<p>no such page", request=request, parse_limits=limits)


@pytest.mark.parametrize(("errback", "told"), [("reads_the_answer", {"cut/text": 1}), ("gives_nothing", {})])
async def test_what_a_bound_cuts_off_an_answer_that_an_errback_reads_is_counted(
    errback: str, told: dict[str, int]
) -> None:
    request = Request(URL, errback=errback, spider="mischief")
    found = await visitor(Missing()).visit(Lease("news", request, encode(request), host_of(URL)))
    assert {name: count for name, count in counts(found).items() if name.startswith("cut/")} == told


@pytest.mark.parametrize(
    ("scope", "links", "left_out"),
    [
        (Scope(), 3, {"malformed": 2}),
        (Scope(["a.example"]), 1, {"malformed": 2, "offsite": 2}),
        (Scope(depth_limit=1), 3, {"malformed": 2}),
    ],
    ids=["any", "one domain", "depth 1"],
)
async def test_links_that_do_not_belong_are_left_out_and_counted(
    scope: Scope, links: int, left_out: dict[str, int]
) -> None:
    found = await visitor(scope=scope).visit(lease("wanders"))
    assert (len(found.links), dict(found.unfollowed)) == (links, left_out)


@pytest.mark.parametrize(
    ("callback", "told"),
    [
        ("meta_no_json", "request for http://a.example/next: meta['when'] is object"),
        ("meta_too_large", "bytes with its meta; at most"),
        ("meta_nearly_too_large", "bytes with its meta; at most"),
        ("priority_too_high", "priority 1000000000000000 for http://a.example/next: use a whole number"),
        ("priority_half", "priority 0.5"),
        ("delay_endless", "delay inf"),
        ("headers_no_text", "headers['x-page'] is float 2.5"),
        ("url_no_text", "url of a request is bytes; write text"),
        ("no_url", "url of a request is NoneType; write text"),
        ("secret_in_url", "not a canonical URL"),
        ("exits", "SystemExit: 2"),
        ("cancels_itself", "CancelledError"),
        ("surrogates", "ValueError: price"),
        ("interrupts", "KeyboardInterrupt"),
        ("speechless", "Speechless: (cannot be shown"),
        ("reads_no_number", "ValueError: no price"),
    ],
)
async def test_a_mistake_of_the_spider_fails_its_page_and_nothing_else(callback: str, told: str) -> None:
    found = await visit(callback)
    assert isinstance(found.outcome, Dead), "the same page would fail alike"
    assert found.outcome.failure.kind == "callback"
    assert told in found.outcome.failure.message
    assert "secret@" not in str(found)
    assert not found.links
    assert not found.items


async def test_what_may_pass_is_tried_again() -> None:
    first, last = await visit("asks_a_database"), await visit("asks_a_database", attempt=2)
    assert isinstance(first.outcome, Retry)
    assert isinstance(last.outcome, Dead)


async def test_text_as_a_body_travels_as_utf_8() -> None:
    (link,) = (await visit("logs_in")).links
    assert (link.method, link.body, link.meta) == ("POST", b"loginann", {"step": 1})
    assert decode(encode(link)).request == link


@pytest.mark.parametrize("callback", ["waits", "waits_in_process_item"])
async def test_a_callback_that_awaits_too_long_is_cancelled_and_its_line_told(callback: str) -> None:
    """Its process lives on, with all other pages."""
    ready = ReadySpider(spider=Mischief(), scope=Scope(), retry=RetryPolicy(), gate=None)
    fetcher = FakeFetcher({URL: "<p>page"})
    visits = Visitor(fetcher, lambda job, spider: ready, Admission(Nobody(), check), NoSlot(), callback_seconds=0.01)
    request = Request(URL, callback=callback, spider="mischief")
    found = await visits.visit(Lease("news", request, encode(request), "a.example"))
    assert isinstance(found.outcome, Retry), "what it waits for may come"
    failure = found.outcome.failure
    assert failure.kind == "callback"
    assert "did not return within 0.01 s (CALLBACK_TIMEOUT)" in failure.message
    assert failure.line.partition(":")[0].endswith("test_visit.py")
    assert "await asyncio.sleep(3600)" in failure.traceback


async def test_a_cancelled_visit_stays_cancelled() -> None:
    task = asyncio.create_task(visit("waits"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_links_that_are_known_need_not_become_requests() -> None:
    class Follower(Spider):
        name = "follower"

        def parse(self, response: Response) -> Any:
            assert list(response.links) == [f"http://a.example/{name}" for name in "abc"]
            return Follow(response.links)

    def but_b(job: str, urls: Sequence[str]) -> list[str]:
        assert job == lease().job
        return [url for url in urls if url != "http://a.example/b"]

    ready = ReadySpider(spider=Follower(), scope=Scope(), retry=RetryPolicy(), gate=None)
    page = FakeFetcher({URL: "<a href=a><a href=b><a href=c>"})
    visits = Visitor(page, lambda job, spider: ready, Admission(Nobody(), check), NoSlot(), maybe_new_urls=but_b)
    found = await visits.visit(lease())
    assert [request.url for request in found.links] == ["http://a.example/a", "http://a.example/c"]


async def test_an_error_nobody_foresaw_costs_its_page_alone() -> None:
    fetcher = FakeFetcher({URL: ZeroDivisionError("in a library")})
    found = await visitor(fetcher).visit(lease())
    assert isinstance(found.outcome, Retry)
    assert found.outcome.failure.kind == "internal"
    assert "in a library" in found.outcome.failure.message
    assert found.asked_at is not None, "nobody knows whether the host was asked, so its delay counts from now"


def test_a_request_that_passes_the_check_can_be_read_after_many_deliveries() -> None:
    request = Request("http://a.example/", meta={"text": "x" * 998_800}, dont_filter=True)
    check(request)
    message = encode(request, "0123456789abcdef:100000")
    for account in (b"[1,0,0,0,", b"[1,999999,999999,999999,"):
        assert decode(message.replace(b"[1,0,0,0,", account, 1)).request == request


@pytest.mark.parametrize(
    ("callback", "errback", "why"),
    [
        ("parse_offer", "", "spider mischief has no method 'parse_offer'"),
        ("parse", "gone", "spider mischief has no method 'gone'"),
    ],
)
async def test_a_callback_of_another_version_of_the_spider_costs_no_attempt_and_no_fetch(
    callback: str, errback: str, why: str
) -> None:
    fetcher = FakeFetcher({URL: ""})
    request = Request(URL, callback=callback, errback=errback, spider="mischief")
    found = await visitor(fetcher).visit(Lease("news", request, encode(request), "a.example"))
    assert isinstance(found.outcome, Release)
    assert why in found.outcome.lacks
    assert found.unasked
    assert fetcher.requests == []


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConfigError("spiders/shop.py: SyntaxError: invalid syntax (line 3)"), "spiders/shop.py: SyntaxError: invalid"),
        (TypeError("no list"), "TypeError: no list"),
    ],
)
async def test_a_spider_that_this_worker_lacks_costs_no_attempt(error: Exception, why: str) -> None:
    def ready(job: str, spider: str) -> ReadySpider:
        raise error

    visits = Visitor(FakeFetcher({}), ready, Admission(Nobody(), check), NoSlot())
    request = Request(URL, spider="shop")
    found = await visits.visit(Lease("news", request, encode(request), "a.example"))
    assert isinstance(found.outcome, Release)
    assert found.outcome == Release("lacks", delay=LACKS_DELAY, lacks=found.outcome.lacks)
    assert found.outcome.lacks.startswith(why)


async def test_a_page_that_closes_its_job_is_read_like_any_other() -> None:
    found = await visit("closes")
    assert (found.outcome, found.close, len(found.items), len(found.links)) == (Done(), "enough", 1, 1)
    assert (await visit("parse")).close == ""


async def test_an_errback_may_close_the_job() -> None:
    request = Request(f"{URL}missing", errback="closes_for", spider="mischief")
    found = await visitor().visit(Lease("news", request, encode(request), host_of(URL)))
    assert isinstance(found.outcome, Dead)
    assert (found.close, found.items) == ("http_404", (b'{"failed":"http://a.example/missing"}',))


@pytest.mark.parametrize(
    ("callback", "errback", "path", "errors"),
    [
        ("parse", "", "", 0),
        ("raises", "", "", 1),
        ("parse", "raises_too", "missing", 1),
        ("raises", "raises_too", "", 2),
    ],
)
async def test_exceptions_of_callbacks_and_errbacks_are_counted(
    callback: str, errback: str, path: str, errors: int
) -> None:
    request = Request(URL + path, callback=callback, errback=errback, spider="mischief")
    found = await visitor().visit(Lease("news", request, encode(request), host_of(URL)))
    assert counts(found).get("spider_errors", 0) == errors
