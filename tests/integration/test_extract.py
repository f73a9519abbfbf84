"""Pages that are read again from an archive: the items are those of the crawl."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crawler.app.config import Config
from crawler.app.extract import Extraction, extract
from crawler.errors import ConfigError, Exit, UsageError
from crawler.export.target import Target
from crawler.settings import load
from crawler.views.losses import lost
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


async def extracted(
    folder: Path, *sources: Path, settings: Mapping[str, str] = {}, **options: Any
) -> tuple[Extraction, list[dict[str, Any]]]:
    out = folder / "again.jsonl"
    target, sources = Target(str(out), overwrite=True), sources or (folder / "archive",)
    done = await extract(config(folder, **settings), sources, [target], **options)
    return done, [bare(line) for line in out.read_text().splitlines()] if out.exists() else []


async def anew(folder: Path, *more: str, out: str = "again.jsonl") -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """The same as a process, which loads the spider's new code: exit code, figures, items."""
    options = ("--from", "archive", "-O", out, "--json", "-q")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "crawler", "extract", *options, *more),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    figures, _ = await process.communicate()
    items = folder / "again.jsonl"
    lines = items.read_text().splitlines() if items.exists() else []
    return process.returncode or 0, json.loads(figures), [bare(line) for line in lines]


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
    assert (done.items, done.missing, done.counters["skip/redirect"]) == (len(live.items), 0, 1)
    assert list(done.errors) == ["404 Not Found"]
    assert done.again == 1, "the first visit of the busy page"
    assert not lost(done.stats)


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


async def test_a_request_with_another_callback_is_counted(tmp_path: Path) -> None:
    """The one that read the page is still there, and reads it again; in a crawl the first request would win, too."""
    pages = {"/": "<p>x</p>", "/1": "<p>x</p>"}
    code = (
        PLAIN
        + """
        if response.url.endswith("/"):
            yield response.follow("/1", self.parse_page)
            yield response.follow("/1", self.parse_page, dont_filter=True)

    def parse_page(self, response):
        yield {"page": response.url}

    def parse_other(self, response):
        yield {"other": response.url}
"""
    )
    await crawl_pages(tmp_path, pages, code, WARC_DIR="archive")
    assert not lost((await extracted(tmp_path))[0].stats)
    rewrite(tmp_path, **{"self.parse_page)": "self.parse_other)"})
    _, done, items = await anew(tmp_path)
    assert {"other"} & {name for item in items for name in item} == set()
    assert [one["counter"] for one in done["losses"]] == ["unread/other_callback"]


async def test_errors_name_the_line_of_the_spider(tmp_path: Path) -> None:
    await crawled(tmp_path)
    rewrite(tmp_path, **{'"size": len(response.body)': '"size": response.nothing'})
    code, done, items = await anew(tmp_path)
    assert not any("title" in item for item in items)
    assert any("nothing" in why and "spiders/mine.py:" in why for why in done["errors"])
    assert code == Exit.FAILED


PLAIN = """
from crawler import Spider

class Plain(Spider):
    name = "mine"

    def parse(self, response):
        yield {"url": response.url}
"""


