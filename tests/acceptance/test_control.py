"""Orders to a running fleet, as a person gives them: obeyed within a second, answered, written down, durable."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve
from tests.website import Hit

SLOW = ("-s", "DOWNLOAD_DELAY=600", "-s", "ROBOTSTXT_OBEY=false", "-s", "DOWNLOAD_DELAY_JITTER=0")
IN_TIME = 5.0  # seconds: the machine that runs the tests may be busy; how long it took is printed


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A server of its own that keeps its data: it is killed."""
    with Valkey(tcp=True, appendonly=True) as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, server: Valkey) -> Shell:
    """Commands on that server."""
    return Shell(tmp_path, {"REDIS_URL": server.url})


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """Many pages on one host."""
    async with serve(Site(pages=300, hosts=1, seed=1)) as running:
        yield running


@asynccontextmanager
async def fleet(shell: Shell, site: Running, *options: str, workers: int = 2) -> AsyncIterator[None]:
    """Workers on a seeded job, until the end of the block."""
    urls = sorted(site.site.truth())  # type: ignore[attr-defined]
    await shell.run("seed", "-", "--job", "j", *LOCAL, *options, stdin="".join(f"{url}\n" for url in urls))
    process = await shell.start("worker", "--processes", str(workers), *LOCAL, *options)
    try:
        async with asyncio.timeout(30):
            while len(json.loads((await shell.run("status", "--json")).out)["workers"]) < workers:
                pass
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 30)


def gaps(hits: Sequence[Hit]) -> list[float]:
    """Seconds between the requests, as the web server saw them."""
    return [later.time - earlier.time for earlier, later in pairwise(hits)]


