"""P14, P31–P33, P35: what lies in the queue adds up, survives junk and strangers, and can be seen at any time."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

from tests.chaos.fleet import Command, until
from tests.chaos.stage import IN_FLIGHT, LEASE, Stage, Theatre

JOB = "{crawler:0}:job:default:"
STATES = ("pending", "processing", "done", "dead", "dropped")


async def test_p14_many_reapers(theatre: Theatre) -> None:
    """The reapers of all workers and three by hand take back one dead worker's requests: once each."""
    async with theatre("P14", "many reapers at once", page_seconds=0.2, pages=theatre.scale.pages // 2) as stage:
        await stage.start(workers=max(3, stage.scale.workers))
        watching = await stage.fleet.run("status", "--watch", "--json")
        await stage.reached(0.2)
        victim = await stage.busiest()
        stage.fault("kill -9 of one machine")
        victim.kill()
        await asyncio.sleep(LEASE)  # the lease runs out
        reapers = [await stage.fleet.run("reap") for _ in range(3)]
        for reaper in reapers:
            await reaper.ended()
        crawl = await stage.finish()
        counts_add_up(stage, watching)
        stage.expect(crawl, refetched=IN_FLIGHT)
        stage.row.exactly("known", (await stage.job())["known"], stage.site.pages)


async def test_p35_everything_is_visible(theatre: Theatre) -> None:
    """Counts add up whenever somebody looks; an outage is one line a process, however often it is met."""
    async with theatre(
        "P35", "counts add up; one line an incident", page_seconds=0.2, pages=theatre.scale.pages // 2
    ) as stage:
        await stage.start()
        watching = await stage.fleet.run("status", "--watch", "--json")
        await watching.has_said('"jobs"')
        await stage.reached(0.3)
        await stage.kill_the_server(down=1.0)
        await stage.recovery()
        again = await stage.fleet.run("status", "--watch", "--json")
        await again.has_said('"jobs"')
        worker = stage.fleet.running[0]
        crawl = await stage.finish()
        await stage.fleet.stop_workers()
        for event in ("queue_server_away", "queue_server_away_over"):
            lines = sum(f'"event":"{event}"' in line for line in worker.output.splitlines())
            stage.row.at_most(f"{event}, supervisor and child", lines, 2)
        for status in (watching, again):
            status.kill()
            counts_add_up(stage, status, at_least=1)
        stage.expect(crawl, refetched=IN_FLIGHT * stage.scale.workers)


def counts_add_up(stage: Stage, watching: Command, at_least: int = 3) -> None:
    """Every look at the counters gave an exact sum."""
    looks = [json.loads(line) for line in watching.output.splitlines() if line.startswith("{")]
    jobs = [job for look in looks for job in look["jobs"]]
    stage.row.at_least("looks at the counters", len(jobs), at_least)
    stage.row.exactly("sums that are wrong", sum(sum_of(job) != job["known"] for job in jobs), 0)


def sum_of(job: dict[str, Any]) -> int:
    """Requests in all states."""
    return sum(int(job[state]) for state in STATES)


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._trace,))


async def test_p31_junk_in_the_queue(theatre: Theatre) -> None:
    """Bytes that are no request end among the dead; nothing in them is executed; nobody dies of them."""
    async with theatre("P31", "junk in pending and delayed") as stage:
        trace = stage.fleet.folder / "executed"
        host, url = stage.site.hosts[0], stage.site.url(1)
        junk = [
            pickle.dumps(Trap(trace)),
            b"",
            b"\x00\xff" * 50,
            b"[" * 5000,
            b'{"url": "http://127.0.1.1/"}',
            b'[1,0,0,0,0,"file:///etc/passwd",0,"site"]',
            b'[1,0,0,0,0,"http://127.0.1.1:1/\n",0,"site"]',
            f'[1,0,0,0,0,"{stage.site.url(0)}",0,"no such spider",{{"callback":"__init__"}}]'.encode()[:-1],
            f'[1,0,0,0,0,"{stage.site.url(0)}","deep","site"]'.encode(),
            f'[1,0,0,0,0,"{url}",0,"site"]'.encode(),  # of another host
        ]
        await stage.start()
        await stage.fleet.working()
        await stage.reached(0.2)
        workers = [pid for worker in stage.fleet.running for pid in worker.children]
        stage.fault("junk")
        stage.queue.rpush(f"{JOB}pending:0:{host}", *junk)
        stage.queue.zadd(f"{JOB}delayed", {b"\x80junk": 0})
        stage.queue.hset(f"{JOB}stats", "pending", int(stage.queue.hget(f"{JOB}stats", "pending")))
        crawl = await stage.finish()
        still = [pid for worker in stage.fleet.running for pid in worker.children]
        stage.row.exactly("crashes", len(set(workers) - set(still)), 0)
        stage.row.exactly("executed", trace.exists(), False)
        stage.row.exactly("dead", len(await stage.dead()), len(junk) + 1)
        stage.expect(crawl, refetched=0)


async def test_p32_seeding_again(theatre: Theatre) -> None:
    """A seeder killed half-way and run again, then once more: each URL once."""
    async with theatre("P32", "kill -9 of the seeder, seed again, twice") as stage:
        lines = [f"{stage.site.url(n)}\n" for n in range(stage.site.pages)]
        seeder = await stage.fleet.run("seed", "-", feeding=True)
        await seeder.feed("".join(lines[: len(lines) // 2]))
        await until(lambda: int(stage.queue.hget(f"{JOB}stats", "known") or 0) >= len(lines) // 2, "half of the seeds")
        stage.fault("kill -9 of the seeder")
        seeder.kill()
        await seeder.ended()
        for _ in range(stage.scale.workers):
            await stage.fleet.worker()
        await stage.export()
        for _ in range(2):
            again = await stage.fleet.run("seed", "-", feeding=True)
            await again.feed("".join(lines))
            again.end_of_input()
            stage.row.exactly("exit code", await again.ended(), 0)
        crawl = await stage.finish(90)
        stage.expect(crawl, refetched=0)
        stage.row.exactly("known", (await stage.job())["known"], stage.site.pages)


async def test_p33_unknown_version(theatre: Theatre) -> None:
    """A message of a version that these workers do not know is left where others find it, byte for byte."""
    async with theatre("P33", "a message of version 4") as stage:
        await stage.start()
        await stage.reached(0.2)
        stranger = f'[4,0,0,0,0,"{stage.site.url(9)}",0,"site",{{"new":true}},7]'.encode()
        stage.fault("a message of version 4")
        pipeline = stage.queue.pipeline()
        pipeline.rpush(f"{JOB}pending:0:{stage.site.host(9)}", stranger)
        for counter in ("known", "admitted", "pending"):  # as its own version would have counted it
            pipeline.hincrby(f"{JOB}stats", counter, 1)
        pipeline.zadd(f"{JOB}hosts", {stage.site.host(9): 0}, nx=True)
        pipeline.execute()
        await until(lambda: stage.queue.zscore(f"{JOB}delayed", stranger) is not None, "the message to be set aside")
        await until(lambda: not stage.judged().missing, "all items", stage.scale.patience)
        job = await stage.job()
        stage.row.exactly("pending", job["pending"], 1)
        stage.row.exactly("dead", job["dead"], 0)
        stage.row.exactly("finished", job["finished"], False)
        stage.expect(stage.judged(), refetched=0)
