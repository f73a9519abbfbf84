"""Pages that are read again from an archive: the items are those of the crawl."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crawler.app.config import Config
from crawler.app.extract import Extraction, extract
from crawler.errors import Exit, UsageError
from crawler.export.target import Target
from crawler.settings import load
from tests.crawling import Crawled, crawl_pages
from tests.website import Answer, Handler, Hit

SHOP = """
from crawler import Request, Spider

class Shop(Spider):
    name = "mine"

    def parse(self, response):
        yield {"list": response.url, "depth": response.meta["depth"], "first": response.meta.get("is_start_request")}
        for number, link in enumerate(response.css("a::attr(href)").getall()):
            told = {"meta": {"number": number}, "cb_kwargs": {"word": "ü"}, "errback": self.gone}
            yield response.follow(link, self.parse_product, **told)
        yield Request(response.urljoin("/form"), self.parse_form, method="POST", body=b"a=1")
        for kind in ("one", "two"):
            yield Request(response.urljoin("/again"), self.parse_product, dont_filter=True, cb_kwargs={"word": kind})

    def parse_product(self, response, word):
        yield {
            "title": response.css("title::text").get(), "url": response.url, "word": word,
            "encoding": response.encoding,
            "meta": {name: value for name, value in response.meta.items() if name != "download_latency"},
            "headers": {name: response.headers.getlist(name) for name in response.headers}, "size": len(response.body),
            "ip": str(response.ip_address), "sent": dict(response.request.headers),
        }

    def parse_form(self, response):
        yield {"form": response.text, "body": response.request.body.decode()}

    def gone(self, failure):
        yield {"gone": failure.request.url, "status": failure.value.response.status}
"""
LINKS = ("/1", "/2", "/old", "/gz", "/latin", "/utf16", "/missing", "/chunks", "/busy", "/odd")


def _flaky(hit: Hit, missing: Answer) -> Answer:
    return Answer(b"busy", status=500) if hit.number == 1 else Answer(b"<title>well</title>")


PAGES: Mapping[str, str | Answer | Handler] = {
    "/": "".join(f'<a href="{link}">x</a>' for link in LINKS),
    "/1": "<title>one</title>",
    "/2": "<title>one</title>",
    "/old": Answer(status=301, headers={"Location": "/n%C3%A9w?b=2&a=1"}),
    "/n%C3%A9w?b=2&a=1": Answer(b"<title>new</title>", headers={"Set-Cookie": "a=1", "set-cookie": "b=2"}),
    "/gz": Answer(gzip.compress(b"<title>zipped</title>" * 100), headers={"Content-Encoding": "gzip"}),
    "/latin": Answer("<title>Köln</title>".encode("latin-1"), content_type="text/html; charset=latin-1"),
    "/utf16": Answer("<title>Ω</title>".encode("utf-16"), content_type="text/html"),
    "/chunks": "<title>chunks</title>",
    "/busy": _flaky,
    "/odd": Answer(b"<title>odd</title>", headers={"X-Odd": "\xfc", "Refresh": "5; url=/2"}),
    "/form": Answer(b"filled in"),
    "/again": "<title>again</title>",
}


async def crawled(folder: Path, **settings: Any) -> Crawled:
    return await crawl_pages(folder, PAGES, SHOP, WARC_DIR="archive", **settings)


def config(folder: Path, **settings: str) -> Config:
    return Config(*load(folder, overrides={"LOG_LEVEL": "WARNING", **settings}, environ={}), folder)


async def extracted(folder: Path, *sources: Path, **options: Any) -> tuple[Extraction, list[dict[str, Any]]]:
    out = folder / "again.jsonl"
    done = await extract(config(folder), sources or [folder / "archive"], [Target(str(out), overwrite=True)], **options)
    return done, [bare(line) for line in out.read_text().splitlines()] if out.exists() else []


async def anew(folder: Path) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The same as a process, which loads the spider's new code: exit code, figures, items."""
    options = ("--from", "archive", "-O", "again.jsonl", "--json", "-q")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crawler", "extract", *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    out, _ = await process.communicate()
    items = folder / "again.jsonl"
    return process.returncode or 0, json.loads(out), [bare(line) for line in items.read_text().splitlines()]


def bare(line: str) -> dict[str, Any]:
    item: dict[str, Any] = json.loads(line)
    return {name: value for name, value in item.items() if name != "_position"}


def same(items: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps({**item, "_position": 0}, sort_keys=True) for item in items)


async def test_the_items_are_those_of_the_crawl(tmp_path: Path) -> None:
    """With redirects, encodings, callbacks and what they get, errbacks, forms, and a page that was tried again."""
    live = await crawled(tmp_path)
    done, again = await extracted(tmp_path)
    assert len(live.items) == len(LINKS) + 4
    assert same(again) == same(live.items)
    assert (done.items, done.missing, dict(done.skipped)) == (len(live.items), 0, {"redirect": 1})
    assert list(done.errors) == ["404 Not Found"]
    assert done.again == 1, "the first visit of the busy page"


async def test_no_host_is_asked(tmp_path: Path) -> None:
    """The server of the crawl is gone, so an exchange would fail."""
    await crawled(tmp_path)
    done, items = await extracted(tmp_path)
    assert len(items) == done.items


CACHE: dict[str, Any] = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": "cache"}


