"""What a callback gives: links to follow, bounds, and what is neither an item nor a request, told with its line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

import crawler.spiders.taken
from crawler import Follow, Request, Response, Spider
from crawler.spiders.callbacks import run_callback
from crawler.spiders.taken import CallbackError

ITEM = {"a": 1}
NEXT = Request("http://example.com/next")
PAGE = Response("http://example.com/")


class Strays(Spider):
    """Gives links to follow, and what it should not."""

    name = "strays"
    seen: ClassVar[list[str]] = []

    async def coroutine(self, response: Response) -> list[Any]:
        return [ITEM, NEXT]

    async def async_generator(self, response: Response) -> AsyncIterator[Any]:
        yield ITEM
        yield NEXT

    def one_item(self, response: Response) -> dict[str, int]:
        return ITEM

    def follows_relative(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield Follow(["http://a.example/", "/x", None])  # type: ignore[list-item]  # here

    def wanted(self, url: str) -> bool:
        self.seen.append(url)
        return not url.endswith("/no")

    def follows(self, response: Response) -> Follow:
        self.seen.clear()
        return Follow([f"http://a.example/{name}" for name in ("", "known", "no")], self.wanted)

    def follows_one_by_one(self, response: Response) -> Iterator[Follow]:
        self.seen.clear()
        for name in ("", "known", "no"):
            yield Follow([f"http://a.example/{name}"], self.wanted)

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

    def for_ever(self, response: Response) -> Iterator[dict[str, int]]:
        while True:
            yield ITEM

    async def for_ever_async(self, response: Response) -> AsyncIterator[Any]:
        while True:
            yield ITEM


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
    found = await run_callback(Strays(), name, PAGE)
    (stray,) = found.strays
    assert f"strays.{name} {told}" in stray.message or told in stray.message
    file, _, line = stray.line.rpartition(":")
    assert file.endswith("test_taken.py")
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
    found = await run_callback(Strays(), name, PAGE)
    (stray,) = found.strays
    assert (stray.kind, stray.error) == ("request_refused", "BadUrl")
    assert f"strays.{name} yielded a request for {why}" in stray.message
    assert "# here" in Path(__file__).read_text().splitlines()[int(stray.line.rpartition(":")[2]) - 1]
    assert (len(found.items), found.dropped, found.unfollowed) == (1, {}, {"malformed": 1})


async def test_none_is_nothing_wherever_it_is_yielded() -> None:
    found = await run_callback(Strays(), "yields_none", PAGE)
    assert (len(found.items), len(found.requests), found.dropped, found.strays) == (1, 1, {}, [])
    assert (await run_callback(Strays(), "yields_only_none", PAGE)).noted == {"empty/pages": 1}


@pytest.mark.parametrize("name", ["follows", "follows_one_by_one"])
async def test_links_to_follow_become_requests_unless_they_are_known_or_unwanted(name: str) -> None:
    asked: list[str] = []

    def maybe_new(urls: Sequence[str]) -> Sequence[str]:
        asked.extend(urls)
        return [url for url in urls if not url.endswith("/known")]

    found = await run_callback(Strays(), name, PAGE, maybe_new=maybe_new)
    assert [(one.url, one.callback, one.spider) for one in found.requests] == [("http://a.example/", "parse", "strays")]
    assert found.unfollowed == {"filtered": 1}
    assert len(asked) == 3, "a function that chooses sees only what may be new"
    assert Strays.seen == ["http://a.example/", "http://a.example/no"]


async def test_links_to_follow_are_all_new_to_a_test() -> None:
    assert len((await run_callback(Strays(), "follows", PAGE)).requests) == 2


async def test_links_to_follow_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawler.spiders.taken, "MAX_FOLLOWED", 1)
    with pytest.raises(CallbackError, match="more than 1 items"):
        await run_callback(Strays(), "follows", PAGE)


async def test_links_to_follow_that_are_no_urls_are_told_with_their_line_and_the_others_stay() -> None:
    found = await run_callback(Strays(), "follows_relative", PAGE)
    (stray,) = found.strays
    assert (stray.kind, [one.url for one in found.requests]) == ("request_refused", ["http://a.example/"])
    assert stray.message.startswith("strays.follows_relative yielded a Follow with str ('/x'); it takes absolute URLs")
    assert "# here" in Path(__file__).read_text().splitlines()[int(stray.line.rpartition(":")[2]) - 1]
    assert (len(found.items), found.unfollowed) == (1, {"malformed": 2})


def test_one_url_to_follow_is_no_list_of_letters() -> None:
    with pytest.raises(TypeError, match=r"Follow\('http://a/'\): expected a list of URLs"):
        Follow("http://a/")


async def test_a_follow_counts_as_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else PARSE_MAXLINKS could not be raised."""
    monkeypatch.setattr(crawler.spiders.taken, "MAX_RESULTS", 1)
    assert len((await run_callback(Strays(), "follows", PAGE)).requests) == 2


@pytest.mark.parametrize("name", ["for_ever", "for_ever_async"])
async def test_results_are_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawler.spiders.taken, "MAX_RESULTS", 50)
    with pytest.raises(CallbackError, match="more than 50 items"):
        await run_callback(Strays(), name, PAGE)
