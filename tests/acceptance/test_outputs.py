"""Where items end, as a user writes it: on the command line, in settings.py and in the page about it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from crawler.errors import Exit
from tests.acceptance.shell import LOCAL, ROOT, Shell
from tests.webserver import Running, Site, serve

PAGE = (ROOT / "docs/items.md").read_text()
SPIDER = """from crawler import Spider

class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield {"url": response.url, "price": len(response.url) / 10}
        yield from response.follow_all(url for url in response.links if "images" not in url)
"""


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """Eight pages on two hosts."""
    async with serve(Site(pages=8, hosts=2, seed=1, tree=True)) as running:
        yield running


@pytest.fixture
def project(shell: Shell) -> Shell:
    """A project with a spider named shop."""
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(SPIDER)
    return shell


def truth(site: Running) -> set[str]:
    assert isinstance(site.site, Site)
    return site.site.truth()


async def test_the_pipeline_of_the_page_fills_its_database(project: Shell, site: Running) -> None:
    (code,) = re.findall(r"```python\n# outputs\.py\n(.*?)```", PAGE, re.DOTALL)
    (project.folder / "outputs.py").write_text(code)
    ended = await project.run("crawl", *site.seeds, "--spider", "shop", "-o", "python:outputs:Prices", *LOCAL)
    assert ended.code == Exit.DONE, ended.err
    with sqlite3.connect(project.folder / "prices.db") as base:
        assert dict(base.execute("SELECT url, price FROM prices")).keys() == truth(site)
    base.close()


async def test_a_bug_in_a_class_keeps_the_items_until_it_is_mended(project: Shell, site: Running) -> None:
    broken = "class Out:\n    def process_item(self, item):\n        print(item['prize'], file=open('seen', 'a'))\n"
    (project.folder / "outputs.py").write_text(broken)
    command = ("crawl", *site.seeds, "--spider", "shop", "-o", "python:outputs:Out", *LOCAL)
    ended = await project.run(*command)
    assert ended.code == Exit.CONFIG, ended.err
    assert re.search(r"python:outputs:Out: KeyError: 'prize' \(outputs.py:3\); what is not written stays", ended.err)
    (project.folder / "outputs.py").write_text(broken.replace("prize", "url"))
    ended = await project.run(*command)
    assert ended.code == Exit.DONE, ended.err
    assert set((project.folder / "seen").read_text().splitlines()) == truth(site)


def items(path: Path) -> list[dict[str, Any]]:
    """The items of a file of JSON lines, without the position that an older exporter writes into each."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in one.items() if name != "_position"} for one in found]


async def test_feeds_say_where_items_go_and_which_of_their_fields(project: Shell, site: Running) -> None:
    two = SPIDER.replace("        yield {", "        yield Page(response.url)\n        yield {").replace(
        "class Shop", "from dataclasses import dataclass\n\n@dataclass\nclass Page:\n    page: str\n\nclass Shop"
    )
    (project.folder / "spiders" / "shop.py").write_text(two)
    (project.folder / "settings.py").write_text(
        "from pathlib import Path\n"
        "FEEDS = {Path('all.jsonl'): {'format': 'jsonlines'},\n"
        "         'few.jsonl': {'fields': {'url': 'link'}, 'spiders': ['shop'], 'item_classes': [dict]},\n"
        "         'pages.jsonl': {'item_classes': ['shop.Page']},\n"
        "         'none.jsonl': {'spiders': ['blog']}}\n"
    )
    crawl = ("crawl", *site.seeds, "--spider", "shop", *LOCAL)
    ended = await project.run(*crawl, "-o", "mine.jsonl")
    assert ended.code == Exit.DONE, ended.err
    folder = project.folder
    for name in ("all.jsonl", "mine.jsonl"):
        found = items(folder / name)
        assert {one["url"] for one in found if "url" in one} == truth(site)
        assert len(found) == 2 * len(truth(site))
    assert sorted(map(str, items(folder / "pages.jsonl"))) == sorted(str({"page": url}) for url in truth(site))
    assert sorted(map(str, items(folder / "few.jsonl"))) == sorted(str({"link": url}) for url in truth(site))
    assert re.search(rf"output_left_out.*{len(truth(site))}", ended.err)
    before = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
    again = await project.run(*crawl, "-o", "mine.jsonl")
    assert again.code == Exit.DONE, again.err
    assert before == {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}, "each item stays there once"


