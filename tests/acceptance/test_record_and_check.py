"""`record`, `check` and the pytest plugin: pages saved from a site that is gone when they are checked."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.shell import ROOT, Ended, Shell
from tests.crawling import Pages
from tests.webserver import Running, serve
from tests.website import Answer, Handler

SPIDER = """
import time
from crawler import Request, Spider

class Quotes(Spider):
    name = "quotes"
    allowed_domains = ["127.0.1.1"]

    def parse(self, response):
        for quote in response.css("div.quote"):
            yield {"text": quote.css("span::text").get(), "at": time.time()}
        yield from response.follow_all(css="a")
        yield Request("https://other.example/login", method="POST", body="q=1", callback=self.parse_author,
                      headers={"authorization": "Bearer s3cr3t", "x-page": "1"}, meta={"page": 2, "password": "s3cr3t"})

    def parse_author(self, response, name="nobody"):
        yield {"name": name, "born": response.json()["born"]}
"""
PAGE = '<div class="quote"><span>So it goes — “ä”.</span></div><a href="/2">next</a>'


@pytest.fixture
async def web() -> AsyncIterator[Running]:
    pages: dict[str, str | Answer | Handler] = {
        "/": Answer(PAGE.encode(), headers={"Set-Cookie": "session=s3cr3t", "X-Robots-Tag": "none"}),
        "/author": Answer(b'{"born": 1922}', content_type="application/json"),
        "/moved": Answer(b"", status=302, headers={"Location": "/"}),
        "/robots.txt": "User-agent: *\nDisallow: /no\n",
    }
    async with serve(Pages(pages)) as running:
        yield running


@pytest.fixture
def project(bare: Shell) -> Shell:
    (bare.folder / "spiders").mkdir()
    (bare.folder / "spiders/quotes.py").write_text(SPIDER)
    (bare.folder / "settings.py").write_text('ALLOWED_NETWORKS = ["127.0.0.0/8"]\nDOWNLOAD_DELAY = 0\n')
    return bare


def change(project: Shell, old: str, new: str) -> None:
    file = project.folder / "spiders/quotes.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


async def record(project: Shell, *arguments: str) -> Path:
    """The readable file of the only page."""
    ran = await project.run("record", *arguments, "--ignore", "at")
    assert ran.code == 0, ran.err
    (file,) = (file for file in (project.folder / "tests/pages").rglob("*.json") if not file.match("*.body.json"))
    assert str(file.relative_to(project.folder)) in ran.out
    return file


async def test_what_is_saved(project: Shell, web: Running) -> None:
    file = await record(project, web.seeds[0], "--spider", "quotes", "--name", "first")
    assert file == project.folder / "tests/pages/quotes/first.json"
    assert file.with_suffix(".html").read_bytes() == PAGE.encode()
    saved = json.loads(file.read_text())
    assert "“ä”" in file.read_text()  # readable
    assert saved["items"] == [{"text": "So it goes — “ä”.", "at": "(ignored)"}]
    assert saved["requests"] == [
        {"url": f"{web.seeds[0]}2", "callback": "parse"},
        {
            "url": "https://other.example/login",
            "callback": "parse_author",
            "method": "POST",
            "headers": {"authorization": "***", "x-page": "1"},
            "body": "q=1",
            "meta": {"page": 2, "password": "***"},
        },
    ]
    assert saved["headers"]["x-robots-tag"] == "none"
    assert not [path for path in file.parent.iterdir() if b"s3cr3t" in path.read_bytes()]


async def test_check_needs_no_network_and_shows_a_diff(project: Shell, web: Running) -> None:
    await record(project, web.seeds[0], "--spider", "quotes", "--name", "first")
    web.log.clear()
    equal = await project.run("check")
    assert (equal.code, equal.out, equal.err) == (0, "1 page: as saved\n", "")
    change(project, "span::text", "b::text")
    differs = await project.run("check", "quotes")
    assert differs.code == 1
    assert "--- tests/pages/quotes/first.json (saved)" in differs.out
    assert '-      "text": "So it goes — “ä”."\n+      "text": null' in differs.out
    assert differs.out.count('"url"') == 0  # only what differs and three lines around it
    assert differs.out.rstrip().endswith("1 of 1 page: not as saved")
    assert web.log == []


async def test_update_saves_what_the_spider_makes_of_it_now(project: Shell, web: Running) -> None:
    file = await record(project, web.seeds[0], "--spider", "quotes")
    change(project, '"text"', '"quote"')
    updated = await project.run("check", "--update")
    assert updated.code == 0, updated.out
    assert json.loads(file.read_text())["items"] == [{"quote": "So it goes — “ä”.", "at": "(ignored)"}]
    assert (await project.run("check")).code == 0


async def test_a_callback_that_raises_is_a_difference_with_its_line(project: Shell, web: Running) -> None:
    file = await record(project, web.seeds[0], "--spider", "quotes")
    before = file.read_text()
    change(project, "yield from response.follow_all", '{}["price"]\n        yield from response.follow_all')
    for options in ((), ("--update",)):
        ran = await project.run("check", *options)
        assert ran.code == 1
        assert "KeyError" in ran.out
        assert "spiders/quotes.py:12" in ran.out
    assert file.read_text() == before


STRAYS = """
        yield "a text"
        yield Request("mailto:me@a.example")
        yield Request("http://[bad/")