async def test_a_rate_takes_effect_while_the_crawl_runs_and_survives_the_server(
    shell: Shell, site: Running, server: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    async with fleet(shell, site, *SLOW, workers=4):
        await site.until(1)
        loop = asyncio.get_running_loop()
        before, asked = len(site.log), loop.time()
        ended = await shell.run("control", "rate", "127.0.1.1", "20/s", "--json")
        answered = loop.time()
        told = json.loads(ended.out)
        assert list(told["answers"].values()) == ["OK"] * 4, ended.err
        assert told["silent"] == []
        await asyncio.wait_for(site.until(before + 10), IN_TIME + 5)
        first = site.log[before]
        assert min(gaps(site.log[before : before + 10])) >= 0.95 * 0.05

        server.kill()
        server.start()
        kept = json.loads((await shell.run("control", "list", "--json")).out)
        assert [(rule["value"], rule["name"]) for rule in kept] == [("20/s", "127.0.1.1")]
        count = len(site.log)
        await asyncio.wait_for(site.until(count + 10), 20)
        assert min(gaps(site.log[count : count + 10])) >= 0.95 * 0.05

        count = len(site.log)
        await shell.run("control", "rate", "127.0.1.1", "1/h")
        slowed = len(site.log)
        await asyncio.sleep(1.0)
        assert len(site.log) <= slowed + 1
    with capsys.disabled():
        took = (first.wall - told["change"]["at"]) * 1000
        print(f"\nfirst request by the new rate {took:.0f} ms after it was set; {first.time - asked:.2f} s after the")
        print(f"command was typed, which took {answered - asked:.2f} s with the answers of all workers")
        print(f"requests after it was lowered: {len(site.log) - slowed}; before: {slowed - count}")


async def test_pause_resume_and_block_of_a_host(shell: Shell, site: Running) -> None:
    async with fleet(shell, site, "-s", "DOWNLOAD_DELAY=0.02", "-s", "ROBOTSTXT_OBEY=false"):
        await site.until(5)
        paused = await shell.run("control", "pause", "127.0.1.1", "--why", "a look at it")
        assert "pause 127.0.1.1: in force, change 1" in paused.out
        assert paused.out.count(": OK") == 2
        count = len(site.log)
        await asyncio.sleep(0.5)
        assert len(site.log) <= count + 1
        (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
        assert job["paused"][0]["why"].startswith("a look at it (by ")
        await shell.run("control", "resume", "host", "127.0.1.1")
        await asyncio.wait_for(site.until(count + 5), IN_TIME)
        await shell.run("control", "block", f"http://127.0.1.1:{site.site.port}/")
        async with asyncio.timeout(IN_TIME):
            while not job["finished"]:
                (job,) = json.loads((await shell.run("status", "--json")).out)["jobs"]
        assert job["counters"]["skip/blocked"] == 300 - job["counters"]["pages"]


async def test_who_ordered_what_and_taking_it_back(shell: Shell) -> None:
    """Without a worker: the rules wait for those to come."""
    ended = await shell.run("control", "rate", "a.example", "10/m")
    assert (ended.code, ended.err) == (0, "")
    assert "no worker is running; the rule applies" in ended.out
    assert "(before: 10/m)" in (await shell.run("control", "rate", "a.example", "20/m")).out
    await shell.run("control", "priority", "job:news", "5")
    listed = (await shell.run("control", "list")).out
    assert re.search(r"2 +rate a\.example 20/m +\S+@\S+ +\d{4}-\d\d-\d\d", listed)
    await shell.run("control", "revert")
    assert "rate a.example 10/m: in force (before: 20/m)" in (await shell.run("control", "revert")).out
    log = json.loads((await shell.run("control", "log", "--json")).out)
    assert [(one["id"], one["value"], one["before"], one["undoes"]) for one in log] == [
        ("5", "10/m", "20/m", "2"),
        ("4", "", "5", "3"),
        ("3", "5", "", ""),
        ("2", "20/m", "10/m", ""),
        ("1", "10/m", "", ""),
    ]
    assert all("@" in one["by"] for one in log)
    assert re.search(r"5 .* rate a\.example 10/m +20/m +takes back 2", (await shell.run("control", "log")).out)
    assert "no change has the number 99" in (await shell.run("control", "revert", "99")).error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["control"], "Missing argument"),
        (["control", "rate", "a.example", "fast"], "write 10/s, 30/m or 0.5/h"),
        (["control", "list", "x"], "takes no further words"),
        (["control", "rate", "a.example", "1/s", "--job", "j"], "--job restricts pause and resume"),
        (["control", "pause", "a.example", "-s", "REDIS_URL=memory://"], "lives in one process"),
        (["inspect", "active", "-s", "REDIS_URL=memory://"], "lives in one process"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake_is_one_line(shell: Shell, arguments: list[str], text: str) -> None:
    ended = await shell.run(*arguments)
    assert ended.code == 2
    assert text in ended.error


async def test_the_log_level_of_running_workers_and_what_they_are_doing(shell: Shell, site: Running) -> None:
    async with fleet(shell, site, "-s", "DOWNLOAD_DELAY=0.1", "-s", "USER_AGENT=look/1.0 (+https://me.example)"):
        ended = await shell.run("control", "log-level", "DEBUG")
        assert ended.out.count(": OK") == 2
        workers = json.loads((await shell.run("inspect", "workers", "--json")).out)["workers"]
        conf = json.loads((await shell.run("inspect", "conf", "--json")).out)
        assert conf["workers"].keys() == workers.keys()
        assert {one["USER_AGENT"] for one in conf["workers"].values()} == {"look/1.0 (+https://me.example)"}
        assert re.search(r"DOWNLOAD_DELAY +0\.1 +all", (await shell.run("inspect", "conf")).out)
        active = json.loads((await shell.run("inspect", "active", "--json")).out)["workers"]
        assert all(one["url"].startswith("http://127.0.1.1") for worker in active.values() for one in worker)
        (host,) = json.loads((await shell.run("inspect", "hosts", "--json")).out)
        assert (host["job"], host["host"]) == ("j", "127.0.1.1")
        assert host["pending"] > 100
        for what in ("active", "workers", "stats", "hosts"):
            assert (await shell.run("inspect", what)).code == 0


async def test_a_worker_that_does_not_answer_is_named(shell: Shell, site: Running) -> None:
    async with fleet(shell, site, *SLOW):
        workers = json.loads((await shell.run("inspect", "workers", "--json")).out)["workers"]
        name, pid = next((name, info["pid"]) for name, info in workers.items())
        os.kill(pid, signal.SIGSTOP)
        try:
            ended = await shell.run("control", "rate", "127.0.1.1", "1/s")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert ended.code == 0
        assert f"{name}: no answer within 1 s" in ended.err
        assert ended.out.count(": OK") == 1
