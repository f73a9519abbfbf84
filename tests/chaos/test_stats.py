"""What spiders count themselves is exact over the fleet, whatever happens to workers and the queue server."""

from __future__ import annotations

from typing import Any

from tests.chaos.judge import read_items
from tests.chaos.stage import IN_FLIGHT, Theatre

COUNTING = """
from crawler.spiders.builtin.site import Site

class Counting(Site):
    name = "counting"

    def parse(self, response):
        self.crawler.stats.inc_value("pages")
        for item in super().parse(response) or ():
            yield item
        self.crawler.stats.inc_value("links/seen", len(response.links))

    def process_item(self, item):
        self.crawler.stats.inc_value(f"kind/{len(item['url']) % 3}")
        return item
"""


async def test_what_pages_count_is_exact(theatre: Theatre) -> None:
    """A page counts once, with its commit: neither killed attempts nor a killed queue server change the sum."""
    async with theatre("P35", "kill -9 of workers while pages count") as stage:
        stage.fleet.spider("counting", COUNTING)
        await stage.start(spider="counting")
        for number, share in enumerate(stage.moments()):
            await stage.reached(share)
            await (stage.kill_the_server() if number % 3 == 2 else stage.kill_a_child())
        stage.expect(await stage.finish(), refetched=stage.scale.faults * IN_FLIGHT)
        job = await stage.job()
        items: list[Any] = list(read_items(stage.output)[0])
        own = job["own"]
        stage.row.exactly("counted by pages", own["pages"], job["counters"]["pages"])
        stage.row.exactly("counted by items", sum(own[f"kind/{kind}"] for kind in range(3)), len(items))
        stage.row.exactly("counted links", own["links/seen"], sum(len(item["links"]) for item in items))
