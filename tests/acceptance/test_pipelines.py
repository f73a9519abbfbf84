"""Pipelines, middlewares and extensions of a project, in real worker processes that die in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crawler.errors import Exit
from tests.acceptance.shell import LOCAL, Ended, Shell
from tests.crawling import crawl_pages
from tests.webserver import Running, Site, serve
from tests.website import Answer

SPIDER = """from crawler import Spider

class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield {"url": response.url}
        yield from response.follow_all(url for url in response.links if "images" not in url)
"""
ONE = ("-s", "PROCESSES=1")


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """Forty pages on two hosts, the last of which lead nowhere."""
    async with serve(Site(pages=40, hosts=2, seed=1, tree=True)) as running:
        yield running


def truth(site: Running) -> set[str]:
    assert isinstance(site.site, Site)
    return site.site.truth()


def last(site: Running) -> str:
    assert isinstance(site.site, Site)
    return site.site.url(39)


def project(folder: Path, pipeline: str, spider: str = SPIDER, more: str = "") -> None:
    """Write a project whose items go through this class Pipeline, in whose module `mark(name)` tells the first time."""
    (folder / "spiders").mkdir()
    (folder / "spiders" / "shop.py").write_text(spider)
    (folder / "shop_pipelines.py").write_text(
        "import asyncio, os, signal, time\n"
        "from pathlib import Path\n"
        "from crawler import DropItem, IgnoreRequest, NotConfigured, Request, signals\n\n"
        "def first(name):\n"
        "    try:\n        Path(name).touch(exist_ok=False)\n        return True\n"
        "    except FileExistsError:\n        return False\n\n"
        f"{pipeline}"
    )
    (folder / "settings.py").write_text(f'ITEM_PIPELINES = {{"shop_pipelines.Pipeline": 300}}\n{more}\n')


async def crawl(shell: Shell, site: Running, *arguments: str) -> Ended:
    return await shell.run("crawl", *site.seeds, "--spider", "shop", *ONE, *LOCAL, "-o", "items.jsonl", *arguments)


def urls(shell: Shell) -> Counter[str]:
    lines = (shell.folder / "items.jsonl").read_text().splitlines()
    return Counter(json.loads(line)["url"] for line in lines)


async def test_a_worker_killed_inside_a_pipeline_loses_no_item_and_writes_none_twice(
    shell: Shell, site: Running
) -> None:
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def process_item(self, item):\n"
        "        if 'p7.' in item['url'] and first('died'):\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return {**item, 'seen': True}\n",
    )
    ended = await crawl(shell, site)
    assert ended.code == 0, ended.err
    assert "worker_died" in ended.err
    found = urls(shell)
    assert len(found) == len(truth(site))
    assert set(found.values()) == {1}


async def test_a_pipeline_that_always_ends_the_process_costs_its_own_page_alone(shell: Shell, site: Running) -> None:
    bad = last(site)
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def process_item(self, item):\n"
        f"        if item['url'] == {bad!r}:\n"
        "            os._exit(9)\n"
        "        return item\n",
    )
    ended = await crawl(shell, site)
    assert "exit code 9" in ended.err
    group = json.loads((await shell.run("dead", "--json")).out)
    assert (group["error"], group["count"], group["example"]["url"]) == ("crash", 1, bad)
    assert urls(shell) == Counter(truth(site) - {bad})


async def test_a_pipeline_that_blocks_is_ended_and_its_page_blamed(shell: Shell, site: Running) -> None:
    bad = last(site)
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def process_item(self, item):\n"
        f"        while item['url'] == {bad!r}:\n"
        "            time.sleep(0.1)\n"
        "        return item\n",
    )
    await crawl(shell, site, "-s", "CALLBACK_TIMEOUT=0.5", "-s", "RETRY_TIMES=0")
    group = json.loads((await shell.run("dead", "--json")).out)
    assert (group["error"], group["example"]["url"], group["line"]) == ("crash", bad, "shop_pipelines.py:15")
    assert urls(shell) == Counter(truth(site) - {bad})


async def test_a_pipeline_that_raises_costs_its_page_which_is_tried_again_and_told(shell: Shell, site: Running) -> None:
    bad = last(site)
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def process_item(self, item):\n"
        f"        if item['url'] == {bad!r}:\n"
        "            item['price'] = float('£1.37')\n"
        "        return item\n",
    )
    ended = await crawl(shell, site)
    assert ended.err.count("Traceback (most recent call last)") == 1
    assert len(site.hits(bad)) == 3, "RETRY_TIMES = 2"
    group = json.loads((await shell.run("dead", "--json")).out)
    assert (group["error"], group["line"]) == ("pipeline/ValueError", "shop_pipelines.py:15")
    said = "shop_pipelines.Pipeline: ValueError: could not convert string to float: '£1.37'"
    assert said.partition(": Value")[0] in (await shell.run("why", bad)).out
    assert group["example"]["said"] in said
    assert urls(shell) == Counter(truth(site) - {bad})


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        ("class Pipelin: ...\n", "has no Pipeline; did you mean Pipelin?"),
        ("import nothing_like_it\n", "shop_pipelines.Pipeline: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("class Pipeline: ...\n", "shop_pipelines.Pipeline has no process_item(self, item)"),
        (
            "class Pipeline:\n    def __init__(self): {}['key']\n    def process_item(self, item): return item\n",
            "shop_pipelines.Pipeline: KeyError: 'key' (shop_pipelines.py:13)",
        ),
        (
            "class Pipeline:\n"
            "    async def open_spider(self): raise OSError('database away')\n"
            "    def process_item(self, item): return item\n",
            "shop_pipelines.Pipeline.open_spider: OSError: database away (shop_pipelines.py:13)",
        ),
    ],
)
async def test_a_pipeline_that_cannot_be_used_ends_the_crawl_before_the_first_page(
    shell: Shell, site: Running, pipeline: str, why: str
) -> None:
    project(shell.folder, pipeline)
    ended = await crawl(shell, site)
    assert ended.code == Exit.CONFIG, ended.err
    assert "ITEM_PIPELINES: " in ended.err
    assert why in ended.err
    assert "Traceback" not in ended.err
    assert not [hit for hit in site.log if hit.path != "/robots.txt"]


async def test_a_worker_of_a_fleet_refuses_to_start_with_a_pipeline_that_it_cannot_import(shell: Shell) -> None:
    project(shell.folder, "class Pipelin: ...\n")
    ended = await shell.run("worker", *ONE)
    assert ended.code == Exit.CONFIG
    assert "ITEM_PIPELINES: shop_pipelines.Pipeline:" in ended.err


async def test_a_worker_of_a_fleet_leaves_the_job_to_others_until_its_pipeline_opens(
    shell: Shell, site: Running
) -> None:
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def open_spider(self):\n"
        "        if not Path('database').exists():\n            raise OSError('database away')\n"
        "    def process_item(self, item): return item\n",
    )
    await shell.run("seed", *site.seeds[:1], "--spider", "shop", "--job", "shop", *LOCAL)
    worker = await shell.start("worker", *ONE, *LOCAL)
    try:
        assert worker.stderr is not None
        while b"spider_unusable" not in (line := await worker.stderr.readline()):
            assert line
        assert b"ITEM_PIPELINES: shop_pipelines.Pipeline.open_spider: OSError: database away" in line
        (shell.folder / "database").touch()
        await site.until(1)
    finally:
        worker.send_signal(signal.SIGTERM)
        await worker.communicate()


async def test_a_fleet_with_a_killed_worker_writes_each_key_once(shell: Shell, site: Running) -> None:
    """The exact alternative to a pipeline that remembers what it saw: ITEM_KEY."""
    spider = SPIDER.replace('name = "shop"', 'name = "shop"\n    ITEM_KEY = ("host",)').replace(
        '{"url": response.url}', '{"url": response.url, "host": response.url.split("/")[2]}'
    )
    project(
        shell.folder,
        "class Pipeline:\n"
        "    async def process_item(self, item):\n"
        "        Path(f'pid-{os.getpid()}').touch()\n"
        "        await asyncio.sleep(0.02)\n"
        "        return item\n",
        spider,
    )
    crawling = asyncio.create_task(crawl(shell, site, "-s", "PROCESSES=2", "-s", "LEASE_SECONDS=1"))
    await site.until(4)
    while not (at_work := list(shell.folder.glob("pid-*"))):  # noqa: ASYNC110 - another process makes the file
        await asyncio.sleep(0.01)
    os.kill(int(at_work[0].name.removeprefix("pid-")), signal.SIGKILL)
    ended = await crawling
    assert ended.code == 0, ended.err
    assert "worker_died" in ended.err
    assert len({url.split("/")[2] for url in urls(shell)}) == sum(urls(shell).values()) == 2


HOOKED = """
from crawler import DropItem, IgnoreRequest, Request, Spider, signals

