"""Measure commands that people wait for: seconds and CPU seconds, with all cores."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import NamedTuple

from scripts.benchmark.contenders import ROOT
from scripts.benchmark.process import cpu_of, family

RUNS = 7
COMMANDS = (("--help",), ("status", "--job", "bench"), ("version",))


class Waited(NamedTuple):
    """The seconds of one run. `cpu` is user + system time of the command and its workers, without a queue server."""

    wall: float
    cpu: float


async def measure(url: str, tell: Callable[[str, str], None]) -> None:
    """Measure on the queue server at `url`, and `crawl` also without one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = {**environment, "REDIS_URL": url}
    for words in COMMANDS:
        _, *runs = [await _to_the_end(words, running) for _ in range(1 + RUNS)]
        tell(f"crawler {' '.join(words)}", _in_words(runs))
    embedded = {name: value for name, value in environment.items() if name != "REDIS_URL"}
    for number in (1, 2):
        for what, chosen in (("", running), (", its queue server started first", embedded)):
            _, *runs = [await _to_the_first_request(number, chosen) for _ in range(1 + RUNS)]
            tell(f"crawler crawl --processes {number}, until a host is asked{what}", _in_words(runs))


def _in_words(runs: list[Waited]) -> str:
    walls, cpus = zip(*runs, strict=True)
    return f"{median(walls):.2f} s ({min(walls):.2f}–{max(walls):.2f}), {median(cpus):.2f} s CPU"


async def _to_the_end(words: tuple[str, ...], environment: Mapping[str, str]) -> Waited:
    began, before = time.monotonic(), os.times()
    command = [sys.executable, "-P", "-m", "crawler", *words]
    await asyncio.to_thread(subprocess.run, command, capture_output=True, cwd=Path.home(), env=environment)
    seconds, after = time.monotonic() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Waited(seconds, used)


async def _to_the_first_request(processes: int, environment: Mapping[str, str]) -> Waited:
    """Measure from the start of the command to the first request at a host, in a new folder."""
    asked: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if not asked.done():
            asked.set_result(time.monotonic())
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        host = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{host.sockets[0].getsockname()[1]}/"
        # no delay: the queue server remembers when the previous run asked this address
        settings = ["-s", "ALLOWED_NETWORKS=127.0.0.0/8", "-s", "DOWNLOAD_DELAY=0"]
        options = ["--fresh", "-q", "--processes", str(processes), *settings]
        data = ["-s", f"DATA_DIR={folder}/data"]
        began = time.monotonic()
        crawling = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "crawler", "crawl", url, *options, *data),
            cwd=folder,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        seconds = await asyncio.wait_for(asked, 60) - began
        used = sum(map(cpu_of, family(crawling.pid)))
        crawling.terminate()
        await crawling.wait()
        if "REDIS_URL" not in environment:
            await _to_the_end(("down", *data, "--force"), environment)
        host.close()
    return Waited(seconds, used)
