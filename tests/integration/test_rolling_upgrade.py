"""Workers of two versions of the program on one job: one knows a field of `Request` that the other does not.

The newer one is a copy of this package with a field added, as CONTRIBUTING says it is done: one line, and a second one
where no worker may ignore the field. The older one is this package as it is, or the first generation of workers out of
the repository's history. Workers are killed, and told to stop, while they hold requests with the field.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import msgspec
import pytest

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend
from crawler.model import Job, Request
from crawler.status import JobStats
from tests.valkey import Valkey

ROOT = Path(__file__).parents[2]
FIRST_GENERATION = "1b8373e"
PAGES = 30  # with the field, and as many without
PASSED_ON = 5  # pages with the field that each old worker fails and passes on, at least

SPIDER = f"""
from crawler import Request, Spider

class Grow(Spider):
    name = "grow"

    def parse(self, response):
        if response.url.endswith("/"):
            for number in range({PAGES}):
                yield Request(response.urljoin(f"plain{{number}}"))
                yield Request(response.urljoin(f"grown{{number}}"), label=f"label of {{number}}")
        yield {{"url": response.url, "label": getattr(response.request, "label", "")}}
"""


def patch(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new))


@pytest.fixture(params=["this version", "the first generation"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the program that does not know the field. It does not leave a message alone for a whole minute."""
    folder = tmp_path / "older"
    folder.mkdir()
    if request.param == "this version":
        shutil.copytree(ROOT / "crawler", folder / "crawler")
    else:
        archive = subprocess.run(
            ["git", "archive", FIRST_GENERATION, "crawler"], cwd=ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            pytest.skip(f"commit {FIRST_GENERATION} is not in this clone: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    patch(folder / "crawler/worker/worker.py", "SET_ASIDE = 60.0", "SET_ASIDE = 0.5")
    return folder


@pytest.fixture(params=[False, True], ids=["may be ignored", "must be known"])
def must_know(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def newer(tmp_path: Path, must_know: bool) -> Path:
    """A folder with the program that has one field more."""
    folder = tmp_path / "newer"
    shutil.copytree(ROOT / "crawler", folder / "crawler")
    new = '    label: str = ""\n    # A new field goes here'
    patch(folder / "crawler/model.py", "    # A new field goes here", new)
    if must_know:
        old = '_MUST_KNOW: Mapping[str, int] = {"cb_kwargs": 2, "media": 3}'
        patch(folder / "crawler/frontier/message.py", old, old.replace("}", ', "label": 4}'))
    return folder


CHECKS = """
from crawler.frontier.message import VERSION, JunkMessage, check, decode, encode
from crawler.model import Request

def fails(error, call, *arguments):
    try:
        call(*arguments)
    except error as why:
        return str(why)
    raise AssertionError(arguments)

url = "http://a.example/"
plain, grown = Request(url), check(Request(url, label="a \\ud800", delay=3.0))
assert grown == Request(url, label="a \ufffd", delay=3.0)
assert check(Request(url, label=None)) == plain
assert encode(plain) == b'[1,0,0,0,0,"http://a.example/",0,""]'
assert encode(grown) == ('[%d,0,0,0,0,"http://a.example/",0,"",{},{"label":"a \ufffd"}]' % GROWN).encode()
assert decode(encode(grown)).request == Request(url, label="a \ufffd")
assert "expected `str`" in fails(ValueError, check, Request(url, label=5)).lower()
assert "expected `str`" in fails(JunkMessage, decode, b'[1,0,0,0,0,"http://a.example/",0,"",{},{"label":5}]').lower()
"""


def test_a_new_field_is_written_and_checked_like_the_others(newer: Path, must_know: bool) -> None:
    """One line in `Request` is enough; messages without the field stay as they are."""
    checks = f"GROWN = {4 if must_know else 1}\n{CHECKS}\nassert VERSION == {4 if must_know else 3}\n"
    subprocess.run([sys.executable, "-c", checks], cwd=newer, env={**os.environ, "PYTHONPATH": str(newer)}, check=True)


class Site:
    """The pages, and who asked for them. An old worker gets an error for each page that has the field.

    Workers in `holding` get no answer at all: new ones for any page, old ones for every fifth that has the field.
    """

    def __init__(self) -> None:
        self.asked: dict[str, set[str]] = defaultdict(set)  # worker → paths
        self.holding: set[str] = set()
        self.held: dict[str, set[str]] = defaultdict(set)  # worker → paths
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.1.1", 0)
        self.url = f"http://127.0.1.1:{server.sockets[0].getsockname()[1]}/"
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), suppress(asyncio.IncompleteReadError):  # the worker was killed
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        worker = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("user-agent"))
        is_new = worker.startswith("new")
        self.asked[worker].add(path)
        if worker in self.holding and path != "/" and (is_new or ("grown" in path and path[-1] in "05")):
            self.held[worker].add(path)
            await reader.read()
        status = "200 OK" if is_new or "plain" in path else "500 No"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: 2\r\n".encode())
        writer.write(b"connection: close\r\n\r\nok")


class Fleet:
    """Worker commands of either version, each the leader of a process group."""

    def __init__(self, folder: Path, server: Valkey, prefix: str) -> None:
        self.folder = folder
        (folder / "spiders").mkdir()
        (folder / "spiders" / "grow.py").write_text(SPIDER)
        self._settings = {
            "REDIS_URL": server.url,
            "KEY_PREFIX": prefix,
            "ALLOWED_NETWORKS": "127.0.0.0/8",
            "DOWNLOAD_DELAY": "0",
            "CONCURRENT_REQUESTS_PER_DOMAIN": "8",
            "LEASE_SECONDS": "1",
            "GRACE_SECONDS": "0",
            "RETRY_TIMES": "10000",
            "RETRY_DELAY": "0.05",
            "RETRY_MAX_DELAY": "0.2",
            "ROBOTSTXT_OBEY": "false",
        }
        self._running: list[asyncio.subprocess.Process] = []

    async def start(self, program: Path, name: str) -> asyncio.subprocess.Process:
        """Its user agent is its name."""
        settings = [word for pair in {**self._settings, "USER_AGENT": name}.items() for word in ("-s", "=".join(pair))]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "crawler", "worker", "--processes", "1", *settings),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(program)},
            start_new_session=True,
        )
        self._running.append(process)
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """As when its machine dies."""
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        self._running.remove(process)

    async def stop(self, process: asyncio.subprocess.Process) -> None:
        """It hands back what it holds."""
        self._running.remove(process)
        process.terminate()
        assert await process.wait() == 0

    async def close(self) -> None:
        for process in list(self._running):
            await self.kill(process)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - processes of several programs tell nobody
        await asyncio.sleep(0.05)


