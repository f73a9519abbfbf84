"""Runs a crawl's worker in this process: for a frontier that lives in it, and for a program (`crawler.run`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from crawler.app.config import Config
from crawler.control.routes import Assignment
from crawler.interfaces import Backend, Sink
from crawler.model import Job
from crawler.worker.blame_slot import NoSlot
from crawler.worker.supervisor import worker_name


class Inside(NamedTuple):
    """What a program asks for that crawls in its own process."""

    sink: Sink | None = None  # for the items of the first target; None: the target names it
    is_brief: bool = False  # delete the job at the end, however it ends
    heeds_signals: bool = False  # drain at SIGINT, SIGTERM and SIGHUP


class InProcess:
    """Runs the worker in this process. Replaces the supervisor."""

    def __init__(self, config: Config, connected: Backend, job: Job) -> None:
        self._config = config
        self._connected = connected
        self._job = job
        self._stop: Callable[[], None] | None = None
        self.stopping = False
        self.code_of_signal = 0

    async def run(self, processes: int) -> int:
        """Work until `stop()`; ignores `processes`. Return the exit code."""
        from crawler.app.start_worker import start_worker  # slow to import, and most crawls have workers of their own

        ours = Assignment((self._job.name,))
        running = await start_worker(self._config, self._connected, worker_name(), ours, NoSlot())
        self._stop = running.worker.stop
        if self.stopping:
            self._stop()
        await running.until_stopped()
        return self.code_of_signal

    def stop(self, code: int = 0) -> None:
        """Drain; the second call stops at once."""
        self.stopping = True
        self.code_of_signal = self.code_of_signal or code
        if self._stop is not None:
            self._stop()