TYPED = """
from __future__ import annotations
from shop_items import Page
from crawler import Spider

class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield Page(response.url)
        yield from response.follow_all(url for url in response.links if "images" not in url)
"""

ITEMS = """
from dataclasses import dataclass

@dataclass
class Page:
    url: str
    price: float | None = None
    stock: int | None = None
    tags: list[str] | None = None
"""


async def test_tables_have_the_fields_of_a_typed_item_although_none_is_filled(project: Shell, site: Running) -> None:
    folder = project.folder
    (folder / "spiders" / "shop.py").write_text(TYPED)
    (folder / "shop_items.py").write_text(ITEMS)
    names = ("a.parquet", "a.csv", "chosen.parquet")
    feeds = 'FEEDS={"chosen.parquet":{"fields":{"stock":"left"}}}'
    outputs = [word for name in names for word in ("-o", name)]
    ended = await project.run("crawl", *site.seeds, "--spider", "shop", *outputs, "-s", feeds, *LOCAL)
    assert ended.code == Exit.DONE, ended.err
    with duckdb.connect() as base:
        described = base.sql(f"describe from read_parquet('{folder}/a.parquet/*.parquet')").fetchall()
        chosen = base.sql(f"describe from read_parquet('{folder}/chosen.parquet/*.parquet')").fetchall()
        urls = base.read_parquet(f"{folder}/a.parquet/*.parquet").project("url").fetchall()
    columns = [("url", "VARCHAR"), ("price", "DOUBLE"), ("stock", "BIGINT"), ("tags", "VARCHAR")]
    assert [row[:2] for row in described] == columns
    assert [row[:2] for row in chosen] == [("left", "BIGINT")]
    assert sorted(urls) == sorted((url,) for url in truth(site))
    assert (folder / "a.csv").read_text().splitlines()[0] == "url,price,stock,tags"


async def test_a_spider_has_feeds_of_its_own_and_export_finds_them(project: Shell, site: Running) -> None:
    spider = project.folder / "spiders" / "shop.py"
    feeds = '    custom_settings = {"FEEDS": {"own.jsonl": {"fields": ["url"]}}}\n'
    spider.write_text(SPIDER.replace("    def parse", f"{feeds}\n    def parse", 1))
    assert (await project.run("seed", *site.seeds, "--spider", "shop", *LOCAL)).code == 0
    working = await project.start("worker", "--until-finished", *LOCAL)
    ended = await project.run("export", "--until-finished", *LOCAL)
    assert ended.code == Exit.DONE, ended.err
    await working.communicate()
    found = items(project.folder / "own.jsonl")
    assert sorted(map(str, found)) == sorted(str({"url": url}) for url in truth(site))


