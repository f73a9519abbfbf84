"""P24–P26, P38: adding machines, jobs and accidents never means asking a host more often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import count, pairwise
from statistics import median

import pytest

from tests.chaos.fleet import until
from tests.chaos.judge import judge
from tests.chaos.proxy import proxy_to
from tests.chaos.stage import IN_FLIGHT, LEASE, PER_HOST, Stage, Theatre
from tests.website import Answer, Handler, Hit, slow


@pytest.mark.parametrize("shards", [1, 6])
async def test_p24_one_ledger_for_all(theatre: Theatre, shards: int) -> None:
    """Many workers, two jobs, many names of one address: one request at once, a delay apart, whoever dies meanwhile."""
    is_long = theatre.scale.is_long
    delay, names, workers, kills, restarts = (0.5, 20, 8, 10, 2) if is_long else (0.2, 4, 3, 2, 1)
    settings = {
        "SHARDS": shards,
        "DOWNLOAD_DELAY": delay,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "DOWNLOAD_DELAY_JITTER": 0,
    }
    async with theatre(
        "P24",
        f"2 jobs, names of one address, {shards} shards",
        pages=5 * names,
        hosts=names,
        names=True,
        settings=settings,
        fsync="always",  # the turns of a second that is lost would be forgotten
    ) as stage:
        await stage.start(workers=workers)
        other = await stage.another_job("other")
        # Until then a kill may hit a page that asks for robots.txt, and another one asks again.
        await until(lambda: pages_of_hosts(stage.web.log) == names, "a page of each host", 120)
        for number in range(kills):
            before = len(stage.web.log)
            await stage.kill_a_machine()
            await stage.asked(before + 2)
            if number < restarts:
                await stage.kill_the_server(down=0.5)
                await stage.asked(before + 4)
        end = stage.web.log[-1].time
        await stage.finish(120 + 15 * names * delay)
        await other.ended(60)
        crawl = stage.judged()
        second = judge(stage.site, stage.web.log, stage.fleet.folder / "other.jsonl")
        stage.row.faults_before(end)
        stage.row.exactly("lost", crawl.lost, 0)
        for name in ("missing", "duplicates"):
            stage.row.exactly(name, getattr(crawl, name) + getattr(second, name), 0)
        stage.row.at_most("refetched", crawl.refetched - stage.site.pages, kills + restarts * workers)
        are_polite(stage, delay)


async def test_p38_a_worker_cut_off_stops_asking(theatre: Theatre) -> None:
    """It has ended its requests, which take longer than the partition, before others may have them."""
    cut, quick = 3 * LEASE, 24  # seconds; requests until there are links enough
    async with theatre("P38", "one of the workers black-holed for 3 leases", pages=80) as stage:

        def seconds() -> float:
            return 0.2 if len(stage.web.log) < quick or stage.row.faults else 4 * cut

        stage.site.on("/s", lambda hit, page: slow(seconds())(hit, page))
        async with proxy_to(stage.server.socket) as network:
            worker = await stage.fleet.worker(redis_url=network.url)
            await stage.export()
            await stage.fleet.finished("seed", *stage.web.seeds)
            await stage.asked(quick + IN_FLIGHT - 1)  # those behind the quick ones are all it can have
            others = [await stage.fleet.worker() for _ in range(1, stage.scale.workers)]
            await stage.fleet.working()
            stage.fault("black hole")
            network.cut()
            await worker.has_said("lease_not_renewed", cut)
            await until(lambda: any(other.says("worker_reaped") for other in others), "a reaper", cut)
            await asyncio.sleep(max(0.0, stage.row.faults[0][0] + cut - time.monotonic()))
            network.heal()
            await worker.has_said("lease_not_renewed_over")
            crawl = await stage.finish()
            stage.row.at_most("at once per host", crawl.concurrent, PER_HOST)
            stage.row.at_least("refused commits", (await stage.job())["counters"].get("fenced", 0), 1)
            stage.expect(crawl, refetched=IN_FLIGHT)


async def test_p25_a_slow_and_a_dead_host(theatre: Theatre) -> None:
    """Neither costs the others anything; the dead one is not given up: its pages come in when it is back."""
    seconds = 60.0 if theatre.scale.is_long else 4.0
    async with sparse(theatre, "nothing is wrong") as stage:
        await stage.start(seeds=sorted(stage.site.truth()))
        await stage.finish()
        usual = gap_of_others(stage)
        stage.row.told("others' gap s", usual)
    times = 20 if theatre.scale.is_long else 4
    async with sparse(theatre, f"one host takes {times} times as long") as stage:
        stage.site.on("/", slow(times * DELAY), BAD)
        await stage.start(seeds=sorted(stage.site.truth()))
        crawl = await stage.finish(60 + times * DELAY * stage.site.pages)
        stage.row.at_least("others' speed, share of the usual", usual / gap_of_others(stage), 0.9)
        stage.expect(crawl, refetched=0, faults=False)
    async with sparse(theatre, f"one host is down for {seconds:g} s") as stage:
        await stage.start(seeds=sorted(stage.site.truth()))
        await until(lambda: [hit for hit in stage.web.log if hit.host == BAD][2:], "two pages of the host")
        stage.web.down.add(BAD)
        await until(lambda: stage.web.calls, "a call to the host that is down")
        began = stage.web.calls[0][0]
        stage.fault(f"{BAD} hangs up")
        await asyncio.sleep(seconds)  # the outage itself
        stage.web.down.clear()
        back = time.monotonic()
        crawl = await stage.finish(120 + seconds)
        stage.row.at_least("others' speed, share of the usual", usual / gap_of_others(stage), 0.9)
        stage.row.told("calls while it was down", len(stage.web.calls))
        stage.row.told(
            "asked again after s", next(hit.time for hit in stage.web.log if hit.host == BAD and hit.time > back) - back
        )
        stage.row.exactly("dead", len(await stage.dead()), 0)
        stage.expect(crawl, refetched=0, faults=False)
        end = stage.web.log[-1].time
        stage.row.drawn("calls to the host that was down", [moment for moment, _ in stage.web.calls], began, end)
        stage.row.drawn("requests to it", [hit.time for hit in stage.web.log if hit.host == BAD], began, end)


async def test_p29_a_host_that_has_too_much_to_do(theatre: Theatre) -> None:
    """429 and 503: asked again when the host says, or else later each time; its pages come in all the same."""
    told, untold, flapping = "127.0.1.1", "127.0.1.2", "127.0.1.3"
    first, times = (2.0, 5) if theatre.scale.is_long else (0.5, 3)
    async with sparse(theatre, "429 and 503", BACKOFF_SECONDS=first) as stage:
        refused: dict[str, list[float]] = {told: [], untold: [], flapping: []}
        stage.site.on("/s", refuse(refused[told], lambda n: n < times, 429, retry_after="2"), told)
        stage.site.on("/s", refuse(refused[untold], lambda n: n < times, 429), untold)
        stage.site.on("/s", refuse(refused[flapping], lambda n: n % 5 == 2, 503), flapping)
        await stage.start(seeds=sorted(stage.site.truth()))
        crawl = await stage.finish(60 + 30 * first * 2**times)
        gaps = {host: gaps_after(stage, host, seen) for host, seen in refused.items()}
        stage.row.at_least("429, Retry-After 2: gap s", min(gaps[told]), 2.0)
        for number, seconds in enumerate(gaps[untold]):
            stage.row.at_least(f"429 number {number + 1}: gap s", seconds, 0.95 * first * 2**number)
        stage.row.at_least("503 now and then: gap s", min(gaps[flapping]), 0.95 * first)
        stage.row.exactly("dead", len(await stage.dead()), 0)
        stage.row.exactly("lost", crawl.lost, 0)
        stage.row.exactly("missing", crawl.missing, 0)
        began, end = stage.web.log[0].time, stage.web.log[-1].time
        for host, title in (
            (told, "429, Retry-After: 2"),
            (untold, "429"),
            (flapping, "503, each fifth"),
            ("127.0.1.4", "no error"),
        ):
            stage.row.drawn(title, [hit.time for hit in stage.web.log if hit.host == host], began, end)


def refuse(moments: list[float], when: Callable[[int], bool], status: int, retry_after: str = "") -> Handler:
    """That status for the n-th page asked of a host (from 0), when `when(n)`; notes the moments."""
    number = count()
    headers = {"Retry-After": retry_after} if retry_after else {}

    def answer(hit: Hit, page: Answer) -> Answer:
        if not when(next(number)):
            return page
        moments.append(hit.time)
        return Answer(b"not now", status, headers=headers)

    return answer


def gaps_after(stage: Stage, host: str, moments: Iterable[float]) -> list[float]:
    """From each of these requests to the host's next one, seconds."""
    times = [hit.time for hit in stage.web.log if hit.host == host]
    return [times[times.index(moment) + 1] - moment for moment in moments]


