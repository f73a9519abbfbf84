"""A crawl on sentinels and on a cluster whose masters change meanwhile: no page is lost, no item is written twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.acceptance.shell import LOCAL, Shell
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet
from tests.webserver import Running, Site, serve
from tests.website import Answer, Hit

FIRST = "{crawler:0}:"  # the first shard, which is the home of the job
PAGES = 400
EVERY = 20  # requests between two faults
PACE = ("-s", "LEASE_SECONDS=10", "-s", "REDIS_TIMEOUT=2", "-s", "DOWNLOAD_DELAY=0.25")

Fault = Callable[[], object]


def killed(fleet: SentinelFleet | ClusterFleet, master: Callable[[], Valkey]) -> Fault:
    """SIGKILL; the old master comes back as a replica of the new one."""

    def fault() -> None:
        old = master()
        old.kill()
        fleet.wait_for_promotion(old)
        old.start()
        fleet.wait_until_healthy()

    return fault


async def crawled(shell: Shell, site: Site, faults: Sequence[Fault]) -> None:
    """Crawl the site; after every `EVERY` requests comes the next fault. Check what the crawl brings."""
    reached = asyncio.Queue[int]()
    web: Running

    def count(hit: Hit, page: Answer) -> Answer:
        if len(web.log) % EVERY == 0:
            reached.put_nowait(len(web.log))
        return page

    site.on("/s", count)
    async with serve(site) as web:
        process = await shell.start("crawl", *web.seeds, "-o", "items.jsonl", *LOCAL, *PACE, "-s", "REDIS_REPLICAS=1")
        ended = asyncio.create_task(process.communicate())
        for fault in faults:
            while not reached.empty():
                reached.get_nowait()
            next_one = asyncio.create_task(reached.get())
            await asyncio.wait({next_one, ended}, return_when=asyncio.FIRST_COMPLETED)
            assert next_one.done(), f"the crawl ended before the fault: {(await ended)[1].decode()}"
            await asyncio.to_thread(fault)
        _, said = await ended
        assert process.returncode == 0, said.decode()
        lines = (shell.folder / "items.jsonl").read_text().splitlines()
        written = Counter(json.loads(line)["url"] for line in lines)
        assert written == dict.fromkeys(site.truth(), 1), said.decode()


async def test_sentinels_promote_replicas_in_order_and_after_a_kill(folder: Path) -> None:
    with SentinelFleet(appendonly=True) as fleet:
        shell = Shell(folder, {"REDIS_URL": fleet.url})
        await crawled(shell, Site(pages=PAGES, hosts=12), [fleet.failover, killed(fleet, fleet.master)])


async def test_a_cluster_moves_a_slot_and_promotes_replicas_in_order_and_after_a_kill(folder: Path) -> None:
    with ClusterFleet(appendonly=True) as fleet:

        def slot_moved() -> None:
            """Key by key, from one master to another."""
            here = fleet.master(FIRST)
            fleet.move_slot(FIRST, next(node for node in fleet.masters() if node is not here), pause=0.02)

        def failed_over() -> None:
            fleet.failover(fleet.master(FIRST))
            fleet.wait_until_healthy()

        faults = [slot_moved, failed_over, killed(fleet, lambda: fleet.master(FIRST))]
        await crawled(Shell(folder, {"REDIS_URL": fleet.url}), Site(pages=PAGES, hosts=12), faults)
