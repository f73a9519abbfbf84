"""A message of another system is a URL, lines of URLs, or a JSON object; all else is an error of that message alone."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from crawler.interfaces import Delivery
from crawler.model import Request
from crawler.seeding.messages import FIELDS, MAX_BYTES, seeds_of


def read(body: bytes, priority: int = 0) -> list[str | Request]:
    return list(seeds_of(Delivery(body, None, priority)))


@pytest.mark.parametrize(
    ("body", "seeds"),
    [
        (b"http://a.example/", ["http://a.example/"]),
        (b"\n http://a.example/ \r\n# a comment\n\nhttp://b.example/\n", ["http://a.example/", "http://b.example/"]),
        ("http://a.example/ü".encode(), ["http://a.example/ü"]),
    ],
)
def test_lines(body: bytes, seeds: list[str]) -> None:
    assert read(body) == seeds


def test_an_object_may_have_every_field_that_is_not_the_crawlers_own() -> None:
    fields: dict[str, Any] = {
        "url": "http://a.example/",
        "priority": 5,
        "spider": "books",
        "callback": "parse_book",
        "method": "post",
        "headers": {"accept-language": "de"},
        "cookies": {"session": "1"},
        "body": "q=ü",
        "meta": {"page": 1},
        "cb_kwargs": {"shop": 2},
        "delay": 3,
        "dont_filter": True,
    }
    assert tuple(fields) == FIELDS
    assert read(json.dumps(fields).encode()) == [Request(**{**fields, "method": "POST", "body": "q=ü".encode()})]


def test_the_brokers_priority_is_for_requests_that_name_none() -> None:
    assert read(b"http://a.example/", 7) == [Request("http://a.example/", priority=7)]
    assert read(b'{"url": "http://a.example/"}', 7) == [Request("http://a.example/", priority=7)]
    assert read(b'{"url": "http://a.example/", "priority": 0}', 7) == [Request("http://a.example/")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no URL in it"),
        (b"# only a comment", "no URL in it"),
        (b"\xff\xfe", "can't decode"),
        (b"{", "Input data was truncated"),
        (b"{}", "it has no url"),
        (b'{"url": 5}', "url of a request is int"),
        (b'{"url": "http://a.example/", "depth": 3}', "unknown field 'depth'"),
        (b'{"url": "http://a.example/", "cookie": {}}', "unknown field 'cookie'"),
        (b'{"url": "http://a.example/", "priority": "5"}', "priority '5'"),
        (b'{"url": "http://a.example/", "meta": {"proxy": "x"}}', "proxy"),
        (b'{"url": "http://a.example/", "headers": {"host": "a\\nb"}}', "line break"),
        (b'{"url":' + b"[" * 100_000, "recursion"),
        (b"http://a.example/" + b"a" * MAX_BYTES, "a message has at most 1,000,000"),
    ],
)
def test_what_is_no_such_message_says_why(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(body)


def test_nothing_is_unpickled() -> None:
    with pytest.raises(ValueError, match="can't decode"):
        read(pickle.dumps(Request("http://a.example/")))
