"""Measure how long one page keeps a worker's event loop busy while others wait: usual pages, then pages of 1 MB.

A worker runs in this process, as `crawler worker` would run it, on a durable queue. A task beside it reads the
clock every few milliseconds. The figure is the processor time used between two readings, because other programs on the
machine also delay the task.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

import uvloop

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.start_worker import start_worker
from crawler.control.routes import Assignment
from crawler.model import Job, Request
from crawler.settings import Settings
from crawler.worker.blame_slot import NoSlot
from scripts.benchmark import corpus as corpora
from scripts.benchmark.contenders import AT_ONCE, HERE, PER_HOST
from scripts.benchmark.corpus import Corpus
from scripts.benchmark.process import cores
from scripts.benchmark.queue import tell
from scripts.benchmark.results import save
from scripts.benchmark.webserver import nginx
from tests.valkey import Valkey

POLL_SECONDS = 0.002  # between two measurements
BIG = 1_000_000  # bytes of the large page
TIMES = 10  # how often the large page is fetched, each time under its own URL


@dataclass
class Lag:
    """Between two measurements, in milliseconds: processor time of the worker's thread, and the task's delay."""

    busy: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            wall, used = time.perf_counter(), time.thread_time()
            await asyncio.sleep(POLL_SECONDS)
            self.busy.append((time.thread_time() - used) * 1000)
            self.late.append((time.perf_counter() - wall - POLL_SECONDS) * 1000)


def main(folder: Path, pages: int, file: Path | None) -> int:
    """Crawl the generated site for links, then pages of 1 MB for links and with the `site` spider. Return 0."""
    server_core, worker_core = cores()
    if worker_core is not None:
        os.sched_setaffinity(0, {worker_core})
    for corpus, spider, per_host in (
        (corpora.generated(folder, pages=pages), "links", PER_HOST),
        (_big(folder), "links", 1),  # one at a time, to see what one page costs the others
        (_big(folder), "site", 1),
    ):
        with nginx(corpus, folder / "nginx", server_core), _queue(server_core) as url:
            lag = uvloop.run(_crawl(corpus, spider, url, per_host))
        _tell(f"{corpus.name}, spider {spider}", lag, file)
    return 0


@contextmanager
def _queue(core: int | None) -> Iterator[str]:
    with Valkey(appendonly=True, fsync="everysec") as server:
        if core is not None:
            os.sched_setaffinity(server.pid, {core})
        yield server.url


async def _crawl(corpus: Corpus, spider: str, url: str, per_host: int) -> Lag:
    """Run one worker from the seeds to the end of the crawl."""
    settings = Settings(
        REDIS_URL=url,
        DOWNLOAD_DELAY=0.0,
        CONCURRENT_REQUESTS_PER_DOMAIN=per_host,
        CONCURRENT_REQUESTS=AT_ONCE,
        ALLOWED_NETWORKS=("127.0.0.0/8",),
        SPIDER_MODULES=(str(HERE / "spiders"),),
        USER_AGENT="bench/1.0 (+http://127.0.2.1/)",
    )
    lag = Lag()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        async with connect(Config(settings, {}, Path(name))) as connected:
            job = await connected.jobs.create(Job("bench", spider=spider))
            await connected.adding.add(job, [Request(seed, spider=spider) for seed in corpus.seeds], seed=True)
            worker = await start_worker(
                Config(settings, {}, Path(name)), connected, "bench", Assignment(jobs=(job.name,)), NoSlot()
            )
            working = asyncio.create_task(worker.until_stopped())
            watching = asyncio.create_task(lag.watch())
            while not working.done() and (await connected.reading.stats(job)).done < len(corpus.pages):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            watching.cancel()
            worker.worker.stop()
            await working
    return lag


def _tell(what: str, lag: Lag, file: Path | None) -> None:
    figures = {}
    for kind, values in (("busy", lag.busy), ("late", lag.late)):
        percents = quantiles(values, n=100)
        figures[kind] = {"p50": percents[49], "p99": percents[98], "max": max(values)}
    shown = {kind: ", ".join(f"{name} {ms:.1f}" for name, ms in values.items()) for kind, values in figures.items()}
    tell(what, f"busy {shown['busy']} ms; late {shown['late']} ms")
    save(file, "lag", {"crawl": what, **figures})


def _big(folder: Path) -> Corpus:
    """A page that links to `TIMES` pages of 1 MB: 7,000 paragraphs with one link each, more markup than usual."""
    root = folder / f"large-{BIG}-{TIMES}"
    if not (root / "index.html").exists():
        root.mkdir(parents=True, exist_ok=True)
        for n in range(TIMES):
            (root / f"{n}.html").write_text(_page(n))
        (root / "index.html").write_text("".join(f'<a href="/{n}.html">{n}</a>\n' for n in range(TIMES)))
    host = "127.0.4.1"
    port = 18_082
    seed = f"http://{host}:{port}/"
    pages = frozenset({seed, *(f"{seed}{n}.html" for n in range(TIMES))})
    return Corpus("pages of 1 MB", port, {host: root}, (seed,), pages, BIG * TIMES, 7_000)


def _page(page: int) -> str:
    """A page whose links occur on no other page: the worst case, because none of them is known."""
    lines = ['<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Large</title></head><body>']
    size = 0
    while size < BIG:
        line = (
            f'<div class="entry"><p>Words of a line or two, one of them <b>bold</b>: number {len(lines)}</p>'
            f'<a href="/other/{page}/{len(lines)}.txt">link {len(lines)}</a></div>'
        )
        lines.append(line)
        size += len(line) + 1
    return "\n".join([*lines, "</body></html>"])
