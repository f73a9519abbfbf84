"""Files of items in real processes: the same as Scrapy's pipeline gives, a file that kills its worker, a full disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.crawling import Pages
from tests.scrapy_projects.moving import PROJECTS
from tests.webserver import redirect, serve
from tests.website import Answer

SPIDER = """import scrapy


class Papers(scrapy.Spider):
    name = "papers"
    allowed_domains = ["127.0.1.1"]

    def __init__(self, site="", **kwargs):
        super().__init__(**kwargs)
        self.start_urls = [site]

    def parse(self, response):
        urls = [response.urljoin(name) for name in response.css("b::text").getall()]
        yield {"page": response.url, "file_urls": urls}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href, self.parse)


class Titles:
    def process_item(self, item):
        return {**item, "statuses": [file["status"] for file in item["files"] if file["path"]]}
"""
SETTINGS = """BOT_NAME = "papers"
SPIDER_MODULES = ["papers"]
ITEM_PIPELINES = {"scrapy.pipelines.files.FilesPipeline": 1, "papers.Titles": 300}
FILES_STORE = "files"
DOWNLOAD_DELAY = 0
CONCURRENT_REQUESTS_PER_DOMAIN = 1
RETRY_ENABLED = False
ADDONS = {}
"""


def pdf(content: bytes) -> Answer:
    return Answer(content, content_type="application/pdf")


PAGES: Mapping[str, Any] = {
    "/": '<b>/a.pdf</b><b>/b.pdf</b><a href="/2">2</a><a href="/3">3</a>',
    "/2": "<b>/a.pdf</b><b>/missing.pdf</b><b>/moved.pdf</b><b>/same.pdf</b>",
    "/3": "none",
    "/a.pdf": pdf(b"paper a"),
    "/b.pdf": pdf(b"paper b"),
    "/same.pdf": pdf(b"paper a"),
    "/moved.pdf": redirect("/a.pdf"),
}


def project(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "papers.py").write_text(SPIDER)
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = settings\n")


def contents(output: Path, store: Path, site: str) -> dict[str, Any]:
    """Page → its item without its files, and the bytes of each file that is kept, by URL."""
    found = {}
    for line in output.read_text().replace(site, "http://site").splitlines():
        item = json.loads(line)
        item.pop("_position", None)
        kept = [file for file in item.pop("files") if file["path"]]
        item["statuses"] = len(item["statuses"])
        found[item["page"]] = (item, {file["url"]: (store / file["path"]).read_bytes() for file in kept})
    return found


async def test_a_project_gets_the_same_items_and_files_as_with_scrapy(shell: Shell) -> None:
    """But for the paths and checksums, which are of another kind, and the entries of files that were given up."""
    pytest.importorskip("scrapy")
    theirs, ours = shell.folder / "theirs", shell.folder
    project(theirs)
    async with serve(Pages(PAGES)) as web:
        ended = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROJECTS / "run_scrapy.py"), "papers", "items.jsonl", "stats.json"),
            f"site={web.seeds[0]}",
            cwd=theirs,
            env={**os.environ, "PYTHONPATH": str(theirs), "PYTHONDONTWRITEBYTECODE": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await ended.communicate()
        assert ended.returncode == 0, log.decode()
        expected = contents(theirs / "items.jsonl", theirs / "files", web.seeds[0])
        asked = sorted(hit.path for hit in web.log if hit.path != "/robots.txt")
    project(ours)
    (ours / "papers.py").write_text(SPIDER.replace("import scrapy", "import crawler as scrapy"))
    async with serve(Pages(PAGES)) as web:
        command = ("crawl", "--spider", "papers", "-a", f"site={web.seeds[0]}", "-o", "items.jsonl")
        run = await shell.run(*command, *LOCAL)
        assert run.code == 0, run.err
        found = contents(ours / "items.jsonl", ours / "files", web.seeds[0])
        assert sorted(hit.path for hit in web.log if hit.path != "/robots.txt") == asked
    assert found == expected
    assert len(found["http://site2"][1]) == 2
    assert "3 kept" in run.err
    assert all(f"1 file: given up, as the items say ({why})" in run.err for why in ("http_302", "http_404"))


DEADLY = """
import os, signal
from crawler import Spider
from crawler.media import pictures

class Deadly(Spider):
    name = "deadly"
    custom_settings = {"IMAGES_STORE": "images", "IMAGES_MIN_WIDTH": 1}

    def parse(self, response):
        yield {"page": response.url, "image_urls": [response.urljoin("/kills.png"), response.urljoin("/other.png")]}

def kills(self, body):
    if body == b"kills":
        os.kill(os.getpid(), signal.SIGKILL)
    return pictures.Shaped(body)

pictures.Pictures.read = kills
"""


async def test_an_image_that_kills_its_worker_is_given_up_and_its_item_leaves(shell: Shell) -> None:
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "deadly.py").write_text(DEADLY)
    pages: dict[str, Any] = {"/": ""}
    pages |= {f"/{name}.png": Answer(name.encode(), content_type="image/png") for name in ("kills", "other")}
    async with serve(Pages(pages)) as web:
        one = ("-s", "PROCESSES=1", "-s", "RETRY_TIMES=0")
        ended = await shell.run("crawl", *web.seeds, "--spider", "deadly", *one, *LOCAL, "-o", "items.jsonl")
    assert ended.code == 0, ended.err
    (item,) = map(json.loads, (shell.folder / "items.jsonl").read_text().splitlines())
    assert [file["status"] for file in item["images"]] == ["crash", "downloaded"]
    assert item["images"][1]["checksum"] == hashlib.sha256(b"other").hexdigest()
    assert ended.err.count("worker_died") == 2
