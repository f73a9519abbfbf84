"""The page cache: what is one page, what is kept of an answer, and files that are not what they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.errors import ConfigError, FetchError
from crawler.fetch.caching import CachingFetcher
from crawler.fetch.page_cache import PageCache
from crawler.model import Request
from crawler.parsing.headers import Headers
from crawler.parsing.limits import ParseLimits
from crawler.response import Response
from crawler.testing import FakeFetcher

ROOT = Path(__file__).parents[3]
URL = "http://example.com/a"
PAGE = Request(URL)


def cache(folder: Path, *, seconds: float = 0.0, gzip: bool = False, most_bytes: int = 1_000_000) -> PageCache:
    return PageCache(folder / "c", seconds=seconds, most_bytes=most_bytes, parse_limits=ParseLimits(), gzip=gzip)


def answer(body: bytes = b"<p>hello</p>", request: Request = PAGE, status: int = 200) -> Response:
    fields = Headers({"content-type": "text/html", "set-cookie": ["a=1", "b=2"]})
    return Response(request.url, status=status, headers=fields, body=body, request=request, address="127.0.0.9")


def fetcher(inner: FakeFetcher, store: PageCache, **options: object) -> CachingFetcher:
    return CachingFetcher(inner, store, lambda request: request.headers, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("gzip", [False, True])
def test_what_is_kept_of_an_answer(tmp_path: Path, gzip: bool) -> None:
    store = cache(tmp_path, gzip=gzip)
    key = store.key(PAGE, {})
    assert store.read(key, PAGE) is None
    assert store.write(key, answer(status=404))
    got = store.read(key, PAGE)
    assert got is not None
    assert (got.status, got.body, got.url, got.address) == (404, b"<p>hello</p>", URL, "127.0.0.9")
    assert (got.headers["content-type"], got.headers.getlist("set-cookie")) == ("text/html", ["a=1", "b=2"])
    assert (got.cache, got.request, got.answered_at, got.flags) == ("hit", PAGE, None, ["cached"])
    assert got.replace(body=b"other").cache == "hit"


def test_what_makes_two_pages(tmp_path: Path) -> None:
    key = cache(tmp_path).key
    keys = {
        key(PAGE, {}),
        key(Request(f"{URL}?b"), {}),
        key(Request(URL, method="POST"), {}),
        key(Request(URL, method="POST", body=b"x"), {}),
        key(PAGE, {"Accept": "application/json"}),
        key(PAGE, {"Cookie": "a=1"}),
        key(PAGE, {"authorization": "Basic eA=="}),
        key(PAGE, {"authorization": "Basic eQ=="}),
    }
    assert len(keys) == 8
    assert key(PAGE, {"user-agent": "x", "accept": "*/*"}) == key(PAGE, {"User-Agent": "y", "Accept": "*/*"})
    assert all(len(one) == 32 and one.isalnum() for one in keys)


def test_no_secret_that_was_sent_is_in_the_files(tmp_path: Path) -> None:
    store = cache(tmp_path)
    store.write(store.key(PAGE, {"authorization": "Basic c2VjcmV0"}), answer())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"c2VjcmV0" in path.read_bytes()]
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0


def test_a_page_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key = cache(tmp_path, seconds=60), cache(tmp_path).key(PAGE, {})
    store.write(key, answer())
    assert store.read(key, PAGE) is not None
    now = time.time()
    monkeypatch.setattr("crawler.fetch.page_cache.time.time", lambda: now + 61)
    assert store.read(key, PAGE) is None
    assert cache(tmp_path).read(key, PAGE) is not None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:30],
        lambda content: content.replace(b"hello", b"hallo"),
        lambda content: content.replace(b"/a", b"/b"),
        lambda content: content.replace(b'"version":1', b'"version":2'),
        lambda content: b"\x80\x04\x95pickled",
        lambda content: os.urandom(5_000),
        lambda content: b"[]\n",
    ],
)
@pytest.mark.parametrize("gzip", [False, True])
def test_a_damaged_or_foreign_file_is_a_miss_and_told_once(tmp_path: Path, damage: object, gzip: bool) -> None:
    assert callable(damage)
    store = cache(tmp_path, gzip=gzip)
    key = store.key(PAGE, {})
    body = b"hello " * 100
    store.write(key, answer(body))
    (file,) = (path for path in (tmp_path / "c").glob("??/*") if path.is_file())
    file.write_bytes(damage(file.read_bytes()))
    with capture_logs() as logs:
        got = [store.read(key, PAGE), store.read(key, PAGE)]
    if gzip and got[0] is not None:  # what was changed lies behind or beside the compressed body
        assert got[0].body == body
    else:
        assert got == [None, None]
        assert [log["event"] for log in logs] == ["page_cache_unreadable"]
    assert store.write(key, answer())  # and is replaced
    assert store.read(key, PAGE) is not None


def test_a_body_larger_than_pages_may_be_is_a_miss(tmp_path: Path) -> None:
    """Also one that decompresses to such a body."""
    for gzip in (False, True):
        store = cache(tmp_path, gzip=gzip)
        key = store.key(PAGE, {})
        store.write(key, answer(b"0" * 3_000_000))
        assert cache(tmp_path, gzip=gzip, most_bytes=10_000).read(key, PAGE) is None


def test_a_disk_that_refuses_is_told_once_and_nothing_fails(tmp_path: Path) -> None:
    store = cache(tmp_path)
    (tmp_path / "c/unfinished").rmdir()
    with capture_logs() as logs:
        assert [store.write(store.key(PAGE, {}), answer()) for _ in range(3)] == [False] * 3
    assert [log["event"] for log in logs] == ["page_cache_not_written"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("a file")
    with pytest.raises(ConfigError, match="HTTPCACHE_DIR"):
        cache(tmp_path)


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    cache(tmp_path)
    old, new = tmp_path / "c/unfinished/old", tmp_path / "c/unfinished/new"
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.fetch.test_page_cache import PAGE, answer, cache
store = cache(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    for letter in b"abcdef":
        store.write(store.key(PAGE, {}), answer(bytes([letter]) * 900_000))
"""


