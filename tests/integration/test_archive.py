"""Crawls with an archive: what is in the files, read by warcio and by a reader of our own."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from warcio.archiveiterator import ArchiveIterator

from crawler import Report, Response, Spider, crawl
from crawler.app.config import Config
from crawler.app.crawl import crawl as run_crawl
from crawler.errors import ConfigError
from crawler.export.target import Target
from crawler.model import Job
from crawler.settings import given_by_program
from tests.crawling import Pages
from tests.webserver import Running, serve
from tests.website import Answer, Folder, Hit, truncated

LOCAL: Mapping[str, Any] = {
    "ALLOWED_NETWORKS": ["127.0.0.0/8"],
    "DOWNLOAD_DELAY": 0,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 8,
    "RETRY_TIMES": 0,
}
PAGES = 30
ZIPPED = gzip.compress(b"<title>zipped</title>" + b"<p>same</p>" * 300)


class Links(Spider):
    name = "links"
    allowed_domains = ("127.0.1.1",)

    def parse(self, response: Response) -> Iterator[Any]:
        yield {"url": response.url, "title": response.css("title::text").get(), "encoding": response.encoding}
        yield from response.follow_all()


def site() -> Pages:
    others = "".join(f'<a href="/{name}">x</a>' for name in ("old", "gz", "latin", "missing", "cut", "busy"))
    return Pages(
        {
            "/robots.txt": "User-agent: *\n",
            "/": "<title>list</title>" + "".join(f'<a href="/{n}">x</a>' for n in range(PAGES)) + others,
            "/old": Answer(b"moved", status=301, headers={"Location": "/new"}),
            "/new": "<title>new</title>",
            "/gz": Answer(ZIPPED, headers={"Content-Encoding": "gzip"}),
            "/latin": Answer("<title>Köln</title>".encode("latin-1"), content_type="text/html; charset=latin-1"),
            "/cut": lambda hit, _: truncated(9)(hit, Answer(b"<title>cut</title>" + b"x" * 5_000)),
            "/busy": Answer(b"later", status=503),
            **{f"/{n}": f"<title>{n % 10}</title>" + "x" * 500 for n in range(PAGES)},
        }
    )


async def archived(web: Running, folder: Path, **settings: Any) -> Report:
    return await crawl(Links, web.seeds, settings={**LOCAL, "WARC_DIR": str(folder), **settings})


def check(folder: Path) -> None:
    """`warcio check` finds nothing wrong."""
    files = sorted(map(str, folder.glob("*.warc.gz")))
    assert files
    done = subprocess.run([Path(sys.executable).parent / "warcio", "check", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


class Record(NamedTuple):
    """A record, as read by the letter of the standard."""

    file: str
    offset: int
    length: int
    fields: Mapping[str, str]
    block: bytes


def read(folder: Path) -> Iterator[Record]:
    """Read every member of every file: one record each, and nothing between or behind them."""
    for path in sorted(folder.glob("*.warc.gz")):
        data, offset = path.read_bytes(), 0
        while offset < len(data):
            member = zlib.decompressobj(31)
            text = member.decompress(data[offset:]) + member.flush()
            assert member.eof
            head, _, rest = text.partition(b"\r\n\r\n")
            version, *lines = head.decode().split("\r\n")
            assert version == "WARC/1.1"
            fields = dict(line.split(": ", 1) for line in lines)
            size = int(fields["Content-Length"])
            assert rest[size:] == b"\r\n\r\n"
            length = len(data) - offset - len(member.unused_data)
            yield Record(path.name, offset, length, fields, rest[:size])
            offset += length


async def test_the_pages_are_in_the_archive_as_they_came(tmp_path: Path) -> None:
    async with serve(site()) as web:
        report = await archived(web, tmp_path)
        base = web.seeds[0]
    assert len(report.items) == PAGES + 4
    check(tmp_path)
    records = list(read(tmp_path))
    kinds = [record.fields["WARC-Type"] for record in records]
    # all but the page that broke off, which is no answer
    assert (kinds[0], kinds.count("request"), kinds.count("metadata")) == ("warcinfo", PAGES + 7, PAGES + 7)
    assert (kinds.count("response"), kinds.count("revisit")) == (PAGES + 7 - 20, 20)
    pages = {record.fields["WARC-Target-URI"]: record for record in records if "response" in record.fields["WARC-Type"]}
    zipped = pages[f"{base}gz"].block
    assert zipped.endswith(b"Content-Encoding: gzip\r\n\r\n" + ZIPPED)
    assert zipped.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n")
    assert pages[f"{base}old"].block.endswith(b"Location: /new\r\n\r\nmoved")
    assert pages[f"{base}busy"].block.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert f"{base}missing" in pages
    assert f"{base}cut" not in pages


async def test_another_reader_sees_the_same(tmp_path: Path) -> None:
    async with serve(site()) as web:
        await archived(web, tmp_path)
        base = web.seeds[0]
    (path,) = tmp_path.glob("*.warc.gz")
    with path.open("rb") as file:
        seen = [
            (record.rec_type, record.rec_headers["WARC-Target-URI"], record.content_stream().read())
            for record in ArchiveIterator(file)
        ]
    assert len(seen) == len(list(read(tmp_path)))
    assert ("response", f"{base}gz", gzip.decompress(ZIPPED)) in seen


async def test_a_part_of_a_page_says_that_it_is_one(tmp_path: Path) -> None:
    async with serve(site()) as web:
        await archived(web, tmp_path, DOWNLOAD_FAIL_ON_DATALOSS=False)
        base = web.seeds[0]
    check(tmp_path)
    cut = [record for record in read(tmp_path) if "WARC-Truncated" in record.fields]
    assert [record.fields["WARC-Target-URI"] for record in cut] == [f"{base}cut"]
    assert cut[0].fields["WARC-Truncated"] == "disconnect"


async def test_files_end_at_their_size_and_the_next_begins(tmp_path: Path) -> None:
    noise = {f"/{n}": Answer(random.Random(n).randbytes(60_000), content_type="image/x-noise") for n in range(40)}
    links = "".join(f'<a href="{path}">x</a>' for path in noise)
    async with serve(Pages({"/": links, **noise})) as web:
        await archived(web, tmp_path, WARC_MAXSIZE=1_000_000)
    check(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    assert all(path.stat().st_size < 1_300_000 for path in files)
    assert [path.name.split("-")[-2] for path in files] == ["00000", "00001", "00002"]
    info = [record for record in read(tmp_path) if record.fields["WARC-Type"] == "warcinfo"]
    assert [record.fields["WARC-Filename"] for record in info] == [path.name for path in files]


async def test_without_the_setting_there_is_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serve(site()) as web:
        await crawl(Links, web.seeds, settings=LOCAL)
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_used_ends_the_crawl_before_the_first_page(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    async with serve(site()) as web:
        with pytest.raises(ConfigError, match=r"WARC_DIR .*file/warc: .*Not a directory"):
            await archived(web, tmp_path / "file" / "warc")
        with pytest.raises(ConfigError, match="WARC_DIR and HTTPCACHE_ENABLED"):
            await archived(web, tmp_path / "warc", HTTPCACHE_ENABLED=True, HTTPCACHE_DIR=str(tmp_path / "cache"))
        assert not web.log


async def test_the_index_has_each_page_once_and_says_where_it_is(tmp_path: Path) -> None:
    settings = {**LOCAL, "WARC_DIR": str(tmp_path / "warc"), "LOG_LEVEL": "WARNING"}
    config = Config(*given_by_program(settings | {"REDIS_URL": "memory://"}, None), tmp_path)
    targets = [Target(str(tmp_path / name)) for name in ("items.jsonl", "pages.cdxj")]
    async with serve(site()) as web:
        options: dict[str, Any] = {"refused": lambda url, why: None, "observe": lambda progress: None}
        report = await run_crawl(config, Job("news", spider="site"), web.seeds, targets, **options)
        base = web.seeds[0]
    lines = (tmp_path / "pages.cdxj").read_text().splitlines()
    entries = [json.loads(line.split(" ", 2)[2]) for line in lines]
    pages = {base + name for name in ("", "old", "new", "gz", "latin", "missing", "busy", *map(str, range(PAGES)))}
    assert sorted(entry["url"] for entry in entries) == sorted(pages)
    assert report.stats.counters["items"] == len((tmp_path / "items.jsonl").read_text().splitlines()) == PAGES + 4
    records = {(record.file, str(record.offset)): record for record in read(tmp_path / "warc")}
    for entry in entries:
        record = records[entry["filename"], entry["offset"]]
        assert (record.fields["WARC-Target-URI"], str(record.length)) == (entry["url"], entry["length"])
        assert record.fields["WARC-Payload-Digest"] == f"sha1:{entry['digest']}"


class Replayed:
    """A site that answers from an archive, read by warcio."""

    def __init__(self, folder: Path) -> None:
        self.hosts = ["127.0.1.1"]
        self.port = 80
        self._pages: dict[str, Answer] = {}
        bodies: dict[str, bytes] = {}
        for path in sorted(folder.glob("*.warc.gz")):
            with path.open("rb") as file:
                for record in ArchiveIterator(file):
                    if record.rec_type in ("response", "revisit"):
                        self._keep(record, bodies)

    def _keep(self, record: Any, bodies: dict[str, bytes]) -> None:
        body = record.raw_stream.read()
        digest = record.rec_headers["WARC-Payload-Digest"]
        body = bodies.setdefault(digest, body) if record.rec_type == "response" else bodies[digest]
        fields = {name.lower(): value for name, value in record.http_headers.headers}
        kind = fields.pop("content-type", "")
        for name in ("content-length", "connection", "date", "server"):
            fields.pop(name, None)
        path = "/" + record.rec_headers["WARC-Target-URI"].split("/", 3)[3]
        self._pages[path] = Answer(body, int(record.http_headers.get_statuscode()), kind, fields)

    def address(self, host: str) -> str:
        return host

    def answer(self, hit: Hit) -> Answer:
        return self._pages.get(hit.path, Answer(b"", status=404))

    @property
    def seeds(self) -> list[str]:
        return []


async def test_a_replayed_site_is_crawled_to_the_same_items(tmp_path: Path) -> None:
    folder = os.environ.get("SITE")  # any folder of pages with an index.html; none: the site above
    async with serve(Folder(Path(folder)) if folder else site()) as web:
        seeds, port = web.seeds, web.site.port
        first = await crawl(Links, seeds, settings={**LOCAL, "WARC_DIR": str(tmp_path)})
    check(tmp_path)
    async with serve(Replayed(tmp_path), port=port):
        again = await crawl(Links, seeds, settings=LOCAL)
    assert len(again.items) > PAGES
    assert sorted(map(str, again.items)) == sorted(map(str, first.items))
    print(f"{len(first.items)} pages archived, replayed and crawled again")
