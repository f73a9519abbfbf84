"""P43: the limits of a job are exact over the fleet, whatever happens to workers and the queue server."""

from __future__ import annotations

import pytest

from tests.chaos.judge import read_items
from tests.chaos.stage import IN_FLIGHT, Stage, Theatre

WORKERS = 8
SHARE = 0.5  # of the site that the limit lets through


async def limited(stage: Stage, *limits: str) -> None:
    """Workers, an exporter and a seeder that sets the limits."""
    for _ in range(WORKERS):
        await stage.fleet.worker()
    await stage.fleet.finished("seed", *limits, *stage.web.seeds)
    await stage.export()


async def harm(stage: Stage) -> None:
    """Kill worker processes, machines and the queue server, before the limit is reached."""
    kinds = (stage.kill_a_child, stage.kill_a_machine, stage.kill_the_server)
    await stage.all_at_work()
    for number, share in enumerate(stage.moments(last=0.9)):
        await stage.reached(share * SHARE)
        await kinds[number % len(kinds)]()


async def pages_read(stage: Stage) -> int:
    """What the job counts, once it is closed and the exporter has all of it; each page has one item."""
    await stage.exporter_ended()
    items = [item["url"] for item in read_items(stage.output)[0]]
    job = await stage.job()
    stage.row.exactly("not closed", int(not (job["closed"] and job["finished"])), 0)
    stage.row.exactly("items missing", job["counters"]["pages"] - len(items), 0)
    stage.row.exactly("duplicates", len(items) - len(set(items)), 0)
    stage.row.at_least("left pending", job["pending"], 1)
    return int(job["counters"]["pages"])


@pytest.mark.parametrize("shards", [1, 4])
async def test_p43_pages_are_exact(theatre: Theatre, shards: int) -> None:
    title = f"--limit, {WORKERS} workers, {shards} shards, kill -9 of workers, machines, server"
    async with theatre("P43", title, settings={"SHARDS": shards}) as stage:
        limit = int(stage.site.pages * SHARE)
        await limited(stage, "--limit", str(limit))
        await harm(stage)
        stage.row.exactly("pages read", await pages_read(stage), limit)
        refetched = len([hit for hit in stage.web.log if stage.site.page(hit.url) is not None]) - limit
        stage.row.at_most("asked again, or for nothing", refetched, stage.scale.faults * WORKERS * IN_FLIGHT)
        again = await stage.fleet.finished("seed", "--limit", str(limit + 7), *stage.web.seeds)
        assert again.code == 0
        await stage.export()
        stage.row.exactly("pages read, limit + 7", await pages_read(stage), limit + 7)


@pytest.mark.parametrize("shards", [1, 4])
async def test_p43_items_are_within_what_is_in_flight(theatre: Theatre, shards: int) -> None:
    title = f"CLOSESPIDER_ITEMCOUNT, {WORKERS} workers, {shards} shards, the same"
    async with theatre("P43", title, settings={"SHARDS": shards}) as stage:
        limit = int(stage.site.pages * SHARE)
        await limited(stage, "-s", f"CLOSESPIDER_ITEMCOUNT={limit}")
        await harm(stage)
        read = await pages_read(stage)
        stage.row.at_least("items", read, limit)
        stage.row.at_most("items beyond the limit", read - limit, WORKERS * IN_FLIGHT)
