"""P1–P4, P12, P13, P15, P16, P21: whatever happens to workers, each page comes in and each item is written once."""

from __future__ import annotations

import os
import signal
import time

from tests.chaos.fleet import ROOT, Command, until
from tests.chaos.judge import read_items
from tests.chaos.limits import clock_off
from tests.chaos.stage import IN_FLIGHT, LEASE, Stage, Theatre
from tests.webserver import slow


async def test_p01_no_fault(theatre: Theatre) -> None:
    """Without a fault each page is fetched once and each item written once."""
    async with theatre("P1", "no fault") as stage:
        await stage.start()
        crawl = await stage.finish()
        stage.expect(crawl, refetched=0, faults=False)
        stage.row.at_most("at once per host", crawl.concurrent, 4)
        stage.row.exactly("exit codes", sum(await stage.fleet.stop_workers()), 0)


async def test_p02_kill_any_worker(theatre: Theatre) -> None:
    """`kill -9` of any worker at any instant loses nothing, and repeats only what was in flight."""
    async with theatre("P2", "kill -9 of one worker, again and again") as stage:
        await stage.start()
        for number, share in enumerate(stage.moments()):
            await stage.reached(share)
            await (stage.kill_a_machine() if number % 3 == 2 else stage.kill_a_child())
            await stage.recovery()
        stage.expect(await stage.finish(), refetched=stage.scale.faults * IN_FLIGHT)
        stage.expect_refetch_within(2 * LEASE)


