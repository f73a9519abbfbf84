"""P39: a worker that dies while it asks a host for robots.txt holds that host up for no longer than its lease."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

from tests.chaos.fleet import Command, until
from tests.chaos.stage import LEASE, Stage, Theatre
from tests.chaos.test_politeness import pages_before_robots
from tests.website import Answer, Hit

DELAY = 0.1
SETTINGS = {"DOWNLOAD_DELAY": DELAY, "DOWNLOAD_DELAY_JITTER": 0}
KINDS = {
    "the right to ask": rb":asking\r\n",
    "is robots.txt known": rb"\nMGET\r\n[^\r]*\r\n[^\r]*:shared:robots:",
    "robots.txt": rb"\nSET\r\n[^\r]*\r\n[^\r]*:shared:robots:",
    "commits": rb"\r\n\{[^\r\n]*:processing:",
    "claims": rb":workers\r\n(?s:.{0,500}?)outbox_limit",
}
"""Calls of a worker as they look on the wire."""


class SlowRobots:
    """robots.txt takes longer than a loaded machine needs to start workers, until told otherwise: at each kill, hosts
    are still asked."""

    def __init__(self, stage: Stage) -> None:
        self.seconds = 15 * LEASE
        self._web = stage.web
        stage.site.on("/robots.txt", self._later)

    def _later(self, hit: Hit, page: Answer) -> Answer:
        return replace(page, delay=self.seconds)

    def asked(self, since: float) -> set[str]:
        """Hosts that were asked for it after that moment, and have not answered."""
        last = {hit.host: hit for hit in self._web.log}
        return {
            host
            for host, hit in last.items()
            if hit.path == "/robots.txt" and hit.time > since and hit not in self._web.heard
        }


async def test_p39_kills_while_robots_txt_is_asked_for(theatre: Theatre) -> None:
    """Of a worker process, of a machine, of all machines: others ask as soon as the lease is over."""
    hosts, rounds = (40, max(1, theatre.scale.faults // 3)) if theatre.scale.is_long else (12, 1)
    settings = {**SETTINGS, "CONCURRENT_REQUESTS": hosts}  # so that nothing waits for want of slots
    async with theatre(
        "P39", "kill -9 while asking", pages=4 * hosts, hosts=hosts, page_seconds=0.0, settings=settings
    ) as stage:
        robots, since = SlowRobots(stage), 0.0
        await stage.start(workers=2, seeds=sorted(stage.site.truth()))  # so that each host has pages that wait
        for kill in (_kill_a_process, _kill_a_machine, _kill_all) * rounds:
            await until(lambda since=since: robots.asked(since), "hosts that are asked")  # type: ignore[misc]
            await kill(stage)
            since, _ = stage.row.faults[-1]  # not now: the others may have asked since then
        robots.seconds = 0.0
        crawl = await stage.finish(stage.scale.patience + 5 * LEASE * rounds)
        stage.expect(crawl, refetched=len(stage.row.faults) * hosts, end=time.monotonic())
        await _nothing_is_held_up(stage, [(moment, moment) for moment, _ in stage.row.faults])


async def test_p39_lost_replies_while_hosts_are_met(theatre: Theatre) -> None:
    """To each kind of call in turn, twice, so that the caller hears of it; then no network for a lease and a half."""
    hosts = 200 if theatre.scale.is_long else 40
    settings = {**SETTINGS, "CONCURRENT_REQUESTS": hosts // 10}  # so that some hosts are still to be met
    async with theatre(
        "P39",
        "lost replies, no network",
        pages=2 * hosts,
        hosts=hosts,
        page_seconds=0.0,
        settings=settings,
        network=True,
        folder="cut",
    ) as stage:
        robots = SlowRobots(stage)
        robots.seconds = 0.4
        await stage.start(workers=2, seeds=sorted(stage.site.truth()))  # so that each host has pages that wait
        outages = []
        for what, commands in KINDS.items():
            await until(lambda: robots.asked(0.0), "hosts that are asked")
            async with asyncio.timeout(30):
                await stage.network.lose_replies_to(commands, 2)
            stage.fault(f"lost replies: {what}")
            outages.append((time.monotonic(), time.monotonic()))
        await until(lambda: robots.asked(0.0), "hosts that are asked")
        stage.fault("no network")
        began = time.monotonic()
        stage.network.cut()
        await asyncio.sleep(1.5 * LEASE)  # the outage itself
        stage.network.heal()
        outages.append((began, time.monotonic()))
        crawl = await stage.finish()
        stage.row.told("replies lost", stage.network.replies_lost)
        stage.expect(crawl, refetched=len(stage.row.faults) * hosts)
        await _nothing_is_held_up(stage, outages)


async def _asker(stage: Stage) -> Command:
    """Wait until workers ask hosts for robots.txt; the one that asks most of them."""

    def asks(worker: Command) -> int:
        return sum(f":{worker.pid}:".encode() in lease for lease in stage.queue.hvals("{crawler:0}:asking"))

    await until(lambda: any(map(asks, stage.fleet.running)), "a worker that asks")
    return max(stage.fleet.running, key=asks)


async def _kill_a_process(stage: Stage) -> None:
    pid = (await _asker(stage)).children[0]
    stage.fault("kill -9 of a worker process")
    os.kill(pid, signal.SIGKILL)


async def _reinforce(stage: Stage, machines: int) -> None:
    """Those that come instead of others are at work already, or else their start would be measured, too."""
    for _ in range(machines):
        await stage.fleet.worker()
    await stage.all_at_work()


async def _kill_machines(stage: Stage, victims: list[Command]) -> None:
    stage.fault(f"kill -9 of {len(victims)} supervisors and their processes")
    for victim in victims:
        victim.kill()
    for victim in victims:
        await victim.ended()


async def _kill_a_machine(stage: Stage) -> None:
    """The asker is chosen at the last moment: for a while after a kill, leases of the dead are still there."""
    await _reinforce(stage, 1)
    await _kill_machines(stage, [await _asker(stage)])


async def _kill_all(stage: Stage) -> None:
    victims = stage.fleet.running
    await _reinforce(stage, len(victims))
    await _kill_machines(stage, victims)


async def _nothing_is_held_up(stage: Stage, outages: list[tuple[float, float]]) -> None:
    """`outages`: when each fault began and ended."""
    row, counters = stage.row, (await stage.job())["counters"]
    robots = Counter(hit.host for hit in stage.web.log if hit.path == "/robots.txt")
    row.at_most("longest silence s", max(_silences(stage, outages)), 2 * LEASE + DELAY)
    row.at_most("released a page", counters.get("released", 0) / stage.site.pages, 2)
    row.at_most("robots.txt a host", max(robots.values()), 1 + len(outages))
    row.exactly("pages before robots.txt", pages_before_robots(stage.web.log), 0)


def _silences(stage: Stage, outages: list[tuple[float, float]]) -> list[float]:
    """Between each request and the next one to its host, and the next one at all, for hosts that are not met any more:
    seconds from its answer, and from the last fault, on."""
    logs: defaultdict[str, list[Hit]] = defaultdict(list)
    for hit in stage.web.log:
        logs[hit.host].append(hit)
        logs["all"].append(hit)
    found = []
    for before, after in (pair for hits in logs.values() for pair in pairwise(hits)):
        ends = [healed for began, healed in outages if began < after.time]
        found.append(after.time - max(stage.web.heard.get(before, before.time), *ends, 0.0))
    return found
