"""`parse` and `list`: what a spider makes of a page, and which spiders there are."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Running, Site, flaky, redirect

SPIDER = '''
"""A file of spiders."""
from crawler import DropItem, Request, Spider


class Titles(Spider):
    """Reads titles."""

    name = "titles"
    allowed_domains = ["127.0.1.1"]

    def __init__(self, word="none", **arguments):
        super().__init__(**arguments)
        self.word = word

    def parse(self, response):
        print("printed by the spider")
        yield {"title": response.css("title::text").get(), "word": self.word}
        yield from response.follow_all(css="a", callback=self.parse_more)
        yield Request("http://127.0.9.9/", meta={"x": 1}, headers={"Cookie": "sid=geheim"}, priority=3)
        yield 7

    def parse_more(self, response):
        yield {"x": response.meta.get("x"), "depth": response.depth}

    def broken(self, response):
        yield {"x": 1}
        {}["price"]

    def process_item(self, item):
        if item.get("word") == "drop":
            raise DropItem("told_to")
        return item
'''


@pytest.fixture
def project(bare: Shell) -> Shell:
    (bare.folder / "spiders").mkdir()
    (bare.folder / "spiders" / "titles.py").write_text(SPIDER)
    return bare


@pytest.fixture
def page(site: Running) -> str:
    return site.seeds[0]


async def parsed(project: Shell, *arguments: str) -> list[dict[str, object]]:
    ended = await project.run("parse", *LOCAL, "--json", *arguments)
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


async def test_a_page_is_read_by_the_spider_of_its_domain(project: Shell, site: Running, page: str) -> None:
    ended = await project.run("parse", *LOCAL, page, "-a", "word=hi")
    assert ended.code == 0, ended.err
    assert re.match(re.escape(f"{page}: 200, ") + r"[\d.]+ kB, read by titles\.parse\nitems: 1\n\{\n", ended.out)
    assert '"word": "hi"' in ended.out
    assert re.search(r"\nparse_more +http://127\.0\.1\.1:", ended.out)
    assert re.search(
        r"\nlost: 1 value: yielded by callbacks, but neither items nor requests; the log names the lines\n"
        r"left out: \d+ links: outside allowed_domains or the seeded hosts\n$",
        ended.out,
    )
    assert "printed by the spider" in ended.err
    assert [hit.path for hit in site.log] == ["/robots.txt", "/s0/p0.html"]
    assert list(project.folder.iterdir()) == [project.folder / "spiders"]  # no queue server
    strict = await project.run("parse", *LOCAL, page, "--json", "-s", "STRICT=true")
    assert strict.code == 3
    assert [one["counter"] for one in json.loads(strict.out)["losses"]] == ["dropped/not_an_item", "links/offsite"]


async def test_callback_meta_and_json(project: Shell, page: str) -> None:
    (one,) = await parsed(project, page, "--callback", "parse_more", "--meta", '{"x": [1, "ü"]}')
    assert one["items"] == [{"x": [1, "ü"], "depth": 0}]
    assert (one["callback"], one["status"], one["outcome"], one["requests"]) == ("parse_more", 200, "done", [])


RULES = """
from crawler import CrawlSpider, LinkExtractor, Rule

class Ruled(CrawlSpider):
    name = "ruled"
    rules = (
        Rule(LinkExtractor(allow="/s0/"), callback="parse_item", cb_kwargs={"a": 1}),
        Rule(LinkExtractor(allow="/s1/")),
    )
    def parse_item(self, response, a, b=0):
        yield {"a": a, "b": b}
