"""A friendly exchange: what goes out, what comes back, what is never sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.errors import FetchError, Refused
from crawler.model import Request
from tests.integration.fetch.server import Names, fetch_once, fetching, ok, says, serving


async def test_an_answer_comes_back_whole_with_address_and_time() -> None:
    answer = ok(b"<html>", "X-Name: a", "x-name: b", "Content-Type: text/html", "X-Old: caf\xe9", status="203 Fine")
    async with serving(says(answer)) as server, fetching() as fetcher:
        request = Request(f"{server.origin}/page?b=%7E&a=1", meta={"n": 1})
        response = await fetcher.fetch(request)
    assert (response.status, response.body, response.url) == (203, b"<html>", request.url)
    assert dict(response.headers) == {
        "content-length": "6",
        "x-name": "a, b",
        "content-type": "text/html",
        "x-old": "café",
    }
    assert response.request is request
    assert response.address == "127.0.0.1"
    assert 0 < response.seconds < 5


async def test_a_request_goes_out_as_given() -> None:
    async with (
        serving(says(ok())) as server,
        fetching(headers={"accept": "text/html", "x-a": "1"}) as fetcher,
    ):
        await fetcher.fetch(Request(f"{server.origin}/a%7Eb/%C3%A9?q=%2F+~&x", headers={"X-A": "2"}))
        await fetcher.fetch(Request(f"{server.origin}/", method="POST", body=b"data", headers={"x-type": "é"}))
    first, second = (head.split("\r\n") for head in server.heads)
    assert first[0] == "GET /a%7Eb/%C3%A9?q=%2F+~&x HTTP/1.1"
    fields = dict(line.lower().split(": ", 1) for line in first[1:] if line)
    assert fields == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "gzip, deflate, br, zstd",
        "accept": "text/html",
        "x-a": "2",
        "user-agent": "example/1.0",
    }
    assert second[0] == "POST / HTTP/1.1"
    assert "Content-Length: 4" in second
    assert not [line for line in second if line.lower().startswith("content-type")]


async def test_nothing_is_accepted_that_nobody_has_asked_for() -> None:
    """aiohttp would send `Accept: */*` for a crawl whose DEFAULT_REQUEST_HEADERS has none."""
    async with serving(says(ok())) as server, fetching(headers={"accept-language": "de"}) as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/a"))
        await fetcher.fetch(Request(f"{server.origin}/a"))  # without aiohttp
        await fetcher.fetch(Request(f"{server.origin}/a", method="POST", body=b"data"))
        await fetcher.fetch(Request(f"{server.origin}/a", headers={"accept": "text/csv"}))
    accepted = [[line for line in head.split("\r\n") if line.lower().startswith("accept:")] for head in server.heads]
    assert [[line.lower() for line in one] for one in accepted] == [[], [], [], ["accept: text/csv"]]


async def test_the_lines_of_x_robots_tag_stay_apart() -> None:
    """The name of a robot holds to the end of its line: joined by commas, it would hold for the next line, too."""
    lines = ("X-Robots-Tag: otherbot: noindex", "Vary: a", "x-robots-tag: nofollow, noarchive", "Vary: b")
    response = await fetch_once(ok(b"", *lines))
    assert response.headers["x-robots-tag"] == "otherbot: noindex\nnofollow, noarchive"
    assert response.headers["vary"] == "a, b"


async def test_a_field_that_may_stand_once_counts_once() -> None:
    response = await fetch_once(ok(b"", "Location: /y", "location: /z", status="302 Found"))
    assert (response.headers["Location"], response.headers.getlist("location")) == ("/y", ["/y", "/z"])


@pytest.mark.parametrize(("sent", "read"), [("caf\xe9", "caf%E9"), ("caf\xc3\xa9", "caf%C3%A9"), ("a%7e|", "a%7e|")])
async def test_the_bytes_of_a_redirect_stay_as_they_are(sent: str, read: str) -> None:
    assert (await fetch_once(ok(b"", f"Location: /{sent}", status="302 Found"))).headers["location"] == f"/{read}"


async def test_the_setting_says_who_asks_or_the_request_itself() -> None:
    async with serving(says(ok(), ok())) as server, fetching(headers={"User-Agent": "ignored/1"}) as fetcher:
        await fetcher.fetch(Request(f"{server.origin}/"))
        await fetcher.fetch(Request(f"{server.origin}/", headers={"User-Agent": "own/2"}))
    heads = ("\r\n".join(server.heads)).lower().split("\r\n")
    agents = [line for line in heads if line.startswith("user-agent")]
    assert agents == ["user-agent: example/1.0", "user-agent: own/2"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_returned_and_not_followed(status: int) -> None:
    async with (
        serving(says(ok(b"moved", "Location: /next", status=f"{status} Moved"))) as server,
        fetching() as fetcher,
    ):
        response = await fetcher.fetch(Request(f"{server.origin}/page"))
    assert (response.status, response.headers["location"], response.body) == (status, "/next", b"moved")
    assert len(server.heads) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n\r\n".encode()
    async with serving(says(answer, ok(b"next"))) as server, fetching() as fetcher:
        assert (await fetcher.fetch(Request(f"{server.origin}/1"))).body == b""
        assert (await fetcher.fetch(Request(f"{server.origin}/2"))).body == b"next"
    assert server.connections == 1


async def test_head_has_no_body_however_long_it_is_said_to_be() -> None:
    response = await fetch_once(ok(b"", "Content-Encoding: gzip", length=10**12), method="HEAD")
    assert (response.status, response.body) == (200, b"")


async def test_chunks_and_a_body_until_the_end_of_the_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    assert (await fetch_once(chunked)).body == b"hello world"
    assert (await fetch_once(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nold style")).body == b"old style"


async def test_cookies_are_never_sent_back() -> None:
    cookies = ok(b"", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2")
    names = Names(shop=[["127.0.0.1"]])
    async with serving(says(cookies)) as server, fetching(resolver=names) as fetcher:
        response = await fetcher.fetch(Request(f"http://shop.example:{server.port}/1"))
        await fetcher.fetch(Request(f"http://shop.example:{server.port}/2"))
    assert response.headers.getlist("Set-Cookie") == ["a=1; Path=/", "b=2"]
    assert "cookie" not in server.heads[1].lower()


async def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 3
    assert (await fetch_once(interim + ok(b"final"))).body == b"final"


async def test_many_at_once_share_connections_as_they_get_free() -> None:
    async with serving(says(ok(b"x" * 10_000))) as server, fetching() as fetcher:
        for _ in range(3):
            requests = (fetcher.fetch(Request(f"{server.origin}/{n}")) for n in range(20))
            assert {response.status for response in await asyncio.gather(*requests)} == {200}
    assert len(server.heads) == 60
    assert server.connections == 20


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "data:,x", "unix:/run/x", "HTTP:x"])
async def test_only_http_and_https_are_fetched(url: str) -> None:
    async with fetching() as fetcher:
        with pytest.raises(Refused, match="only http and https"):
            await fetcher.fetch(Request(url))


@pytest.mark.parametrize("path", ["/a\r\nX: 1", "/a b", "/\0", "/é", "/\ud800", "", "?x"])
async def test_a_url_that_is_not_canonical_is_not_put_on_the_wire(path: str) -> None:
    async with serving(says(ok())) as server, fetching() as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(server.origin + path))
    assert (caught.value.kind, caught.value.transient) == ("malformed", False)
    assert server.connections == 0


async def test_userinfo_is_neither_sent_nor_shown() -> None:
    async with serving(says(ok())) as server, fetching() as fetcher:
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(Request(f"http://user:secret@127.0.0.1:{server.port}/"))
    assert "secret" not in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"X": "a\r\nEvil: 1"}},
        {"headers": {"X": "a\nEvil: 1"}},
        {"headers": {"X": "a\0"}},
        {"headers": {"X": "\ud800"}},
        {"headers": {"X\r\nEvil": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"method": "GET / HTTP/1.1\r\nX:"},
        {"method": ""},
        {"method": "CONNECT"},
    ],
    ids=repr,
)
async def test_nothing_that_could_begin_a_second_line_is_sent(fields: dict[str, Any]) -> None:
    """Not even if it comes from the queue, where any bytes may lie."""
    async with serving(says(ok())) as server, fetching() as fetcher:
        request = replace(Request(f"{server.origin}/"), **fields)
        with pytest.raises(FetchError) as caught:
            await fetcher.fetch(request)
    assert (caught.value.kind, caught.value.transient) == ("malformed", False)
    assert server.connections == 0
