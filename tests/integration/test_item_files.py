"""The files that items name, fetched by whole crawls: each item leaves once, with all that became of its files."""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crawler.errors import ConfigError, Exit, OutputError
from crawler.media import folder
from crawler.views.losses import exit_code, lost
from tests.crawling import Crawled, crawl_pages
from tests.object_store import BUCKET, ENVIRONMENT, Moto, Rclone, Server, objects, running
from tests.webserver import flaky, redirect
from tests.website import Answer, Handler, Hit

Web = dict[str, str | Answer | Handler]

SPIDER = """
from crawler import Spider

class Mine(Spider):
    name = "mine"
    allowed_domains = ["127.0.1.1"]

    def parse(self, response):
        names = response.css("b::text").getall()
        yield {"page": response.url, "file_urls": [response.urljoin(name) for name in names]}
        yield from response.follow_all(css="a")
"""


def picture(content: bytes) -> Answer:
    return Answer(content, content_type="image/jpeg")


def naming(*names: str) -> str:
    return "".join(f"<b>{name}</b>" for name in names)


def stored(folder: Path) -> Mapping[str, bytes]:
    """The files in the store, without its index, by path."""
    files = folder / "files"
    found = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    return {path: content for path, content in found.items() if not path.startswith("urls/")}


async def crawled(folder: Path, pages: Web, spider: str = SPIDER, **settings: Any) -> Crawled:
    return await crawl_pages(folder, pages, spider, **{"FILES_STORE": "files", **settings})


def kept(content: bytes, ending: str = ".jpg") -> dict[str, str]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": f"{digest[:2]}/{digest[2:]}{ending}", "checksum": digest}


async def test_an_item_leaves_with_its_files(tmp_path: Path) -> None:
    pages: Web = {"/": naming("/a.jpg", "/b.jpg"), "/a.jpg": picture(b"a"), "/b.jpg": picture(b"b")}
    found = await crawled(tmp_path, pages)
    assert found.report.stats.finished
    (item,) = found.items
    a, b = item["file_urls"]
    assert item["files"] == [
        {"url": a, **kept(b"a"), "status": "downloaded"},
        {"url": b, **kept(b"b"), "status": "downloaded"},
    ]
    assert stored(tmp_path) == {kept(b"a")["path"]: b"a", kept(b"b")["path"]: b"b"}
    assert found.asked == ["/", "/a.jpg", "/b.jpg"]
    counters = found.counters
    assert (counters["pages"], counters["items"], counters["files/downloaded"], counters["files/bytes"]) == (1, 1, 2, 2)


def too_large(hit: Hit, missing: Answer) -> Answer:
    return picture(b"x" * 2_000)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(b"", status=404), "http_404"),
        (flaky(9, status=500), "http_500"),
        (redirect("/other.jpg"), "http_302"),
        (too_large, "too_large"),
        (Answer(b"", content_type="image/jpeg"), "empty"),
        (Answer(b"broken off", missing=5), "truncated"),
    ],
)
async def test_a_file_that_is_given_up_holds_no_item_back(
    tmp_path: Path, answer: Answer | Handler, status: str
) -> None:
    pages: Web = {"/": naming("/x", "/a.jpg"), "/x": answer, "/a.jpg": picture(b"a")}
    found = await crawled(tmp_path, pages, MEDIA_MAXSIZE=1_000, RETRY_TIMES=1, BACKOFF_SECONDS=0.01)
    (item,) = found.items
    url, other = item["file_urls"]
    assert item["files"] == [
        {"url": url, "path": None, "checksum": None, "status": status},
        {"url": other, **kept(b"a"), "status": "downloaded"},
    ]
    stats = found.report.stats
    assert stats.finished
    assert stats.dead == 0
    assert found.counters[f"given_up/{status}"] == 1
    assert exit_code(stats, strict=True) == Exit.LOST


async def test_a_file_with_more_bytes_than_were_said_is_kept_and_counted(tmp_path: Path) -> None:
    answer = Answer(b"a", content_type="image/jpeg", surplus=b" and more")
    found = await crawled(tmp_path, {"/": naming("/a.jpg"), "/a.jpg": answer})
    (file,) = found.items[0]["files"]
    assert file == {"url": file["url"], **kept(b"a"), "status": "downloaded"}
    assert [one.counter for one in lost(found.report.stats)] == ["cut/surplus"]


async def test_robots_txt_holds_for_files(tmp_path: Path) -> None:
    pages: Web = {
        "/robots.txt": Answer(b"User-agent: *\nDisallow: /private", content_type="text/plain"),
        "/": naming("/private/a.jpg"),
    }
    found = await crawled(tmp_path, pages)
    assert [file["status"] for file in found.items[0]["files"]] == ["robots"]
    assert found.asked == ["/"]


