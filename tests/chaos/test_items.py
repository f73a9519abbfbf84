"""P5, P6, P19, P20: each item is in the file exactly once, whatever happens to exporters, disks and workers."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.chaos.fleet import tool, until
from tests.chaos.judge import read_items
from tests.chaos.limits import disk_of, larger_disk, larger_files, small_disk, small_files
from tests.chaos.stage import IN_FLIGHT, Stage, Theatre
from tests.webserver import Hit


async def test_p05_kill_the_exporter(theatre: Theatre) -> None:
    """An exporter killed in the middle of its writing; another one goes on behind the last whole page."""
    async with theatre("P5", "kill -9 of the exporter", settings={"EXPORT_BATCH": 5, "LEASE_SECONDS": 1}) as stage:
        await stage.start()
        lines = [int(share * stage.site.pages) for share in stage.moments()]
        for wanted in lines:
            await until(lambda wanted=wanted: lines_of(stage) >= wanted, f"{wanted} lines", stage.scale.patience)  # type: ignore[misc]
            await kill_the_exporter(stage)
        stage.expect(await stage.finish(), refetched=0, end=stage.finished_at)


@pytest.mark.parametrize("number", [2, 4])
async def test_p05_several_outputs(theatre: Theatre, number: int) -> None:
    """The exporter of several outputs is killed, also while one of them is away: the others go on, and it gets all."""
    settings = {"EXPORT_BATCH": 5, "LEASE_SECONDS": 1}
    async with theatre("P5", f"kill -9, {number} outputs, one away", settings=settings) as stage:
        database, *others = (stage.fleet.folder / name for name in ("items.db", "more.jsonl", "items.parquet"))
        stage.more_outputs = [database, *others][: number - 1]
        await stage.start()
        moments = stage.moments()
        with ExitStack() as away:
            for at, share in enumerate(moments):
                await until(
                    lambda wanted=int(share * stage.site.pages): lines_of(stage) >= wanted,  # type: ignore[misc]
                    f"{share:.0%} of the lines",
                    stage.scale.patience,
                )
                if at == len(moments) // 3:
                    away.enter_context(locked(database))
                    stage.fault("the database is locked by another program")
                elif at == 2 * len(moments) // 3:
                    away.close()
                await kill_the_exporter(stage)
        stage.expect(await stage.finish(), refetched=0, end=stage.finished_at)
        for output in stage.more_outputs:
            there = Counter(urls_in(output))
            stage.row.exactly(f"missing in {output.name}", len(stage.site.truth() - there.keys()), 0)
            stage.row.exactly(f"twice in {output.name}", there.total() - len(there), 0)


@pytest.mark.long
async def test_p05_two_exporters(theatre: Theatre) -> None:
    """A second exporter of the job waits and says so, and takes over when the first is gone."""
    async with theatre("P5", "two exporters on one file") as stage:
        await stage.start()
        first = stage.exporter
        assert first is not None
        await until(lambda: lines_of(stage) > 0, "the first lines")
        second = await stage.export()
        await second.has_said("export_waits")
        stage.fault("kill -9 of the first exporter")
        first.kill()
        stage.expect(await stage.finish(), refetched=0)
        stage.row.exactly("lines about waiting", second.says('"export_waits"') or second.says("export_waits "), 1)


async def test_p06_fetched_is_in_the_sink(theatre: Theatre) -> None:
    """Workers, exporter and queue server are killed by turns; nothing that was fetched is missing in the file."""
    async with theatre("P6", "kill -9 of workers, exporter, server") as stage:
        await stage.start()
        faults = 3 * max(1, stage.scale.faults // 3)
        for number, share in enumerate(stage.moments(faults)):
            await stage.reached(share)
            if number % 3 == 0:
                await stage.kill_a_child()
            elif number % 3 == 1:
                await kill_the_exporter(stage)
            else:
                await stage.exporter_at_work()
                await stage.kill_the_server()
        crawl = await stage.finish()
        stage.expect(crawl, refetched=faults * IN_FLIGHT)
        written = {item["url"] for item in read_items(stage.output)[0]}
        stage.row.exactly("fetched, not in the sink", len({hit.url for hit in page_hits(stage)} - written), 0)


async def test_p19_file_too_large(theatre: Theatre) -> None:
    """The file may not grow any more (RLIMIT_FSIZE): the exporter says so once, waits, and goes on with room."""
    async with theatre("P19", "output limited, then not", pages=120) as stage:
        for _ in range(2):
            await stage.fleet.worker()
        exporter = await stage.export(wrapper=small_files(30_500))
        await stage.fleet.finished("seed", *stage.web.seeds)
        stage.fault("no byte beyond 30,500")
        await exporter.has_said("nothing is lost")
        stage.row.exactly("broken lines while full", read_items(stage.output)[1], 0)
        await settled(stage)
        await tool(larger_files(exporter.pid))
        crawl = await stage.finish()
        stage.row.exactly("lines about it", exporter.says("nothing is lost"), 1)
        stage.expect(crawl, refetched=0, faults=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.long
async def test_p19_disk_full(theatre: Theatre) -> None:
    """The same on a disk that is full; the file is whole at every moment."""
    async with theatre("P19", "disk full, then not", pages=120) as stage:
        disk = stage.fleet.folder / "disk"
        disk.mkdir()
        output = stage.output = disk / "items.jsonl"
        for _ in range(2):
            await stage.fleet.worker()
        exporter = await stage.export(wrapper=small_disk(disk, 32))
        await stage.fleet.finished("seed", *stage.web.seeds)
        stage.fault("32 kB disk")
        await exporter.has_said("nothing is lost")
        stage.output = disk_of(exporter.pid, output)
        stage.row.exactly("broken lines while full", read_items(stage.output)[1], 0)
        await settled(stage)
        await tool(larger_disk(exporter.pid, disk, 4096))
        await until(lambda: lines_of(stage) >= stage.site.pages, "all lines")
        crawl = stage.judged()  # the disk is gone with the exporter
        await exporter.ended()
        stage.row.exactly("lines about it", exporter.says("nothing is lost"), 1)
        stage.expect(crawl, refetched=0, faults=False)


@pytest.mark.long
async def test_p19_device_full(theatre: Theatre) -> None:
    """An export that may not wait ends with exit code 73 and one line; its items stay in the outbox."""
    async with theatre("P19", "export -o /dev/full", pages=60) as stage:
        await stage.start()
        await stage.asked(60)
        await settled(stage)
        assert stage.exporter is not None
        stage.exporter.kill()
        await stage.exporter.ended()
        await until(lambda: not stage.queue.exists("{crawler:0}:job:default:exporter"), "the exporter's lease to end")
        full = await stage.fleet.finished("export", "-o", "/dev/full")
        stage.row.exactly("exit code", full.code or 0, 73)
        stage.row.at_most("lines said", len(full.output.splitlines()), 1)
        await stage.export()
        stage.expect(await stage.finish(), refetched=0, faults=False)


async def test_p20_sink_away(theatre: Theatre) -> None:
    """No exporter for a while: the outbox stays within its bound, claims pause and say why, nothing is lost."""
    bound = 40
    async with theatre("P20", "no sink for a while", settings={"OUTBOX_LIMIT": bound}) as stage:
        for _ in range(stage.scale.workers):
            await stage.fleet.worker()
        stage.fault("no exporter")
        await stage.fleet.finished("seed", *stage.web.seeds)
        await stage.asked(bound)
        await until_idle(stage)
        job = await stage.job()
        stage.row.at_most("outbox", job["outbox"], bound + stage.scale.workers * IN_FLIGHT)
        stage.row.exactly("in flight", job["processing"], 0)
        stage.row.exactly("says why", "outbox" in job["idle"] or "export" in job["idle"], True)
        await stage.export()
        stage.expect(await stage.finish(), refetched=0)


# ---------------------------------------------------------------------------------------------------------


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to a file of SQLite meanwhile."""
    with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def urls_in(output: Path) -> list[str]:
    """The URL of each item in an output."""
    if output.suffix == ".db":
        with closing(sqlite3.connect(output)) as database:
            return [url for (url,) in database.execute("SELECT url FROM items")]
    if output.suffix == ".parquet":
        return [url for file in output.glob("*.parquet") for url in pq.read_table(file)["url"].to_pylist()]
    return [str(item["url"]) for item in read_items(output)[0]]


def lines_of(stage: Stage) -> int:
    """Lines in the output so far."""
    return stage.output.read_bytes().count(b"\n") if stage.output.exists() else 0


def page_hits(stage: Stage) -> list[Hit]:
    """Requests for pages of the site."""
    truth = stage.site.truth()
    return [hit for hit in stage.web.log if hit.url in truth]


async def kill_the_exporter(stage: Stage) -> None:
    """SIGKILL; another one is started on the same file."""
    assert stage.exporter is not None
    stage.fault("kill -9 of the exporter")
    stage.exporter.kill()
    await stage.exporter.ended()
    await stage.export()


async def settled(stage: Stage) -> None:
    """Wait until every page of the site has been asked for."""
    truth = stage.site.truth()
    await until(lambda: truth <= {hit.url for hit in stage.web.log}, "all pages", stage.scale.patience)


async def until_idle(stage: Stage) -> None:
    """Wait until nothing is in flight at the queue server's lists of what workers hold."""

    def in_flight() -> int:
        return int(stage.queue.hget("{crawler:0}:job:default:stats", "processing") or 0)

    await until(lambda: in_flight() == 0, "no request in flight")
