"""P27, P28, S47: a worker's memory grows neither with the frontier nor with time, and large pages do not add up."""

from __future__ import annotations

from itertools import pairwise

from tests.chaos.fleet import peak_mb, resident_mb
from tests.chaos.heavy import SHAPES, serve_heavy
from tests.chaos.stage import IN_FLIGHT, Stage, Theatre

JOB = "{crawler:0}:job:default:"


async def test_p27_memory_and_a_large_frontier(theatre: Theatre) -> None:
    """A worker with a million pending requests (short: 30,000) is no larger than one with a few."""
    async with theatre("P27", "a large frontier", pages=200) as stage:
        pending = 1_000_000 if stage.scale.is_long else 30_000
        await stage.start(workers=1)
        await stage.finish()
        before, used = memory_of_workers(stage), int(stage.queue.info("memory")["used_memory"])
        urls = stage.fleet.folder / "urls.txt"
        urls.write_text("".join(f"http://127.9.0.{1 + n % 8}:1/list/page?number={n}\n" for n in range(pending)))
        # nobody is there, and the first look at robots.txt says so: they stay pending
        seed = await stage.fleet.finished("seed", "-f", str(urls), seconds=120)
        stage.row.exactly("exit code", seed.code or 0, 0)
        await stage.fleet.finished("status")
        stage.row.told("pending", int(stage.queue.hget(f"{JOB}stats", "pending")))
        stage.row.at_most("growth MB", memory_of_workers(stage) - before, 50)
        stage.row.at_most("worker MB", memory_of_workers(stage), 300)
        bytes_a_url = (int(stage.queue.info("memory")["used_memory"]) - used) / pending
        stage.row.told("bytes a URL in the server", bytes_a_url)


async def test_p28_memory_and_time(theatre: Theatre) -> None:
    """A worker's memory after many pages is what it was after some (long: 30 minutes' worth of them)."""
    pages = 10 * theatre.scale.pages if theatre.scale.is_long else 600
    seconds = 60.0 * theatre.scale.minutes
    async with theatre(
        "P28", "slope of a worker's memory", page_seconds=seconds * IN_FLIGHT / pages, pages=pages
    ) as stage:
        await stage.start(workers=1)
        await stage.reached(0.5)
        asked, before = len(stage.web.log), memory_of_workers(stage)
        await stage.finish(stage.scale.patience + seconds)
        thousands = (len(stage.web.log) - asked) / 1000
        stage.row.told("pages", stage.site.pages)
        stage.row.told("minutes", (stage.web.log[-1].time - stage.web.log[0].time) / 60)
        stage.row.told("MB at half", before)
        stage.row.told("MB at the end", memory_of_workers(stage))
        slope = (memory_of_workers(stage) - before) / thousands
        if stage.scale.is_long:
            stage.row.at_most("MB a 1,000 pages", slope, 1)
        else:
            stage.row.told("MB a 1,000 pages", slope)


async def test_s47_large_pages_do_not_add_up(theatre: Theatre) -> None:
    """Hosts with pages of each shape, some as large as a body may be, some as large as is parsed, beside a good site.

    The settings are those out of the box, but for the pace. Short: a host a shape; long: 16 hosts of each in turn.
    """
    rounds = [[shape] * 16 for shape in SHAPES] if theatre.scale.is_long else [list(SHAPES)]
    settings = {"CONCURRENT_REQUESTS": 64, "LEASE_SECONDS": 15, "GRACE_SECONDS": 20}
    for shapes in rounds:
        title = "large pages" if len(set(shapes)) > 1 else f"large pages, {shapes[0]}"
        async with theatre("S47", title, settings=settings, pages=400, hosts=2, folder=shapes[0]) as stage:
            async with serve_heavy(shapes) as seeds:
                await stage.start(workers=1, seeds=[*stage.web.seeds, *seeds])
                await stage.finish(180)
                job = await stage.job()
            counters = job["counters"]
            stage.row.exactly("fetched", counters.get("status/200", 0), stage.site.pages + len(seeds))
            skipped = sum(counters.get(f"skip/parse_max{what}", 0) for what in ("size", "nodes"))
            stage.row.exactly("ended", job["done"], stage.site.pages + len(seeds))
            stage.row.at_least("skipped", skipped, len(shapes))
            stage.row.at_most("peak MB", max(peak_mb(pid) for w in stage.fleet.running for pid in w.children), 400)
            waits = [later.time - earlier.time for earlier, later in pairwise(stage.web.log)]
            figure = "longest wait of the good site s"
            stage.row.at_most(figure, max(waits), 1) if stage.scale.is_long else stage.row.told(figure, max(waits))


def memory_of_workers(stage: Stage) -> float:
    """Resident memory of the largest worker process."""
    return max(resident_mb(pid) for worker in stage.fleet.running for pid in worker.children)