class Mine(Spider):
    name = "mine"
    custom_settings = {settings}

    @classmethod
    def from_crawler(cls, crawler, **arguments):
        spider = super().from_crawler(crawler, **arguments)
        crawler.signals.connect(spider.heard, signal=signals.item_scraped)
        return spider

    def heard(self, item):
        self.crawler.stats.inc_value("heard")

    def parse(self, response):
        yield {{"path": response.url.rpartition("/")[2], "x": response.request.headers.get("x-mine", "")}}
        for path in response.css("a::attr(href)").getall():
            yield response.follow(path, errback="gone")

    def gone(self, request, failure):
        yield {{"path": request.url.rpartition("/")[2], "x": f"{{failure.kind}}: {{failure.message}}"}}
"""
MIDDLEWARES = """
from msgspec.structs import replace
from crawler import IgnoreRequest, Request, Response

class Signs:
    def __init__(self, crawler):
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    def process_request(self, request, spider):
        request.headers["X-Mine"] = spider.name
        if request.url.endswith("/ignored"):
            raise IgnoreRequest("not today")
        if request.url.endswith("/moved"):
            return replace(request, url=request.url.replace("moved", "here"))
        if request.url.endswith("/made"):
            return Response(request.url, headers={"content-type": "text/html"}, body=b"x")
        self.crawler.stats.inc_value("asked")

