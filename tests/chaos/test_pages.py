"""P17, P18, P22, P29, P30: pages that harm whoever reads them, and servers that fail for a while or for ever."""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import Any

from tests.chaos.limits import small_memory
from tests.chaos.stage import IN_FLIGHT, PER_HOST, Scale, Stage, Theatre
from tests.webserver import Answer, Hit, flaky, truncated

ATTEMPTS = 3  # RETRY_TIMES + 1; one for what a callback raises, which would fail alike

HARM = {5: "kill", 6: "raise", 7: "loop"}
POISON = """
import os, pathlib, signal
from crawler.spiders.builtin.site import Site

class Poison(Site):
    name = "poison"

    def parse(self, response):
        n = int(response.url.rpartition("/p")[2].removesuffix(".html"))
        if n in POISON and not pathlib.Path("cured").exists():
            if n == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if n == 6:
                raise ValueError("no price on this page")
            while True:
                pass
        yield from super().parse(response)
"""


async def test_p17_poison_pages(theatre: Theatre, scale: Scale) -> None:
    """Pages that kill their process or never let go are dead after exactly N attempts, those that raise after one."""
    for number, poison in enumerate([(5, 6, 7), (5,), (6,), (7,)] if scale.is_long else [(5, 6, 7)]):
        await poisoned(theatre, poison, f"pages that {' '.join(HARM[n] for n in poison)}", f"run{number}")


async def poisoned(theatre: Theatre, pages: tuple[int, ...], title: str, folder: str) -> None:
    """The body of P17, for some of its pages."""
    settings = {"CALLBACK_TIMEOUT": 1}
    async with theatre("P17", title, pages=60, settings=settings, folder=folder) as stage:
        stage.fleet.spider("poison", POISON.replace("POISON", str(pages)))
        await stage.start(spider="poison")
        poison = {stage.site.url(n): n for n in pages}
        crawl = await stage.finish()
        letters = {letter["url"]: letter for letter in await stage.dead()}
        stage.row.exactly("innocent dead", len(letters.keys() - poison.keys()), 0)
        kills = sum(ATTEMPTS for n in pages if n != 6)
        for url, n in poison.items():
            attempts = 1 if HARM[n] == "raise" else ATTEMPTS
            stage.row.exactly(f"attempts p{n}", letters.get(url, {}).get("attempts", 0), attempts)
            # one that shares a process with others that kill may be asked for again on their account
            others = kills - (ATTEMPTS if n != 6 else 0)
            stage.row.at_most(f"hits p{n}", len(stage.web.hits(url)), attempts + others)
        stage.row.exactly("letters that tell", sum(map(tells_all, letters.values())), len(poison))
        stage.row.exactly("missing before the cure", crawl.missing, len(poison))
        if 6 in pages:
            traceback = letters.get(stage.site.url(6), {}).get("failure", {}).get("traceback", "")
            stage.row.exactly("traceback", "no price on this page" in traceback, True)
        await cure_and_redrive(stage)


def tells_all(letter: dict[str, Any]) -> bool:
    """Whether a dead letter has what a person needs."""
    failure = letter["failure"]
    return all((letter["worker"], letter["died"], letter["spider"], failure["kind"], failure["message"]))


async def cure_and_redrive(stage: Stage) -> None:
    """With the spider mended, `redrive --all` brings in what was dead."""
    (stage.fleet.folder / "cured").touch()
    redrive = await stage.fleet.finished("redrive", "--all")
    stage.row.exactly("redrive exit code", redrive.code or 0, 0)
    await stage.export()
    crawl = await stage.finish()
    harmful = 3 * ATTEMPTS  # their own hits; innocent neighbours of two that kill may be asked for again
    stage.expect(crawl, refetched=harmful + 2 * ATTEMPTS * IN_FLIGHT, faults=False)


async def test_p18_our_own_ends_do_not_count(theatre: Theatre) -> None:
    """Attempts that end by our shutdown, a kill or the server's outage do not count: with one attempt, none is dead."""
    settings = {"RETRY_TIMES": 0, "GRACE_SECONDS": 0}
    async with theatre("P18", "shutdowns, kills, outages; 1 attempt", settings=settings, page_seconds=0.15) as stage:
        await stage.start()
        for number, share in enumerate(stage.moments(max(3, stage.scale.faults), last=0.75)):
            await stage.reached(share)
            if number % 3 == 0:
                await restart_by_sigterm(stage)
            elif number % 3 == 1:
                await stage.kill_the_server(down=0.5)
            else:
                await stage.kill_a_machine()
        crawl = await stage.finish()
        stage.row.exactly("dead", len(await stage.dead()), 0)
        stage.expect(crawl, refetched=len(stage.row.faults) * IN_FLIGHT * stage.scale.workers)