WRONG = {
    "an ending that no output has": (("-o", "items.xml"), 2, r"no output has the ending .xml; there are .*\.jsonl"),
    "a scheme that no output has": (("-o", "ftp://u:geheim@h/a"), 2, r"ftp://u:\*\*\*@h/a: items go to .*redis://"),
    "an empty name": (("-o", ""), 2, "the value is empty, as of an unset variable"),
    "an output twice": (("-o", "a.jsonl", "-o", "a.jsonl"), 2, r"a\.jsonl is named 2 times; name each output once"),
    "an output twice under two names": (("-o", "a.jsonl", "-o", "./a.jsonl"), 2, "are the same output; name it once"),
    "a folder": (("-o", "spiders"), 73, "spiders: Is a directory"),
    "a folder that is missing": (("-o", "none/a.jsonl"), 73, "its folder does not exist; make it: mkdir -p"),
    "items and figures on stdout": (("-o", "-", "--json"), 2, "--json and items cannot share stdout"),
    "a class that is missing": (("-o", "python:nothing:Out"), 78, "No module named 'nothing'"),
    "a word of a URL": (("-o", "redis://h/0?lsit=a"), 78, "unknown word 'lsit'; did you mean list?"),
    "a list that is to be replaced": (("-O", "redis://h/0?list=a"), 2, "cannot be replaced: write -o"),
    "FEEDS that is no table": (("-s", 'FEEDS=["a.csv"]'), 78, r"setting FEEDS=.*expected a table, got a list"),
    "FEEDS with a word that is none": (("-s", 'FEEDS={"a.jsonl":{"x":1}}'), 78, r"FEEDS\['a.jsonl'\]: unknown word"),
    "FEEDS with an ending that is none": (("-s", 'FEEDS={"a.xml":{}}'), 78, r"FEEDS\['a.xml'\]: .*no output has the"),
    "FEEDS twice": (("-s", 'FEEDS={"a.jsonl":{},"./a.jsonl":{}}'), 2, "are the same output; name it once"),
    "FEEDS with a name that is empty": (("-s", 'FEEDS={"":{}}'), 78, "an output needs a name, such as items.jsonl"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_no_output_can_mean_ends_before_the_first_page(project: Shell, what: str) -> None:
    arguments, code, why = WRONG[what]
    ended = await project.run("crawl", "http://127.0.0.1:9/", "--spider", "shop", *arguments, *LOCAL)
    assert (ended.code, ended.out) == (code, "")
    assert re.search(why, ended.err), ended.err
    assert "Traceback" not in ended.err
    assert "geheim" not in ended.err
    assert {path.name for path in project.folder.iterdir()} <= {"spiders", "d"}, "nothing was made"


async def test_several_outputs_at_once_have_the_same_items(project: Shell, site: Running) -> None:
    names = ("a.jsonl", "a.csv", "a.parquet", "a.sqlite")
    outputs = [word for name in names for word in ("-o", name)]
    ended = await project.run("crawl", *site.seeds, "--spider", "shop", *outputs, *LOCAL)
    assert ended.code == Exit.DONE, ended.err
    wanted = sorted((url, len(url) / 10) for url in truth(site))
    assert sorted((one["url"], one["price"]) for one in items(project.folder / "a.jsonl")) == wanted
    with duckdb.connect() as base:
        for kind, source in (("json", "a.jsonl"), ("csv", "a.csv"), ("parquet", "a.parquet/*.parquet")):
            read = getattr(base, f"read_{kind}")
            rows = read(str(project.folder / source)).project("url, price").fetchall()
            assert sorted(rows) == wanted, source
    with closing(sqlite3.connect(project.folder / "a.sqlite")) as base:
        assert sorted(base.execute("SELECT url, price FROM items")) == wanted


async def test_items_that_a_table_refuses_are_kept_and_sent_again_after_a_fix(project: Shell, site: Running) -> None:
    refused, *others = sorted(truth(site))
    database = project.folder / "items.db"
    with closing(sqlite3.connect(database)) as base:
        base.execute(f"CREATE TABLE items (url TEXT, price REAL, CHECK (url <> '{refused}'))")
    outputs = ("-o", "items.db", "-o", "all.jsonl")
    ended = await project.run("crawl", *site.seeds, "--spider", "shop", "--job", "shop", *outputs, "--strict", *LOCAL)
    assert ended.code == Exit.LOST, ended.err
    assert urls_in(database) == others
    assert sorted(one["url"] for one in items(project.folder / "all.jsonl")) == [refused, *others]
    listed = await project.run("dead", "items", "--json")
    (kept,) = map(json.loads, listed.out.splitlines())
    assert (kept["url"], kept["item"]["url"]) == (refused, refused)
    assert "CHECK" in kept["why"]
    nowhere = await project.run("export", "--job", "shop")
    assert (nowhere.code, "-o FILE appends, -O FILE overwrites, -o - is stdout" in nowhere.err) == (Exit.USAGE, True)
    deleted = await project.run("jobs", "delete", "shop")
    assert (deleted.code, database.exists()) == (Exit.USAGE, True), "a dead item is no item of nobody"

    with closing(sqlite3.connect(database)) as base, base:
        base.execute("ALTER TABLE items RENAME TO old")
        base.execute("CREATE TABLE items (url TEXT, price REAL)")
        base.execute("INSERT INTO items SELECT * FROM old")
    assert (await project.run("redrive", "--items", "--all", "--job", "shop")).code == Exit.DONE
    waiting = await project.run("items", "shop")
    assert json.loads(waiting.out)["url"] == refused
    assert "items.db" in waiting.err
    assert (await project.run("export", "--job", "shop", *outputs)).code == Exit.DONE
    assert urls_in(database) == [refused, *others]
    assert len(items(project.folder / "all.jsonl")) == 8
    assert (await project.run("dead", "items", "--json")).out == ""
    assert (await project.run("items", "shop")).out == ""


def urls_in(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as base:
        return [url for (url,) in base.execute("SELECT url FROM items ORDER BY url")]