async def test_a_private_address_is_refused_for_files_too(tmp_path: Path) -> None:
    spider = SPIDER.replace("response.urljoin(name)", "name")
    found = await crawled(tmp_path, {"/": naming("http://10.1.2.3/a.jpg", "file:///etc/passwd", "//[")}, spider)
    assert [file["status"] for file in found.items[0]["files"]] == ["refused", "malformed", "malformed"]
    assert stored(tmp_path) == {}


async def test_files_may_lie_on_other_hosts_and_deeper_than_pages(tmp_path: Path) -> None:
    """As they do on most sites. Their hosts stay out of the crawl."""

    def elsewhere(hit: Hit, missing: Answer) -> Answer:
        return Answer(naming(hit.url.replace("127.0.1.1", "127.0.1.2") + "a.jpg").encode())

    pages: Web = {"/": elsewhere}
    found = await crawled(tmp_path, pages, DEPTH_LIMIT=1, ROBOTSTXT_OBEY=False)
    assert found.items[0]["files"][0]["status"] != "offsite"


async def test_a_redirect_is_followed_if_that_is_wanted(tmp_path: Path) -> None:
    pages: Web = {
        "/": naming("/a", "/loop"),
        "/a": redirect("/b?to=1"),
        "/b?to=1": redirect("/c.jpg", 301),
        "/c.jpg": picture(b"c"),
        "/loop": redirect("/loop"),
    }
    found = await crawled(tmp_path, pages, MEDIA_ALLOW_REDIRECTS=True, REDIRECT_MAX_TIMES=3)
    first, second = found.items[0]["files"]
    assert first == {"url": found.items[0]["file_urls"][0], **kept(b"c"), "status": "downloaded"}
    assert second["status"] == "redirects"
    assert found.asked.count("/loop") == 4


