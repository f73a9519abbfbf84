"""A callback's results, in whichever form it gives them, become encoded items and requests with names."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

import crawler.spiders.callbacks
from crawler import DropItem, Follow, Request, Response, Spider
from crawler.model import Failure
from crawler.spiders.callbacks import by_name, run_callback
from crawler.spiders.items import ItemError
from crawler.spiders.taken import CallbackError
from crawler.testing import FakeFetcher, run_spider, run_spider_async

ITEM = {"a": 1}
NEXT = Request("http://example.com/next")
PAGE = Response("http://example.com/")


class Forms(Spider):
    """One callback for each form that results may take."""

    name = "forms"
    number = 3

    def generator(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield NEXT

    async def async_generator(self, response: Response) -> AsyncIterator[Any]:
        yield ITEM
        yield NEXT

    async def coroutine(self, response: Response) -> list[Any]:
        return [ITEM, NEXT]

    def returns_coroutine(self, response: Response) -> Awaitable[list[Any]]:
        return self.coroutine(response)

    def returns_list(self, response: Response) -> list[Any]:
        return [ITEM, NEXT]

    def returns_generator(self, response: Response) -> Iterator[Any]:
        return (part for part in (ITEM, NEXT))

    def nothing(self, response: Response) -> None:
        return None

    async def nothing_later(self, response: Response) -> None:
        return None

    seen: ClassVar[list[str]] = []

    def wanted(self, url: str) -> bool:
        self.seen.append(url)
        return not url.endswith("/no")

    def follows_relative(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield Follow(["http://a.example/", "/x", None])  # type: ignore[list-item]  # here

    def follows(self, response: Response) -> Follow:
        self.seen.clear()
        return Follow([f"http://a.example/{name}" for name in ("", "known", "no")], self.wanted)

    def follows_one_by_one(self, response: Response) -> Iterator[Follow]:
        self.seen.clear()
        for name in ("", "known", "no"):
            yield Follow([f"http://a.example/{name}"], self.wanted)

    def one_item(self, response: Response) -> dict[str, int]:
        return ITEM

    def one_request(self, response: Response) -> Request:
        return NEXT

    def text(self, response: Response) -> str:
        return "text"

    def a_number(self, response: Response) -> int:
        return 3

    def yields_text(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield "text"  # here

    async def yields_text_later(self, response: Response) -> AsyncIterator[Any]:
        yield "text"  # here
        yield ITEM

    def yields_mailto(self, response: Response) -> Iterator[Any]:
        yield Request("mailto:me@a.example", meta={"page": 2})  # here
        yield ITEM

    async def yields_mailto_later(self, response: Response) -> AsyncIterator[Any]:
        yield Request("mailto:me@a.example")  # here
        yield ITEM

    def follows_mailto(self, response: Response) -> Iterator[Any]:
        yield response.follow("mailto:me@a.example", self.one_item)  # here
        yield ITEM

    def yields_a_copy_without_a_url(self, response: Response) -> Iterator[Any]:
        yield replace(NEXT, url=None)  # here
        yield ITEM

    def yields_from_one_that_yields_text(self, response: Response) -> Iterator[Any]:
        yield from self.yields_text(response)

    def yields_a_generator(self, response: Response) -> Iterator[Any]:
        yield self.yields_text(response)  # here
        yield ITEM

    def yields_a_coroutine(self, response: Response) -> Iterator[Any]:
        yield self.coroutine(response)  # here
        yield ITEM

    def yields_an_async_generator(self, response: Response) -> Iterator[Any]:
        yield self.async_generator(response)  # here
        yield ITEM

    def yields_a_list(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield [ITEM, NEXT]  # here

    def yields_none(self, response: Response) -> Iterator[Any]:
        yield None
        yield ITEM
        yield NEXT

    def yields_only_none(self, response: Response) -> Iterator[None]:
        yield None

    def no_response(self) -> None:
        return None

    def names_a_callback_without_a_response(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/next", callback=self.no_response)  # type: ignore[arg-type]

    def names_a_callback_as_errback(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/next", errback=self.one_item)  # type: ignore[arg-type]

    def _private(self, response: Response) -> None:
        return None

    def for_ever(self, response: Response) -> Iterator[dict[str, int]]:
        while True:
            yield ITEM

    async def for_ever_async(self, response: Response) -> AsyncIterator[Any]:
        while True:
            yield ITEM

    def breaks(self, response: Response) -> Iterator[Any]:
        yield ITEM
        raise ZeroDivisionError("mine")

    def gives_up(self, response: Response) -> Iterator[Any]:
        yield ITEM
        raise DropItem("no_page")


@pytest.mark.parametrize(
    "name",
    [
        "generator",
        "async_generator",
        "coroutine",
        "returns_coroutine",
        "returns_list",
        "returns_generator",
    ],
)
async def test_every_form_gives_the_same(name: str) -> None:
    found = await run_callback(Forms(), name, PAGE)
    assert list(map(json.loads, found.items)) == [ITEM]
    assert found.requests == [NEXT]
    assert not found.dropped


@pytest.mark.parametrize(
    ("name", "items", "requests"),
    [
        ("nothing", [], []),
        ("nothing_later", [], []),
        ("one_item", [b'{"a":1}'], []),
        ("one_request", [], [NEXT]),
    ],
)
async def test_single_results_and_none(name: str, items: list[bytes], requests: list[Request]) -> None:
    found = await run_callback(Forms(), name, PAGE)
    assert (found.items, found.requests, found.dropped, found.unfollowed) == (items, requests, {}, {})
    assert found.noted == ({} if items or requests else {"empty/pages": 1})


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("missing", CallbackError, "spider forms has no method 'missing'"),
        ("_private", CallbackError, "forms._private is private"),
        ("__init__", CallbackError, "private"),
        ("number", CallbackError, "forms.number is a int, not a method"),
        ("breaks", ZeroDivisionError, "mine"),
        ("for_ever", CallbackError, "more than 50 items"),
        ("for_ever_async", CallbackError, "more than 50 items"),
    ],
)
async def test_what_goes_wrong_is_said(
    name: str, error: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crawler.spiders.taken, "MAX_RESULTS", 50)
    with pytest.raises(error) as caught:
        await run_callback(Forms(), name, PAGE)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told", "items"),
    [
        ("text", "yielded str ('text')", 0),
        ("a_number", "yielded int (3)", 0),
        ("yields_text", "yielded str ('text')", 1),
        ("yields_text_later", "yielded str ('text')", 1),
        ("yields_from_one_that_yields_text", "yielded str ('text')", 1),
        ("yields_a_generator", "write `yield from` before it", 1),
        ("yields_a_coroutine", "write `await` before it", 1),
        ("yields_an_async_generator", "async for", 1),
        ("yields_a_list", "yield its parts one by one", 1),
    ],
)
async def test_what_is_neither_item_nor_request_is_told_with_its_line_and_the_rest_of_the_page_stays(
    name: str, told: str, items: int
) -> None:
    found = await run_callback(Forms(), name, PAGE)
    (stray,) = found.strays
    assert f"forms.{name} {told}" in stray.message or told in stray.message
    file, _, line = stray.line.rpartition(":")
    assert file.endswith("test_callbacks.py")
    if items:
        assert "# here" in Path(__file__).read_text().splitlines()[int(line) - 1]
    assert (len(found.items), found.dropped) == (items, {"not_an_item": 1})


MAILTO = "'…@a.example': scheme 'mailto' is not supp"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("yields_mailto", MAILTO),
        ("yields_mailto_later", MAILTO),
        ("follows_mailto", MAILTO),
        ("yields_a_copy_without_a_url", "NoneType (None); write text, such as str(url)"),
    ],
)
async def test_a_request_that_nobody_can_fetch_is_told_with_its_line_and_the_rest_of_the_page_stays(
    name: str, why: str
) -> None:
    found = await run_callback(Forms(), name, PAGE)
    (stray,) = found.strays
    assert (stray.kind, stray.error) == ("request_refused", "BadUrl")
    assert f"forms.{name} yielded a request for {why}" in stray.message
    assert "# here" in Path(__file__).read_text().splitlines()[int(stray.line.rpartition(":")[2]) - 1]
    assert (len(found.items), found.dropped, found.unfollowed) == (1, {}, {"malformed": 1})


async def test_none_is_nothing_wherever_it_is_yielded() -> None:
    found = await run_callback(Forms(), "yields_none", PAGE)
    assert (len(found.items), len(found.requests), found.dropped, found.strays) == (1, 1, {}, [])
    assert (await run_callback(Forms(), "yields_only_none", PAGE)).noted == {"empty/pages": 1}


async def test_a_request_names_only_callbacks_and_errbacks_that_take_what_they_get() -> None:
    with pytest.raises(
        CallbackError, match=r"no_response\(self\) is called with response; write def no_response\(self, re"
    ):
        await run_callback(Forms(), "names_a_callback_without_a_response", PAGE)
    with pytest.raises(CallbackError, match=r"one_item\(self, response\) is called with request, failure"):
        await run_callback(Forms(), "names_a_callback_as_errback", PAGE)


@pytest.mark.parametrize("name", ["follows", "follows_one_by_one"])
async def test_links_to_follow_become_requests_unless_they_are_known_or_unwanted(name: str) -> None:
    asked: list[str] = []

    def maybe_new(urls: Sequence[str]) -> Sequence[str]:
        asked.extend(urls)
        return [url for url in urls if not url.endswith("/known")]

    found = await run_callback(Forms(), name, PAGE, maybe_new=maybe_new)
    assert [(one.url, one.callback, one.spider) for one in found.requests] == [("http://a.example/", "parse", "forms")]
    assert found.unfollowed == {"filtered": 1}
    assert len(asked) == 3, "a function that chooses sees only what may be new"
    assert Forms.seen == ["http://a.example/", "http://a.example/no"]


async def test_links_to_follow_are_all_new_to_a_test() -> None:
    assert len((await run_callback(Forms(), "follows", PAGE)).requests) == 2


async def test_links_to_follow_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawler.spiders.taken, "MAX_FOLLOWED", 1)
    with pytest.raises(CallbackError, match="more than 1 items"):
        await run_callback(Forms(), "follows", PAGE)


async def test_links_to_follow_that_are_no_urls_are_told_with_their_line_and_the_others_stay() -> None:
    found = await run_callback(Forms(), "follows_relative", PAGE)
    (stray,) = found.strays
    assert (stray.kind, [one.url for one in found.requests]) == ("request_refused", ["http://a.example/"])
    assert stray.message.startswith("forms.follows_relative yielded a Follow with str ('/x'); it takes absolute URLs")
    assert "# here" in Path(__file__).read_text().splitlines()[int(stray.line.rpartition(":")[2]) - 1]
    assert (len(found.items), found.unfollowed) == (1, {"malformed": 2})


def test_one_url_to_follow_is_no_list_of_letters() -> None:
    with pytest.raises(TypeError, match=r"Follow\('http://a/'\): expected a list of URLs"):
        Follow("http://a/")


async def test_a_follow_counts_as_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else PARSE_MAXLINKS could not be raised."""
    monkeypatch.setattr(crawler.spiders.taken, "MAX_RESULTS", 1)
    assert len((await run_callback(Forms(), "follows", PAGE)).requests) == 2


