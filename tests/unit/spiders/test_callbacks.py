"""A callback's results, in whichever form it gives them, become encoded items and requests with names."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from crawler import CloseSpider, DropItem, Request, Response, Spider
from crawler.model import Failure
from crawler.spiders.callbacks import by_name, run_callback
from crawler.spiders.items import ItemError
from crawler.spiders.taken import CallbackError

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

    def one_item(self, response: Response) -> dict[str, int]:
        return ITEM

    def one_request(self, response: Response) -> Request:
        return NEXT

    def text(self, response: Response) -> str:
        return "text"

    def no_response(self) -> None:
        return None

    def names_a_callback_without_a_response(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/next", callback=self.no_response)

    def names_a_callback_as_errback(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/next", errback=self.one_item)

    def _private(self, response: Response) -> None:
        return None

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
    ],
)
async def test_what_goes_wrong_is_said(name: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error) as caught:
        await run_callback(Forms(), name, PAGE)
    assert told in str(caught.value)


async def test_a_request_names_only_callbacks_and_errbacks_that_take_what_they_get() -> None:
    with pytest.raises(
        CallbackError, match=r"no_response\(self\) is called with response; write def no_response\(self, re"
    ):
        await run_callback(Forms(), "names_a_callback_without_a_response", PAGE)
    with pytest.raises(CallbackError, match=r"one_item\(self, response\) is called with request, failure"):
        await run_callback(Forms(), "names_a_callback_as_errback", PAGE)


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
        Request("http://a.example/1", callback=spider.parse_item),
        Request("http://a.example/2", callback="parse_item", errback=spider.errback),
        Request("http://a.example/3", callback=None),
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


async def test_more_bytes_of_items_than_a_page_may_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.spiders.callbacks.MAX_ITEM_BYTES", 5)
    with pytest.raises(CallbackError, match="more than 5 bytes of items for one page"):
        await run_callback(Forms(), "one_item", PAGE)


class Closing(Spider):
    """Closes its job, in each way that there is."""

    name = "closing"

    def callback(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield NEXT
        raise CloseSpider("enough")

    async def later(self, response: Response) -> AsyncIterator[Any]:
        yield ITEM
        yield NEXT
        raise CloseSpider("enough")

    def at_once(self, response: Response) -> None:
        raise CloseSpider

    def untidy(self, response: Response) -> None:
        raise CloseSpider("two\nlines \ud800 " + "x" * 1000)

    def number(self, response: Response) -> None:
        raise CloseSpider(404)  # type: ignore[arg-type]

    def items(self, response: Response) -> Iterator[Any]:
        yield from ({"number": number} for number in range(5))

    def process_item(self, item: Any) -> Any:
        if item.get("number") == 1:
            raise DropItem("odd")
        if item.get("number") == 3:
            raise CloseSpider("three")
        return item


@pytest.mark.parametrize("name", ["callback", "later"])
async def test_what_was_yielded_before_the_job_is_closed_is_kept(name: str) -> None:
    found = await run_callback(Closing(), name, PAGE)
    assert (found.close, found.items, found.requests) == ("enough", [b'{"a":1}'], [NEXT])


async def test_items_from_the_one_on_that_closes_the_job_are_left_out_and_counted() -> None:
    found = await run_callback(Closing(), "items", PAGE)
    assert (found.close, found.items) == ("three", [b'{"number":0}', b'{"number":2}'])
    assert found.dropped == {"odd": 1, "closed": 2}


async def test_a_page_that_closes_the_job_need_not_yield_anything() -> None:
    found = await run_callback(Closing(), "at_once", PAGE)
    assert (found.close, found.noted) == ("cancelled", {})


async def test_a_reason_is_one_line_that_travels() -> None:
    close = (await run_callback(Closing(), "untidy", PAGE)).close
    assert close.startswith("two lines \ufffd xxx")
    assert len(close) == 200
    assert (await run_callback(Closing(), "number", PAGE)).close == "404"
