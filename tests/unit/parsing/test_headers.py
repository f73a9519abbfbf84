"""The fields of a head: names in any case, several of one name, and which media type they name."""

from __future__ import annotations

import pickle

import pytest

from crawler.parsing.headers import Headers, media_type
from crawler.response import Response
from crawler.spiders.items import encode_item

HEADERS = Headers(
    {"Content-Type": "text/html", "set-cookie": ["a=1", "b=2"], "Vary": ["a", "b"], "LOCATION": ["/", "/x"]}
)


def test_names_in_any_case() -> None:
    assert HEADERS["Content-Type"] == HEADERS["content-type"] == HEADERS.get("CONTENT-TYPE") == "text/html"
    assert "vary" in HEADERS
    assert "Vary" in HEADERS
    assert "X" not in HEADERS
    assert (HEADERS.get("x"), HEADERS.get("x", "y"), HEADERS.getlist("x")) == (None, "y", [])
    with pytest.raises(KeyError):
        HEADERS["X"]


def test_several_fields_of_one_name() -> None:
    assert HEADERS.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert HEADERS.getlist("Content-Type") == ["text/html"]
    one = {"content-type": "text/html", "set-cookie": "a=1\nb=2", "vary": "a, b", "location": "/"}
    assert one == HEADERS
    assert dict(HEADERS) == one


def test_they_travel_and_can_be_part_of_an_item() -> None:
    again = pickle.loads(pickle.dumps(HEADERS))  # noqa: S301 - our own bytes
    assert again.getlist("vary") == ["a", "b"]
    assert encode_item({"headers": Headers({"X": "y"})}) == b'{"headers":{"x":"y"}}'


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("", ""),
        ("text/html", "text/html"),
        (" Text/HTML ; Charset=UTF-8 ", "text/html;charset=UTF-8"),
        ('text/html; x=";charset=a"; charset="utf-8"', "text/html;charset=utf-8"),
        ("text/html; charset=utf-8; charset=x", "text/html;charset=utf-8"),
        ("text/html, text/html; charset=utf-8", "text/html;charset=utf-8"),
        ("text/html; charset=utf-8, text/html", "text/html;charset=utf-8"),
        ("text/plain; charset=utf-8, text/html", "text/html"),
        ("text/html,*/*", "text/html"),
        ('text/plain; x="a,b", text/html', "text/html"),
        ("text/html, html", "text/html"),
        ("*/*", ""),
        ("unknown/unknown; charset=x", ""),
        ("html", ""),
        ("text/html charset=utf-8", ""),
        (",", ""),
        ('text/html; x="', "text/html"),
        ("text/html" + " " * 2_000 + "; charset=utf-8", "text/html"),
    ],
)
def test_the_media_type_is_that_of_the_fetch_standard(value: str, read: str) -> None:
    assert media_type(value) == read


XHTML = (
    b'<?xml version="1.0"?>\n<!-- x > y --><!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml"><body/></html>'
)


@pytest.mark.parametrize(
    ("kind", "body", "is_html"),
    [
        ("text/html", b"", True),
        ("application/xhtml+xml", b"", True),
        ("text/html, text/html; charset=utf-8", b"", True),
        ("application/xml", XHTML, True),
        ("text/xml", b"\xef\xbb\xbf" + XHTML, True),
        ("application/xml", b"<rss><html>", False),
        ("application/xml", b"<htmlx>", False),
        ("application/xml", b"<!--" + b"<!-- -->" * 100_000, False),
        ("*/*", b"\xef\xbb\xbf <!DOCTYPE html>", True),
        ("*/*", b"GIF89a", False),
        ("", b"<p>", True),
        ("text/plain", b"<html>", False),
    ],
)
def test_what_is_read_as_a_page(kind: str, body: bytes, is_html: bool) -> None:
    response = Response("http://a.example/", headers={"Content-Type": kind}, body=body)
    assert response.is_html == is_html


def test_a_charset_in_the_second_field_counts() -> None:
    headers = {"content-type": ["text/html", "text/html; charset=windows-1251"]}
    assert Response("http://a.example/", headers=Headers(headers), body=b"\xcf").text == "П"
