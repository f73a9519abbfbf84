"""P24–P26: adding machines, jobs and accidents never means asking a host more often."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from tests.chaos.judge import judge
from tests.chaos.stage import Stage, Theatre
from tests.website import Hit


async def test_p24_one_ledger_for_all(theatre: Theatre) -> None:
    """Many workers, two jobs, many names of one address: one request at once, a delay apart, whoever dies meanwhile."""
    is_long = theatre.scale.is_long
    delay, names, workers, kills, restarts = (0.5, 20, 8, 10, 2) if is_long else (0.2, 4, 3, 2, 1)
    settings = {"DOWNLOAD_DELAY": delay, "CONCURRENT_REQUESTS_PER_DOMAIN": 1, "DOWNLOAD_DELAY_JITTER": 0}
    async with theatre(
        "P24", "2 jobs, names of one address", pages=5 * names, hosts=names, names=True, settings=settings
    ) as stage:
        await stage.start(workers=workers)
        other = await stage.another_job("other")
        await stage.reached(0.2)
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
    return min(later - earlier for found in times.values() for earlier, later in pairwise(found))


def pages_before_robots(hits: Iterable[Hit]) -> int:
    """Pages that were asked for before their host's robots.txt."""
    read: set[str] = set()
    early = 0
    for hit in hits:
        if hit.path == "/robots.txt":
            read.add(hit.host)
        early += hit.host not in read
    return early
