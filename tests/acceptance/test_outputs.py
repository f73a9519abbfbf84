"""Where items end, as a user writes it: on the command line, in settings.py and in the page about it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator

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