@pytest.mark.parametrize("gzip", [False, True])
async def test_the_page_cache_gives_the_items_of_the_crawl(tmp_path: Path, gzip: bool) -> None:
    live = await crawl_pages(tmp_path, PAGES, SHOP, **CACHE, HTTPCACHE_GZIP=gzip)
    done, again = await extracted(tmp_path, tmp_path / "cache")
    for item in (*live.items, *again):
        item.get("meta", {}).pop("retry_times", None)  # no try that failed is stored
    assert same(again) == same(live.items)
    assert (done.items, done.missing, done.again) == (len(live.items), 0, 0)


async def test_a_page_cache_without_notes_is_read_by_parse(tmp_path: Path) -> None:
    """That of an older version; a damaged file is an error that names it."""
    await crawl_pages(tmp_path, PAGES, SHOP, **CACHE)
    for notes in (tmp_path / "cache").glob("??/*.asked"):
        notes.unlink()
    page = next(file for file in (tmp_path / "cache").glob("??/*") if b"/again" in file.read_bytes())
    page.write_bytes(page.read_bytes()[:-3])
    done, again = await extracted(tmp_path, tmp_path / "cache", spider="mine")
    assert {item["list"].rpartition("/")[2] for item in again if "list" in item} >= {"1", "2", "gz"}
    assert [error for error in done.errors if "its body is not whole" in error], done.errors


async def test_what_a_page_cache_cannot_tell(tmp_path: Path) -> None:
    await crawl_pages(tmp_path, {"/": "x"}, SHOP, **CACHE)
    with pytest.raises(UsageError, match="is a page cache, which knows no jobs: leave --job out"):
        await extracted(tmp_path, tmp_path / "cache", job="x")
    with pytest.raises(UsageError, match=r"is a page cache, and .* is none: read one kind at a time"):
        await extracted(tmp_path, tmp_path / "cache", tmp_path)
    for file in (tmp_path / "cache").glob("??/*"):
        file.unlink()
    with pytest.raises(UsageError, match="no page is in"):
        await extracted(tmp_path, tmp_path / "cache")


def rewrite(folder: Path, **words: str) -> None:
    """Change the spider's code."""
    file = folder / "spiders" / "mine.py"
    text = file.read_text()
    for old, new in words.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


async def test_new_code_reads_the_old_pages(tmp_path: Path) -> None:
    await crawled(tmp_path)
    rewrite(tmp_path, size="length")
    _, _, items = await anew(tmp_path)
    assert all("length" in item for item in items if "title" in item)


async def test_a_callback_of_another_name_is_found_through_the_pages_that_lead_to_it(tmp_path: Path) -> None:
    live = await crawled(tmp_path)
    rewrite(tmp_path, parse_product="parse_goods")
    _, done, items = await anew(tmp_path)
    titles = Counter(str(item.get("title")) for item in live.items)
    assert set(Counter(str(item.get("title")) for item in items)) == set(titles)
    assert any("parse_product" in why for why in done["errors"])


async def test_errors_name_the_line_of_the_spider(tmp_path: Path) -> None:
    await crawled(tmp_path)
    rewrite(tmp_path, **{'"size": len(response.body)': '"size": response.nothing'})
    code, done, items = await anew(tmp_path)
    assert not any("title" in item for item in items)
    assert any("nothing" in why and "spiders/mine.py:" in why for why in done["errors"])
    assert code == Exit.FAILED


async def test_a_file_of_another_tool_is_read_by_parse(tmp_path: Path) -> None:
    """Written as Wget does it: the request first, bodies in chunks, no word of callbacks."""
    await crawled(tmp_path)
    foreign = tmp_path / "wget.warc.gz"
    write_foreign(foreign)
    done, items = await extracted(tmp_path, foreign, spider="mine")
    assert {item["list"] for item in items} == {"http://other.example/", "http://other.example/a?x=%7C"}
    assert (done.pages, done.missing) == (2, 6)


def write_foreign(path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<p>\r\n0\r\n\r\n"
    gone = b"HTTP/1.1 404 Not Found\r\n\r\nno"
    pages = {"http://other.example": chunked, "http://other.example/a?x=%7C": chunked, "http://other.example/b": gone}
    kind = "application/http; msgtype="
    with path.open("wb") as file:
        file.write(member("warcinfo", "", "application/warc-fields", b"software: Wget\r\n"))
        for url, answer in pages.items():
            file.write(member("request", url, f"{kind}request", b"GET / HTTP/1.1\r\n\r\n"))
            file.write(member("response", url, f"{kind}response", answer))
        file.write(member("resource", "dns:other.example", "text/dns", b"192.0.2.1"))


def member(kind: str, url: str, content_type: str, block: bytes) -> bytes:
    """A record of WARC 1.0, in a member of its own."""
    target = f"WARC-Target-URI: <{url}>\r\n" if url else ""  # with brackets, as Wget writes it
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid4()}>\r\n{target}"
        f"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n")


async def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    await crawled(tmp_path)
    (tmp_path / "text.warc.gz").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for source, why in (("text.warc.gz", "is no WARC file"), ("empty", "no folder with WARC files"), ("x", "no such")):
        with pytest.raises(UsageError, match=why):
            await extracted(tmp_path, tmp_path / source)
    with pytest.raises(UsageError, match="no page of job other is in the archive"):
        await extracted(tmp_path, job="other")
    with pytest.raises(UsageError, match=r"no page of spider site, but of mine"):
        await extracted(tmp_path, spider="site")


async def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    live = await crawled(tmp_path)
    (file,) = (tmp_path / "archive").iterdir()
    file.write_bytes(file.read_bytes()[:-3_000])
    _, items = await extracted(tmp_path)
    again, before = ({item["url"] for item in some if "title" in item} for some in (items, live.items))
    assert again < before
