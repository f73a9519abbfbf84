"""`XMLFeedSpider` and `CSVFeedSpider` give their callbacks what Scrapy's give them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from scrapy.http import TextResponse, XmlResponse
from scrapy.spiders import CSVFeedSpider as ScrapysCSVFeedSpider
from scrapy.spiders import XMLFeedSpider as ScrapysXMLFeedSpider

from crawler import CSVFeedSpider, Response, XMLFeedSpider
from crawler.spiders.feed_spiders import _FeedSpider
from crawler.testing import run_spider

URL = "http://a.example/feed"
RSS = """  <?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://g.example/ns"><channel><title>all</title>
<item><title>one</title><g:price>1 €</g:price><link>http://a.example/1</link></item> tail
<item><title>two &amp; more</title><g:price>2</g:price><link/></item>
<other><item><title>three</title></item></other>
<g:item><title>four</title></g:item></channel></rss>"""
ATOM = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>a</title></entry><entry><title>b</title></entry></feed>'


def read(spider: Any, node: Any) -> dict[str, Any]:
    title = (
        node.xpath("title/text() | a:title/text()") if dict(spider.namespaces).get("a") else node.xpath("title/text()")
    )
    prices = node.xpath("g:price/text()").getall() if dict(spider.namespaces).get("g") else []
    return {"title": title.get(), "prices": prices, "all": len(node.xpath("//title"))}


@pytest.mark.parametrize(
    ("feed", "fields"),
    [
        (RSS, {"namespaces": [("g", "http://g.example/ns")]}),
        (RSS, {"iterator": "xml", "namespaces": [("g", "http://g.example/ns")]}),
        (RSS, {"itertag": "g:item"}),
        (RSS, {"itertag": "channel"}),
        (RSS, {"itertag": "nothing"}),
        (ATOM, {"itertag": "entry"}),
        (ATOM, {"itertag": "a:entry", "iterator": "xml", "namespaces": [("a", "http://www.w3.org/2005/Atom")]}),
        ("<html><body><p class=item>x<item><title>h</title></item>", {"iterator": "html"}),
    ],
)
def test_nodes_are_those_of_scrapy(feed: str, fields: dict[str, Any]) -> None:
    def parse_node(self: Any, response: Any, node: Any) -> Any:
        return read(self, node)

    body = {"name": "feed", "parse_node": parse_node, **fields}
    theirs = type("Theirs", (ScrapysXMLFeedSpider,), body)()
    ours = type("Ours", (XMLFeedSpider,), body)
    wanted = list(theirs._parse(XmlResponse(URL, body=feed.encode(), encoding="utf-8")))
    assert run_spider(ours, feed, headers={"content-type": "application/xml"}).items == wanted


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('name,price\npot,1\n"pan, large",2\n', {}),
        ("pot;1\npan;2", {"delimiter": ";", "headers": ["name", "price"]}),
        ("'name','price'\n'po,t','1'", {"quotechar": "'"}),
        ("name,price\nonly\npot,1,2\npan,3\n", {}),
        ("", {}),
        ("name,price", {}),
    ],
)
def test_rows_are_those_of_scrapy(text: str, fields: dict[str, Any]) -> None:
    def parse_row(self: Any, response: Any, row: Any) -> Any:
        return [row]

    body = {"name": "feed", "parse_row": parse_row, **fields}
    theirs = type("Theirs", (ScrapysCSVFeedSpider,), body)()
    wanted = list(theirs._parse(TextResponse(URL, body=text.encode(), encoding="utf-8")))
    assert run_spider(type("Ours", (CSVFeedSpider,), body), text, headers={"content-type": "text/csv"}).items == wanted


class Shop(XMLFeedSpider):
    name = "shop"

    def parse_node(self, response: Response, selector: Any) -> Any:
        yield {"title": selector.xpath("title/text()").get()}

    def process_results(self, response: Response, results: Any) -> Any:
        return [{**one, "seen": True} for one in results]

    def adapt_response(self, response: Response) -> Response:
        return Response(response.url, body=response.body.replace(b"one", b"ONE"), headers=response.headers)


def test_results_and_the_response_can_be_changed() -> None:
    titles = [(one["title"], one["seen"]) for one in run_spider(Shop, RSS).items]
    assert titles == [("ONE", True), ("two & more", True), ("three", True)]


def test_a_feed_that_breaks_off_is_read_up_to_there_and_told() -> None:
    response = Response(URL, body=RSS.encode()[:-60])
    shop: Any = type("Plain", (Shop,), {"adapt_response": _FeedSpider.adapt_response})()
    assert len(list(shop.parse(response))) == 3
    assert response.cut["feed_end"].startswith("it is malformed, and was read up to there: ")


def told(spider: Any, feed: str | bytes, **body: Any) -> dict[str, str]:
    response = Response(URL, body=feed if isinstance(feed, bytes) else feed.encode())
    list(type("Made", (spider,), {"name": "made", **body})().parse(response))
    return response.cut


@pytest.mark.parametrize("adapt_response", [_FeedSpider.adapt_response, Shop.adapt_response])
@pytest.mark.parametrize("iterator", ["iternodes", "xml", "html"])
def test_a_malformed_feed_is_told_whatever_reads_it(iterator: str, adapt_response: Any) -> None:
    how = {"iterator": iterator, "adapt_response": adapt_response}
    assert list(told(Shop, RSS[:-60], **how)) == ["feed_end"]
    assert not told(Shop, RSS, **how)


@pytest.mark.parametrize(
    ("feed", "why"),
    [
        ("<r><item>a & b</item></r>", "xmlParseEntityRef: no name, line 1"),
        ("<r><item>a</r>", "Opening and ending tag mismatch"),
        ("<r><x:item>a</x:item></r>", ""),  # the name of an element is not lost
        (f"<r>{'<a>' * 300}{'</a>' * 300}<item/></r>", "Excessive depth"),
        ("<!-- <rss> --><r/>", ""),
    ],
)
def test_what_xml_recovers_from_is_told(feed: str, why: str) -> None:
    cut = told(Shop, feed, iterator="xml")
    assert why in cut["feed_end"] if why else not cut


@pytest.mark.parametrize(
    ("feed", "is_told"),
    [
        ("<!DOCTYPE rss><!-- <p> --><RSS version='2'><item>x</item></rss> ", False),
        ("<?xml version='1.0'?> <rss version='2'><item>x</item><ite", True),
        ("<products><item>x</item></product>", True),
        ("<rss/>", False),
        ("<html><body><item>x</item>", False),  # HTML permits that
        ("<p><item>x", False),
        ("<!-- torn", False),
        ("", False),
    ],
)
def test_a_feed_that_html_reads_breaks_off_if_its_root_has_no_end(feed: str, is_told: bool) -> None:
    assert ("feed_end" in told(Shop, feed, iterator="html", adapt_response=_FeedSpider.adapt_response)) is is_told


def test_entities_are_not_expanded_and_no_file_is_read() -> None:
    bomb = '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    feed = f"{bomb}<r><item><title>&b;</title></item><item><title>&f;</title></item></r>"
    assert [one["title"] for one in run_spider(Shop, feed).items] == [None, None]


class Rows(CSVFeedSpider):
    name = "rows"
    headers: ClassVar = ("a", "b")

    def parse_row(self, response: Response, row: dict[str, str]) -> Any:
        return row


def test_odd_rows_are_told() -> None:
    response = Response(URL, body=b"1,2\n3\n4,5,6\n")
    assert list(Rows().parse(response)) == [{"a": "1", "b": "2"}]
    assert response.cut == {"csv_rows": "2 rows without a field for each of the 2 columns"}


def test_a_row_without_a_value_is_no_odd_one() -> None:
    assert not told(Rows, "1,2\n\n , ,\n3,4\n\n")


@pytest.mark.parametrize(
    ("feed", "headers", "rows"),
    [
        ("a,b,a\n1,2,3\n4,5,6\n7,8,7\n,9,9\n", None, 2),
        ("a,,\n1,,\n", None, 0),
        ("1,2,3\n", ("_", "_", "b"), 0),  # the spider wants it so
    ],
)
def test_columns_of_one_name_are_told_if_a_value_is_lost(feed: str, headers: Any, rows: int) -> None:
    why = f"{rows} rows with several values in columns of one name, of which the last was kept: a"
    assert told(Rows, feed, headers=headers) == ({"csv_columns": why} if rows else {})


@pytest.mark.parametrize(
    ("spider", "told"),
    [
        (XMLFeedSpider, "no parse_node"),
        (CSVFeedSpider, "no parse_row"),
        (type("Odd", (Shop,), {"iterator": "x"}), "is 'x'"),
    ],
)
def test_what_is_missing_is_told(spider: Any, told: str) -> None:
    with pytest.raises((NotImplementedError, ValueError), match=told):
        run_spider(type("Made", (spider,), {"name": "made"}), "<r><item/></r>\n1\n")
