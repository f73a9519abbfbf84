"""Run one command on one core and measure it: CPU of all its processes, time, memory of the largest."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.2  # between two readings of the memory


@dataclass(frozen=True)
class Usage:
    """The resources a command used. Times in seconds; `cpu` is user + system time of it and all its descendants."""

    cpu: float
    wall: float
    peak_bytes: int  # of its largest process
    code: int


def cores() -> tuple[int | None, int | None]:
    """One core for the servers, one for the crawler; None for both without two cores or `taskset`."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2 or shutil.which("taskset") is None:
        return None, None
    return available[0], available[1]


def pinned(core: int | None) -> list[str]:
    """Return the prefix that pins a command to a core."""
    return [] if core is None else ["taskset", "-c", str(core)]


def keep_compiled_modules(*trees: Path) -> None:
    """Let all that this process starts read compiled modules, as on a user's machine and as the peers do, whose modules
    pip has compiled. The crawlers in `trees` run from their sources, which nobody has compiled yet."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for tree in trees:
        compileall.compile_dir(tree / "crawler", quiet=2)


def run(
    command: Sequence[str], *, core: int | None, folder: Path, environment: Mapping[str, str] | None = None
) -> Usage:
    """Run the command to its end, with its output in `folder`/output."""
    started = time.monotonic()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*pinned(core), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
        memory = _Memory(process.pid)
        # wait4 counts the process and every descendant that was waited for: exact, not sampled
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - started
    return Usage(used.ru_utime + used.ru_stime, wall, memory.stop(), process.returncode)


def cpu_of(pid: int) -> float:
    """User + system seconds of a running process and its living threads, to the microsecond (Linux)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class _Memory:
    """Watches the peak resident memory of a process and its descendants; the highest one counts."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            self._peak = max([self._peak, *map(_high_mark, family(self._pid))])


def family(pid: int) -> list[int]:
    """The process and its descendants."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return [pid]
    return [pid, *(one for child in children for one in family(child))]


def _high_mark(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)
