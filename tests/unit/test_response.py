"""What a response offers under Scrapy's names."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest

from crawler import Request, Response
from crawler.parsing.limits import ParseLimits

URL = "http://a.example/list/"
HTML = {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": ["a=1", "b=2"]}
PAGE = Response(
    URL,
    headers=HTML,  # type: ignore[arg-type]
    body=b"<base href=/b/><a href=x>x</a><a>no link</a><link href=y><img src=z><p class=k>12 EUR</p>",
    request=Request(URL, cb_kwargs={"n": 1}),
)
JSON = Response(URL, headers={"content-type": "application/json"}, body=b'{"hits": [{"n": "a"}, {"n": "b"}]}')


class Link:
    """As a LinkExtractor gives it."""

    url = "http://b.example/c"


def test_the_names_of_a_header_may_be_bytes() -> None:
    assert PAGE.headers[b"content-type"] == PAGE.headers.get(b"Content-Type") == HTML["Content-Type"]
    assert PAGE.headers.getlist(b"set-cookie") == ["a=1", "b=2"]
    assert (PAGE.headers.get(b"none"), PAGE.headers.get(b"none", "x"), PAGE.headers.getlist(b"none")) == (None, "x", [])


def test_links_that_a_query_selects_are_followed() -> None:
    def urls(**query: Any) -> list[str]:
        return [one.url for one in PAGE.follow_all(**query)]

    assert urls(xpath="//a") == urls(css="a") == urls(xpath="//a/@href") == ["http://a.example/b/x"]
    assert urls(urls=[Link(), "y"]) == ["http://b.example/c", "http://a.example/b/y"]
    assert PAGE.follow(Link()).url == "http://b.example/c"  # type: ignore[arg-type]
    made = list(PAGE.follow_all(xpath="//a", cookies={"s": 1}, cb_kwargs={"k": [1]}))
    assert (made[0].headers, made[0].cb_kwargs) == ({"Cookie": "s=1"}, {"k": [1]})
    for query in ({"css": "a", "xpath": "//a"}, {"urls": [], "css": "a"}):
        with pytest.raises(ValueError, match="one of urls, css= and xpath="):
            urls(**query)


def test_json_is_selected_with_jmespath() -> None:
    assert JSON.jmespath("hits[*].n").getall() == ["a", "b"]
    assert JSON.jmespath("hits").jmespath("n").getall() == ["a", "b"]
    assert JSON.jmespath("none").get() is None


def test_what_is_known_of_the_exchange() -> None:
    asked = Response(URL, address="2001:db8::1", seconds=0.5)
    assert (asked.ip_address, asked.protocol) == (ip_address("2001:db8::1"), "HTTP/1.1")
    assert (PAGE.ip_address, PAGE.protocol, PAGE.certificate, PAGE.flags) == (None, None, None, [])
    assert PAGE.cb_kwargs == {"n": 1}
    assert PAGE.css("p").re_first(r"\d+") == PAGE.selector.css("p::text").re(r"\d+")[0] == "12"
    assert PAGE.css("p").attrib == {"class": "k"}


def test_what_is_cut_off_a_page_or_its_copy_is_told_of_both() -> None:
    page = Response(URL, headers=HTML, parse_limits=ParseLimits(text=3))  # type: ignore[arg-type]
    page.cut["surplus"] = "it sent more than it said"
    copy = page.replace(body=b"<p>12 EUR</p>")
    assert copy.visible_text == "12 "
    assert set(page.cut) == set(copy.cut) == {"surplus", "text"}


def test_a_copy_is_parsed_anew() -> None:
    PAGE.flags.append("cached")
    other = PAGE.replace(body=b"<a href=other>", status=203, url="http://a.example/")
    assert (other.status, other.links, other.request) == (203, ["http://a.example/other"], PAGE.request)
    assert (other.flags, other.headers.getlist("set-cookie")) == (["cached"], ["a=1", "b=2"])
    copy = PAGE.copy()
    assert (copy.body, copy.url) == (PAGE.body, URL)
    assert copy.flags is not PAGE.flags
    with pytest.raises(TypeError, match="colour"):
        PAGE.replace(colour=1)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (lambda: PAGE.css("a["), "css('a['): Expected"),
        (lambda: PAGE.xpath("//a["), "xpath('//a['): XPath error: Invalid expression"),
        (lambda: PAGE.css("p").css("b:last-word"), "css('b:last-word'): The pseudo-class :last-word is unknown"),
        (lambda: PAGE.css("p")[0].xpath("foo:bar"), "xpath('foo:bar'): XPath error: Undefined namespace prefix"),
        (lambda: list(PAGE.follow_all(css="li..next")), "css('li..next'): Expected"),
    ],
)
def test_a_bad_expression_is_named(select: Callable[[], Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"^(css|xpath)") as caught:
        select()
    assert str(caught.value).startswith(said)


def test_what_is_no_link_is_told_where_it_is_followed() -> None:
    for link in (None, PAGE.css("a"), 7):
        with pytest.raises(TypeError, match=f"not {type(link).__name__}; a query that finds nothing"):
            PAGE.follow(link)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="for one link write follow"):
        list(PAGE.follow_all("/x"))
