"""A supervisor and real worker processes: who is to blame when one of them dies, and who is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.wiring import supervisor
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend
from crawler.model import Job, Request
from crawler.settings import Settings
from crawler.status import DeadLetter, JobStats
from crawler.worker.blame_slot import Slot
from crawler.worker.process import start_python
from tests.chaos.proxy import proxy_to
from tests.valkey import Valkey

SPIDER = """
import asyncio, ctypes, os, re, sys, time
from crawler import Spider

class Harm(Spider):
    name = "harm"
    custom_settings = {"ROBOTSTXT_OBEY": False}

    def parse(self, response):
        pass

    def read_stdin(self, response):
        sys.stdin.read()

    def hold_the_interpreter(self, response):
        re.match(r"(a|aa)+$", "a" * 60 + "b")

    def hold_the_interpreter_for_two_leases(self, response):
        ctypes.PyDLL(None).usleep(2_000_000)
        open("let go", "w").close()

    def take_long(self, response):
        open("begun", "w").close()
        time.sleep(3600)

    def kill_the_process(self, response):
        os._exit(9)

    def end_the_process_quietly(self, response):
        os._exit(0)

    def end_the_process_as_if_misconfigured(self, response):
        os._exit(78)

    async def end_the_process_from_a_task(self, response):
        async def leave():
            sys.exit(0)

        leaving = asyncio.create_task(leave())
        await asyncio.sleep(60)

class Unborn(Harm):
    name = "unborn"

    def __init__(self, **arguments):
        super().__init__(**arguments)
        with open("made", "a") as file:
            file.write("once\\n")
        os._exit(9) if self.how == "exit" else time.sleep(3600)

class Leaky(Harm):
    name = "leaky"
    kept = []

    def parse(self, response):
        self.kept.append(b"x" * 1_000_000)
        yield {"url": response.url, "process": os.getpid(), "kept": len(self.kept)}

class Hasty(Harm):
    name = "hasty"
    custom_settings = {"ROBOTSTXT_OBEY": False, "RETRY_TIMES": 0}

class Stubborn(Harm):
    name = "stubborn"
    custom_settings = {"ROBOTSTXT_OBEY": False, "RETRY_TIMES": 2, "RETRY_DELAY": 0.01}
