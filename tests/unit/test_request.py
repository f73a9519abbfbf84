"""A request that would not travel, or whose words would be ignored, fails on the line that makes it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from crawler import Request, Response, Spider
from crawler.parsing import scrapy_words
from crawler.parsing.request_fields import META_WORDS

URL = "http://a.example/"
PAGE = Response(URL, body=b"<a href=/x>x</a>", headers={"content-type": "text/html"})


class Shop(Spider):
    name = "shop"

    def parse_item(self, response: Response) -> None: ...


@pytest.mark.parametrize("word", scrapy_words.META)
def test_a_word_in_meta_that_nothing_obeys_says_what_to_write(word: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        Request(URL, meta={word: "x"})
    assert f"request for {URL}: meta[{word!r}]: {scrapy_words.META[word]}" in str(caught.value)


@pytest.mark.parametrize("word", scrapy_words.REQUEST)
def test_an_argument_of_others_says_what_to_write(word: str) -> None:
    for make in (partial(Request, URL), partial(PAGE.follow, "/x")):
        with pytest.raises(TypeError) as caught:
            make(**{word: "x"})
        assert f"Request({word}=…): {scrapy_words.REQUEST[word]}" in str(caught.value)


def test_arguments_by_place_are_those_that_mean_the_same_in_scrapy() -> None:
    cookies: Any = {"session": "1"}
    with pytest.raises(TypeError, match="name what follows"):
        Request(URL, "parse", "GET", {}, b"", cookies)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"headers": {"Authorization": b"Bearer x"}}, "headers['Authorization'] is bytes b'Bearer x'"),
        ({"headers": {"x": "a\nEvil: 1"}}, "headers['x'] holds a line break"),
        ({"headers": {"x": "a "}}, "write value.strip()"),
        ({"headers": {"x y": "a"}}, "'x y' is no name of a header"),
        ({"headers": {"Accept": "a", "accept": "b"}}, "has one name twice"),
        ({"headers": {"Content-Length": "3"}}, "'Content-Length' is set by the crawler itself"),
        (
            {"headers": {"x": 1}},
            "headers['x'] is int 1, which would not arrive unchanged; write text, such as str",
        ),
        ({"method": "GET / HTTP/1.1"}, "cannot be fetched with"),
        ({"method": "connect"}, "cannot be fetched with"),
        ({"priority": 1001}, "use a whole number, -1000 to 1000"),
        ({"priority": 1.0}, "use a whole number"),
        ({"delay": -1}, "use seconds from now"),
        ({"delay": float("inf")}, "use seconds from now"),
        ({"callback": lambda response: None}, "write a method of the spider"),
        ({"callback": partial(print)}, "write a method of the spider"),
        ({"errback": print}, "errback is builtin_function_or_method"),
        ({"meta": {"handle_httpstatus_list": 404}}, "write a list of HTTP statuses, such as [404]"),
        ({"meta": {"download_timeout": "5"}}, "meta['download_timeout'] is str '5'; write seconds"),
        ({"meta": {"download_timeout": 0}}, "write seconds, at most a day"),
        ({"meta": {"dont_retry": 1}}, "write True or False"),
        ({"meta": {"max_retry_times": -1}}, "write a number of tries"),
    ],
)
def test_a_value_that_cannot_travel_says_what_to_write(fields: dict[str, Any], told: str) -> None:
    for make in (partial(Request, URL), partial(PAGE.follow, "/x"), lambda **fields: list(PAGE.follow_all(**fields))):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
            make(**fields)
        assert told in str(caught.value)


@pytest.mark.parametrize("url", [b"http://a.example/", None, 5, ["http://a.example/"]])
def test_a_url_is_text(url: Any) -> None:
    with pytest.raises(ValueError, match="write text, such as str"):
        Request(url)


@pytest.mark.parametrize(
    "url", ["/x", "", "x.html", "//b.example/", "?page=2", "b.example/x", " ", "1http://b.example/"]
)
def test_a_url_has_a_scheme(url: str) -> None:
    for fields in ({}, {"callback": "parse_item"}, {"meta": {"page": 2}}):
        with pytest.raises(ValueError, match=re.escape(f"{url!r}, which has no scheme; write response.follow(url)")):
            Request(url, **fields)


@pytest.mark.parametrize("url", ["HTTP://a.example", " https://a.example/", "mailto:me@a.example", "localhost:8000/x"])
def test_a_url_that_is_absolute_may_come_from_the_page(url: str) -> None:
    assert Request(url).url == url


def test_what_a_request_may_say() -> None:
    spider = Shop()
    words: dict[str, Any] = {
        "dont_redirect": True,
        "dont_retry": False,
        "download_timeout": 0.5,
        "handle_httpstatus_all": False,
        "handle_httpstatus_list": [404, 410],
        "max_retry_times": 9,
    }
    assert words.keys() | scrapy_words.META.keys() == META_WORDS
    callback: Any = spider.parse_item
    request = Request(URL, callback, method="post", meta=words, headers={"User-Agent": "a/1"})
    assert (request.method, request.meta, request.callback) == ("POST", words, callback)
    assert Request(URL, callback=None, meta=None, headers=None, body=None) == Request(URL)  # type: ignore[arg-type]


def test_a_class_of_scrapy_says_what_to_write() -> None:
    with pytest.raises(
        ImportError, match=r'FormRequest: write Request\(url, method="POST", body=urllib.parse.urlencode'
    ):
        from crawler import FormRequest  # noqa: F401


def test_what_is_no_link_is_told_where_it_is_followed() -> None:
    for link in (None, PAGE.css("a"), 7):
        with pytest.raises(TypeError, match=f"not {type(link).__name__}; a query that finds nothing"):
            PAGE.follow(link)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="for one link write follow"):
        list(PAGE.follow_all("/x"))
