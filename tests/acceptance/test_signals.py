"""Signals as systemd, tmux, CI and terminals send them, to all processes at once: all drain, or end cleanly."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import signal
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from redis import Redis

from crawler.embedded import guardian
from crawler.frontier.redis.keys import job_prefix, shard_prefix
from tests.acceptance.shell import LOCAL, Shell
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve, slow

HUP, INT, TERM = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
AT_ONCE = 32  # pages in flight
PAGES = 100
START = range(0, 800, 100)  # milliseconds after which a start is ended


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """One host, whose pages take `site.seconds`."""
    pages = Site(pages=PAGES, hosts=1, seed=1)
    async with serve(pages) as running:
        pages.on("/s", lambda hit, page: slow(running.seconds)(hit, page))
        yield running


def heed_signals() -> None:
    """In a new process: whoever started the tests may ignore some."""
    for number in (HUP, INT, TERM):
        signal.signal(number, signal.SIG_DFL)


async def start(shell: Shell, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
    """A command in a process group of its own, which may have all pages in flight."""
    settings = ("-s", f"CONCURRENT_REQUESTS_PER_DOMAIN={AT_ONCE}")
    options = {"start_new_session": True, "preexec_fn": heed_signals, **options}
    return await shell.start(*arguments, *LOCAL, *settings, **options)


def tell(process: asyncio.subprocess.Process, *numbers: signal.Signals) -> None:
    """Signal the whole group, children included."""
    for number in numbers:
        os.killpg(process.pid, number)


def is_there(group: int) -> bool:
    """Whether a process of that group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit code and what it said on stderr. Nothing stays of its group, and nothing went wrong."""
    async with asyncio.timeout(30):
        _, err = await process.communicate()
        while is_there(process.pid):  # noqa: ASYNC110 - init takes its time with what a killed process leaves
            await asyncio.sleep(0.01)
    assert process.returncode is not None
    said = (err or b"").decode()
    assert "Traceback" not in said
    assert "worker_died" not in said
    return process.returncode, said


async def in_flight(site: Running) -> None:
    """Wait until all pages are that may be."""
    seen = len(site.log)
    async with asyncio.timeout(30):
        while all(hit.concurrent < AT_ONCE for hit in site.log[seen:]):
            await site.until(len(site.log) + 1)


def refetched(site: Running) -> int:
    """Requests for pages beyond their first."""
    return sum(hit.number > 1 for hit in site.log if hit.path != "/robots.txt")


async def finished(shell: Shell, site: Running, *command: str) -> list[str]:
    """Run a crawl to its end without delay; returns the URLs in its file."""
    site.seconds = 0.0
    process = await start(shell, *command)
    code, err = await ended(process)
    assert code == 0, err
    assert (shell.folder / "items.jsonl").exists(), err
    return [json.loads(line)["url"] for line in (shell.folder / "items.jsonl").read_text().splitlines()]


CRAWL = ("crawl", "-o", "items.jsonl", "--job", "default", "--processes", "2")


async def test_a_worker_whose_whole_group_is_told_to_end_drains(shell: Shell, site: Running) -> None:
    """Also where a SIGHUP comes beside the SIGTERM: it is no second signal."""
    urls = sorted(site.site.truth())  # type: ignore[attr-defined]
    assert (await shell.run("seed", *urls, *LOCAL)).code == 0
    for numbers in ((TERM, HUP), (HUP, TERM)):
        process = await start(shell, "worker", "--processes", "2")
        await in_flight(site)
        tell(process, *numbers)
        assert (await ended(process))[0] == 0
    assert len(await finished(shell, site, *CRAWL, *urls)) == PAGES
    assert refetched(site) == 0


async def test_a_crawl_whose_whole_group_is_told_to_end_drains(shell: Shell, site: Running) -> None:
    command = [*CRAWL, *sorted(site.site.truth())]  # type: ignore[attr-defined]
    for number, code in ((TERM, 143), (HUP, 129)):
        process = await start(shell, *command)
        await in_flight(site)
        tell(process, number)
        assert (await ended(process))[0] == code
    assert len(await finished(shell, site, *command)) == PAGES
    assert refetched(site) == 0


async def test_the_embedded_server_ends_after_those_who_use_it(bare: Shell, site: Running) -> None:
    """systemd sends SIGTERM to each process of a service, sessions and groups apart."""
    command = [*CRAWL, *sorted(site.site.truth())]  # type: ignore[attr-defined]
    process = await start(bare, *command)
    await in_flight(site)
    (data,) = (bare.folder / "data" / "crawler").iterdir()
    for server in (guardian.holder(str(data / "guardian")), guardian.holder(str(data / "server"))):
        os.kill(int(server[0]), TERM)
    tell(process, TERM)
    assert (await ended(process))[0] == 143
    async with asyncio.timeout(10):
        while guardian.holder(str(data / "guardian")):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.05)
    assert not guardian.server_pid(str(data))
    assert len(await finished(bare, site, *command)) == PAGES
    assert refetched(site) == 0


async def test_told_twice_it_hands_back_at_once(shell: Shell, site: Running) -> None:
    site.seconds = 60.0
    assert (await shell.run("seed", *site.site.truth(), *LOCAL)).code == 0  # type: ignore[attr-defined]
    process = await start(shell, "worker", "--processes", "2", "-s", "GRACE_SECONDS=60")
    await in_flight(site)
    tell(process, TERM)
    assert process.stderr is not None
    while b"stopping" not in await process.stderr.readline():
        pass
    tell(process, TERM)
    assert (await ended(process))[0] == 143
    job = json.loads((await shell.run("status", "--json")).out)["jobs"][0]
    assert (job["pending"], job["processing"]) == (PAGES, 0)


async def test_a_terminal_that_closes_drains_a_crawl_and_stops_none_of_it(shell: Shell, site: Running) -> None:
    """Its picture, its log lines and its last words can be written no more."""
    command = [*CRAWL, *sorted(site.site.truth())]  # type: ignore[attr-defined]
    ours, theirs = pty.openpty()

    def become_its_foreground() -> None:
        heed_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = await start(
        shell,
        *command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=become_its_foreground,
        env={**shell.environment, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(os.read, ours, 1_000_000))
    await in_flight(site)
    await reading
    os.close(ours)
    assert (await ended(process))[0] == 129
    assert len(await finished(shell, site, *command)) == PAGES
    assert refetched(site) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", [("worker", "--processes", "2"), CRAWL], ids=["worker", "crawl"])
async def test_a_start_is_ended_at_any_moment(bare: Shell, site: Running, command: Sequence[str]) -> None:
    """From before the first import to the first pages, the start of the embedded server included."""
    urls = sorted(site.site.truth())  # type: ignore[attr-defined]
    given = [*command, *(urls if command is CRAWL else ())]
    site.seconds = 0.0
    for milliseconds, number in zip(START, cycle([TERM, HUP]), strict=False):
        process = await start(bare, *given)
        await asyncio.sleep(milliseconds / 1000)
        with suppress(ProcessLookupError):  # it has crawled all that was left
            tell(process, number)
        code, err = await ended(process)
        assert code in (-number, 128 + number, 0), err
    if command is CRAWL:
        assert sorted(await finished(bare, site, *given)) == urls


async def test_a_crawl_waits_for_the_right_of_an_exporter_that_was_killed(
    shell: Shell, server: Valkey, site: Running
) -> None:
    """Its own workers end long before that; it must not end with its items in the outbox and exit code 0."""
    with Redis.from_url(server.url) as client:
        client.set(f"{job_prefix(shard_prefix(shell.folder.name, 0), 'default')}exporter", "killed", px=5_000)
    urls = sorted(site.site.truth())  # type: ignore[attr-defined]
    assert sorted(await finished(shell, site, *CRAWL, *urls)) == urls