def test_kill_9_while_writing_leaves_no_half_page(tmp_path: Path) -> None:
    """Two processes write the same page all the time, and are killed again and again."""
    store, key = cache(tmp_path), cache(tmp_path).key(PAGE, {})
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(ROOT)], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        until = time.monotonic() + 0.3
        with capture_logs() as logs:
            while time.monotonic() < until:
                got = store.read(key, PAGE)
                assert got is None or got.body == got.body[:1] * 900_000
            for writer in writers:
                writer.send_signal(signal.SIGKILL)
                writer.communicate()
            got = store.read(key, PAGE)
        assert got is not None
        assert got.body == got.body[:1] * 900_000
        assert logs == []


async def test_the_second_time_nobody_is_asked(tmp_path: Path) -> None:
    inner = FakeFetcher({URL: "<p>hello</p>"})
    caching = fetcher(inner, cache(tmp_path))
    first, second = await caching.fetch(PAGE), await caching.fetch(PAGE)
    assert (first.cache, second.cache, second.body) == ("stored", "hit", b"<p>hello</p>")
    assert inner.urls == [URL]


async def test_what_passes_by_the_cache(tmp_path: Path) -> None:
    failing = Response(URL, status=503)
    inner = FakeFetcher({URL: failing, f"{URL}?404": Response(URL, status=404)})
    caching = fetcher(inner, cache(tmp_path), not_stored=[503], schemes=["https"])
    for request in (PAGE, Request(f"{URL}?404", meta={"dont_cache": True}), Request("https://example.com/")):
        for _ in range(2):
            assert (await caching.fetch(request)).cache in ("", "miss")
    assert len(inner.urls) == 6


async def test_an_answer_that_broke_off_is_not_kept(tmp_path: Path) -> None:
    class Cutting(FakeFetcher):
        async def fetch(self, request: Request) -> Response:
            response = await super().fetch(request)
            response.cut["dataloss"] = "its answer broke off"
            return response

    caching = fetcher(Cutting({URL: "half"}), cache(tmp_path))
    assert [(await caching.fetch(PAGE)).cache for _ in range(2)] == ["miss", "miss"]


async def test_errors_are_not_kept(tmp_path: Path) -> None:
    inner = FakeFetcher({URL: [FetchError("timeout", "late", transient=True), "<p>hello</p>"]})
    caching = fetcher(inner, cache(tmp_path))
    with pytest.raises(FetchError):
        await caching.fetch(PAGE)
    assert (await caching.fetch(PAGE)).cache == "stored"


async def test_only_cached_pages_are_wanted(tmp_path: Path) -> None:
    inner = FakeFetcher({URL: "<p>hello</p>"})
    store = cache(tmp_path)
    caching = fetcher(inner, store, only_cached=True)
    with pytest.raises(FetchError, match="not in the page cache") as failed:
        await caching.fetch(PAGE)
    assert failed.value.kind == "not_cached"
    robots = await caching.fetch(Request("http://example.com/robots.txt"))
    assert (robots.status, robots.cache) == (404, "hit")
    store.write(store.key(PAGE, {}), answer())
    assert (await caching.fetch(PAGE)).body == b"<p>hello</p>"
    assert inner.urls == []


def test_who_asked_for_a_page_is_noted_once(tmp_path: Path) -> None:
    """Also by a crawl that took the page from there; a note that a killed process left in part is none."""
    key = "ab" * 16
    assert cache(tmp_path).asked(key) is None
    cache(tmp_path).note(key, b"")
    assert cache(tmp_path).asked(key) == [], "no spider did"
    for _ in range(2):
        for asking in (b"[1]", b"[2]", b""):
            cache(tmp_path).note(key, asking)
    assert cache(tmp_path).asked(key) == [b"[1]", b"[2]"]
    with next(tmp_path.glob("c/??/*.asked")).open("ab") as file:
        file.write(b"[3")
    assert cache(tmp_path).asked(key) == [b"[1]", b"[2]"]
    for number in range(200):
        cache(tmp_path).note(key, b"[%d]" % number)
    assert len(cache(tmp_path).asked(key) or ()) == 101, "one more tells that there were more"