async def test_a_callback_may_give_up_on_the_rest_of_its_page() -> None:
    found = await run_callback(Forms(), "gives_up", PAGE)
    assert (found.items, found.dropped) == ([b'{"a":1}'], {"no_page": 1})


async def test_an_errback_gets_request_and_failure() -> None:
    class Saves(Spider):
        name = "saves"

        def errback(self, request: Request, failure: Failure) -> Iterator[Any]:
            yield {"url": request.url, "why": failure.kind}

    found = await run_callback(Saves(), "errback", NEXT, Failure("timeout", "too slow"))
    assert json.loads(found.items[0]) == {"url": NEXT.url, "why": "timeout"}


class Named(Spider):
    name = "named"

    def parse(self, response: Response) -> Iterator[Any]:
        yield from self.given

    def parse_item(self, response: Response) -> None:
        return None

    given: tuple[Any, ...] = ()


def named(*given: Any) -> Named:
    spider = Named()
    spider.given = given
    return spider


async def test_methods_become_names() -> None:
    spider = named()
    spider.given = (
        Request("http://a.example/1", callback=spider.parse_item),  # type: ignore[arg-type]
        Request("http://a.example/2", callback="parse_item", errback=spider.errback),  # type: ignore[arg-type]
        Request("http://a.example/3", callback=None),  # type: ignore[arg-type]
    )
    found = await run_callback(spider, "parse", PAGE)
    assert [(request.callback, request.errback) for request in found.requests] == [
        ("parse_item", ""),
        ("parse_item", "errback"),
        ("parse", ""),
    ]


