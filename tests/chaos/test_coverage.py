"""In how many items each field is filled is exact over the fleet, whatever happens to workers and the queue server."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.chaos.judge import read_items
from tests.chaos.stage import IN_FLIGHT, Theatre

PATCHY = """
from crawler.spiders.builtin.site import Site

class Patchy(Site):
    name = "patchy"

    def process_item(self, item):
        number = sum(item["url"].encode())
        item["price"] = number if number % 3 else None
        if number % 7:
            item["brand"] = "x"
        return item
"""


async def test_coverage_is_exact(theatre: Theatre) -> None:
    """A page's items count once, with its commit: neither killed attempts nor a killed queue server change the sum."""
    async with theatre("P46", "kill -9 of workers and server while items are counted") as stage:
        stage.fleet.spider("patchy", PATCHY)
        await stage.start(spider="patchy")
        for number, share in enumerate(stage.moments()):
            await stage.reached(share)
            await (stage.kill_the_server() if number % 3 == 2 else stage.kill_a_child())
        stage.expect(await stage.finish(), refetched=stage.scale.faults * IN_FLIGHT)
        (callback,) = (await stage.job())["coverage"]
        items: list[Any] = list(read_items(stage.output)[0])
        filled = Counter(name for item in items for name, value in item.items() if value not in (None, "", [], {}))
        stage.row.exactly("items counted", callback["items"], len(items))
        for name in ("url", "price", "brand", "title"):
            stage.row.exactly(f"items with {name}", callback["fields"][name]["filled"], filled[name])