"""


@asynccontextmanager
async def page(wait: Callable[[str], Awaitable[None]] | None = None) -> AsyncIterator[str]:
    """A server whose every page is the same. `wait(path)` comes before an answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if wait is not None:
            await wait(head.split()[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.1.1", 0)
    async with server:
        yield f"http://127.0.1.1:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with that spider; worker processes are started in it."""
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "harm.py").write_text(SPIDER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return tmp_path


def config(folder: Path, server: Valkey, prefix: str, **changes: object) -> Config:
    """Settings with little patience."""
    settings = Settings(
        **{
            "REDIS_URL": server.url,
            "KEY_PREFIX": prefix,
            "ALLOWED_NETWORKS": ("127.0.0.0/8",),
            "DOWNLOAD_DELAY": 0.0,
            "LEASE_SECONDS": 1.0,
            "RETRY_TIMES": 0,
            **changes,
        }  # type: ignore[arg-type]
    )
    return Config(settings, {}, folder)


async def seeded(connected: Backend, url: str, *callbacks: str, spider: str = "harm") -> Job:
    """A job with one page for each callback: the first is at the URL, the others are beside it by their names."""
    job = await connected.jobs.create(Job("news", spider=spider))
    pages = [Request(url if n == 0 else url + name, callback=name, spider=spider) for n, name in enumerate(callbacks)]
    await connected.adding.add(job, pages, seed=True)
    return job


def children() -> set[int]:
    """Process ids of ours."""
    return set(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


async def a_child(before: set[int]) -> int:
    """Wait for a new one, from its first moment on."""
    while not (new := children() - before):  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(0)
    return new.pop()


async def until_there(file: Path) -> None:
    """Wait for a file."""
    while not file.exists():  # noqa: ASYNC110 - the kernel tells nobody
        await asyncio.sleep(0.05)


async def until_finished(connected: Backend, job: Job) -> tuple[JobStats, list[DeadLetter]]:
    """Its figures and dead letters at the end."""
    while not (stats := await connected.reading.stats(job)).finished:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.05)
    return stats, await connected.letters.newest(job)


@pytest.mark.timeout(60)
async def test_a_page_that_silences_the_heartbeat_is_blamed_and_nobody_else_reaps_it(
    valkey_server: Valkey, folder: Path
) -> None:
    made = config(folder, valkey_server, "sv1", CALLBACK_TIMEOUT=4.0)
    async with (
        page() as url,
        connect(made) as connected,
        open_redis(Server(valkey_server.url), prefix="sv1", lease_seconds=1.0) as other,
    ):
        job = await seeded(connected, url, "hold_the_interpreter")
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        reaped = []
        ended = asyncio.create_task(until_finished(connected, job))
        while not ended.done():
            reaped += await other.leases.reap()
            await asyncio.sleep(0.1)
        crew.stop()
        await running
        stats, (letter,) = await ended
    assert sum(one.requeued + one.dead for one in reaped) == 0
    assert letter.failure.kind == "crash"
    assert "its callback ran for 4 s" in letter.failure.message
    file, _, line = letter.failure.line.partition(":")
    assert (file, SPIDER.splitlines()[int(line) - 1].strip()[:8]) == ("spiders/harm.py", "re.match")
    assert "in hold_the_interpreter" in letter.failure.traceback
    assert "crawler/visit" not in letter.failure.traceback
    assert letter.attempts == 1
    assert stats.dead == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("spider", "attempts"), [("harm", 2), ("hasty", 1), ("stubborn", 3)])
async def test_a_page_that_kills_its_process_is_tried_by_its_spiders_own_settings(
    valkey_server: Valkey, folder: Path, spider: str, attempts: int
) -> None:
    """Its own RETRY_TIMES and RETRY_DELAY; those of the fleet where it has none."""
    fleet = {"RETRY_TIMES": 1, "RETRY_DELAY": 3600.0 if spider == "stubborn" else 0.01}
    made = config(folder, valkey_server, f"sv-{spider}", **fleet)
    async with page() as url, connect(made) as connected:
        job = await seeded(connected, url, "kill_the_process", spider=spider)
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        _, (letter,) = await until_finished(connected, job)
        crew.stop()
        await running
    assert letter.attempts == attempts
    assert "exit code 9" in letter.failure.message


@pytest.mark.timeout(60)
async def test_a_page_that_is_still_at_work_when_we_stop_is_not_blamed(
    valkey_server: Valkey, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.worker.supervisor.LATE", 0.5)
    made = config(folder, valkey_server, "sv2", GRACE_SECONDS=0.2)
    async with page() as url, connect(made) as connected:
        job = await seeded(connected, url, "take_long")
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        while not (folder / "begun").exists():
            assert not running.done()
            await asyncio.sleep(0.05)
        crew.stop()
        await running
        stats = await connected.reading.stats(job)
    assert (stats.pending, stats.processing, stats.dead) == (1, 0, 0)
    assert stats.counters.get("retried", 0) == 0


@pytest.mark.timeout(60)
async def test_a_page_that_silences_the_heartbeat_for_a_while_costs_the_others_nothing(
    valkey_server: Valkey, folder: Path
) -> None:
    """The supervisor has renewed the lease, and the worker learns of it."""
    asked: list[str] = []

    async def wait(path: str) -> None:
        asked.append(path)
        if path == "/parse":
            await until_there(folder / "let go")

    made = config(folder, valkey_server, "sv4", CONCURRENT_REQUESTS_PER_DOMAIN=2)
    async with page(wait) as url, connect(made) as connected:
        job = await seeded(connected, url, "hold_the_interpreter_for_two_leases", "parse")
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        stats, _ = await until_finished(connected, job)
        crew.stop()
        await running
    assert sorted(asked) == ["/", "/parse"]
    assert stats.counters.get("pages") == 2


@pytest.mark.timeout(60)
async def test_a_page_at_work_while_the_lease_runs_out_is_ended_with_its_process_but_not_blamed(
    valkey_server: Valkey, folder: Path
) -> None:
    async with (
        page() as url,
        proxy_to(valkey_server.socket) as network,
        connect(config(folder, valkey_server, "sv5")) as connected,
    ):
        job = await seeded(connected, url, "take_long")
        made = config(folder, valkey_server, "sv5", REDIS_URL=network.url, REDIS_TIMEOUT=1.0, CALLBACK_TIMEOUT=60.0)
        async with connect(made) as cut_off:
            crew = supervisor(made, cut_off, ("news",), 4)
            running = asyncio.create_task(crew.run(1))
            await until_there(folder / "begun")
            (child,) = crew._children
            network.cut()
            assert await child.process.wait() == -signal.SIGKILL
            crew.stop()
            network.heal()
            await running
        while (stats := await connected.reading.stats(job)).processing:
            await connected.leases.reap()
    assert (stats.pending, stats.dead, stats.counters.get("retried", 0)) == (1, 0, 0)


@pytest.mark.timeout(60)
async def test_signals_do_not_end_a_worker_that_is_still_starting(valkey_server: Valkey, folder: Path) -> None:
    made = config(folder, valkey_server, "sv3")
    async with page() as url, connect(made) as connected:
        job = await seeded(connected, url, "parse")
        before = children()
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        child = await a_child(before)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child, number)
        stats, _ = await until_finished(connected, job)
        assert child in children()
        crew.stop()
        await running
    assert stats.counters.get("pages") == 1


@pytest.mark.timeout(60)
async def test_a_worker_told_to_stop_while_it_is_starting_starts_and_stops(valkey_server: Valkey, folder: Path) -> None:
    made, before = config(folder, valkey_server, "sv6"), children()
    async with connect(made) as connected:
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        await a_child(before)
        assert not crew._children, "its instructions are not on their way yet"
        crew.stop()
        async with asyncio.timeout(15):  # it would be killed after 30
            assert await running == 0


@pytest.mark.timeout(60)
async def test_who_is_stopped_while_its_processes_start_starts_no_more(
    valkey_server: Valkey, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0

    async def start_and_get_a_signal(slot: int) -> asyncio.subprocess.Process:
        nonlocal started
        started += 1
        asyncio.get_running_loop().call_soon(crew.stop)
        return await start_python(slot)

    monkeypatch.setattr("crawler.worker.supervisor.start_python", start_and_get_a_signal)
    made = config(folder, valkey_server, "sv8")
    async with connect(made) as connected:
        crew = supervisor(made, connected, ("news",), 4)
        assert await crew.run(8) == 0
    assert started == 1


@pytest.mark.timeout(60)
async def test_a_worker_whose_supervisor_is_gone_hands_back_at_once(valkey_server: Valkey, folder: Path) -> None:
    """On Linux it would be killed besides, where nobody else is its parent."""
    made = config(folder, valkey_server, "sv7")
    asked, never = asyncio.Event(), asyncio.Event()

    async def wait(path: str) -> None:
        asked.set()
        await never.wait()

    async with page(wait) as url, connect(made) as connected:
        job = await seeded(connected, url, "parse")
        slot = Slot()
        line = supervisor(made, connected, ("news",), 4)._instructions("w1", slot.descriptor, {})
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crawler.app.child", stdin=asyncio.subprocess.PIPE, pass_fds=(slot.descriptor,)
        )
        assert process.stdin is not None
        process.stdin.write(line)
        await asked.wait()
        process.stdin.close()
        assert await process.wait() == 0
        stats = await connected.reading.stats(job)
        never.set()
    assert (stats.pending, stats.processing, stats.counters.get("released")) == (1, 0, 1)


@pytest.mark.timeout(60)
async def test_a_spider_that_reads_stdin_finds_nothing_there(valkey_server: Valkey, folder: Path) -> None:
    made = config(folder, valkey_server, "sv8", CALLBACK_TIMEOUT=10.0)
    async with page() as url, connect(made) as connected:
        job = await seeded(connected, url, "read_stdin")
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        stats, _ = await until_finished(connected, job)
        crew.stop()
        await running
    assert stats.counters.get("pages") == 1


@pytest.mark.timeout(60)
async def test_a_spider_that_leaks_has_a_new_process_after_its_pages_and_each_page_is_asked_once(
    valkey_server: Valkey, folder: Path
) -> None:
    asked: list[str] = []

    async def wait(path: str) -> None:
        asked.append(path)

    made = config(folder, valkey_server, "sv9", RECYCLE_PAGES=4, CONCURRENT_REQUESTS_PER_DOMAIN=8)
    async with page(wait) as url, connect(made) as connected:
        job = await connected.jobs.create(Job("news", spider="leaky"))
        pages = [Request(f"{url}{number}", spider="leaky") for number in range(10)]
        await connected.adding.add(job, pages, seed=True)
        crew = supervisor(made, connected, ("news",), 8)
        with capture_logs() as logs:
            running = asyncio.create_task(crew.run(1))
            stats, _ = await until_finished(connected, job)
            crew.stop()
            assert await running == 0
        items = [json.loads(line) for entry in await connected.outbox.read(job, {}, 100) for line in entry.items]
    assert sorted(asked) == sorted(f"/{number}" for number in range(10))
    assert sorted(Counter(item["process"] for item in items).values()) == [2, 4, 4]
    assert max(item["kept"] for item in items) == 4
    assert stats.done == 10
    assert [one["event"] for one in logs].count("worker_replaced") == 2
    assert "worker_died" not in [one["event"] for one in logs]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("end_the_process_quietly", 0),
        ("end_the_process_as_if_misconfigured", 78),
        ("end_the_process_from_a_task", 0),
    ],
)
async def test_a_page_that_ends_its_process_is_blamed_whatever_the_exit_code_says(
    valkey_server: Valkey, folder: Path, how: str, code: int
) -> None:
    made = config(folder, valkey_server, f"sv-{how}", RECYCLE_PAGES=4)
    async with page() as url, connect(made) as connected:
        job = await seeded(connected, url, how)
        crew = supervisor(made, connected, ("news",), 4)
        running = asyncio.create_task(crew.run(1))
        _, (letter,) = await until_finished(connected, job)
        crew.stop()
        assert await running == 0
    assert letter.failure.message.endswith(f"exit code {code}")


