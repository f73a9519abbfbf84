"""Runs a suite once for each mutant of a script: collects the tests once, then forks a process for each mutant.

`python -m scripts.mutation.loop JOBS PYTEST_ARGUMENT…` reads numbers of mutants from standard input and prints those
that no test noticed. Collecting takes longer than most mutants live. A first run without a mutant finds which tests run
which lines (`reach.py`): the others are left out. The tests that noticed mutants of the same script run first, and then
the quick ones, so most mutants meet their test at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from crawler.frontier.redis import scripts
from scripts.mutation.cases import ROOT, Case, cases
from scripts.mutation.reach import Reach

SECONDS = 60  # for one test: a mutant that makes a script run for ever ends its process, and so is noticed


class MutantLoop:
    """A pytest plugin in the place of its loop over the tests."""

    def __init__(self, todo: Iterable[Case], jobs: int, results: int) -> None:
        """`results`: the file descriptor that gets the numbers of survivors."""
        self._results = results
        self._todo = list(todo)
        self._jobs = jobs
        self._case: Case | None = None  # in the child of a mutant
        self._reach = Reach()
        self._running: dict[int, Case] = {}
        self._noticed: dict[str, Counter[str]] = defaultdict(Counter)  # by script, and by test
        self._heard, self._tell = os.pipe()
        os.set_blocking(self._heard, False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> object:
        """In the parent: find what the tests reach, then start a child for each mutant. In a child: return None, so
        that pytest runs the tests."""
        descriptor, name = tempfile.mkstemp()
        if (child := os.fork()) == 0:
            self._reach.begin(descriptor)
            session.config.pluginmanager.register(self._reach)
            return None
        os.close(descriptor)
        failed = os.waitpid(child, 0)[1]
        self._reach.load(Path(name))
        if failed:
            raise pytest.UsageError("some tests fail without a mutant, or there are none")
        for case in self._todo:
            while len(self._running) >= self._jobs:
                self._wait()
            if not (tests := self._tests(session.items, case)):
                self._survived(case)
                continue
            child = os.fork()
            if child == 0:
                os.setpgid(0, 0)  # with its servers, so that all of them can be killed
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where the stacks of a late test would go
                mutate(case)
                session.items[:] = tests
                session.config.option.maxfail = 1
                self._case = case
                return None
            self._running[child] = case
        while self._running:
            self._wait()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a child: tell the parent which test noticed the mutant."""
        if report.failed and self._case is not None:
            os.write(self._tell, f"{self._case.path} {report.nodeid}\n".encode())
        elif report.failed:
            print(f"fails without a mutant: {report.nodeid}", file=sys.stderr)

    def _tests(self, items: list[pytest.Item], case: Case) -> list[pytest.Item]:
        """Those that may notice the mutant: first those that noticed mutants of this script, or others, then the quick
        ones."""
        here, anywhere = self._noticed[case.path], sum(self._noticed.values(), Counter())
        may = [item for item in items if self._reach.may_notice(item.nodeid, case.path, case.mutant.number)]
        seconds = self._reach.seconds
        return sorted(may, key=lambda item: (-here[item.nodeid], -anywhere[item.nodeid], seconds.get(item.nodeid, 0.0)))

    def _survived(self, case: Case) -> None:
        os.write(self._results, f"{case.number}\n".encode())

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for told in os.read(self._heard, 65_536).decode().splitlines():
                path, _, test = told.partition(" ")
                self._noticed[path][test] += 1

    def _wait(self) -> None:
        self._listen()
        child, status = os.waitpid(-1, os.WNOHANG)
        if child not in self._running:
            time.sleep(0.02)
            return
        case = self._running.pop(child)
        if status == 0:
            self._survived(case)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # the servers of one that was ended in the middle of a test


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


def main() -> int:
    """See the module. Returns pytest's exit code: unless it is 0, nothing was tried, and no mutant was noticed."""
    wanted = {int(number) for number in sys.stdin.read().split()}
    results = os.dup(1)
    _silence()
    loop = MutantLoop((case for case in cases() if case.number in wanted), int(sys.argv[1]), results)
    parent = os.getpid()
    # A thread watches the time: while a script runs, nothing else in its thread does.
    options = ["-q", "-s", "-p", "no:cacheprovider", "-o", f"timeout={SECONDS}", "-o", "timeout_method=thread"]
    code = pytest.main([*options, *sys.argv[2:]], plugins=[loop])
    if os.getpid() != parent:
        os._exit(int(code))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
