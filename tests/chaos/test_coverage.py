"""In how many items each field is filled is exact over the fleet, whatever happens to workers and the queue server."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from tests.chaos.judge import read_items
from tests.chaos.stage import IN_FLIGHT, Stage, Theatre, until

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


CHANGING = """
from crawler.spiders.builtin.site import Site

class Changing(Site):
    name = "changing"

    def parse(self, response):
        for found in super().parse(response):
            if isinstance(found, dict) and "X-Price" in response.headers:
                found["price"] = 1
            yield found
"""
WINDOW = 10  # pages; the smallest fall is a drift, so that no bad page is before the window that is noticed
SETTINGS = {"DRIFT_MIN": WINDOW, "DRIFT_SHARE": 0.01}


async def test_drift_loses_nothing(theatre: Theatre) -> None:
    """A field is gone in the middle of a crawl. After the fix, `redrive --incomplete` and `resume` give each page a
    whole item, once, whatever was killed before, during and after the pause."""
    title = "a field is gone: pause, fix, redo; kill -9 of workers and server"
    async with theatre("P46", title, settings=SETTINGS) as stage:
        priced, is_there = {"X-Price": "1"}, True
        stage.site.on("/", lambda hit, page: replace(page, headers=priced) if is_there else page)
        stage.fleet.spider("changing", CHANGING)
        await stage.start(spider="changing")
        for number, share in enumerate(stage.moments((stage.scale.faults + 1) // 2, last=0.4)):
            await stage.reached(share)
            await (stage.kill_the_server() if number % 3 == 2 else stage.kill_a_child())
        await stage.reached(0.5)
        is_there = False
        await stage.kill_a_child()
        job = await paused(stage)
        await stage.kill_the_server()
        (pause,) = job["paused"]
        figures, _, examples = pause["why"].partition(", for example ")
        filled, counted = numbers(figures)[:2]  # of a page one item
        stage.row.exactly("examples", len(examples.split()), min(3, counted - filled))
        is_there = True
        redone = await stage.fleet.finished("redrive", "--incomplete", "--job", "default")
        await stage.fleet.finished("control", "resume", "callback:changing.parse", "--job", "default")
        await stage.kill_a_machine()
        for number in range(stage.scale.faults // 2 - 2):
            await stage.asked(len(stage.web.log) + 5)
            await (stage.kill_the_server() if number % 3 == 2 else stage.kill_a_child())
        await stage.exporter_ended()
        items, broken = read_items(stage.output)
        whole = Counter(item["url"] for item in items if "price" in item)
        lacking = Counter(item["url"] for item in items if "price" not in item)
        stage.row.exactly("broken", broken, 0)
        stage.row.exactly("pages without a whole item", len(stage.site.truth() - whole.keys()), 0)
        stage.row.exactly("items twice", whole.total() + lacking.total() - len(whole) - len(lacking), 0)
        stage.row.exactly("incomplete pages that were not kept", len(lacking) - numbers(redone.output)[0], 0)
        stage.row.at_least("pages redone", len(lacking), 1)


async def paused(stage: Stage) -> dict[str, Any]:
    """The job, once a callback is paused and no page of it is in flight."""
    job = "{crawler:0}:job:default:"
    await until(lambda: stage.queue.hlen(f"{job}paused"), "a pause", stage.scale.patience)
    await until(lambda: not int(stage.queue.hget(f"{job}stats", "processing") or 0), "the end of what is in flight")
    return await stage.job()


def numbers(text: str) -> list[int]:
    """The numbers in a sentence."""
    return [int(word) for word in text.replace(",", "").split() if word.isdigit()]
