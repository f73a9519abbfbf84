"""The two crews: how each starts a worker, gets its seeds, and reports its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import redis

from tests.chaos.fleet import Command, Fleet, Overdue
from tests.valkey import Valkey
from tests.webserver import Running

PER_HOST, IN_FLIGHT = 4, 16  # requests at once to a host, and in a worker: the same for both crews
QUIET = 10.0  # seconds without a request after which a crawl that has no end of its own counts as over
INSTALL = 300.0  # seconds that the installation may take
PACKAGES = ("scrapy", "scrapy-redis")


class Crew(Protocol):
    """Workers on one crawl. Each has a slot; a killed worker restarts in the same slot."""

    name: str

    async def start(self, seeds: Sequence[str], workers: int) -> None:
        """Seeds and all workers."""

    async def kill(self, slot: int) -> None:
        """SIGKILL to the worker's whole process group."""

    async def tend(self) -> None:
        """Restart each ended worker, as the supervisor of any machine would."""

    async def is_over(self) -> bool:
        """Return whether the crawl has ended."""

    async def close(self) -> None:
        """Stop what still runs in order, so that it writes everything."""

    def outputs(self) -> list[Path]:
        """Files with the items."""


class Ours:
    """`crawler worker`, `seed` and `export`, each a command of its own, with its default lease."""

    name = "crawler"

    def __init__(self, folder: Path, server: Valkey) -> None:
        settings = {
            "ALLOWED_NETWORKS": "127.0.0.0/8",
            "ROBOTSTXT_OBEY": False,
            "DOWNLOAD_DELAY": 0,
            "CONCURRENT_REQUESTS": IN_FLIGHT,
            "CONCURRENT_REQUESTS_PER_DOMAIN": PER_HOST,
        }
        self._fleet = Fleet(folder, server.url, settings)
        self._output = folder / "items.jsonl"
        self._slots: list[Command] = []
        self._exporter: Command | None = None

    async def start(self, seeds: Sequence[str], workers: int) -> None:
        """Start the exporter as well; its exit marks the end."""
        seeder = await self._fleet.finished("seed", "--spider", "site", *seeds)
        if seeder.code != 0:
            raise Overdue(f"seeding ended with exit code {seeder.code}\n{seeder.tail()}")
        self._exporter = await self._fleet.run("export", "-o", str(self._output), "--until-finished")
        self._slots = [await self._fleet.worker() for _ in range(workers)]

    async def kill(self, slot: int) -> None:
        """Supervisor and worker process at once."""
        self._slots[slot].kill()
        await self._slots[slot].ended()

    async def tend(self) -> None:
        """One that has ended is replaced."""
        for slot, worker in enumerate(self._slots):
            if worker.code is not None:
                self._slots[slot] = await self._fleet.worker()

    async def is_over(self) -> bool:
        """The exporter ends when the crawl is proven to be finished and all items are in the file."""
        return self._exporter is not None and self._exporter.code is not None

    async def close(self) -> None:
        """Send SIGTERM to the workers, then stop whatever still runs."""
        with suppress(Overdue):
            await self._fleet.stop_workers()
        await self._fleet.close()

    def outputs(self) -> list[Path]:
        """One file."""
        return [self._output]


class ScrapyRedis:
    """One process per worker, one feed file per slot. Silence and an empty queue mark its end."""

    name = "scrapy-redis"

    def __init__(self, folder: Path, server: Valkey, web: Running, python: Path) -> None:
        self._folder = folder
        self._server = server
        self._web = web
        self._python = python
        self._slots: list[asyncio.subprocess.Process] = []

    async def start(self, seeds: Sequence[str], workers: int) -> None:
        """Start URLs are pushed to the list its spider reads."""
        with redis.Redis.from_url(self._server.url) as client:
            client.rpush("site:start_urls", *seeds)
        self._slots = [await self._worker(slot) for slot in range(workers)]

    async def _worker(self, slot: int) -> asyncio.subprocess.Process:
        output = self._folder / f"items-{slot}.jsonl"
        with (self._folder / f"worker-{slot}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                self._python,
                Path(__file__).with_name("peer.py"),
                *map(str, (self._server.url, output, PER_HOST, IN_FLIGHT)),
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                start_new_session=True,
            )

    async def kill(self, slot: int) -> None:
        """SIGKILL."""
        worker = self._slots[slot]
        if worker.returncode is None:
            os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()

    async def tend(self) -> None:
        """One that has ended is replaced."""
        for slot, worker in enumerate(self._slots):
            if worker.returncode is not None:
                self._slots[slot] = await self._worker(slot)

    async def is_over(self) -> bool:
        """Silence for a while."""
        return bool(self._web.log) and time.monotonic() - self._web.log[-1].time > QUIET

    async def close(self) -> None:
        """Send SIGTERM, which lets it close its feeds, and later SIGKILL."""
        for worker in self._slots:
            if worker.returncode is None:
                worker.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                for worker in self._slots:
                    await worker.wait()
        for slot in range(len(self._slots)):
            await self.kill(slot)

    def outputs(self) -> list[Path]:
        """Return one file per slot."""
        return sorted(self._folder.glob("items-*.jsonl"))


def install(folder: Path) -> Path:
    """Install scrapy-redis into a new environment and return its interpreter."""
    python = folder / "bin" / "python"
    print(f"installing {' and '.join(PACKAGES)} into a throw-away environment", file=sys.stderr)
    venv.create(folder, with_pip=True)
    quiet = ("-qq", "--no-input", "--progress-bar", "off", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", "install", *quiet, *PACKAGES], check=True, timeout=INSTALL)
    return python


def versions(python: Path) -> str:
    """Of what was installed."""
    code = (
        "from importlib.metadata import version as v; import sys; print(', '.join(f'{n} {v(n)}' for n in sys.argv[1:]))"
    )
    return subprocess.run([python, "-c", code, *PACKAGES], check=True, capture_output=True, text=True).stdout.strip()
