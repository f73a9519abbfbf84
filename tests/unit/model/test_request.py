"""A request that would not travel, or whose words would be ignored, fails on the line that makes it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from crawler import Request, Response, Spider
from crawler.parsing import scrapy_words
from crawler.parsing.request_fields import META_WORDS, TOLD

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
    with pytest.raises(TypeError, match="name the others"):
        Request(URL, "parse", "GET", {}, b"", cookies)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"headers": {"Authorization": b"Bearer \xff"}}, "headers['Authorization'] holds bytes that are not UTF-8"),
        ({"headers": {"x": b"a\r\nEvil: 1"}}, "headers['x'] holds a line break"),
        ({"headers": {"x": ["a", "b\nEvil: 1"]}}, "headers['x'] holds a line break"),
        ({"headers": {"x": None}}, "headers['x'] is None; leave it out"),
        ({"headers": {"User-Agent": ["a", "b"]}}, "'User-Agent' has 2 values, and HTTP permits one"),
        ({"headers": [("Referer", "a"), ("referer", "b")]}, "'Referer' has 2 values"),
        ({"headers": "x: 1"}, "headers is str 'x: 1'"),
        ({"headers": {"x": "a\nEvil: 1"}}, "headers['x'] holds a line break"),
        ({"headers": {"x": "a "}}, "write value.strip()"),
        ({"headers": {"x y": "a"}}, "'x y' is no name of a header"),
        ({"headers": {"Content-Length": "3"}}, "'Content-Length' is set by the crawler itself"),
        (
            {"headers": {"x": 1.5}},
            "headers['x'] is float 1.5, which would not arrive unchanged; write text, such as str",
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
        ({"meta": {"dont_obey_robotstxt": "yes"}}, "write True or False"),
        ({"meta": {"redirect_urls": URL}}, "write a list"),
        ({"cookies": {"a": "1\r\nEvil: 1"}}, "cookies['a'] holds a semicolon, a line break"),
        ({"cookies": {"a": "1; b=2"}}, "cookies['a'] holds a semicolon"),
        ({"cookies": {"a=b": "1"}}, "'a=b' is no name of a cookie"),
        ({"cookies": {"a\n": "1"}}, "is no name of a cookie"),
        ({"cookies": {"a": None}}, "cookies: the value of 'a' is NoneType; write text"),
        ({"cookies": [{"value": "1"}]}, "cookies: a name is NoneType"),
        ({"cookies": "a=1"}, "cookies is str; write a dict, or a list of dicts such as"),
        ({"cookies": {"a": "1"}, "meta": {"dont_merge_cookies": True}}, "dont_merge_cookies says to send none"),
        ({"flags": ["cached"]}, "flags: write meta={…}"),
        ({"body": "цена €", "encoding": "koi8-r"}, "body has '€', which koi8-r cannot express"),
        ({"body": "x", "encoding": "klingon"}, "encoding 'klingon' is unknown"),
        ({"cb_kwargs": {"page": b"2"}}, "cb_kwargs['page'] is bytes b'2'"),
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


OBEYED: dict[str, Any] = {
    "allow_offsite": True,
    "dont_cache": True,
    "dont_merge_cookies": True,
    "dont_obey_robotstxt": True,
    "dont_redirect": True,
    "dont_retry": False,
    "download_timeout": 0.5,
    "handle_httpstatus_all": False,
    "handle_httpstatus_list": [404, 410],
    "max_retry_times": 9,
    "redirect_reasons": [301],
    "redirect_urls": [URL],
    "retry_times": 1,
}
"""Words that the crawler obeys, or that are carried along as in Scrapy."""

# the keys of Scrapy's page "Requests and Responses" (2.19), and others that its code reads
OF_SCRAPY = """
allow_offsite autothrottle_dont_adjust_delay bindaddress cookiejar dont_cache dont_merge_cookies dont_obey_robotstxt
dont_redirect dont_retry download_fail_on_dataloss download_latency download_maxsize download_slot download_timeout
download_warnsize ftp_local_filename ftp_passive ftp_password ftp_user give_up_log_level handle_httpstatus_all
handle_httpstatus_list http_auth_domain http_pass http_user is_start_request max_retry_times priority_adjust proxy
redirect_reasons redirect_urls referrer_policy verbatim_url depth retry_times redirect_times
"""


@pytest.mark.parametrize("word", OF_SCRAPY.split())
def test_each_word_of_scrapy_in_meta_is_obeyed_or_told_or_refused(word: str) -> None:
    assert (word in OBEYED) + (word in TOLD) + (word in scrapy_words.META) == 1


def test_what_a_request_may_say() -> None:
    spider = Shop()
    assert OBEYED.keys() | scrapy_words.META.keys() | TOLD == META_WORDS
    callback: Any = spider.parse_item
    request = Request(URL, callback, method="post", meta=OBEYED, headers={"User-Agent": "a/1"})
    assert (request.method, request.meta, request.callback) == ("POST", OBEYED, callback)
    nothing: Any = {"callback": None, "meta": None, "headers": None, "body": None, "cb_kwargs": None, "flags": None}
    assert Request(URL, **nothing) == Request(URL, meta=None) == Request(URL, cookies={}, encoding=None) == Request(URL)


def test_what_the_crawler_tells_in_meta_does_not_travel_on() -> None:
    page = Response(URL, request=Request(URL, meta={"shop": 7}, redirects=2, depth=3), seconds=0.5)
    page.attempt = 1
    told = {"depth": 3, "download_latency": 0.5, "redirect_times": 2, "retry_times": 1}
    assert page.meta == {"shop": 7, **told}
    assert Request(URL, meta=page.meta).meta == {"shop": 7, "retry_times": 1}
    assert Response(URL).meta == {"depth": 0, "download_latency": 0.0, "is_start_request": True}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"cookies": {"a": 1, "b": b"x", "c": True}}, {"Cookie": "a=1; b=x; c=True"}),
        ({"cookies": [{"name": "a", "value": "1", "httpOnly": True}]}, {"Cookie": "a=1"}),
        ({"cookies": {"a": 1}, "headers": {"cookie": "z=2; a=0"}}, {"cookie": "z=2; a=1"}),
        ({"cookies": [{"name": "a", "value": "1", "domain": "b.example"}], "headers": {"x": "y"}}, {"x": "y"}),
    ],
)
def test_cookies_become_the_header_of_one_request(given: dict[str, Any], sent: dict[str, str]) -> None:
    assert Request(URL, **given).headers == PAGE.follow("/x", **given).headers == sent
    assert Request(URL, "parse", "GET", **given).headers == sent


@pytest.mark.parametrize(
    ("bound", "is_sent"),
    [
        ({}, True),
        ({"domain": "shop.example"}, True),
        ({"domain": ".example"}, False),
        ({"domain": "op.example"}, False),
        ({"domain": "WWW.Shop.example", "path": "/p"}, True),
        ({"path": "/"}, True),
        ({"path": "/p/"}, True),
        ({"path": "/p/a/b"}, False),
        ({"path": "/p/aa"}, False),
        ({"secure": True}, False),
        ({"secure": False, "path": "/p/a"}, True),
    ],
)
def test_a_cookie_goes_where_browsers_send_it(bound: dict[str, Any], is_sent: bool) -> None:
    request = Request("http://www.shop.example/p/a", cookies=[{"name": "n", "value": "v", **bound}])
    assert request.cookies == ({"n": "v"} if is_sent else {})


def test_a_cookie_of_a_longer_path_comes_first() -> None:
    cookies = [{"name": "n", "value": "1", "path": "/"}, {"name": "n", "value": "2", "path": "/p"}]
    assert Request("http://a.example/p/a", cookies=cookies).headers == {"Cookie": "n=2; n=1"}
    assert Request("http://a.example/p/a", cookies=[*cookies, {**cookies[1], "value": "3"}]).headers == {
        "Cookie": "n=3; n=1"
    }


def test_text_is_sent_in_the_encoding_that_the_request_names() -> None:
    request = Request("http://a.example/ж?q=ж", method="POST", body="ж", encoding="cp1251")
    assert (request.url, request.body) == ("http://a.example/%D0%B6?q=%E6", b"\xe6")
    assert Request(URL, body="ж").body == "ж".encode()
    assert PAGE.follow("?q=ж", encoding="koi8-r").url == "http://a.example/?q=%D6"
    assert [one.url for one in PAGE.follow_all(["?q=ж"], encoding="koi8-r")] == ["http://a.example/?q=%D6"]


def test_a_changed_copy_is_checked_like_a_new_request() -> None:
    first = Request(URL, "parse_item", meta={"a": [1]}, cookies={"s": "1"}, headers={"x": "y"}, spider="shop", depth=2)
    copy = first.copy()
    assert copy == first
    assert copy.meta is not first.meta
    assert first.replace(dont_filter=True, priority=5) == Request(
        URL, "parse_item", meta={"a": [1]}, headers={"x": "y", "Cookie": "s=1"}, spider="shop", depth=2,
        dont_filter=True, priority=5,
    )  # fmt: skip
    assert first.replace(cookies={"t": 2}).headers == {"x": "y", "Cookie": "t=2"}
    assert first.replace(url="http://b.example").spider == ""  # to be made canonical
    with pytest.raises(ValueError, match="which has no scheme"):
        first.replace(url="/next")
    with pytest.raises(TypeError, match=r"Request\(formdata=…\): write FormRequest"):
        first.replace(formdata={})


def test_a_class_of_scrapy_says_what_to_write() -> None:
    with pytest.raises(ImportError, match=r"XmlRpcRequest: write Request\(url, method=\"POST\", body=xmlrpc"):
        from crawler import XmlRpcRequest  # noqa: F401
