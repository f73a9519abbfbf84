"""What is kept of an exception of a spider's own code."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crawler import Request, Response, Spider
from crawler.spiders.callbacks import run_callback
from crawler.spiders.failures import failure_of

ITEM = {"a": 1}
PAGE = Response("http://example.com/", body=b"<urlset><url><loc>/x</loc></url></urlset>")


class Faulty(Spider):
    """Fails in several depths."""

    name = "faulty"

    def own(self, response: Response) -> Iterator[Any]:
        yield ITEM["b"]

    def through_a_library(self, response: Response) -> Any:
        return json.loads("{")

    def names_a_callback_that_is_missing(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/", callback="own")
        yield Request("http://a.example/", callback="owm")  # no such callback

    def gives_an_argument_that_is_not_taken(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/", callback="takes_a_page")
        yield Request("http://a.example/", callback="takes_a_page", cb_kwargs={"page": 2})
        yield Request("http://a.example/", callback="takes_a_page", cb_kwargs={"pag": 2})  # no such argument

    def takes_a_page(self, response: Response, page: int = 1) -> None: ...

    def names_an_errback_that_is_none(self, response: Response) -> Iterator[Any]:
        yield from self.names_it(response)

    def names_it(self, response: Response) -> Iterator[Any]:
        yield Request("http://a.example/", errback="own")  # no errback

    def gives_an_item(self, response: Response) -> Iterator[Any]:
        yield ITEM

    def process_item(self, item: Any) -> Any:
        """Forget to return it."""

    def sitemap_filter(self, entries: Iterable[Any]) -> Iterable[Any]:
        return [entry["loc"] for entry in entries]


class Storing(Spider):
    """Keeps its items as they are, some of which cannot be stored."""

    name = "storing"

    def one_of_two(self, response: Response) -> Iterator[Any]:
        yield ITEM
        yield {"price": print}  # one of two

    def deep(self, response: Response) -> Iterator[Any]:
        yield from self.one_of_two(response)

    async def later(self, response: Response) -> AsyncIterator[Any]:
        yield {"price": print}  # later

    def in_a_list(self, response: Response) -> Any:
        return [{"price": print}]


class Heir(Faulty):
    """Has no line of its own."""

    name = "heir"


@pytest.mark.parametrize(
    ("spider", "callback", "error", "code"),
    [
        (Faulty(), "own", "KeyError", 'ITEM["b"]'),
        (Faulty(), "through_a_library", "JSONDecodeError", "json.loads("),
        (Heir(), "own", "KeyError", 'ITEM["b"]'),
        (Faulty(), "missing", "CallbackError", ""),
        (Faulty(), "names_a_callback_that_is_missing", "CallbackError", "# no such callback"),
        (Faulty(), "names_an_errback_that_is_none", "CallbackError", "# no errback"),
        (Faulty(), "gives_an_argument_that_is_not_taken", "CallbackError", "# no such argument"),
        (Storing(), "one_of_two", "ItemError", "# one of two"),
        (Storing(), "deep", "ItemError", "# one of two"),
        (Storing(), "later", "ItemError", "# later"),
        (Storing(), "in_a_list", "ItemError", "def in_a_list("),
        (Faulty(), "gives_an_item", "ItemError", "def process_item("),
        (Faulty(), "parse_sitemap", "ItemError", "def sitemap_filter("),
    ],
)
async def test_a_failure_names_the_deepest_line_of_the_spiders_own_file(
    spider: Spider, callback: str, error: str, code: str
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any, that is the point
        await run_callback(spider, callback, PAGE)
    assert caught.tb is not None
    error_without_this_line = caught.value.with_traceback(caught.tb.tb_next)
    failure = failure_of(type(spider), callback, error_without_this_line)
    assert (failure.kind, failure.error) == ("callback", error)
    assert failure.message.startswith(f"{error}: ")
    assert failure.traceback.endswith("\n")
    assert "crawler/spiders" not in failure.traceback, "the crawler's own frames help nobody"
    if not code:
        assert failure.line == ""
        return
    file, _, number = failure.line.partition(":")
    assert Path(file).absolute() == Path(__file__)
    assert code in Path(__file__).read_text().splitlines()[int(number) - 1]