async def restart_by_sigterm(stage: Stage) -> None:
    """SIGTERM to one supervisor, without any grace time; another comes."""
    worker = stage.fleet.running[0]
    stage.fault("SIGTERM, no grace")
    worker.signal(signal.SIGTERM)
    stage.row.exactly("exit code", await worker.ended(), 0)
    await stage.fleet.worker()


HOG = """
from crawler.spiders.builtin.site import Site

class Hog(Site):
    name = "hog"

    def parse(self, response):
        if response.url.endswith("/p5.html"):
            held = [bytearray(16_000_000) for _ in range(10_000)]
        yield from super().parse(response)
"""


async def test_p22_worker_out_of_memory(theatre: Theatre) -> None:
    """A page that eats all memory (RLIMIT_AS) is dead after N attempts; nothing else is."""
    async with theatre("P22", "a page that eats all memory", pages=60) as stage:
        stage.fleet.spider("hog", HOG)
        for _ in range(stage.scale.workers):
            await stage.fleet.worker(wrapper=small_memory(900))
        await stage.export()
        await stage.fleet.finished("seed", "--spider", "hog", *stage.web.seeds)
        crawl = await stage.finish()
        hog = stage.site.url(5)
        stage.row.exactly("hits on the bad page", len(stage.web.hits(hog)), ATTEMPTS)
        stage.row.exactly("innocent dead", len({letter["url"] for letter in await stage.dead()} - {hog}), 0)
        stage.row.exactly("lost", crawl.lost, 0)
        stage.row.exactly("missing, but for it", crawl.missing - 1, 0)
        stage.row.exactly("workers alive", len(stage.fleet.running), stage.scale.workers)


async def test_p29_transient_errors(theatre: Theatre) -> None:
    """Errors that pass are tried again, later each time; Retry-After is met; half a body is an error."""
    async with theatre("P29", "503 twice, 429 for 2 s, half a body", pages=100) as stage:
        kinds = {"flaky": flaky(2), "truncated": truncated(1)}
        harmed = {why: stage.site.some(0.08, why) for why in kinds}
        for why, handler in kinds.items():
            for n in harmed[why]:
                stage.site.on(stage.site.path(n), handler)
        busy = 6
        stage.site.on(stage.site.path(busy), flaky(1, 429, "2"))
        await stage.start()
        crawl = await stage.finish()
        stage.expect(crawl, refetched=2 * len(harmed["flaky"]) + len(harmed["truncated"]) + 1, faults=False)
        stage.row.exactly("dead", len(await stage.dead()), 0)
        stage.row.at_least("Retry-After s", silence_after(stage, stage.web.hits(stage.site.url(busy))[0]), 2.0)
        gaps = [gaps_of(stage.web.hits(stage.site.url(n))) for n in harmed["flaky"]]
        # At least: a page whose time has come may still have to wait for its host's turn.
        stage.row.at_least("back-off s", min(page[0] for page in gaps), 0.15)
        stage.row.at_least("second back-off s", min(page[1] for page in gaps), 0.3)


def silence_after(stage: Stage, hit: Hit) -> float:
    """Seconds until that host is next asked, by requests that were not on their way yet."""
    later = [one.time for one in stage.web.log if one.host == hit.host and one.time > hit.time]
    return next(time for time in later[PER_HOST:]) - hit.time


def gaps_of(hits: list[Hit]) -> list[float]:
    """Seconds between requests for one page."""
    return [later.time - earlier.time for earlier, later in pairwise(hits)]


async def test_p30_permanent_errors(theatre: Theatre) -> None:
    """404, 410, 403: asked for once, and kept among the dead."""
    async with theatre("P30", "404, 410, 403", pages=80) as stage:
        statuses = {4: 404, 5: 410, 6: 403}
        for n, status in statuses.items():
            stage.site.on(stage.site.path(n), lambda hit, page, status=status: Answer(status=status))  # type: ignore[misc]
        seeds = [stage.site.url(n) for n in range(stage.site.pages)]
        await stage.start(seeds=seeds)
        crawl = await stage.finish()
        stage.row.exactly("most hits on one", max(len(stage.web.hits(stage.site.url(n))) for n in statuses), 1)
        stage.row.exactly("dead", len(await stage.dead()), len(statuses))
        stage.row.exactly("lost", crawl.lost, 0)
        stage.row.exactly("refetched", crawl.refetched, 0)
        stage.row.exactly("missing, but for them", crawl.missing - len(statuses), 0)