@pytest.mark.timeout(90)
async def test_a_new_field_arrives_through_workers_that_do_not_know_it(
    valkey_server: Valkey, older: Path, newer: Path, must_know: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    prefix = f"upgrade-{abs(hash(request.node.name))}"
    site, fleet = Site(), Fleet(tmp_path, valkey_server, prefix)

    async def stats() -> JobStats:
        return await backend.reading.stats(job)

    async def counter(name: str) -> int:
        return (await stats()).counters.get(name, 0)

    async with site.open(), open_redis(Server(valkey_server.url), prefix=prefix) as backend:
        job = await backend.jobs.create(Job("news", spider="grow"))
        try:
            await backend.adding.add(job, [Request(site.url, spider="grow")], seed=True)
            site.holding |= {"new-1", "old-1", "old-2", "new-2"}

            dying = await fleet.start(newer, "new-1")  # finds all pages, and dies with some in hand
            await until(lambda: bool(site.held["new-1"]))
            await fleet.kill(dying)

            dying = await fleet.start(older, "old-1")
            await until(lambda: enough_for(site, "old-1", must_know))
            await fleet.kill(dying)
            set_aside = await counter("set_aside")
            stopped = await fleet.start(older, "old-2")
            await until(lambda: must_know or enough_for(site, "old-2", must_know))
            while must_know and await counter("set_aside") <= set_aside:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
            await fleet.stop(stopped)

            dying = await fleet.start(newer, "new-2")
            await fleet.start(older, "old-3")
            await until(lambda: bool(site.held["new-2"]))
            await fleet.start(newer, "new-3")
            await fleet.kill(dying)
            while not (end := await stats()).finished:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)
        finally:
            await fleet.close()
        found = await items(backend, job)

    expected = {site.url: ""} | {f"{site.url}plain{number}": "" for number in range(PAGES)}
    expected |= {f"{site.url}grown{number}": f"label of {number}" for number in range(PAGES)}
    assert found == Counter(expected.items())
    assert (end.known, end.done, end.dead) == (len(expected), len(expected), 0)
    assert {path for name in ("new-2", "new-3") for path in site.asked[name] if "grown" in path}
    passed = {path for name in ("old-1", "old-2", "old-3") for path in site.asked[name] if "grown" in path}
    if must_know:
        assert not passed
    else:
        assert len(passed) >= PASSED_ON
        assert end.counters["retried"] >= PASSED_ON
        assert end.counters["released"] >= len(site.held["old-2"]) > 0 < len(site.held["old-1"])
    assert end.counters["reaped"] > 0


def enough_for(site: Site, worker: str, must_know: bool) -> bool:
    """It holds a page with the field, and has passed others on; or else it works on the other pages."""
    if must_know:
        return any("plain" in path for path in site.asked[worker])
    grown = {path for path in site.asked[worker] if "grown" in path}
    return bool(site.held[worker]) and len(grown - site.held[worker]) >= PASSED_ON


async def items(backend: Backend, job: Job) -> Counter[tuple[str, str]]:
    """How often each pair of URL and label was found."""
    entries = await backend.outbox.read(job, {}, 10_000)
    lines = [msgspec.json.decode(line) for entry in entries for line in entry.items]
    return Counter((line["url"], line["label"]) for line in lines)
