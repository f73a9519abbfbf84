"""Workers, exporters and seeders as real processes: start them, kill them, hear what they say. Nothing is imported."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAIL = 12  # lines of each log that a failure shows


class Overdue(AssertionError):
    """Something that had to happen did not, in its time."""


async def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> float:
    """Wait until the condition holds; returns the seconds it took. Raises `Overdue` naming what was waited for."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise Overdue(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.01)
    return time.monotonic() - started


class Command:
    """One command line of the crawler: a process group of its own, and a log file with all it says."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self.log = log
        self._process = process

    @property
    def code(self) -> int | None:
        """Its exit code; negative: the signal that ended it. None: it runs."""
        return self._process.returncode

    @property
    def children(self) -> list[int]:
        """Process ids of the worker processes of a supervisor."""
        return children_of(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """To the command's first process alone."""
        if self.code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the whole group at once: supervisor and workers, as when their machine dies."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def says(self, text: str) -> int:
        """How often the text stands in the log so far."""
        return self.output.count(text)

    @property
    def output(self) -> str:
        """All it has said so far."""
        return self.log.read_text(errors="replace")

    async def has_said(self, text: str, seconds: float = 30.0) -> None:
        """Wait for a text in the log."""
        await until(lambda: text in self.output, f"{self.name} to say {text!r}", seconds)

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait for its end; returns the exit code."""
        try:
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        except TimeoutError:
            raise Overdue(f"waited {seconds:g} s for {self.name} to end") from None

    async def feed(self, text: str) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        await self._process.stdin.drain()

    def end_of_input(self) -> None:
        """Close its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(f"  {self.name}: {line}" for line in self.output.splitlines()[-TAIL:])


class Fleet:
    """All commands that work on one crawl, in one project folder."""

    def __init__(self, folder: Path, redis_url: str, settings: Mapping[str, object]) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.settings = dict(settings)
        self.wrapper: Sequence[str] = ()  # of all commands
        self.commands: list[Command] = []
        self.workers: list[Command] = []
        (folder / "logs").mkdir()
        (folder / "spiders").mkdir()

    def spider(self, name: str, source: str) -> None:
        """Put a spider into the project folder."""
        (self.folder / "spiders" / f"{name}.py").write_text(source)

    async def run(
        self,
        *arguments: str,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        redis_url: str = "",
        feeding: bool = False,
    ) -> Command:
        """Start `crawler ARGUMENTS`, by way of a wrapper such as `prlimit --as=…`. `feeding`: see `Command.feed`."""
        name = f"{arguments[0]}{len(self.commands) + 1}"
        log = self.folder / "logs" / f"{name}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *self.wrapper,
                *wrapper,
                sys.executable,
                "-m",
                "crawler",
                *arguments,
                stdin=asyncio.subprocess.PIPE if feeding else asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**self._environment(redis_url), **(environment or {})},
                start_new_session=True,
            )
        command = Command(name, process, log)
        self.commands.append(command)
        return command

    async def worker(self, *arguments: str, **how: object) -> Command:
        """Start a supervisor with one worker process."""
        command = await self.run("worker", "--processes", "1", *arguments, **how)  # type: ignore[arg-type]
        self.workers.append(command)
        return command

    async def finished(self, *arguments: str, seconds: float = 30.0, **how: object) -> Command:
        """Run a command to its end."""
        command = await self.run(*arguments, **how)  # type: ignore[arg-type]
        await command.ended(seconds)
        return command

    @property
    def running(self) -> list[Command]:
        """The workers that are there."""
        return [worker for worker in self.workers if worker.code is None]

    async def working(self) -> None:
        """Wait until every supervisor has its child."""
        for worker in self.running:
            await until(lambda worker=worker: worker.children or worker.code is not None, f"a child of {worker.name}")  # type: ignore[misc]

    async def stop_workers(self, seconds: float = 30.0) -> list[int]:
        """SIGTERM to each supervisor; returns the exit codes."""
        running = self.running
        for worker in running:
            worker.signal(signal.SIGTERM)
        return [await worker.ended(seconds) for worker in running]

    async def close(self) -> None:
        """Kill what is left. A stopped process is woken first, or it would not die."""
        for command in self.commands:
            for pid in [command.pid, *command.children] if command.code is None else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            command.kill()
        for command in self.commands:
            if command._process.stdin is not None:
                command._process.stdin.close()
            await command.ended()

    def tails(self) -> str:
        """The end of every log."""
        return "\n".join(command.tail() for command in self.commands)

    def _environment(self, redis_url: str) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("CRAWLER_", "REDIS_URL"))}
        settings = {f"CRAWLER_{name}": str(value) for name, value in self.settings.items()}
        return {
            **ours,
            **settings,
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": redis_url or self.redis_url,
            "PYTHONUNBUFFERED": "1",
        }


def children_of(pid: int) -> list[int]:
    """Process ids of a process's children."""
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB; 0 when it is gone."""
    return _status_mb(pid, "VmRSS:")


def peak_mb(pid: int) -> float:
    """The most of it that there ever was."""
    return _status_mb(pid, "VmHWM:")


def _status_mb(pid: int, field: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return 0.0


async def tool(arguments: Sequence[str]) -> None:
    """Run a program of the system to its end."""
    process = await asyncio.create_subprocess_exec(*arguments)
    if await process.wait() != 0:
        raise Overdue(f"{' '.join(arguments)} ended with exit code {process.returncode}")
