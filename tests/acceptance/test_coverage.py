"""A person sees which fields their items lack: at the end of a crawl, in `coverage`, in `status --json`."""

from __future__ import annotations

import json

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


async def test_the_fields_that_items_lack(shell: Shell, site: Running) -> None:
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "shop.py").write_text(SPIDER)
    await shell.run("crawl", *site.seeds, "--spider", "shop", "--job", "shop", "-s", "PROCESSES=1", *LOCAL)
    items = [json.loads(line) for line in (shell.folder / "shop.jsonl").read_text().splitlines()]
    products = [item for item in items if "url" in item]
    priced = [item for item in products if item["price"]]
    assert 0 < len(priced) < len(products)

    shown = await shell.run("coverage", "shop")
    assert f"shop.parse, Product: {len(products)} items of {len(products)} pages" in shown.out
    price = next(line for line in shown.out.splitlines() if line.startswith("price"))
    assert price.split()[-2] == str(len(priced))
    assert price.split()[-1] in {item["url"] for item in products if not item["price"]}

    (data,) = json.loads((await shell.run("coverage", "--json")).out)
    assert [(one["class"], one["callback"], one["items"]) for one in data["callbacks"]] == [
        ("Product", "parse", len(products)),
        ("dict", "parse", len(products)),
    ]
    (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
    assert job["coverage"] == data["callbacks"]
    assert job["coverage"][0]["fields"]["price"]["filled"] == len(priced)
    assert (await shell.run("coverage", "shop", "--spider", "news")).out.split() == [
        "job",
        "shop",
        "no",
        "items",
        "yet",
    ]
    again = await shell.run("crawl", *site.seeds, "--spider", "shop", "--job", "shop", *LOCAL)
    assert f"incomplete  Product.price {price.split()[1]} %" in again.err