class Again:
    async def process_response(self, request, response):
        if response.status == 403:
            return replace(request, url=request.url + "?again")
        return response

    def process_exception(self, request, exception):
        if getattr(exception, "kind", "") == "too_large":
            return Response(request.url, headers={"content-type": "text/html"}, body=b"small")

class Loops:
    def process_response(self, request, response):
        return request if request.url.endswith("/loop") else response
"""


async def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: Any, **settings: Any) -> Any:
    name = f"middlewares_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MIDDLEWARES)
    monkeypatch.syspath_prepend(tmp_path)
    paths = {f"{name}.{cls}": number for number, cls in enumerate(("Signs", "Again", "Loops"))}
    return await crawl_pages(tmp_path, pages, HOOKED.format(settings={"DOWNLOADER_MIDDLEWARES": paths}), **settings)


async def test_middlewares_in_scrapys_shape_change_answer_ignore_and_send_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = "".join(f"<a href=/{name}>x</a>" for name in ("ignored", "moved", "made", "shut", "large"))
    pages = {
        "/": links,
        "/here": "x",
        "/made": Answer(b"never asked", status=500),
        "/shut": Answer(b"shut", status=403),
        "/shut?again": "open",
        "/large": "x" * 100_000,
    }
    done = await hooked(tmp_path, monkeypatch, pages, DOWNLOAD_MAXSIZE=50_000)
    found = {item["path"]: item["x"] for item in done.items}
    assert found == {
        "": "mine",
        "here": "mine",
        "ignored": "ignored: not today",
        "large": "mine",
        "made": "mine",
        "shut?again": "mine",
    }
    assert sorted(done.asked) == ["/", "/here", "/large", "/shut", "/shut?again"]
    assert done.counters["skip/ignored"] == 1
    assert done.counters["skip/redirect"] == 2
    assert done.counters["own/heard"] == 6


async def test_a_middleware_that_asks_again_for_ever_ends_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = await hooked(tmp_path, monkeypatch, {"/loop": "x"}, seeds=["/loop"], REDIRECT_MAX_TIMES=3)
    assert done.asked == ["/loop"] * 4
    assert done.counters["dead/middleware"] == 1


CLOSES = """
from crawler import CloseSpider, Spider

class Mine(Spider):
    name = "mine"
    custom_settings = {settings}

    def parse(self, response):
        for number in range(3):
            yield {{"number": number}}
        yield from response.follow_all()
"""


async def test_a_pipeline_closes_the_job_with_what_went_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"closes_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "from crawler import CloseSpider\n\n"
        "class Pipeline:\n"
        "    def process_item(self, item):\n"
        "        if item['number'] == 1:\n"
        "            raise CloseSpider('enough')\n"
        "        return item\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    spider = CLOSES.format(settings={"ITEM_PIPELINES": {f"{name}.Pipeline": 1}})
    done = await crawl_pages(tmp_path, {"/": "<a href=/next>next</a>", "/next": "x"}, spider)
    assert [item["number"] for item in done.items] == [0]
    assert (done.asked, done.counters["dropped/closed"]) == (["/"], 2)


@pytest.mark.parametrize("by", ["Pipeline", "Other"])
async def test_the_pipelines_of_a_spider_replace_the_projects_and_classes_stand_for_their_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    name = f"classes_of_{by.lower()}"
    (tmp_path / f"{name}.py").write_text(
        "class Pipeline:\n    def process_item(self, item):\n        return {**item, 'by': type(self).__name__}\n"
        "class Other(Pipeline): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "settings.py").write_text(f"import {name}\nITEM_PIPELINES = {{{name}.Pipeline: 1}}\n")
    own = f"    custom_settings = {{'ITEM_PIPELINES': {{{name}.Other: 1}}}}\n" if by == "Other" else ""
    spider = (
        f"import {name}\nfrom crawler import Spider\n\nclass Mine(Spider):\n    name = 'mine'\n{own}"
        "    def parse(self, response):\n        yield {'url': response.url}\n"
    )
    done = await crawl_pages(tmp_path, {"/": "x"}, spider)
    assert [item["by"] for item in done.items] == [by]


async def test_a_pipeline_that_ends_the_process_as_it_opens_is_given_up_with_its_spider(
    shell: Shell, site: Running
) -> None:
    project(
        shell.folder,
        "class Pipeline:\n"
        "    def open_spider(self):\n"
        "        os._exit(9)\n"
        "    def process_item(self, item): return item\n",
    )
    ended = await crawl(shell, site)
    assert ended.code == Exit.TRY_LATER, ended.err
    assert "exit code 9" in ended.err
    assert not [hit for hit in site.log if hit.path != "/robots.txt"]