@pytest.mark.parametrize("callback", ["parse_itm", "_hidden", "<lambda>", "", lambda response: None, Forms().text, 3])
def test_a_request_for_a_callback_the_spider_does_not_have_is_refused(callback: Any) -> None:
    with pytest.raises(CallbackError, match="named"):
        by_name(Named(), replace(Request("http://a.example/"), callback=callback))


def test_an_unknown_errback_is_refused() -> None:
    with pytest.raises(CallbackError, match="lost"):
        by_name(Named(), Request("http://a.example/", errback="lost"))


def steps(last_look: Callable[[Any], Any], *given: Any) -> Named:
    spider = named(*given)
    spider.process_item = last_look  # type: ignore[assignment, method-assign]
    return spider


async def test_a_reason_that_quotes_a_page_can_be_written() -> None:
    class Quotes(Forms):
        def parse(self, response: Response) -> Any:
            raise DropItem("price \ud800")

    assert (await run_callback(Quotes(), "parse", PAGE)).dropped == {"price \ufffd": 1}


async def test_process_item_changes_or_drops_items() -> None:
    def last_look(item: dict[str, int]) -> dict[str, int]:
        if item["n"] > 1:
            raise DropItem("too_many")
        return {**item, "seen": 1}

    found = await run_callback(steps(last_look, {"n": 1}, {"n": 2}, {"n": 3}), "parse", PAGE)
    assert (found.items, found.dropped) == ([b'{"n":1,"seen":1}'], {"too_many": 2})