async def test_what_several_items_name_is_fetched_once_and_kept_once(tmp_path: Path) -> None:
    links = "".join(f'<a href="/{number}">x</a>' for number in range(20))
    pages: Web = {"/": links, "/a.jpg": picture(b"a"), "/same.jpg": picture(b"a")}
    pages |= {f"/{number}": naming("/a.jpg", "/same.jpg") for number in range(20)}
    found = await crawled(tmp_path, pages, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    items = [item for item in found.items if item["file_urls"]]
    assert len(items) == 20
    assert all(file["path"] == kept(b"a")["path"] for item in items for file in item["files"])
    assert (found.asked.count("/a.jpg"), found.asked.count("/same.jpg")) == (1, 1)
    assert (found.counters["files/downloaded"], found.counters["files/uptodate"]) == (2, 38)
    assert len(stored(tmp_path)) == 1


async def test_a_later_crawl_takes_from_the_store_what_has_not_expired(tmp_path: Path) -> None:
    pages: Web = {"/": naming("/a.jpg"), "/a.jpg": picture(b"a")}
    statuses = []
    for days in (90, 90, 0):
        found = await crawled(tmp_path, pages, FILES_EXPIRES=days)
        statuses.append(found.items[-1]["files"][0]["status"])
        (tmp_path / "items.jsonl").unlink()
    # each crawl has a port of its own, and so URLs of its own
    assert statuses == ["downloaded"] * 3


async def test_an_item_with_many_files_gets_all(tmp_path: Path) -> None:
    names = [f"/{number}.jpg" for number in range(40)]
    pages: Web = {"/": naming(*names)}
    pages |= {name: picture(name.encode()) for name in names}
    found = await crawled(tmp_path, pages)
    (item,) = found.items
    assert [file["checksum"] for file in item["files"]] == [kept(name.encode())["checksum"] for name in names]
    assert len(stored(tmp_path)) == 40


@pytest.mark.parametrize("urls", ["'http://a.example/x.jpg'", "[1]", "{'a': 1}"])
async def test_urls_that_are_no_list_fail_the_page_with_the_field_s_name(tmp_path: Path, urls: str) -> None:
    spider = SPIDER.replace("[response.urljoin(name) for name in names]", urls)
    found = await crawled(tmp_path, {"/": ""}, spider)
    assert (found.report.stats.dead, found.items) == (1, [])
    assert "item field file_urls" in found.report.causes[0].message


async def test_an_item_too_large_to_travel_is_written_without_files(tmp_path: Path) -> None:
    spider = SPIDER.replace('"page":', '"text": "x" * 990_000, "page":')
    found = await crawled(tmp_path, {"/": naming("/a.jpg", "/b.jpg")}, spider)
    (item,) = found.items
    assert len(item["text"]) == 990_000
    assert [file["status"] for file in item["files"]] == ["item_too_large"] * 2
    assert found.counters["given_up/item_too_large"] == 2


async def test_fields_without_urls_and_items_without_fields(tmp_path: Path) -> None:
    spider = SPIDER.replace(
        "yield from", 'yield {"none": None, "file_urls": None}\n        yield {"plain": 1}\n        yield from'
    )
    found = await crawled(tmp_path, {"/": ""}, spider)
    assert {item.get("page", "")[:4] or next(iter(item)): item.get("files") for item in found.items} == {
        "http": [],
        "none": [],
        "plain": None,
    }


async def test_without_a_store_nothing_is_fetched(tmp_path: Path) -> None:
    found = await crawled(tmp_path, {"/": naming("/a.jpg"), "/a.jpg": picture(b"a")}, FILES_STORE="")
    assert "files" not in found.items[0]
    assert found.asked == ["/"]


async def test_images_and_files_of_one_item_have_fields_of_their_own(tmp_path: Path) -> None:
    spider = SPIDER.replace('"file_urls"', '"pictures": [response.urljoin("/p.png")], "file_urls"')
    pages: Web = {
        "/": naming("/a.pdf"),
        "/a.pdf": Answer(b"pdf", content_type="application/pdf"),
        "/p.png": Answer(b"png", content_type="image/png"),
    }
    words = {"IMAGES_STORE": "images", "IMAGES_URLS_FIELD": "pictures", "IMAGES_RESULT_FIELD": "shots"}
    found = await crawled(tmp_path, pages, spider, **words)
    (item,) = found.items
    assert item["files"][0]["path"] == kept(b"pdf", ".pdf")["path"]
    assert item["shots"][0]["path"] == kept(b"png", ".png")["path"]
    assert (tmp_path / "images" / item["shots"][0]["path"]).read_bytes() == b"png"


@pytest.mark.parametrize(("store", "error"), [("items.txt", ConfigError), ("/proc/files", OutputError)])
async def test_a_store_that_cannot_be_used_ends_the_crawl_before_it_begins(
    tmp_path: Path, store: str, error: type[Exception]
) -> None:
    (tmp_path / "items.txt").touch()
    with pytest.raises(error, match="FILES_STORE="):
        await crawled(tmp_path, {"/": ""}, FILES_STORE=store)


BEHIND = """
from crawler import DropItem

class Before:
    def process_item(self, item):
        return {**item, "before": "files" not in item}

class Behind:
    def process_item(self, item, spider):
        if item["page"].endswith("?drop"):
            raise DropItem("unwanted")
        if item["page"].endswith("?fail"):
            raise ValueError("no colour")
        return {**item, "paths": [file["path"] for file in item["files"]]}
"""


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """ITEM_PIPELINES of a project with a pipeline behind Scrapy's, as text; its module's name is its own."""
    name = f"pipes_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(BEHIND)
    monkeypatch.syspath_prepend(str(tmp_path))
    paths = (f"{name}.Before", "scrapy.pipelines.files.FilesPipeline", f"{name}.Behind")
    return json.dumps({path: number for number, path in enumerate(paths)})


async def test_pipelines_behind_scrapy_s_get_the_item_with_its_files(tmp_path: Path, behind: str) -> None:
    links = '<a href="/?drop">x</a><a href="/?fail">x</a><a href="/none">x</a>'
    pages: Web = {"/": naming("/a.jpg") + links, "/a.jpg": picture(b"a"), "/none": ""}
    pages |= {"/?drop": naming("/a.jpg"), "/?fail": naming("/a.jpg")}
    found = await crawled(tmp_path, pages, ITEM_PIPELINES=behind)
    paths = {item["page"].rpartition("/")[2]: (item["before"], item["paths"]) for item in found.items}
    assert paths == {"": (True, [kept(b"a")["path"]]), "none": (True, [])}, "also one without files"
    assert found.counters["dropped/unwanted"] == 1
    assert found.counters["dead/pipeline"] == 1


async def test_pipelines_behind_get_items_whose_files_are_given_up_at_once(tmp_path: Path, behind: str) -> None:
    """Those of an errback, and those that are too large to wait."""
    spider = (
        SPIDER.replace("import Spider", "import Request, Spider")
        + """
        yield {"page": response.url + "?large", "file_urls": [response.url], "text": "x" * 999_000}
        yield Request(response.urljoin("/gone"), errback=self.failed)

    def failed(self, request, failure):
        yield {"page": request.url, "file_urls": [request.url + ".jpg"]}
        yield {"page": request.url + "?drop", "file_urls": []}
"""
    )
    found = await crawled(tmp_path, {"/": ""}, spider, ITEM_PIPELINES=behind)
    items = {item["page"].rpartition("/")[2]: item for item in found.items}
    assert {page: (item["before"], item["paths"]) for page, item in items.items()} == {
        "": (True, []),
        "?large": (True, [None]),
        "gone": (True, [None]),
    }
    assert [file["status"] for file in items["gone"]["files"]] == ["errback"]
    assert found.asked == ["/", "/gone"]
    assert found.counters["dropped/unwanted"] == 1
    assert {one.counter for one in lost(found.report.stats)} == {
        "dead",
        "given_up/errback",
        "given_up/item_too_large",
    }


async def test_scrapy_s_pipeline_needs_a_store(tmp_path: Path, behind: str) -> None:
    with pytest.raises(ConfigError, match='FILES_STORE = "files"'):
        await crawled(tmp_path, {"/": ""}, ITEM_PIPELINES=behind, FILES_STORE="")


async def test_a_subclass_of_scrapy_s_pipeline_is_told_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scrapy")
    (tmp_path / "covers.py").write_text(
        "from scrapy.pipelines.images import ImagesPipeline\n\nclass Covers(ImagesPipeline):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="What get_media_requests asks for goes into file_urls"):
        await crawled(tmp_path, {"/": ""}, ITEM_PIPELINES='["covers.Covers"]')


async def test_images_are_checked_and_get_thumbnails(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGBA", (400, 200), (255, 0, 0, 0)).save(content, "PNG")
    spider = SPIDER.replace("file_urls", "image_urls")
    pages: Web = {
        "/": naming("/good.png", "/broken.png"),
        "/good.png": Answer(content.getvalue(), content_type="image/png"),
        "/broken.png": Answer(content.getvalue()[:90], content_type="image/png"),
    }
    words = {"IMAGES_STORE": "images", "IMAGES_THUMBS": '{"small": [50, 50]}', "IMAGES_FORMAT": "JPEG"}
    found = await crawled(tmp_path, pages, spider, **words)
    good, broken = found.items[0]["images"]
    assert (broken["path"], broken["status"]) == (None, "broken_image")
    with Image.open(tmp_path / "images" / good["path"]) as image:
        assert (image.format, image.size, image.getpixel((9, 9))) == ("JPEG", (400, 200), (255, 255, 255))
    with Image.open(tmp_path / "images" / "thumbs" / "small" / good["path"]) as thumb:
        assert (thumb.format, thumb.size) == ("JPEG", (50, 25))


async def test_files_wait_for_a_full_disk_without_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, full = folder._write, iter(range(3))

    def on_a_small_disk(path: Path, data: bytes) -> None:
        if next(full, None) is not None:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(folder, "_write", on_a_small_disk)
    found = await crawled(tmp_path, {"/": naming("/a.jpg"), "/a.jpg": picture(b"a")}, RETRY_TIMES=0)
    assert [file["checksum"] for file in found.items[0]["files"]] == [kept(b"a")["checksum"]]
    assert found.counters["own_limit"] == 3


@pytest.fixture(params=[Rclone, Moto])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An object store, whose credentials the process has."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with running(request.param(tmp_path / "objects")) as server:
        yield server


async def test_files_are_kept_in_an_object_store(tmp_path: Path, server: Server) -> None:
    store = f"s3://{BUCKET}/shop/files?endpoint={server.endpoint}"
    pages: Web = {"/": naming("/a.jpg", "/none.jpg") + '<a href="/more">', "/more": naming("/a.jpg", "/b.jpg")}
    pages |= {"/a.jpg": picture(b"a"), "/b.jpg": picture(b"a")}
    found = await crawled(tmp_path, pages, FILES_STORE=store, CONCURRENT_REQUESTS_PER_DOMAIN=1)
    files = [(file["status"], file["path"]) for item in found.items for file in item["files"]]
    path = kept(b"a")["path"]
    assert sorted(files, key=str) == [
        ("downloaded", path),
        ("downloaded", path),
        ("http_404", None),
        ("uptodate", path),
    ]
    assert sorted(set(found.asked)) == ["/", "/a.jpg", "/b.jpg", "/more", "/none.jpg"]
    there = {name: body for name, body in objects(server, "shop/files").items() if not name.endswith(".json")}
    assert list(there.values()) == [b"a"], there.keys()


@pytest.mark.parametrize(
    ("store", "error", "why"),
    [
        ("s3://none/files", OutputError, "there is no bucket none"),
        ("s3://bucket", ConfigError, "write s3://BUCKET/FOLDER"),
        ("ftp://host/files", ConfigError, "expected a folder, such as files, or s3://, gs:// or az://"),
    ],
)
async def test_an_object_store_that_cannot_be_used_ends_the_crawl_before_it_begins(
    tmp_path: Path, server: Server, store: str, error: type[Exception], why: str
) -> None:
    endpoint = f"?endpoint={server.endpoint}" if store.startswith("s3") else ""
    with pytest.raises(error, match=why):
        await crawled(tmp_path, {"/": ""}, FILES_STORE=store + endpoint)
