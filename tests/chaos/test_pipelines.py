"""P1–P6 with ITEM_PIPELINES and ITEM_KEY: what leaves the pipelines is in the file once, whatever is killed."""

from __future__ import annotations

import pytest

from tests.chaos.judge import read_items
from tests.chaos.stage import IN_FLIGHT, Stage, Theatre
from tests.chaos.test_items import kill_the_exporter

# Each page gives an item of its own, and one that all pages of its folder give.
SPIDER = """
from crawler import Follow, Spider

class Piped(Spider):
    name = "piped"
    stay_on_seeded_hosts = True
    ITEM_KEY = ("key",)

    def parse(self, response):
        if response.is_html:
            yield {"key": response.url}
            yield {"key": "FOLDER " + response.url.split("/")[3]}
            yield Follow(response.links)
"""

# The first changes the key, so that a key from before the pipelines would be another one.
PIPELINES = """
from crawler import DropItem

class Lower:
    async def process_item(self, item, spider):
        return {"key": item["key"].lower(), "lower": True}

class Fifths:
    def __init__(self, stats):
        self.stats = stats

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.stats)

    def process_item(self, item, spider):
        name = item["key"].rpartition("/p")[2].removesuffix(".html")
        if name.isdecimal() and int(name) % 5 == 0:
            self.stats.inc_value("piped/fifths")
            raise DropItem("fifth")
        return item
"""

SETTINGS = 'ITEM_PIPELINES = {"pipes.Lower": 100, "pipes.Fifths": 200}\n'


def _pages(theatre: Theatre) -> int:
    return theatre.scale.pages if theatre.scale.is_long else 120


async def begin(stage: Stage) -> None:
    """Write the project, and start the fleet."""
    stage.fleet.spider("piped", SPIDER)
    (stage.fleet.folder / "pipes.py").write_text(PIPELINES)
    (stage.fleet.folder / "settings.py").write_text(SETTINGS)
    await stage.start(spider="piped")


async def expect(stage: Stage, refetched: float, *, faults: bool = True) -> None:
    """Wait for the end; every key is there once, and the pipelines' own counter is exact."""
    row, site = stage.row, stage.site
    crawl = await stage.finish()
    items, broken = read_items(stage.output)
    kept = {site.url(n) for n in range(site.pages) if n % 5} | {f"folder s{n}" for n in range(min(7, site.pages))}
    written = [str(item["key"]) for item in items]
    row.told("pages", crawl.pages)
    if faults:
        row.faults_before(stage.finished_at)
    row.exactly("lost", crawl.lost, 0)
    row.at_most("refetched", crawl.refetched, refetched)
    row.exactly("missing", len(kept - set(written)), 0)
    row.exactly("twice", len(written) - len(set(written)), 0)
    row.exactly("foreign", len(set(written) - kept) + sum(item.get("lower") is not True for item in items), 0)
    row.exactly("broken", broken, 0)
    fifths = (await stage.job())["own"]["piped/fifths"]
    row.exactly("dropped, as the pipeline counts", fifths, -(-site.pages // 5))


@pytest.mark.long
async def test_p01_pipelines_without_a_fault(theatre: Theatre) -> None:
    """Each page is fetched once, each key is written once."""
    async with theatre("P1", "pipelines, no fault") as stage:
        await begin(stage)
        await expect(stage, 0, faults=False)


async def test_p02_pipelines_and_killed_workers(theatre: Theatre) -> None:
    """Workers and machines are killed while their pipelines run."""
    async with theatre("P2", "pipelines, kill -9 of one worker", pages=_pages(theatre)) as stage:
        await begin(stage)
        for number, share in enumerate(stage.moments()):
            await stage.reached(share)
            await (stage.kill_a_machine() if number % 3 == 2 else stage.kill_a_child())
        await expect(stage, stage.scale.faults * IN_FLIGHT)


@pytest.mark.long
async def test_p03_pipelines_and_all_workers_killed(theatre: Theatre) -> None:
    """All workers and reapers at once."""
    async with theatre("P3", "pipelines, kill -9 of all workers") as stage:
        await begin(stage)
        faults = max(1, stage.scale.faults // 2)
        for share in stage.moments(faults):
            await stage.reached(share)
            await stage.kill_all_workers()
        await expect(stage, faults * IN_FLIGHT * stage.scale.workers)


@pytest.mark.long
async def test_p04_pipelines_and_kills_in_quick_succession(theatre: Theatre) -> None:
    """In the very moment of a commit with keys, and of a reap."""
    kills = 100
    async with theatre("P4", "pipelines, kills in quick succession", page_seconds=theatre.scale.paced(50)) as stage:
        await begin(stage)
        for share in stage.moments(kills, first=0.05):
            await stage.reached(share)
            await (stage.kill_a_machine() if stage.chance.random() < 0.2 else stage.kill_a_child())
        await expect(stage, kills * IN_FLIGHT)


async def test_p06_pipelines_and_everything_killed(theatre: Theatre) -> None:
    """P5 and P6: workers, exporter and queue server are killed by turns."""
    async with theatre("P6", "pipelines, kill -9 of all by turns", pages=_pages(theatre)) as stage:
        await begin(stage)
        faults = 3 * max(1, stage.scale.faults // 3)
        for number, share in enumerate(stage.moments(faults)):
            await stage.reached(share)
            if number % 3 == 0:
                await stage.kill_a_child()
            elif number % 3 == 1:
                await kill_the_exporter(stage)
            else:
                await stage.exporter_at_work()
                await stage.kill_the_server()
        await expect(stage, faults * IN_FLIGHT)
