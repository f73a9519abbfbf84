"""What a person sees of a bug in a spider: where it is, at once, and in every place where one would look."""

from __future__ import annotations

import json

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Running

SPIDER = """from crawler import Spider
from spiders.prices import price

class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield from response.follow_all(callback=self.detail)

    def detail(self, response):
        yield {"price": price("£1.37")}
"""
PRICES = "def price(text):\n    return float(text)\n"
LINE = "spiders/prices.py:2"
SAID = "could not convert string to float: '£1.37'"


async def test_a_bug_of_a_spider_is_named_with_its_line_wherever_one_looks(shell: Shell, site: Running) -> None:
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(SPIDER)
    (shell.folder / "spiders" / "prices.py").write_text(PRICES)
    crawl = await shell.run(
        "crawl", *site.seeds[:1], "--spider", "shop", "-s", "PROCESSES=1", "-s", "EXPLODING_SHARE=1", *LOCAL
    )
    assert crawl.err.count("Traceback (most recent call last)") == 1, "the first of each kind, once"
    assert f'"line":"{LINE}"' in crawl.err
    assert "crawler/visit" not in crawl.err, "the frames of the crawler help nobody"
    assert f"callback/ValueError at {LINE}: {SAID}" in crawl.err.partition("\nended")[2], "the summary"
    assert LINE in (await shell.run("dead")).out
    group = json.loads((await shell.run("dead", "--json")).out)
    assert (group["line"], group["example"]["said"]) == (LINE, SAID)
    bad = group["example"]["url"]
    assert len(site.hits(bad)) == 1, "the same page would fail alike"
    told = await shell.run("why", bad)
    assert f"{SAID} ({LINE})" in " ".join(told.out.split())
