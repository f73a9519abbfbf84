"""`CrawlSpider`: its rules find what Scrapy's find, travel with the request, and are checked before the first page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from scrapy import Spider as ScrapysSpider
from scrapy.http import HtmlResponse
from scrapy.http import Request as ScrapysRequest
from scrapy.linkextractors import LinkExtractor as ScrapysLinkExtractor
from scrapy.spiders import CrawlSpider as ScrapysCrawlSpider
from scrapy.spiders import Rule as ScrapysRule
from scrapy.utils.test import get_crawler

from crawler import CrawlSpider, LinkExtractor, Request, Response, Rule
from crawler.model import Failure
from crawler.spiders.callbacks import callback_of, lacking
from crawler.spiders.checks import attribute_problems, problems, unknown_callbacks
from crawler.spiders.crawl_spider import MAX_LINK_TEXT
from crawler.spiders.failures import failure_of, files_of
from crawler.spiders.taken import CallbackError
from crawler.testing import Result, run_spider

URL = "http://shop.example/"
HTML = """
<nav><a href=/a>A</a> <a href=/b rel=nofollow>B</a> <a href=/pot/9>nine</a></nav>
<main><a href=/pot/1> one </a><a href=/pot/2#x>two</a><a href=/pot/1>again</a><a href=/pan/3>three</a></main>
<a href=http://other.example/pot/4>four</a><a href=/f.pdf>f</a><a href=http://[::1>bad</a><a href=/>home</a>
"""


class Shop(CrawlSpider):
    name = "shop"
    rules: ClassVar = (
        Rule(LinkExtractor(allow="/pot/", deny_domains="other.example"), "parse_pot", follow=True, errback="failed"),
        Rule(LinkExtractor(restrict_css="main"), callback="parse_pan", process_links="last"),
        Rule(LinkExtractor(restrict_css="nav", deny="b$"), process_request="marked"),
        Rule(LinkExtractor(allow="b$"), follow=False),
        Rule(),
    )

    def parse_pot(self, response: Response) -> Iterator[Any]:
        yield {"pot": response.url}

    def parse_pan(self, response: Response) -> dict[str, str]:
        return {"pan": response.url}

    def last(self, links: list[Any]) -> list[Any]:
        return links[-1:]

    def marked(self, request: Request, response: Response) -> Request | None:
        return None if "home" in request.meta["link_text"] else request

    def failed(self, request: Request, failure: Failure) -> None: ...


def found(spider: type[CrawlSpider], html: str = HTML, callback: str = "parse", **fields: Any) -> Result:
    return run_spider(spider, html, url=URL, callback=callback, **fields)


def test_the_first_rule_that_finds_a_link_decides() -> None:
    requests = found(Shop).requests
    assert [(one.url, one.callback, one.errback, one.meta) for one in requests] == [
        (URL + "pot/9", "parse_pot:follow", "failed", {"rule": 0, "link_text": "nine"}),
        (URL + "pot/1", "parse_pot:follow", "failed", {"rule": 0, "link_text": " one "}),
        (URL + "pot/2#x", "parse_pot:follow", "failed", {"rule": 0, "link_text": "two"}),
        (URL + "pan/3", "parse_pan:rule", "", {"rule": 1, "link_text": "three"}),
        (URL + "a", "parse", "", {"rule": 2, "link_text": "A"}),
        ("http://other.example/pot/4", "parse", "", {"rule": 4, "link_text": "four"}),
        (URL, "parse", "", {"rule": 4, "link_text": "home"}),
    ]


def scrapys() -> Any:
    class Theirs(ScrapysCrawlSpider):
        name = "theirs"
        rules = (
            ScrapysRule(ScrapysLinkExtractor(allow="/pot/", deny_domains="other.example"), "parse_pot", follow=True),
            ScrapysRule(ScrapysLinkExtractor(restrict_css="main"), callback="parse_pan", process_links="last"),
            ScrapysRule(ScrapysLinkExtractor(restrict_css="nav", deny="b$"), process_request="marked"),
            ScrapysRule(ScrapysLinkExtractor(allow="b$"), follow=False),
            ScrapysRule(),
        )
        last = Shop.last
        marked = Shop.marked

        def parse_pot(self, response: Any) -> None: ...

        def parse_pan(self, response: Any) -> None: ...

    return get_crawler(Theirs)._create_spider()


def test_the_requests_are_those_of_scrapy() -> None:
    """But a page for which a rule has neither callback nor follow is not fetched for nothing."""
    theirs = scrapys()
    response = HtmlResponse(URL, body=HTML.encode(), request=ScrapysRequest(URL))
    asked = dict.fromkeys(
        (one.url, one.meta["rule"], one.meta["link_text"])
        for one in theirs._requests_to_follow(response)
        if theirs.rules[one.meta["rule"]].callback or theirs.rules[one.meta["rule"]].follow
    )
    assert [(one.url, one.meta["rule"], one.meta["link_text"]) for one in found(Shop).requests] == list(asked)
    assert isinstance(theirs, ScrapysSpider)


class Reads(CrawlSpider):
    name = "reads"
    rules: ClassVar = (Rule(LinkExtractor(allow="c$"), "parse_item", follow=True), Rule(LinkExtractor(), follow=True))

    def parse_start_url(self, response: Response, **cb_kwargs: Any) -> Any:
        return [{"start": response.url}]

    def parse_item(self, response: Response) -> Any:
        yield {"item": response.url}
        yield Request(URL + "own")

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        for one in results:
            yield {**one, "seen": True} if isinstance(one, dict) else one


LINKS = "<a href=/c>c</a><a href=/d>d</a>"


@pytest.mark.parametrize(
    ("callback", "meta", "items", "urls"),
    [
        ("parse", {}, [{"start": URL, "seen": True}], ["c", "d"]),
        ("parse", {"rule": 1}, [], ["c", "d"]),
        ("parse_item:follow", {"rule": 0}, [{"item": URL, "seen": True}], ["own", "c", "d"]),
        ("parse_item:rule", {"rule": 0}, [{"item": URL, "seen": True}], ["own"]),
        ("parse_item", {}, [{"item": URL}], ["own"]),
    ],
)
def test_a_page_is_read_as_its_request_says(callback: str, meta: Any, items: Any, urls: list[str]) -> None:
    result = found(Reads, LINKS, callback, meta=meta)
    assert (result.items, result.urls) == (items, [URL + path for path in urls])


def test_pages_that_are_not_html_have_no_links_to_follow() -> None:
    assert found(Reads, LINKS, headers={"content-type": "text/plain"}).urls == []


class Named(CrawlSpider):
    name = "named"
    rules: ClassVar = (Rule(LinkExtractor(), "parse_item", cb_kwargs={"kind": "pot"}, follow=False),)

    def parse_start_url(self, response: Response, **cb_kwargs: Any) -> Any:
        return cb_kwargs

    def parse_item(self, response: Response, kind: str) -> Any:
        yield {"kind": kind}


def test_cb_kwargs_of_a_rule_travel_with_its_requests() -> None:
    (first, _) = found(Named, LINKS).requests
    assert (first.callback, first.cb_kwargs) == ("parse_item:rule", {"kind": "pot"})
    assert run_spider(Named, LINKS, request=first, callback=first.callback).items == [{"kind": "pot"}]
    start = Request(URL, cb_kwargs={"page": 1})
    assert run_spider(Named, request=start).items == [{"page": 1}]
    assert lacking(Named(), Request(URL, callback="parse_item:rule", cb_kwargs={"sort": "x"}))


class Later(Reads):
    name = "later"

    async def parse_item(self, response: Response) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield {"item": response.url}

    async def parse_start_url(self, response: Response, **cb_kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return [{"start": response.url}]


@pytest.mark.parametrize("callback", ["parse", "parse_item:follow"])
def test_callbacks_may_be_async(callback: str) -> None:
    result = found(Later, LINKS, callback)
    assert [one["seen"] for one in result.items] == [True]
    assert result.urls == [URL + "c", URL + "d"]


class OwnParse(CrawlSpider):
    """Which Scrapy permits: `parse` is no callback by itself there."""

    name = "own"
    rules: ClassVar = (Rule(LinkExtractor(allow="c$"), "parse", follow=False),)

    def parse(self, response: Response) -> Any:  # type: ignore[override]
        yield {"own": response.url}


def test_a_rule_may_name_a_parse_of_the_class() -> None:
    assert (found(OwnParse, LINKS).items, found(OwnParse, LINKS).urls) == ([], [URL + "c"])
    assert found(OwnParse, LINKS, "parse:rule").items == [{"own": URL}]
    assert not list(problems(OwnParse))


def test_a_worker_whose_version_lacks_the_method_leaves_the_page_to_others() -> None:
    spider = Shop()
    assert lacking(spider, Request(URL, callback="parse_pot:follow")) == ""
    for callback in ("parse_pots:follow", "parse_pot:later"):
        assert "spider shop has no method" in lacking(spider, Request(URL, callback=callback))
    with pytest.raises(CallbackError, match=r"no method 'parse_pots' to call back; did you mean parse_pot\?"):
        callback_of(spider, "parse_pots:rule")


@pytest.mark.parametrize(("href", "word"), [(f"/x?{'a' * 9_000}", "long_urls"), ("http://[::1", "")])
def test_a_link_that_nobody_can_fetch_is_told_as_by_other_spiders(href: str, word: str) -> None:
    made: Any = {"body": f"<a href='{href}'>".encode(), "headers": {"content-type": "text/html"}}
    ours, theirs = Response(URL, **made), Response(URL, **made)
    assert [*Reads()._requests_to_follow(ours), *theirs.follow_all()] == []
    assert ours.cut == theirs.cut
    assert list(ours.cut) == [word] * bool(word)


def test_a_long_text_is_cut_for_its_request_and_told() -> None:
    class All(CrawlSpider):
        name = "all"
        rules: ClassVar = (Rule(),)

    response = Response(URL, body=f"<a href=/c>{'x' * 5000}</a>".encode(), headers={"content-type": "text/html"})
    (request,) = All()._requests_to_follow(response)
    assert request.meta["link_text"] == "x" * MAX_LINK_TEXT
    assert response.cut == {"link_text": "5,000 characters of text; 1,000 were kept"}


class Fails(Shop):
    def parse_pot(self, response: Response) -> Iterator[Any]:
        yield {"pot": 1 / 0}


def test_an_error_has_the_line_of_the_project_and_not_of_the_crawler() -> None:
    assert files_of(Fails) == {__file__}
    with pytest.raises(ZeroDivisionError) as caught:
        found(Fails, callback="parse_pot:follow")
    line = failure_of(Fails, "parse_pot:follow", caught.value).line
    assert Path(line.rpartition(":")[0]).name == "test_crawl_spider.py"
    stray = failure_of(Fails, "parse_pot:rule", ValueError("raised nowhere in the project"))
    assert stray.line.startswith("tests/unit/spiders/test_crawl_spider.py:")


def wrong(**attributes: Any) -> str:
    return "; ".join(attribute_problems(type("Wrong", (Shop,), {"name": "wrong", **attributes})))


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (Rule(), "rules must be a list of Rule, not Rule"),
        (("x",), "rules[0] is no Rule: str ('x')"),
        ((Rule(), Rule("x")), "rules[1]: str ('x') is no LinkExtractor"),
        (
            (Rule(callback="parse_pots"),),
            "rules[0]: str ('parse_pots') is no method of the class, by whose name it "
            "would travel; did you mean parse_pot?",
        ),
        ((Rule(callback=lambda response: None),), "is no method of the class, by whose name it would travel"),
        ((Rule(callback="_parse"),), "rules[0]: _parse is private; rename it without the underscore"),
        ((Rule(callback="parse"),), "rules[0]: the class has no parse of its own"),
        ((Rule(callback="last", errback="parse_pot"),), "rules[0]: "),
        (
            (Rule(callback="parse_pot", cb_kwargs={"kind": 1}),),
            "rules[0]: parse_pot(self, response) is called with response, kind (cb_kwargs)",
        ),
        ((Rule(process_links="lst"),), "process_links='lst' is no method of the class; did you mean last?"),
        ((Rule(process_links=cast(Any, 5)),), "process_links=int (5) is neither a method nor its name"),
        ((Rule(process_request="last"),), "process_request: last(self, links) is called with request, response"),
    ],
)
def test_mistakes_in_rules_are_told_before_the_first_page(rules: Any, told: str) -> None:
    assert told in wrong(rules=rules)


def test_rules_may_be_set_when_the_spider_is_made_and_methods_given_as_functions() -> None:
    class Made(Shop):
        name = "made"

        def __init__(self, **arguments: Any) -> None:
            vars(self)["rules"] = (Rule(LinkExtractor(allow="/pan/"), callback=self.parse_pan),)
            super().__init__(**arguments)
            self._compile_rules()

    assert [one.callback for one in found(Made).requests] == ["parse_pan:rule"]
    assert not list(attribute_problems(Made()))
    assert not wrong(rules=[Rule(callback=Shop.parse_pan)])


def test_a_callback_parse_of_the_class_is_refused_for_other_requests() -> None:
    source = "class OwnParse:\n    def parse_item(self, response):\n        yield Request('x', callback=self.parse)"
    assert list(unknown_callbacks(OwnParse, source)) == [
        "line 3 names the callback parse, which reads the start pages of a CrawlSpider; give your method another name, "
        "such as parse_item"
    ]


def test_links_are_not_followed_with_scrapys_setting() -> None:
    assert found(Reads, LINKS, settings={"CRAWLSPIDER_FOLLOW_LINKS": False}).urls == []
