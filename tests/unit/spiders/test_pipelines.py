"""Pipelines: what each item goes through, what of theirs is refused at the start, and what costs the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler import CloseSpider, DropItem, NotConfigured, Request, Spider, signals
from crawler.errors import ConfigError
from crawler.model import Failure
from crawler.spiders.callbacks import run_callback
from crawler.spiders.context import Crawler
from crawler.spiders.hooks import Hooks
from crawler.spiders.pipelines import PipelineError, Pipelines, check
from crawler.testing import _response

SAID: list[str] = []


class Shop(Spider):
    name = "shop"

    def parse(self, response: Any) -> Any:
        yield {"name": "a", "price": 1}
        yield {"name": "b"}


class Priced:
    def process_item(self, item: Any) -> Any:
        if "price" not in item:
            raise DropItem("no price")
        return item


class Signed:
    """Takes the spider, as older projects do."""

    def open_spider(self, spider: Spider) -> None:
        SAID.append(f"open {spider.name}")

    def process_item(self, item: Any, spider: Spider) -> Any:
        return {**item, "by": spider.name}

    def close_spider(self, spider: Spider) -> None:
        SAID.append(f"close {spider.name}")


class Later:
    """Made from the crawler, and async."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Later:
        return cls(crawler)

    async def open_spider(self) -> None:
        await asyncio.sleep(0)
        SAID.append("open later")

    async def process_item(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return {**item, "later": self.crawler.settings["BY"]}

    async def close_spider(self) -> None:
        SAID.append("close later")


class Absent:
    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Absent:
        raise NotConfigured("no API key")

    def process_item(self, item: Any) -> Any:
        raise AssertionError


class Nothing:
    def process_item(self, item: Any) -> None:
        item["seen"] = True


class Text:
    def process_item(self, item: Any) -> str:
        return "a"


class Deferred:
    def addCallbacks(self) -> None: ...

    def __await__(self) -> Iterator[Any]:
        raise AssertionError("asyncio cannot await it")


class Twisted:
    def process_item(self, item: Any) -> Any:
        return Deferred()


class Hidden:
    """Gives a generator, which no look at the function shows."""

    def process_item(self, item: Any) -> Any:
        return (item for _ in range(1))


class Broken:
    def process_item(self, item: Any) -> Any:
        return int(item["name"])


class Exits:
    def process_item(self, item: Any) -> Any:
        raise SystemExit(3)


class CancelsItself:
    async def process_item(self, item: Any) -> Any:
        raise asyncio.CancelledError


class Stuck:
    async def process_item(self, item: Any) -> Any:
        await asyncio.Event().wait()


class Yields:
    def process_item(self, item: Any) -> Iterator[Any]:
        yield item


class YieldsLater:
    async def process_item(self, item: Any) -> AsyncIterator[Any]:
        yield item


class TakesNothing:
    def process_item(self) -> None: ...


class Useless:
    pass


class GivesNone:
    @classmethod
    def from_crawler(cls, crawler: Crawler) -> None:
        return None

    def process_item(self, item: Any) -> Any: ...


class NeedsArgument:
    def __init__(self, path: str) -> None: ...

    def process_item(self, item: Any) -> Any: ...


class BadKey:
    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Any:
        return cls()[crawler.settings["NO"]]  # type: ignore[index]

    def process_item(self, item: Any) -> Any: ...


class CannotOpen(Priced):
    def open_spider(self) -> None:
        raise ConnectionRefusedError("database away")


class CannotClose(Priced):
    def close_spider(self) -> None:
        raise RuntimeError("still busy")


function = print


def path(name: Any) -> str:
    return f"{__name__}.{getattr(name, '__name__', name)}"


def crawler_of_shop() -> Crawler:
    crawler = Crawler(Shop, {"BY": "me"})
    crawler.spider = Shop()
    return crawler


def pipelines(*classes: Any, seconds: float | None = None) -> Pipelines:
    return Pipelines(map(path, classes), crawler_of_shop(), seconds)


async def test_each_item_goes_through_all_of_them_in_order() -> None:
    assert await pipelines(Signed, Later).process({"by": "?"}) == {"by": "shop", "later": "me"}
    assert await pipelines(Later, Absent, Signed).process({}) == {"later": "me", "by": "shop"}


async def test_they_are_opened_in_order_and_closed_in_reverse() -> None:
    SAID.clear()
    both = pipelines(Signed, Later)
    await both.open()
    await both.close()
    assert SAID == ["open shop", "open later", "close later", "close shop"]


async def test_one_that_cannot_be_opened_is_named_and_those_before_it_are_closed() -> None:
    SAID.clear()
    with pytest.raises(ConfigError) as caught:
        await pipelines(Signed, CannotOpen, Later).open()
    assert "ITEM_PIPELINES: " in str(caught.value)
    assert f"{path(CannotOpen)}.open_spider: ConnectionRefusedError: database away (" in str(caught.value)
    assert SAID == ["open shop", "close shop"]


async def test_one_that_cannot_be_closed_is_logged_and_keeps_no_other_from_closing() -> None:
    SAID.clear()
    with capture_logs() as logs:
        await pipelines(Signed, CannotClose).close()
    (line,) = logs
    assert (line["event"], line["pipeline"]) == ("close_spider_failed", path(CannotClose))
    assert SAID == ["close shop"]


def test_one_that_is_not_configured_is_left_out_with_a_log_line() -> None:
    with capture_logs() as logs:
        assert not pipelines(Absent)
    (line,) = logs
    assert (line["event"], line["left_out"], line["why"]) == ("not_configured", path(Absent), "no API key")


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("no.such.module.Prices", "no.such.module.Prices: ModuleNotFoundError: No module named 'no'"),
        ("Prices", "'Prices' is no import path, such as myproject.pipelines.Prices"),
        (path("Pricd"), "has no Pricd; did you mean Priced?"),
        ("scrapy.pipelines.media.MediaPipeline", "is a part of Scrapy"),
        (path("function"), "is a builtin_function_or_method; name a class"),
        (path(Useless), "Useless has no process_item(self, item)"),
        (path(Yields), "Yields.process_item yields; let it return the item"),
        (path(YieldsLater), "YieldsLater.process_item yields; let it return the item"),
        (path(TakesNothing), "write def process_item(self, item)"),
        (path(GivesNone), "GivesNone.from_crawler returned None; return cls(…)"),
        (path(NeedsArgument), "missing 1 required positional argument: 'path'"),
        (path(BadKey), "TypeError: 'BadKey' object is not subscriptable (tests/unit/spiders/test_pipelines.py:"),
    ],
)
def test_one_that_cannot_be_used_is_refused_before_any_page(named: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pipelines([named], crawler_of_shop())
    assert str(caught.value).startswith("ITEM_PIPELINES: ")
    assert why in str(caught.value)


@pytest.mark.parametrize("named", ["no.such.module.Prices", path("Pricd"), path(Useless), path(Yields)])
def test_what_needs_no_spider_is_seen_without_one(named: str) -> None:
    with pytest.raises(ConfigError):
        check(named)


@pytest.mark.parametrize(
    ("cls", "said", "error"),
    [
        (Nothing, "process_item returned None; return the item, or raise DropItem(why)", "_Wrong"),
        (Text, "process_item returned str ('a'); return the item", "_Wrong"),
        (Twisted, "process_item returned a Deferred; write async def process_item(self, item)", "_Wrong"),
        (Hidden, "process_item returned a generator; return one item, without yield", "_Wrong"),
        (Broken, "ValueError: invalid literal for int() with base 10: 'x'", "ValueError"),
        (Exits, "SystemExit: 3", "SystemExit"),
        (CancelsItself, "CancelledError: ", "CancelledError"),
        (Stuck, "TimeoutError: Stuck.process_item did not return within 0.05 s (CALLBACK_TIMEOUT)", "TimeoutError"),
    ],
)
async def test_what_fails_names_the_pipeline_and_a_line_in_it(cls: type, said: str, error: str) -> None:
    with pytest.raises(PipelineError) as caught:
        await pipelines(Signed, cls, seconds=0.05).process({"name": "x"})
    failure = caught.value.failure
    assert failure.kind == "pipeline"
    assert failure.message.startswith(f"{path(cls)}: {said}")
    assert failure.line.startswith("tests/unit/spiders/test_pipelines.py:")


async def test_after_a_wait_other_pages_have_their_turn() -> None:
    turns = []

    async def turn() -> None:
        turns.append(1)

    await pipelines(Later, Signed, Later).process({}, turn)
    assert len(turns) == 2


def hooks(*classes: Any) -> tuple[Hooks, list[Any]]:
    crawler, heard = crawler_of_shop(), list[Any]()
    for signal in (signals.item_scraped, signals.item_dropped, signals.item_error):
        crawler.signals.connect(lambda signal, item, **_: heard.append((signal.name, item)), signal=signal)
    return Hooks(crawler, pipelines=[*map(path, classes)]), heard


PAGE = _response(Request("http://a.example/"), "")


async def test_a_page_keeps_what_the_pipelines_leave_and_counts_what_they_drop() -> None:
    made, heard = hooks(Priced, Signed)
    await made.open()
    found = await run_callback(Shop(), "parse", PAGE, steps=made.for_items)
    assert found.items == [b'{"name":"a","price":1,"by":"shop"}']
    assert dict(found.dropped) == {"no price": 1}
    assert heard == [("item_scraped", {"name": "a", "price": 1, "by": "shop"}), ("item_dropped", {"name": "b"})]


async def test_an_error_of_a_pipeline_is_told_to_handlers() -> None:
    made, heard = hooks(Broken)
    await made.open()
    with pytest.raises(PipelineError):
        await run_callback(Shop(), "parse", PAGE, steps=made.for_items)
    assert heard == [("item_error", {"name": "a", "price": 1})]


async def test_without_pipelines_and_handlers_no_item_takes_another_step() -> None:
    made = Hooks(crawler_of_shop())
    await made.open()
    assert made.for_items is None


async def test_hooks_that_could_not_be_opened_are_made_anew() -> None:
    crawler = crawler_of_shop()
    made = Hooks(crawler, pipelines=[path(CannotOpen)], extensions=[path(Listens)])
    for _ in range(2):
        with pytest.raises(ConfigError):
            await made.open()
        assert not crawler.signals.has(signals.spider_opened)
        assert not made.is_open


class Listens:
    def __init__(self, crawler: Crawler) -> None:
        crawler.signals.connect(self.opened, signal=signals.spider_opened)
        crawler.signals.connect(self.closed, signal=signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Listens:
        return cls(crawler)

    def opened(self, spider: Spider) -> None:
        SAID.append(f"opened {spider.name}")

    async def closed(self, reason: str) -> None:
        SAID.append(f"closed {reason}")


async def test_an_extension_hears_once_of_the_opening_and_of_the_closing() -> None:
    SAID.clear()
    made = Hooks(crawler_of_shop(), pipelines=[path(Signed)], extensions=[path(Listens)])
    await asyncio.gather(made.open(), made.open())
    await made.close("finished")
    await made.close("finished")
    assert SAID == ["open shop", "opened shop", "close shop", "closed finished"]


@pytest.mark.parametrize(
    ("named", "why"),
    [("nothing.Report", "ModuleNotFoundError: No module named 'nothing'"), (path("Lstens"), "did you mean Listens?")],
)
async def test_an_extension_that_cannot_be_used_is_named(named: str, why: str) -> None:
    made = Hooks(crawler_of_shop(), extensions=[named])
    with pytest.raises(ConfigError) as caught:
        await made.open()
    assert str(caught.value).startswith("EXTENSIONS: ")
    assert why in str(caught.value)


async def test_scrapys_own_extensions_are_left_out() -> None:
    made = Hooks(crawler_of_shop(), extensions=["scrapy.extensions.telnet.TelnetConsole"])
    with capture_logs() as logs:
        await made.open()
    assert [(line["event"], line["setting"]) for line in logs] == [("left_out", "EXTENSIONS")]


async def test_handlers_hear_what_a_callback_raised() -> None:
    crawler, heard = crawler_of_shop(), list[Any]()
    crawler.signals.connect(lambda failure, response: heard.append((failure, response)), signal=signals.spider_error)
    error = KeyError("price")
    await Hooks(crawler).tell_error(error, Failure("callback", "KeyError", line="shop.py:3"), PAGE)
    ((failure, response),) = heard
    assert (failure.value, failure.type, failure.line, response) == (error, KeyError, "shop.py:3", PAGE)
    assert (failure.check(OSError, LookupError), failure.check(OSError)) == (LookupError, None)


async def test_a_job_closes_from_a_pipeline() -> None:
    made, heard = hooks(Closes)
    await made.open()
    found = await run_callback(Shop(), "parse", PAGE, steps=made.for_items)
    assert (found.close, found.items, dict(found.dropped), heard) == ("enough", [], {"closed": 2}, [])


class Closes:
    def process_item(self, item: Any) -> Any:
        raise CloseSpider("enough")
