"""Another project runs the contract against a backend of its own: one that keeps it, and one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SETTINGS = """
[pytest]
asyncio_mode = auto
addopts = -p no:cacheprovider
"""
SUITE = '''
import pytest
from msgspec.structs import replace

from contextlib import asynccontextmanager

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.testing.contract import *
from crawler.testing.contract.world import World


class Agreeing:
    """A queue that says of every commit that the lease was held."""

    def __init__(self, queue):
        self.claim, self.bury, self.set_aside, self._commit = queue.claim, queue.bury, queue.set_aside, queue.commit

    async def commit(self, worker, visits, pace):
        await self._commit(worker, visits, pace)
        return [True] * len(visits)


class Elsewhere(World):
    time = 1_000.0

    def __init__(self):
        super().__init__()
        self.server = MemoryServer(clock=self.now)

    @asynccontextmanager
    async def opening(self, **options):
        async with open_memory(self.server, **options) as backend:
            yield replace(backend, queue=Agreeing(backend.queue)) if IS_BROKEN else backend

    def now(self):
        return self.time

    async def pass_time(self, seconds):
        self.time += seconds + 0.002

    async def expire(self, worker, others=()):
        await self.server.at("").zadd("{crawler:0}:workers", {worker: 1}, xx=True)


@pytest.fixture
def new_world():
    return Elsewhere
'''


def run(folder: Path, *words: str, is_broken: bool) -> tuple[int, dict[str, int], str]:
    """Exit code, how many tests ended how, and all that was printed."""
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_mine.py").write_text(f"IS_BROKEN = {is_broken}\n{SUITE}")
    command = [sys.executable, "-m", "pytest", "-q", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    parts = done.stdout.strip().rpartition("\n")[2].split(" in ")[0].split(", ")
    return done.returncode, {word: int(number) for number, word in map(str.split, parts)}, done.stdout


@pytest.mark.timeout(600)
def test_a_backend_of_another_project_runs_all_of_it(tmp_path: Path) -> None:
    code, ended, text = run(tmp_path, is_broken=False)
    assert (code, set(ended) - {"passed", "skipped"}) == (0, set()), text
    assert ended["passed"] > 400


@pytest.mark.timeout(600)
def test_a_backend_whose_commits_always_succeed_fails_it(tmp_path: Path) -> None:
    code, ended, text = run(tmp_path, "-k", "(commit or lease) and not model", is_broken=True)
    assert code == 1, text
    assert ended["failed"] > 3
    assert "assert not True" in text, "a failure shows the values that were compared"


def test_testing_spiders_needs_no_pytest() -> None:
    program = "import sys, crawler.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