"""


async def test_rules_and_cb_kwargs(project: Shell, page: str) -> None:
    (project.folder / "spiders" / "ruled.py").write_text(RULES)
    (one,) = await parsed(project, page, "--spider", "ruled", "--rules", "--cbkwargs", '{"b": 2}')
    assert one["items"] == [{"a": 1, "b": 2}]
    assert one["requests"] == []  # the rule has a callback, so its pages are not followed
    (plain,) = await parsed(project, page, "--spider", "ruled", "-c", "parse_item", "--cbkwargs", '{"a": 3}')
    assert plain["items"] == [{"a": 3, "b": 0}]
    none = await project.run("parse", *LOCAL, page.replace("/s0/", "/s2/"), "--spider", "ruled", "-r")
    assert (none.code, none.out) == (2, "")
    assert "no rule of spider ruled takes" in none.error
    other = await project.run("parse", *LOCAL, page, "--spider", "titles", "-r")
    assert "is no CrawlSpider" in other.error


async def test_pipelines_only_when_asked(project: Shell, page: str) -> None:
    source = "class Mark:\n    def process_item(self, item, spider):\n        return {**item, 'marked': spider.name}\n"
    (project.folder / "marking.py").write_text(source)
    (project.folder / "settings.py").write_text("ITEM_PIPELINES = {'marking.Mark': 300}\n")
    (plain,) = await parsed(project, page, "-c", "parse_more")
    (piped,) = await parsed(project, page, "-c", "parse_more", "--pipelines")
    assert plain["items"] == [{"x": None, "depth": 0}]
    assert piped["items"] == [{"x": None, "depth": 0, "marked": "titles"}]


async def test_levels_follow_what_the_page_gives(project: Shell, site: Running, page: str) -> None:
    pages = await parsed(project, page, "--depth", "2")
    assert [one["level"] for one in pages] == [1, *[2] * (len(pages) - 1)]
    assert {one["callback"] for one in pages[1:]} == {"parse_more"}
    assert {item["depth"] for one in pages[1:] for item in one["items"]} == {1}  # type: ignore[attr-defined]
    assert len({hit.url for hit in site.log}) == len(site.log)


async def test_requests_are_shown_without_credentials(project: Shell, page: str) -> None:
    source = SPIDER.replace('["127.0.1.1"]', "[]")
    (project.folder / "spiders" / "titles.py").write_text(source)
    ended = await project.run("parse", *LOCAL, page, "--spider", "titles", "--noitems")
    assert "priority=3" in ended.out
    assert "\nitems:" not in ended.out
    assert "geheim" not in ended.out + ended.err


async def test_a_bug_of_the_spider_is_shown_with_its_line(project: Shell, page: str) -> None:
    ended = await project.run("parse", *LOCAL, page, "-c", "broken")
    assert ended.code == 1
    line = SPIDER.splitlines().index('        {}["price"]') + 1
    assert ended.error == f"error: {page}: KeyError: 'price' (spiders/titles.py:{line})"
    assert 'File "' in ended.err
    assert "/crawler/" not in ended.err.replace(str(project.folder), "")
    assert ended.out.endswith("not read\n")


async def test_a_redirect_leads_to_the_page(project: Shell, site: Running, page: str) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/from", redirect(page))
    pages = await parsed(project, page.replace("/s0/p0.html", "/from"))
    assert [one["outcome"] for one in pages] == ["skip", "done"]
    assert pages[1]["items"] == [{"title": "Page 0 of host 1", "word": "none"}]


async def test_an_item_that_is_dropped_is_counted(project: Shell, page: str) -> None:
    (one,) = await parsed(project, page, "-a", "word=drop")
    assert one["items"] == []
    assert one["dropped"] == {"told_to": 1, "not_an_item": 1}


async def test_what_cannot_be_read_is_an_error(project: Shell, site: Running, page: str) -> None:
    assert isinstance(site.site, Site)
    site.site.on("/busy", flaky(9))
    site.site.robots = "User-agent: *\nDisallow: /secret\n"
    for path, text in (
        ("/none", "404 Not Found"),
        ("/busy", "503 Service Unavailable"),
        ("/secret", "robots.txt forbids it .*-s ROBOTSTXT_OBEY=false"),
    ):
        ended = await project.run("parse", *LOCAL, page.replace("/s0/p0.html", path))
        assert ended.code == 1
        assert re.search(text, ended.error)
    refused = await project.run("parse", page)
    assert "-s ALLOWED_NETWORKS=127.0.0.0/8" in refused.error


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["-c", "parse_mor"], 2, r"has no method 'parse_mor' to call back; did you mean parse_more\?"),
        (["-c", "_x"], 2, "is private"),
        (["--spider", "title"], 2, r"no spider is named 'title'; did you mean titles"),
        (["--meta", "{"], 2, "--meta {: .*write a JSON object"),
        (["--meta", "[1]"], 2, "write a JSON object"),
        (["--meta", '{"proxy": "http://p/"}'], 2, "proxy"),
        (["-a", "wrod=x"], 78, "wrod"),
        (["-o", "-"], 2, "the items go to a file"),
        (["-o", "items.csv"], 2, r"parse writes JSON lines, not a table as CSV: write a name that ends in \.jsonl"),
        (["-o", "no/such"], 73, "No such file"),
        (["--depth", "0"], 2, "depth"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake_is_one_line(project: Shell, page: str, arguments: list[str], code: int, text: str) -> None:
    ended = await project.run("parse", *LOCAL, page, *arguments)
    assert ended.code == code
    assert re.search(text, ended.error), ended.error
    assert ended.out == ""


async def test_a_file_is_no_page(project: Shell) -> None:
    for command in ("parse", "record"):
        ended = await project.run(command, "spiders/titles.py")
        assert ended.code == 2
        assert "or the name of a file" not in ended.error


async def test_a_page_that_is_not_read_leaves_no_file(project: Shell, page: str) -> None:
    assert (await project.run("parse", page, "-o", "items.jsonl")).code == 1
    assert not (project.folder / "items.jsonl").exists()


async def test_json_says_why_a_page_is_not_read(project: Shell, site: Running, page: str) -> None:
    assert isinstance(site.site, Site)
    site.site.robots = "User-agent: *\nDisallow: /secret\n"
    site.site.on("/from", redirect(page))
    for path, kind, message in (("/none", "http_404", "404"), ("/secret", "robots", "Disallow: /secret")):
        ended = await project.run("parse", *LOCAL, "--json", page.replace("/s0/p0.html", path))
        assert ended.code == 1
        failure = json.loads(ended.out)["failure"]
        assert failure["kind"] == kind
        assert message in failure["message"]
    bug = await project.run("parse", *LOCAL, "--json", page, "-c", "broken")
    assert re.search(r"titles\.py:\d+$", json.loads(bug.out)["failure"]["line"])
    assert [one["failure"] for one in await parsed(project, page.replace("/s0/p0.html", "/from"))] == [None, None]


async def test_json_leaves_out_what_is_not_asked_for(project: Shell, page: str) -> None:
    (one,) = await parsed(project, page, "--noitems")
    assert {"items", "requests"} & one.keys() == {"requests"}
    (one,) = await parsed(project, page, "--nolinks")
    assert {"items", "requests"} & one.keys() == {"items"}


async def test_items_go_to_a_new_file_alone(project: Shell, page: str, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    assert (await project.run("parse", *LOCAL, page, "-o", str(file))).code == 0
    assert [json.loads(line)["word"] for line in file.read_text().splitlines()] == ["none"]
    again = await project.run("parse", *LOCAL, page, "-o", str(file))
    assert (again.code, again.error) == (2, f"error: -o {file}: the file exists; name a new one")


async def test_ctrl_c_keeps_what_was_printed(project: Shell, site: Running, page: str) -> None:
    process = await project.start("parse", *LOCAL, "-s", "DOWNLOAD_DELAY=30", page, "--depth", "2", "--json")
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert (process.returncode, rest, first["level"]) == (130, b"", 1)


# ---------------------------------------------------------------------------------------------------------
# list


async def test_the_spiders_of_the_project_one_a_line(project: Shell) -> None:
    assert (await project.run("list")).out == "titles\n"
    assert (await project.run("list", "--all")).out == "site\ntitles\n"
    (one,) = json.loads((await project.run("list", "--json")).out)
    assert one == {"name": "titles", "file": str(project.folder / "spiders" / "titles.py"), "summary": "Reads titles."}
    assert re.search(r"titles +Reads titles\. +/", (await project.run("list", "-v")).out)


async def test_a_folder_without_spiders_is_told_what_to_do(bare: Shell) -> None:
    ended = await bare.run("list")
    assert (ended.code, ended.out) == (0, "")
    assert "genspider NAME DOMAIN" in ended.err
