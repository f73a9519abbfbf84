"""A person sees which fields their items lack: at the end of a crawl, in `coverage`, in `status --json`."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Running

SPIDER = """
from crawler import Item, Field, Spider

class Product(Item):
    url = Field()
    price = Field()

class Shop(Spider):
    name = "shop"

    def parse(self, response):
        yield Product(url=response.url, price="" if response.url.endswith("0.html") else 1)
        yield {"links": len(response.links)}
        yield from response.follow_all()
"""


RULES = 'custom_settings = {"COVERAGE_RULES": {"Product.url": 1.0, "Product.price": 0.99}, "MIN_ITEMS": 1000}'
RULED = SPIDER.replace('name = "shop"', f'name = "shop"\n    {RULES}')


async def test_the_fields_that_items_lack_and_the_rules_that_they_break(shell: Shell, site: Running) -> None:
    """Rules are told at the end of `crawl` and of `export`, and are an error of a strict command."""
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(RULED)
    crawl = await shell.run(
        *("crawl", *site.seeds, "--spider", "shop", "--job", "shop", "-s", "PROCESSES=1", "--strict", "--json", *LOCAL)
    )
    items = [json.loads(line) for line in (shell.folder / "shop.jsonl").read_text().splitlines()]
    products = [item for item in items if "url" in item]
    assert len([item for item in products if item["price"]]) == 76
    summary = " ".join(crawl.err.partition("\nended")[2].split())
    assert "filled Product.price 95 %" in summary
    assert "160 items, at least 1,000 wanted (MIN_ITEMS)" in summary
    assert "Product.price is filled in 76 of 80 items (95 %), at least 99 % wanted (COVERAGE_RULES); for ex" in summary
    assert crawl.err.count('"event":"coverage_rule_broken"') == 2
    assert crawl.code == 3
    told = [one["counter"] for one in json.loads(crawl.out)["losses"] if not one["is_asked_for"]]
    assert told == ["rules/broken", "rules/broken"]

    shown = await shell.run("coverage", "shop", "--spider", "shop")
    assert "shop.parse, Product: 80 items of 80 pages" in shown.out
    price = next(line for line in shown.out.splitlines() if line.startswith("price")).split()
    assert price[:-1] == ["price", "95", "%", "76"]
    assert price[-1] in {item["url"] for item in products if not item["price"]}

    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert [(one["class"], one["callback"], one["items"]) for one in job["coverage"]] == [
        ("Product", "parse", 80),
        ("dict", "parse", 80),
    ]
    assert job["coverage"][0]["fields"]["price"]["filled"] == 76
    export = await shell.run("export", "--job", "shop", "-o", "shop.jsonl", "--until-finished", "--strict")
    assert export.code == 3
    assert "coverage_rule_broken" in export.err
    (shell.folder / "spiders" / "shop.py").write_text("class Shop(")
    unknown = await shell.run("export", "--job", "shop", "-o", "shop.jsonl", "--until-finished", "--strict")
    assert unknown.code == 3
    assert "the rules of spider shop are not known" in unknown.err


@pytest.mark.parametrize("rules", ['{"price": 1.5}', '{"price": "most"}'])
async def test_a_rule_that_cannot_be_obeyed(shell: Shell, rules: str) -> None:
    (shell.folder / "spiders").mkdir()
    wrong = SPIDER.replace('name = "shop"', f'name = "shop"\n    custom_settings = {{"COVERAGE_RULES": {rules}}}')
    (shell.folder / "spiders" / "shop.py").write_text(wrong)
    ended = await shell.run("crawl", "http://127.0.0.1:9/", "--spider", "shop", *LOCAL)
    assert ended.code == 78
    assert "COVERAGE_RULES" in ended.error
    assert "spiders/shop.py" in ended.error
