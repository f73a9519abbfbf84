"""What a record says, and what it must not say."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.archive.index import key_of, line_of
from crawler.archive.records import Original, Page, packed, page_of
from crawler.frontier import message
from crawler.model import Request
from crawler.parsing.headers import Headers
from crawler.response import Response
from tests.unit.archive.pages import HEAD, lease_of, page


def records(page: Page) -> list[str]:
    """The records of a page as text, in order."""
    text = gzip.decompress(b"".join(packed(page))).decode()
    return ["WARC/1.1" + part for part in text.split("WARC/1.1")[1:]]


def made(*arguments: Any, **fields: Any) -> list[str]:
    return records(page_of(*page(*arguments, **fields), {}))


def test_a_page_is_a_response_a_request_and_what_was_queued() -> None:
    response, request, metadata = made()
    assert "WARC-Type: response\r\n" in response
    assert response.endswith(f"\r\n\r\n{HEAD.decode()}<p>x</p>\r\n\r\n")
    assert "WARC-IP-Address: 192.0.2.1\r\n" in response
    id = response.partition("WARC-Record-ID: ")[2].partition("\r\n")[0]
    for other in (request, metadata):
        assert f"WARC-Concurrent-To: {id}\r\n" in other
    assert "GET / HTTP/1.1\r\nHost: a.example\r\n" in request
    assert json.loads(metadata.split("\r\n\r\n")[1])["job"] == "news"


def test_a_login_is_in_no_record() -> None:
    text = "".join(made(headers={"AUTHORIZATION": "Basic c2VjcmV0", "x-mine": "1"}))
    assert "c2VjcmV0" not in text
    assert "x-mine" in text


def test_the_callback_and_what_it_gets_are_kept() -> None:
    fields: dict[str, Any] = {"callback": "parse_shop", "meta": {"a": [1, "ü"]}, "cb_kwargs": {"b": 2}, "depth": 3}
    *_, metadata = made(**fields)
    queued = metadata.split("\r\n\r\n")[1].partition('"message":')[2].removesuffix("}")
    request = message.decode(queued.encode()).request
    assert {name: getattr(request, name) for name in fields} == fields


def test_a_transfer_coding_that_was_undone_is_renamed() -> None:
    response, *_ = made(head=b"HTTP/1.1 200 OK\r\ntransfer-encoding : chunked\r\nX: Transfer-Encoding\r\n\r\n")
    assert "X-Crawler-Transfer-Encoding : chunked\r\nX: Transfer-Encoding\r\n" in response


@pytest.mark.parametrize("head", [b"", b"HTTP/0.9 200\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n"])
def test_a_head_that_readers_would_refuse_is_made_anew(head: bytes) -> None:
    response, *_ = made(head=head)
    assert "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 8\r\n\r\n<p>x</p>" in response


def test_an_answer_that_no_host_gave_has_no_request_record() -> None:
    request = Request("http://a.example/")
    its = Headers({"content-encoding": "gzip", "x": "1", "set-cookie": ["a=1", "b=2"]})
    response = Response(request.url, body=b"plain", request=request, headers=its)
    first, second = records(page_of(lease_of(request), response, {}))
    assert "HTTP/1.1 200 OK\r\nx: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 5\r\n\r\nplain" in first
    assert "WARC-IP-Address" not in first
    assert "WARC-Type: metadata" in second


def test_a_body_that_broke_off_says_so() -> None:
    lease, response = page()
    response.cut["dataloss"] = "…"
    assert "WARC-Truncated: disconnect\r\n" in records(page_of(lease, response, {}))[0]


def test_the_same_body_again_is_a_revisit() -> None:
    first = page_of(*page(), {})
    originals = {("news", first.digest): Original(first.id, "http://a.example/", first.date)}
    again = page_of(*page("http://a.example/copy"), originals)
    revisit, *_ = records(again)
    assert "WARC-Type: revisit\r\n" in revisit
    assert revisit.endswith(f"\r\n\r\n{HEAD.decode()}\r\n\r\n")
    assert f"WARC-Refers-To: {first.id}\r\nWARC-Refers-To-Target-URI: http://a.example/\r\n" in revisit
    assert '"mime":"warc/revisit"' in line_of(again, "a.warc.gz", 0, 1)
    lease, response = page()
    assert page_of(replace(lease, job="other"), response, originals).original is None, "a job's files stand alone"
    assert page_of(*page(body=b""), originals).original is None


def test_a_line_of_the_index() -> None:
    line = line_of(page_of(*page("http://www.a.example/?b=1&a=2"), {}), "a.warc.gz", 512, 300)
    key, stamp, entry = line.split(" ", 2)
    assert key == "example,a)/?a=2&b=1"
    assert len(stamp) == 14
    said = json.loads(entry)
    assert (said["offset"], said["length"], said["status"]) == ("512", "300", "200")


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://Shop.example/A/b", "example,shop)/a/b"),
        ("http://a.example:8080/", "example,a:8080)/"),
        ("http://127.0.0.1:80/?", "127.0.0.1)/"),
        ("http://[::1]:8080/x", "[::1]:8080)/x"),
    ],
)
def test_keys_sort_a_hosts_pages_together(url: str, key: str) -> None:
    assert key_of(url) == key