DELAY = 0.2
BAD = "127.0.1.1"


def sparse(theatre: Theatre, title: str, **more: object) -> AbstractAsyncContextManager[Stage]:
    """Four hosts of 15 pages, asked every 0.2 s, all known from the start."""
    settings = {
        "DOWNLOAD_DELAY": DELAY,
        "DOWNLOAD_DELAY_JITTER": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "RETRY_DELAY": 1,
        **more,
    }
    return theatre(
        "P29" if more else "P25", title, pages=60, hosts=4, settings=settings, folder=title.replace(" ", "-")
    )


def gap_of_others(stage: Stage) -> float:
    """Between two requests to a host that was well, in the median: a moment in which the machine was busy is none."""
    hosts = [host for host in stage.site.hosts if host != BAD]
    return median(gap for host in hosts for gap in gaps([hit.time for hit in stage.web.log if hit.host == host]))


def gaps(times: Iterable[float]) -> list[float]:
    """From each to the next."""
    return [later - earlier for earlier, later in pairwise(times)]


def are_polite(stage: Stage, delay: float) -> None:
    """Gaps, requests at once, and robots.txt, by the web server's log."""
    hits, row = stage.web.log, stage.row
    row.at_least("gap of a host, delays", gap(hits, lambda hit: hit.host) / delay, 0.95)
    row.at_least("gap of the address, delays", gap(hits, lambda hit: stage.site.address(hit.host)) / delay, 0.95)
    row.at_most("at once at a host", max(hit.concurrent for hit in hits), 1)
    row.at_most("at once at the address", max(hit.at_address for hit in hits), 1)
    asked = [hit.host for hit in hits if hit.path == "/robots.txt"]
    row.exactly("robots.txt a host", max(map(asked.count, asked)), 1)
    row.exactly("pages before robots.txt", pages_before_robots(hits), 0)


def gap(hits: Iterable[Hit], place: Callable[[Hit], str]) -> float:
    """Shortest time between the starts of two requests to one place, seconds."""
    times: dict[str, list[float]] = {}
    for hit in hits:
        times.setdefault(place(hit), []).append(hit.time)
    return min(gap for found in times.values() for gap in gaps(found))


def pages_of_hosts(hits: Iterable[Hit]) -> int:
    """Number of hosts that were asked for a page."""
    return len({hit.host for hit in hits if hit.path != "/robots.txt"})


def pages_before_robots(hits: Iterable[Hit]) -> int:
    """Pages that were asked for before their host's robots.txt."""
    read: set[str] = set()
    early = 0
    for hit in hits:
        if hit.path == "/robots.txt":
            read.add(hit.host)
        early += hit.host not in read
    return early