@pytest.mark.parametrize(("how", "says"), [("exit", "exit code 9"), ("sleep", "its making ran for 1 s")])
@pytest.mark.timeout(60)
async def test_a_spider_that_ends_its_process_while_it_is_made_is_tried_three_times_and_costs_no_page(
    valkey_server: Valkey, folder: Path, how: str, says: str
) -> None:
    made = config(folder, valkey_server, f"sv-unborn-{how}", CALLBACK_TIMEOUT=1.0)
    async with page() as url, connect(made) as connected:
        job = await connected.jobs.create(Job("news", spider="unborn", arguments={"how": how}))
        await connected.adding.add(job, [Request(url, spider="unborn"), Request(f"{url}b", spider="harm")], seed=True)
        crew = supervisor(made, connected, ("news",), 4)
        with capture_logs() as logs:
            running = asyncio.create_task(crew.run(1))
            while len(died := [line for line in logs if line["event"] == "worker_died"]) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while not (await connected.reading.stats(job)).done:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
            crew.stop()
            assert await running == 0
        stats = await connected.reading.stats(job)
    assert (folder / "made").read_text().split() == ["once"] * 3
    assert [(line["while_making"], line["how"]) for line in died] == [("unborn", says)] * 3
    assert (stats.dead, stats.done, stats.pending) == (0, 1, 1), "one waits, the other is done"