"""
LOST = {"dropped/not_an_item": 1, "links/malformed": 2}


async def test_what_a_crawl_would_lose_is_saved_compared_and_told(project: Shell, web: Running) -> None:
    file = await record(project, web.seeds[0], "--spider", "quotes")
    older = file.read_text()
    assert "lost" not in json.loads(older)
    change(project, "\n\n    def parse_author", f"{STRAYS}\n    def parse_author")
    differs = await project.run("check")
    assert differs.code == 1
    assert '+  "lost": {\n+    "dropped/not_an_item": 1,\n+    "links/malformed": 2\n' in differs.out
    assert json.loads(older)["items"] == json.loads(await _updated(project, file))["items"]
    same = await project.run("check")
    told = str(file.relative_to(project.folder))
    assert same.out.splitlines() == [
        f"{told}: lost: 1 value: yielded by callbacks, but neither items nor requests; the log names the lines",
        f"{told}: lost: 2 requests: refused: no URL that can be fetched; the log names the lines",
        "1 page: as saved",
    ]
    assert "spiders/quotes.py:16" in same.err
    assert same.code == 0
    assert (await project.run("check", "-s", "STRICT=true")).code == 3
    recorded = await project.run("record", web.seeds[0], "--spider", "quotes", "--ignore", "at", "-s", "STRICT=true")
    assert recorded.code == 3
    assert f"{told}: 1 item, 2 requests\n{told}: lost: 1 value" in recorded.out
    plugin = await _pytest(project)
    assert (plugin.code, "lost: 1 value" in plugin.out) == (0, True)


async def _updated(project: Shell, file: Path) -> str:
    assert (await project.run("check", "--update")).code == 0
    assert json.loads(file.read_text())["lost"] == LOST
    return file.read_text()


async def test_a_page_of_another_type_and_a_callback_with_arguments(project: Shell, web: Running) -> None:
    file = await record(project, f"{web.seeds[0]}author", "-c", "parse_author", "--name", "who")
    assert (file.parent / "who.body.json").read_bytes() == b'{"born": 1922}'
    assert json.loads(file.read_text())["items"] == [{"name": "nobody", "born": 1922}]
    assert (await project.run("check")).code == 0


async def test_a_redirect_is_saved_as_the_page_that_it_leads_to(project: Shell, web: Running) -> None:
    file = await record(project, f"{web.seeds[0]}moved", "--spider", "quotes")
    assert json.loads(file.read_text())["url"] == web.seeds[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("missing",), 2, "404"),
        (("no",), 1, "robots.txt forbids it"),
        (("", "--spider", "quote"), 2, "did you mean quotes"),
        (("", "--spider", "quotes", "-c", "parse_autor"), 2, "parse_author"),
        (("", "--name", "../../evil"), 2, "--name"),
    ],
)
async def test_nothing_is_saved_of_what_no_callback_would_get(
    project: Shell, web: Running, arguments: tuple[str, ...], code: int, said: str
) -> None:
    path, *options = arguments
    ran = await project.run("record", f"{web.seeds[0]}{path}", *options)
    assert (ran.code, said in ran.err) == (code, True), ran.err
    assert "Traceback" not in ran.err
    assert not (project.folder / "tests").exists()


async def test_damaged_files_are_told_and_the_others_checked(project: Shell, web: Running) -> None:
    await record(project, web.seeds[0], "--spider", "quotes", "--name", "good")
    folder = project.folder / "tests/pages/quotes"
    good = (folder / "good.json").read_text()
    (folder / "half.json").write_text(good[:50])
    (folder / "lost.json").write_text(good.replace("good.html", "gone.html"))
    (folder / "evil.json").write_text(good.replace("good.html", "../../../settings.py"))
    (folder / "other.json").write_text(good.replace('"spider": "quotes"', '"spider": "gone"'))
    ran = await project.run("check")
    assert ran.code == 1
    told = ran.err.splitlines()
    for name, why in (("half", "has saved"), ("lost", "gone.html"), ("evil", "beside"), ("other", "no spider")):
        assert [line for line in told if f"{name}.json" in line and why in line], ran.err
    assert "4 of 5 pages: not as saved" in ran.out


async def test_without_pages_check_says_how_to_save_one(project: Shell) -> None:
    ran = await project.run("check")
    assert ran.code == 2
    assert "record URL --spider NAME" in ran.error


async def _pytest(project: Shell, *arguments: str) -> Ended:
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "crawler.pytest_plugin", "-p", "no:cacheprovider", *arguments),
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await ran.communicate()
    return Ended(ran.returncode or 0, out.decode(), err.decode())


async def test_with_the_plugin_each_page_is_a_test(project: Shell, web: Running) -> None:
    await record(project, web.seeds[0], "--spider", "quotes", "--name", "first")
    (project.folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (project.folder / "tests/other.json").write_text("{}")
    passed = await _pytest(project, "-v")
    assert passed.code == 0, passed.out
    assert "tests/pages/quotes/first.json::first PASSED" in passed.out
    assert "1 passed" in passed.out
    change(project, "span::text", "b::text")
    failed = await _pytest(project)
    assert failed.code == 1
    assert '+      "text": null' in failed.out
    assert "Traceback" not in failed.out
    assert "check --update" in failed.out
