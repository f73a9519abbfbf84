"""Runs a suite once for each mutant of a script: collects the tests once, then forks a process for each mutant.

`python -m scripts.mutation.loop JOBS PYTEST_ARGUMENT…` reads numbers of mutants from standard input and prints those
that no test noticed. Collecting takes longer than most mutants live. The tests that noticed mutants of the same script
run first, so most mutants meet their test at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from crawler.frontier.redis import scripts
from scripts.mutation.cases import ROOT, Case, cases

SECONDS = 300.0  # for one mutant; one that makes a script run for ever is noticed by it


class MutantLoop:
    """A pytest plugin in the place of its loop over the tests."""

    def __init__(self, todo: Iterable[Case], jobs: int, results: int) -> None:
        """`results`: the file descriptor that gets the numbers of survivors."""
        self._results = results
        self._todo = list(todo)
        self._jobs = jobs
        self._running: dict[int, tuple[Case, float]] = {}
        self._noticed: dict[str, Counter[str]] = defaultdict(Counter)  # by script, and by test
        self._heard, self._tell = os.pipe()
        os.set_blocking(self._heard, False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> object:
        """In the parent: start a child for each mutant. In a child: return None, so that pytest runs the tests."""
        for case in self._todo:
            while len(self._running) >= self._jobs:
                self._wait()
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)  # with its servers, so that all of them can be killed
                mutate(case)
                self._order(session.items, case)
                session.config.option.maxfail = 1
                self._case = case
                return None
            self._running[child] = (case, time.monotonic())
        while self._running:
            self._wait()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a child: tell the parent which test noticed the mutant."""
        if report.failed:
            os.write(self._tell, f"{self._case.path} {report.nodeid}\n".encode())

    def _order(self, items: list[pytest.Item], case: Case) -> None:
        """Those first that noticed mutants of this script, or of others, or are named like it; the long one last."""
        here, anywhere = self._noticed[case.path], sum(self._noticed.values(), Counter())
        stem = Path(case.path).stem
        items.sort(
            key=lambda item: (
                "does_what_the_model_does" in item.name,
                -here[item.nodeid],
                stem not in item.path.stem,
                -anywhere[item.nodeid],
            )
        )

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for told in os.read(self._heard, 65_536).decode().splitlines():
                path, _, test = told.partition(" ")
                self._noticed[path][test] += 1

    def _wait(self) -> None:
        self._listen()
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in self._running:
            case, _ = self._running.pop(child)
            if status == 0:
                os.write(self._results, f"{case.number}\n".encode())
            return
        for late, (_, since) in self._running.items():
            if time.monotonic() - since > SECONDS:
                os.killpg(late, signal.SIGKILL)
        time.sleep(0.02)


def mutate(case: Case) -> None:
    """From now on this process reads the mutant in the place of its file."""
    path, text = ROOT / case.path, case.mutant.text
    read = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        return text.encode() if self == path else read(self)

    def read_text(self: Path, *_: Any, **__: Any) -> str:
        return read_bytes(self).decode()

    Path.read_bytes = read_bytes  # type: ignore[method-assign]
    Path.read_text = read_text  # type: ignore[method-assign]
    scripts.forget()  # some module has assembled them when it was imported


def _silence() -> None:
    """Nobody reads what pytest says of each mutant."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)


def main() -> None:
    """See the module."""
    wanted = {int(number) for number in sys.stdin.read().split()}
    results = os.dup(1)
    _silence()
    loop = MutantLoop((case for case in cases() if case.number in wanted), int(sys.argv[1]), results)
    parent = os.getpid()
    options = ["-q", "-s", "-p", "no:cacheprovider", "-o", "timeout=60"]
    code = pytest.main([*options, *sys.argv[2:]], plugins=[loop])
    if os.getpid() != parent:
        os._exit(int(code))


if __name__ == "__main__":
    main()
