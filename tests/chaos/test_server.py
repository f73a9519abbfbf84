"""P7–P11, P23: whatever happens to the queue server or the way to it."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.chaos.fleet import until
from tests.chaos.stage import IN_FLIGHT, LEASE, Stage, Theatre


async def test_p07_kill_the_server_always(theatre: Theatre) -> None:
    """`kill -9` of the queue server with `appendfsync always`: nothing is lost, the same workers go on."""
    async with theatre("P7", "kill -9 of the queue server, fsync always", fsync="always") as stage:
        await kill_the_server_again_and_again(stage)


async def test_p08_kill_the_server_everysec(theatre: Theatre) -> None:
    """The same with `everysec`: what the process had answered is in the system's hands, and stays."""
    async with theatre("P8", "kill -9 of the queue server, fsync everysec") as stage:
        await kill_the_server_again_and_again(stage)


async def test_p08_the_last_second_is_lost(theatre: Theatre) -> None:
    """What a power failure leaves of `everysec`: pages of that second are fetched again, by workers that live on."""
    async with theatre("P8", "the last second of the queue server is lost") as stage:
        await stage.start()
        lost = 0
        for share in stage.moments(last=0.7):
            await stage.reached(share)
            lost += await stage.lose_a_second(stage.chance.randint(10, 40))
            await stage.recovery(limit=10)
        crawl = await stage.finish()
        stage.row.told("requests in the seconds that were lost", lost)
        stage.expect(crawl, refetched=lost + stage.scale.faults * IN_FLIGHT * stage.scale.workers)


async def kill_the_server_again_and_again(stage: Stage) -> None:
    """The body of P7 and P8."""
    await stage.start()
    await stage.all_at_work()
    await stage.reached(0.05)
    workers = [pid for worker in stage.fleet.running for pid in [worker.pid, *worker.children]]
    for share in stage.moments():
        await stage.reached(share)
        await stage.kill_the_server(down=stage.chance.random())
        await stage.recovery(limit=10)
    crawl = await stage.finish()
    still = [pid for worker in stage.fleet.running for pid in [worker.pid, *worker.children]]
    stage.row.exactly("workers replaced", len(set(workers) - set(still)), 0)
    stage.expect(crawl, refetched=stage.scale.faults * IN_FLIGHT * stage.scale.workers)


async def test_p09_emptied_server(theatre: Theatre) -> None:
    """FLUSHALL is noticed by workers and exporter, and never taken for the end."""
    async with theatre("P9", "FLUSHALL") as stage:
        await stage.start()
        await stage.reached(0.3)
        stage.fault("FLUSHALL")
        stage.queue.flushall()
        await all_notice(stage)


@pytest.mark.long
async def test_p09_replaced_server(theatre: Theatre) -> None:
    """Nor is another, empty server at the same address."""
    async with theatre("P9", "another, empty server at its address") as stage:
        await stage.start()
        await stage.reached(0.3)
        stage.fault("the server is replaced")
        await asyncio.to_thread(stage.server.kill)
        for file in stage.server.folder.glob("appendonlydir/*"):
            file.unlink()
        await asyncio.to_thread(stage.server.start)
        await all_notice(stage)


async def all_notice(stage: Stage) -> None:
    """Every command ends with an exit code that is not 0, and says why."""
    assert stage.exporter is not None
    for command in [*stage.fleet.running, stage.exporter]:
        code = await command.ended(20)
        stage.row.exactly(f"exit code of {command.name}", code, 70)
        stage.row.exactly("says why", "emptied or replaced" in command.output, True)
    stage.row.faults_before(time.monotonic() if stage.judged().lost else 0)


async def test_p10_partition(theatre: Theatre) -> None:
    """Black hole, lost replies while commands arrive, resets: nothing is lost and nobody hangs."""
    async with theatre("P10", "black hole, lost replies, resets", network=True) as stage:
        await stage.start()
        await stage.fleet.working()
        kinds = ("black hole", "replies lost", "resets")
        for number, share in enumerate(stage.moments(max(3, stage.scale.faults))):
            await stage.reached(share)
            await disturb(stage, kinds[number % 3])
            await stage.recovery("hang s", limit=LEASE + 30)
        crawl = await stage.finish()
        stage.row.exactly("workers alive", len(stage.fleet.running), stage.scale.workers)
        stage.row.told("replies lost", stage.network.replies_lost)
        stage.row.told("commands late", stage.network.commands_late)
        stage.expect(crawl, refetched=len(stage.row.faults) * IN_FLIGHT * stage.scale.workers)


async def disturb(stage: Stage, how: str) -> None:
    """Let the network do that for about as long as a time-out of the clients."""
    network = stage.network
    stage.fault(how)
    if how == "resets":
        for _ in range(5):
            network.reset()
            await asyncio.sleep(0.05)
        return
    if how == "black hole":
        network.cut()
    else:
        lost = network.replies_lost
        network.lose_replies()
        await until(lambda: network.replies_lost > lost + 2, "replies that get lost")
    await asyncio.sleep(1.25 * LEASE)
    network.heal()


async def test_p11_slow_server(theatre: Theatre) -> None:
    """A queue server that takes its time makes the crawl slower, not wrong."""
    async with theatre("P11", "each reply 0.05 s late", network=True, pages=50) as stage:
        stage.network.delay = 0.05
        stage.fault("slow replies")
        await stage.start()
        stage.expect(await stage.finish(), refetched=IN_FLIGHT, faults=False)


async def test_p23_server_out_of_memory(theatre: Theatre) -> None:
    """`maxmemory` reached (noeviction): waited out, losing nothing."""
    async with theatre("P23", "maxmemory reached, then raised") as stage:
        await stage.start()
        await stage.reached(0.2)
        stage.fault("maxmemory")
        stage.queue.config_set("maxmemory", stage.queue.info("memory")["used_memory"] * 9 // 10)
        await until(lambda: any(worker.says("maxmemory") for worker in stage.fleet.running), "word of it")
        stage.fault("maxmemory still")
        await asyncio.sleep(LEASE)  # the shortage outlives a lease
        stage.queue.config_set("maxmemory", 0)
        await stage.recovery()
        crawl = await stage.finish()
        stage.row.exactly("workers alive", len(stage.fleet.running), stage.scale.workers)
        stage.expect(crawl, refetched=IN_FLIGHT * stage.scale.workers)


async def test_p23_evicting_policy(theatre: Theatre) -> None:
    """A server that may throw requests away is refused at start."""
    async with theatre("P23", "an evicting policy", pages=4, options={"maxmemory-policy": "allkeys-lru"}) as stage:
        seed = await stage.fleet.finished("seed", *stage.web.seeds)
        worker = await stage.fleet.worker()
        stage.row.exactly("exit code", seed.code or 0, 78)
        stage.row.exactly("exit code", await worker.ended(), 78)
        stage.row.exactly("says what to do", "maxmemory-policy noeviction" in worker.output, True)