async def anew_with(folder: Path, code: str, *more: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """Crawl one page, and read it again with this code before the first line of the callback."""
    await crawl_pages(folder, {"/": "<title>one</title>"}, PLAIN, WARC_DIR="archive")
    rewrite(folder, **{'yield {"url"': f'{code}; yield {{"url"'})
    return await anew(folder, *more)


@pytest.mark.parametrize(
    ("code", "counter"),
    [
        ("yield 7", "dropped/not_an_item"),
        ("yield {}", "empty/items"),
        ('yield response.follow("http://[")', "links/malformed"),
        ("return", "nothing"),
    ],
)
async def test_what_new_code_loses_is_counted_and_an_exit_code(tmp_path: Path, code: str, counter: str) -> None:
    strict, done, _ = await anew_with(tmp_path, code, "--strict")
    assert {loss["counter"] for loss in done["losses"] if not loss["is_asked_for"]} == {counter}
    assert (strict, (await anew(tmp_path))[0]) == (Exit.LOST, Exit.DONE)


async def test_values_without_a_column_are_counted_and_an_exit_code(tmp_path: Path) -> None:
    code = 'yield {"url": 1}; yield {"url": 2, "new": 3}'
    await anew_with(tmp_path, code)
    strict, done, _ = await anew(tmp_path, "--strict", out="again.csv")
    assert strict == Exit.LOST
    assert {loss["counter"]: loss["count"] for loss in done["losses"]} == {
        f"values_left_out/{tmp_path / 'again.csv'}": 1
    }


@pytest.mark.parametrize(
    ("rules", "broken"),
    [
        ({"COVERAGE_RULES": {"url": 1.0, "title": 0.5}, "MIN_ITEMS": 2}, []),
        ({"COVERAGE_RULES": {"title": 0.9}}, ["title is filled in 1 of 2 items (50 %), at least 90 % wanted"]),
        ({"COVERAGE_RULES": {"dict.price": 0.1}}, ["dict.price is filled in 0 of 2 items (0 %), at least 10 % wanted"]),
        ({"MIN_ITEMS": 3}, ["2 items, at least 3 wanted (MIN_ITEMS)"]),
    ],
)
async def test_rules_that_the_items_break_are_told_and_an_exit_code(
    tmp_path: Path, rules: Mapping[str, Any], broken: list[str]
) -> None:
    code = 'yield {"url": 1, "title": "a"}; yield {"url": 2, "title": ""}; return'
    await crawl_pages(tmp_path, {"/": "<title>one</title>"}, PLAIN, WARC_DIR="archive")
    rewrite(
        tmp_path,
        **{'yield {"url"': f'{code}; yield {{"url"', 'name = "mine"': f'name = "mine"; custom_settings = {rules}'},
    )
    strict, done, _ = await anew(tmp_path, "--strict")
    assert [why.partition(" (COVERAGE_RULES)")[0] for why in done["broken"]] == broken
    assert strict == (Exit.LOST if broken else Exit.DONE)
    assert all("; for example http://127." in why for why in done["broken"] if "COVERAGE_RULES" in why)
    assert (await anew(tmp_path))[0] == Exit.DONE


async def test_what_a_spider_leaves_out_is_counted_and_no_loss(tmp_path: Path) -> None:
    twice = 'self.ITEM_KEY = ("url",); yield {"url": response.url}'
    code, done, items = await anew_with(tmp_path, twice, "--strict")
    assert (code, len(items)) == (Exit.DONE, 1)
    assert [loss["text"] for loss in done["losses"]] == ["1 item: the job has an item with the same key already"]


WITH_FILES = """
from crawler import Spider

class WithFiles(Spider):
    name = "mine"

    def parse(self, response):
        for page in ("/1", "/2"):
            yield response.follow(page, self.parse_page)

    def parse_page(self, response):
        urls = [response.urljoin(f"/{name}") for name in ("a", "b", "moved", "gone", "broken")]
        yield {"url": response.url, "file_urls": urls}
"""
FILES: Mapping[str, str | Answer | Handler] = {
    "/": "<p>x</p>",
    "/1": "<p>1</p>",
    "/2": "<p>2</p>",
    "/a": Answer(b"%PDF a", content_type="application/pdf"),
    "/b": Answer(b"%PDF b" * 10_000, content_type="application/pdf"),
    "/moved": Answer(status=301, headers={"Location": "/c"}),
    "/c": Answer(b"%PDF c", content_type="application/pdf"),
    "/broken": Answer(b"broken", status=500),
}
STORE = {"FILES_STORE": "files", "MEDIA_ALLOW_REDIRECTS": "true"}


async def crawled_with_files(folder: Path, **settings: Any) -> Crawled:
    return await crawl_pages(folder, FILES, WITH_FILES, **STORE, RETRY_TIMES=0, **settings)


def described(items: list[dict[str, Any]]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The files of each item: where each is kept, or why it is not."""
    return sorted(
        (one["url"], [(file["url"], file["path"] or file["status"]) for file in one["files"]]) for one in items
    )


async def test_files_of_items_come_from_the_store(tmp_path: Path) -> None:
    """Whatever the setting says of how old they may be, because none can be fetched again."""
    live = await crawled_with_files(tmp_path, WARC_DIR="archive")
    done, items = await extracted(tmp_path, settings={**STORE, "FILES_EXPIRES": "0"})
    assert described(items) == described(live.items)
    assert (done.pages, done.items, done.missing, +done.errors) == (3, 2, 0, {})
    figures = {"files/uptodate": 6, "files/downloaded": 0, "given_up/http_404": 2, "given_up/http_500": 2}
    assert {name: done.counters[name] for name in figures} == figures


async def test_files_that_the_store_lacks_come_from_the_archive(tmp_path: Path) -> None:
    live = await crawled_with_files(tmp_path, WARC_DIR="archive")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "files").rglob("*.pdf")}
    shutil.rmtree(tmp_path / "files")
    _, items = await extracted(tmp_path, settings=STORE)
    assert {path.name: path.read_bytes() for path in (tmp_path / "files").rglob("*.pdf")} == kept
    assert described(items) == described(live.items)


async def test_a_file_that_is_nowhere_is_given_up_and_a_loss(tmp_path: Path) -> None:
    """The page cache has no files."""
    await crawled_with_files(tmp_path, **CACHE)
    shutil.rmtree(tmp_path / "files")
    done, items = await extracted(tmp_path, tmp_path / "cache", settings=STORE)
    assert {file["status"] for item in items for file in item["files"]} == {"not_cached"}
    assert [one.text for one in lost(done.stats)] == [
        "10 files: not in the store, and not in the archive that `extract` reads"
    ]


async def test_files_without_a_store_are_a_loss(tmp_path: Path) -> None:
    await crawled_with_files(tmp_path, WARC_DIR="archive")
    done, items = await extracted(tmp_path)
    assert (len(items), [item for item in items if "files" in item]) == (2, [])
    assert [one.counter for one in lost(done.stats)] == ["unread/files"]
    assert (done.code(strict=True), +done.errors) == (Exit.LOST, {})


async def test_a_store_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    await crawled_with_files(tmp_path, WARC_DIR="archive")
    with pytest.raises(ConfigError, match="FILES_STORE="):
        await extracted(tmp_path, settings={"FILES_STORE": "items.jsonl"})


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
    with pytest.raises(UsageError, match="no page of job other is in the archive; 16 visits: not of the job"):
        await extracted(tmp_path, job="other")
    with pytest.raises(UsageError, match=r"no page of spider site, but of mine"):
        await extracted(tmp_path, spider="site")


async def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    live = await crawled(tmp_path)
    (file,) = (tmp_path / "archive").iterdir()
    file.write_bytes(file.read_bytes()[:-3_000])
    done, items = await extracted(tmp_path)
    assert [one.text for one in lost(done.stats)] == [
        "1 file: damaged or cut off, and read in part (`archive_cut` in the log)"
    ]
    assert (done.code(strict=True), done.code(strict=False)) == (Exit.LOST, Exit.DONE)
    again, before = ({item["url"] for item in some if "title" in item} for some in (items, live.items))
    assert again < before
