"""Which tests run which lines of the scripts: only those can notice a mutant of a line.

A line hook in the interpreter of `memory://` notes the lines; tests on a real server are not followed.
"""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from crawler.frontier.memory import lua
from crawler.frontier.memory.store import Store
from crawler.frontier.redis import scripts
from scripts.mutation.cases import ROOT, SCRIPTS

Line = tuple[str, int]  # path of the file, number from 1
NEAR = 2  # lines: a statement of several lines runs under the number of one of them

_HOOK = b"""
local lines, getinfo, sethook = {}, debug.getinfo, debug.sethook
sethook(function(_, line)
  local source = getinfo(2, 'S').source
  local its = lines[source]
  if not its then its = {} lines[source] = its end
  its[line] = true
end, 'l')
"""


class Reach:
    """A pytest plugin: for each test the lines that it ran, and how long it took."""

    def __init__(self) -> None:
        self.lines: dict[str, set[Line]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)
        self._descriptor = -1
        self._interpreters: list[Any] = []
        self._origins: dict[str, list[Line]] = {}

    def begin(self, descriptor: int) -> None:
        """Note lines from now on, in this process, and write them to that descriptor at the end."""
        self._descriptor = descriptor
        lua._SANDBOX = _HOOK + lua._SANDBOX.replace(b"kept.redis =", b"kept.reach = lines\nkept.redis =", 1)
        make = lua.Scripts.__init__

        def init(one: lua.Scripts, store: Store) -> None:
            make(one, store)
            self._interpreters.append(one._lua)

        lua.Scripts.__init__ = init  # type: ignore[method-assign,assignment]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After each phase of a test, with its fixtures."""
        self.seconds[report.nodeid] += report.duration
        for interpreter in self._interpreters:
            for source, numbers in interpreter.globals()[b"reach"].items():
                origin = self._origin(source.removeprefix(b"@").decode())
                its = [number for number, _ in numbers.items() if number <= len(origin)]
                self.lines[report.nodeid].update(origin[number - 1] for number in its)
        if report.when == "teardown":
            self._interpreters.clear()

    def _origin(self, name: str) -> list[Line]:
        """For each line of an assembled script the file that it is from. A script that a test made has none."""
        if name not in scripts.NAMES:
            return []
        if name not in self._origins:
            self._origins[name] = origin(name)
        return self._origins[name]

    def pytest_sessionfinish(self) -> None:
        """Save all for `load`."""
        with os.fdopen(self._descriptor, "wb") as file:
            pickle.dump((dict(self.lines), dict(self.seconds)), file)

    def load(self, file: Path) -> None:
        """Read what another process has saved, and remove the file."""
        self.lines, self.seconds = pickle.loads(file.read_bytes())  # noqa: S301 - our own file
        file.unlink()

    def may_notice(self, test: str, path: str, number: int) -> bool:
        """Whether the test ran that line, or one of the same statement. Of a test on a server it is not known; numbers
        of rules.py are everywhere."""
        if not path.startswith(SCRIPTS) or ("[memory" not in test and test not in self.lines):
            return True
        its = self.lines.get(test, set())
        return any((path, near) in its for near in range(number - NEAR, number + NEAR + 1))


def origin(name: str) -> list[Line]:
    """The file and the line that each line of an assembled script is from; no file for the numbers in front."""
    libraries: dict[str, str] = {}
    script = (ROOT / SCRIPTS / f"{name}.lua").read_text()
    scripts._collect(script, libraries)
    texts = {**{f"lib/{library}.lua": text for library, text in libraries.items()}, f"{name}.lua": script}
    own = [(f"{SCRIPTS}/{file}", number) for file, text in texts.items() for number in range(1, text.count("\n") + 2)]
    numbers = scripts.source(name).count(b"\n") + 1 - len(own)
    return [("", 0)] * numbers + own