async def test_p03_kill_all_workers(theatre: Theatre) -> None:
    """All workers and reapers at once."""
    async with theatre("P3", "kill -9 of all workers and reapers") as stage:
        await stage.start()
        faults = max(1, stage.scale.faults // 2)
        for share in stage.moments(faults):
            await stage.reached(share)
            await stage.kill_all_workers()
            await stage.recovery()
        stage.expect(await stage.finish(), refetched=faults * IN_FLIGHT * stage.scale.workers)


async def test_p04_discovery_is_atomic(theatre: Theatre) -> None:
    """Kills in quick succession, of workers in the very moment in which they commit links and are reaped."""
    kills = 100 if theatre.scale.is_long else 5
    pace = theatre.scale.paced(0.5 * kills)
    async with theatre("P4", "kills in quick succession", page_seconds=pace) as stage:
        await stage.start()
        for share in stage.moments(kills, first=0.05):
            await stage.reached(share)
            await (stage.kill_a_machine() if stage.chance.random() < 0.2 else stage.kill_a_child())
        stage.row.told("kills", kills)
        stage.expect(await stage.finish(stage.scale.patience + 5 * kills), refetched=kills * IN_FLIGHT)


async def test_p12_slow_pages_keep_their_lease(theatre: Theatre) -> None:
    """The reaper never takes from a live worker whose pages take many times the lease."""
    leases = 30 if theatre.scale.is_long else 3
    patience = {"DOWNLOAD_TIMEOUT": 90, "READ_TIMEOUT": 90}
    async with theatre("P12", f"page time {leases} × lease", pages=24, settings=patience) as stage:
        for n in range(4, 8):  # found first, so they are slow together
            stage.site.on(stage.site.path(n), slow(leases * LEASE))
        await stage.start()
        stage.expect(await stage.finish(120), refetched=0, faults=False)


BUSY = """
import time
from crawler.spiders.builtin.site import Site

class Busy(Site):
    name = "busy"

    def parse(self, response):
        if response.url.endswith("/p5.html"):
            time.sleep(6)
        yield from super().parse(response)
"""


async def test_p13_a_busy_event_loop_keeps_its_lease(theatre: Theatre) -> None:
    """Nor from one whose event loop is held up by a page for many times the lease."""
    async with theatre("P13", "event loop held up for 3 × lease", pages=60) as stage:
        stage.fleet.spider("busy", BUSY)
        await stage.start(spider="busy")
        stage.expect(await stage.finish(), refetched=0, faults=False)


async def test_p15_clocks_apart(theatre: Theatre) -> None:
    """Workers and an exporter whose clocks are an hour ahead and behind change nothing."""
    settings = {"CONCURRENT_REQUESTS": 4}  # so that there is enough for both
    async with theatre("P15", "clocks an hour apart", settings=settings, pages=120, page_seconds=0.1) as stage:
        for hours in (-1, 1):
            how = clock_off(stage.fleet.folder / f"clock{hours}", hours, ROOT)
            await stage.fleet.worker(environment=how)
        await stage.export(environment=clock_off(stage.fleet.folder / "clock", 1, ROOT))
        await stage.fleet.finished("seed", *stage.web.seeds)
        crawl = await stage.finish()
        stage.expect(crawl, refetched=0, faults=False)
        written = {str(item["fetched_at"])[:13] for item in read_items(stage.output)[0]}
        stage.row.exactly("clocks seen in the items", len(written), 2)


async def test_p16_a_paused_worker_wakes_up(theatre: Theatre) -> None:
    """Frozen for longer than its lease; its requests go to others; its late commit is refused and counted."""
    async with theatre("P16", "SIGSTOP for 2 × lease, then SIGCONT", page_seconds=0.2, pages=100) as stage:
        await stage.start()
        await stage.reached(0.2)
        frozen = await stage.busiest()
        pid = frozen.children[0]
        stage.fault("SIGSTOP")
        os.kill(pid, signal.SIGSTOP)
        others = [worker for worker in stage.fleet.running if worker is not frozen]
        await until(lambda: any(worker.says("worker_reaped") for worker in others), "a reaper", 3 * LEASE)
        os.kill(pid, signal.SIGCONT)
        await frozen.has_said("late_commit_refused")
        crawl = await stage.finish()
        stage.expect(crawl, refetched=IN_FLIGHT)
        stage.row.at_least("refused commits", (await stage.job())["counters"].get("fenced", 0), 1)


async def test_p21_drain(theatre: Theatre) -> None:
    """SIGTERM: requests in flight come to their end within the grace time, exit code 0, nothing asked twice."""
    async with theatre("P21", "SIGTERM drains", pages=80, page_seconds=0.5) as stage:
        grace = 5.0
        await stage.start()
        await stage.reached(0.25)
        stage.fault("SIGTERM")
        started = time.monotonic()
        stage.row.exactly("exit codes", sum(await stage.fleet.stop_workers()), 0)
        stage.row.at_most("drain s", time.monotonic() - started, grace + 1)
        for _ in range(stage.scale.workers):
            await stage.fleet.worker()
        stage.expect(await stage.finish(), refetched=0)


async def test_p21_hand_back(theatre: Theatre) -> None:
    """Grace time over, or a second signal: what is in flight is handed back at once, not when the lease ends."""
    settings = {"GRACE_SECONDS": 1, "LEASE_SECONDS": 30}
    async with theatre("P21", "grace over; second SIGTERM", pages=48, settings=settings) as stage:
        delay = [20.0]
        stage.site.on("/s", lambda hit, page: slow(delay[0])(hit, page))
        first = await stage.fleet.worker()
        await stage.export()
        await stage.fleet.finished("seed", *stage.web.seeds)
        await stage.asked(2 * len(stage.site.hosts))  # robots.txt of each, and pages
        stage.fault("SIGTERM, grace 1 s")
        stage.row.exactly("exit code", await signalled(stage, first, 1), 0)
        stage.fleet.settings["GRACE_SECONDS"] = 30
        second = await stage.fleet.worker()
        await stage.recovery("handed on s", 5)
        await stage.asked(len(stage.web.log) + 2)
        stage.fault("SIGTERM twice")
        stage.row.exactly("exit code", await signalled(stage, second, 2), 143)
        delay[0] = 0.0
        await stage.fleet.worker()
        stage.expect(await stage.finish(), refetched=2 * IN_FLIGHT)


async def signalled(stage: Stage, worker: Command, times: int) -> int:
    """SIGTERM so often; returns the exit code, and notes how long the end took beyond the grace time."""
    started = time.monotonic()
    worker.signal(signal.SIGTERM)
    if times > 1:
        await worker.has_said("stopping")
        worker.signal(signal.SIGTERM)
    code = await worker.ended()
    stage.row.at_most("second signal s" if times > 1 else "grace over s", time.monotonic() - started, 2)
    return code
