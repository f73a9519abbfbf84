"""Kills workers, and if wanted the queue server, of this crawler and of scrapy-redis alike; prints what each lost.

Both crawl the same generated site on 127.0.0.0/8 with the same number of workers and the same settings (delay 0,
robots.txt ignored). The moments of the kills and the victims come from `--seed`: shares of the site's pages.

lost           pages of the site that nobody asked for
fetched twice  requests for a page after its first
missing items  pages whose item is in no output file
duplicates     items beyond the first of their page
broken lines   of the output: no JSON
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.comparison.crews import IN_FLIGHT, PER_HOST, Crew, Ours, ScrapyRedis, install, versions
from tests.chaos.judge import read_items
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve, slow

DOWN = 1.0  # seconds that the queue server is away when it is killed
POLL_SECONDS = 0.02  # between two polls of how far a crawl is


@dataclass(frozen=True)
class Result:
    """The figures of one crawl."""

    name: str
    lost: int
    twice: int
    missing: int
    duplicates: int
    broken: int
    seconds: float  # from the first request to the last one for a page
    kills: int  # done before the end
    remark: str


async def contest(options: argparse.Namespace, make: Callable[[Valkey, Running], Crew]) -> Result:
    """One crawl under fire."""
    site = Site(options.pages, options.hosts, options.seed, size=400)
    site.on("/", slow(options.page_seconds))
    with Valkey(tcp=True, appendonly=True, fsync="everysec") as server:
        async with serve(site) as web:
            crew = make(server, web)
            kills, remark = 0, ""
            try:
                async with asyncio.timeout(options.limit):
                    await crew.start(web.seeds, options.workers)
                    kills = await _crawl(options, crew, site, web, server)
            except TimeoutError:
                remark = f"not over after {options.limit:g} s"
            finally:
                await crew.close()
            return _judge(crew, site, web, kills, remark)


async def _crawl(options: argparse.Namespace, crew: Crew, site: Site, web: Running, server: Valkey) -> int:
    """Until it is over; returns the number of kills that were done."""
    plan = _plan(options)
    truth = site.truth()
    done = 0
    while not await crew.is_over():
        asked = len({hit.url for hit in web.log} & truth)
        if done < len(plan) and asked >= plan[done][0] * site.pages:
            slot = plan[done][1]
            done += 1
            await (_kill_server(server) if slot is None else crew.kill(slot))
        await crew.tend()
        await asyncio.sleep(POLL_SECONDS)
    return done


def _plan(options: argparse.Namespace) -> list[tuple[float, int | None]]:
    """(share of the pages asked for, slot of the worker to kill; None: the queue server), in order."""
    chance = random.Random(options.seed)
    moments: list[tuple[float, int | None]] = [
        (chance.uniform(0.05, 0.85), chance.randrange(options.workers)) for _ in range(options.kills)
    ]
    moments += [(chance.uniform(0.2, 0.7), None) for _ in range(options.server_kills)]
    return sorted(moments, key=lambda moment: moment[0])


async def _kill_server(server: Valkey) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(DOWN)
    await asyncio.to_thread(server.start)


def _judge(crew: Crew, site: Site, web: Running, kills: int, remark: str) -> Result:
    truth = site.truth()
    asked = Counter(hit.url for hit in web.log if hit.url in truth)
    times = [hit.time for hit in web.log if hit.url in truth]
    files = [read_items(file) for file in crew.outputs()]
    written = Counter(str(item.get("url")) for items, _ in files for item in items)
    return Result(
        crew.name,
        lost=len(truth - asked.keys()),
        twice=asked.total() - len(asked),
        missing=len(truth - written.keys()),
        duplicates=written.total() - len(written),
        broken=sum(broken for _, broken in files),
        seconds=max(times, default=0.0) - min(times, default=0.0),
        kills=kills,
        remark=remark,
    )


def _table(results: list[Result]) -> str:
    head = ("", "lost", "fetched twice", "missing items", "duplicates", "broken lines", "seconds", "kills", "")
    rows = [
        (
            r.name,
            *map(str, (r.lost, r.twice, r.missing, r.duplicates, r.broken)),
            f"{r.seconds:.1f}",
            str(r.kills),
            r.remark,
        )
        for r in results
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/compare-scrapy-redis",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pages", type=int, default=1200, help="pages of the site (1200)")
    parser.add_argument("--hosts", type=int, default=8, help="hosts of the site (8)")
    parser.add_argument("--workers", type=int, default=5, help="workers of each crawler (5)")
    parser.add_argument("--kills", type=int, default=5, help="SIGKILLs of a worker, each replaced by another (5)")
    parser.add_argument(
        "--server-kills", type=int, default=0, help="SIGKILLs of the queue server, which restarts on its data (0)"
    )
    parser.add_argument("--seed", type=int, default=1, help="random seed for site, moments and victims (1)")
    parser.add_argument("--page-seconds", type=float, default=0.25, help="seconds a page takes to answer (0.25)")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds after which a crawl is given up (240)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON lines")
    return parser.parse_args()


def _setting(options: argparse.Namespace) -> str:
    return (
        f"{options.pages} pages on {options.hosts} hosts, {options.page_seconds:g} s a page; "
        f"{options.workers} workers with {IN_FLIGHT} requests at once, {PER_HOST} to a host; "
        f"kills: {options.kills} of workers, {options.server_kills} of the server; seed {options.seed}"
    )


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> None:
    """Run both crawlers, one after the other."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us ends the crews too
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder = Path(name)
        python = install(folder / "venv")
        print(f"{_setting(options)}; {versions(python)}", file=sys.stderr)
        crews: list[Callable[[Valkey, Running], Crew]] = [
            lambda server, web: ScrapyRedis(_made(folder / "scrapy-redis"), server, web, python),
            lambda server, web: Ours(_made(folder / "crawler"), server),
        ]
        results = [asyncio.run(contest(options, make)) for make in crews]
    print("\n".join(json.dumps(vars(r)) for r in results) if options.json else _table(results))
    print(f"took {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
