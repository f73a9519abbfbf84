"""A command of curl becomes the request that Scrapy makes of it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import scrapy

from crawler import Request

COPIED = """curl 'https://shop.example/api?q=a%20b' \\
  -H 'accept: */*' -H 'content-type: application/json' -H 'user-agent: Mozilla/5.0 (X11)' \\
  -b 'session=abc; theme=dark' --data-raw $'{"q":"its"}' --compressed"""


def sent(request: Any) -> tuple[Any, ...]:
    headers = {
        (name.decode() if isinstance(name, bytes) else name).lower(): value[0].decode()
        if isinstance(value, list)
        else value
        for name, value in request.headers.items()
    }
    headers.pop("cookie", None)
    return request.method, request.url, request.body, headers, dict(request.cookies)


@pytest.mark.parametrize(
    "command",
    [
        "curl http://a.example/",
        "curl a.example/x -s",
        COPIED,
        "curl -X PUT http://a.example/ -d a=1 -d b=2",
        "curl http://a.example/ --data a=1 -u me:secret",
        "curl http://a.example/ -H 'Cookie: a=1; b=2' -b c=3 -b 'd=4; e=5'",
        "curl http://a.example/ -H 'X-Empty:' -v -#",
    ],
)
def test_a_command_is_read_as_by_scrapy(command: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the line breaks
        assert sent(Request.from_curl(command)) == sent(scrapy.Request.from_curl(command))


def test_more_that_browsers_and_people_write() -> None:
    command = "curl --url 'http://a.example/' -A me/1 -e http://b.example/ -H 'Connection: keep-alive' -L -i"
    request = Request.from_curl(command, callback="parse_item", priority=2)
    assert request.headers == {"User-Agent": "me/1", "Referer": "http://b.example/"}
    assert (request.callback, request.priority) == ("parse_item", 2)
    assert Request.from_curl("curl http://a.example/ -H 'x: y'", headers={"z": "1"}).headers == {"z": "1"}


def test_repeated_headers_are_joined_as_those_of_a_request_are() -> None:
    command = "curl http://a.example/ -H 'Accept: a' -H 'accept: b' -H 'Cookie: a=1' -H 'cookie: b=2; c=0' -b c=3"
    assert Request.from_curl(command).headers == {"Accept": "a, b", "Cookie": "a=1; b=2; c=3"}


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("wget http://a.example/", 'begins with "curl"'),
        ("", 'begins with "curl"'),
        ("curl -s", "there is no URL"),
        ("curl http://a.example/ --proxy http://p.example", "--proxy"),
        ("curl http://a.example/ -k", "-k is not understood"),
        ("curl http://a.example/ -d @/etc/passwd", "a body from a file"),
        ("curl http://a.example/ -b jar.txt", "cookies from the file 'jar.txt'"),
        ("curl http://a.example/ -H nonsense", "the header 'nonsense' has no colon"),
        ("curl http://a.example/ -H", "expected one argument"),
        ("curl http://a.example/ -A me/1 -H 'User-Agent: you/2'", "'User-Agent' has 2 values"),
        ("curl 'http://a.example/", "No closing quotation"),
    ],
)
def test_what_cannot_be_meant_says_why(command: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        Request.from_curl(command)
    assert told in str(caught.value)


def test_what_browsers_quote_is_read_as_bash_reads_it() -> None:
    command = r"""curl http://a.example/ --data-raw $'{"q":"it\'s \u0021 \xfc \\ \n"}' -H $'x: it\'s'"""
    request = Request.from_curl(command)
    assert request.body.decode() == '{"q":"it\'s ! ü \\ \n"}'
    assert request.headers == {"x": "it's"}
    assert Request.from_curl("curl http://a.example/ -d 'costs $'").body == b"costs $"


def test_unknown_options_may_be_ignored() -> None:
    request = Request.from_curl("curl http://a.example/ -k --http3", ignore_unknown_options=True)
    assert request == Request("http://a.example/")