async def test_process_item_may_be_async() -> None:
    async def last_look(item: dict[str, int]) -> dict[str, int]:
        if item["n"] > 1:
            raise DropItem
        return item

    found = await run_callback(steps(last_look, {"n": 1}, {"n": 2}), "parse", PAGE)
    assert (found.items, found.dropped) == ([b'{"n":1}'], {"dropped": 1})


@pytest.mark.parametrize(("given", "told"), [(None, "None"), ("text", "str ('text')")])
async def test_process_item_that_returns_no_item_is_told(given: Any, told: str) -> None:
    with pytest.raises(ItemError, match=re.escape(f"process_item returned {told}; return the item")):
        await run_callback(steps(lambda item: given, {"n": 1}), "parse", PAGE)


def test_run_spider_takes_a_class_or_an_instance() -> None:
    given = ({"a": b"\xff"}, NEXT)
    result = run_spider(named(*given), "<p>", url="http://example.com/x", depth=2)
    assert (result.items, result.urls) == ([{"a": "\ufffd"}], [NEXT.url])
    assert run_spider(Named) == ([], [], {})


async def test_run_spider_in_an_event_loop() -> None:
    assert (await run_spider_async(Forms, callback="one_item")).items == [ITEM]


async def test_fake_fetcher_answers_from_its_pages_and_remembers_the_requests() -> None:
    fetcher = FakeFetcher(
        {
            "http://a.example/": "<p>ü",
            "http://a.example/raw": Response("http://a.example/raw", status=301, headers={"location": "/"}),
            "http://a.example/flaky": [TimeoutError("slow"), b"ok"],
        }
    )
    page = await fetcher.fetch(Request("http://a.example/", depth=3))
    assert (page.text, page.status, page.is_html, page.depth) == ("<p>ü", 200, True, 3)
    moved = await fetcher.fetch(Request("http://a.example/raw"))
    assert (moved.status, moved.headers["location"]) == (301, "/")
    with pytest.raises(TimeoutError):
        await fetcher.fetch(Request("http://a.example/flaky"))
    for _ in range(2):
        assert (await fetcher.fetch(Request("http://a.example/flaky"))).body == b"ok"
    assert (await fetcher.fetch(Request("http://a.example/none"))).status == 404
    assert len(fetcher.urls) == 6
    await fetcher.close()
    assert fetcher.closed


async def test_more_bytes_of_items_than_a_page_may_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.spiders.callbacks.MAX_ITEM_BYTES", 5)
    with pytest.raises(CallbackError, match="more than 5 bytes of items for one page"):
        await run_callback(Forms(), "one_item", PAGE)
