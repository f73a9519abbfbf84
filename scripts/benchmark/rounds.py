"""Run all contenders in turn, several times; a figure counts only if its run fetched exactly the right pages."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from scripts.benchmark.contenders import Contender
from scripts.benchmark.corpus import Corpus
from scripts.benchmark.process import cpu_of, run
from scripts.benchmark.results import save
from scripts.benchmark.webserver import Nginx
from tests.valkey import Valkey


@dataclass(frozen=True)
class Result:
    """The figures of one run. Times are milliseconds per page."""

    contender: str
    corpus: str
    pages: int
    cpu_ms: float
    server_ms: float  # of the queue server
    pages_per_second: float
    peak_mb: float
    missing: int
    surplus: int
    again: int  # pages fetched more than once

    @property
    def is_right(self) -> bool:
        """Whether it fetched every page and no other. Some fetch their seeds twice, at their own cost."""
        return not self.missing and not self.surplus


class Rounds:
    """Runs contenders on the sites of one corpus or several, and remembers the results."""

    def __init__(
        self,
        python: Path,
        core: int | None,
        server_core: int | None = None,
        file: Path | None = None,
    ) -> None:
        """`file`: to which results are appended as JSON lines; None for no file."""
        self._python = python
        self._core = core
        self._server_core = server_core
        self._file = file
        self._said: dict[str, str] = {}
        self.results: list[Result] = []

    def play(self, runs: Sequence[tuple[Contender, Corpus, Nginx]], times: int) -> None:
        """Run all once, then all again, so that other load on the machine affects all alike."""
        for _ in range(times):
            for one in runs:
                result = self._run(*one)
                self.results.append(result)
                print(json.dumps(asdict(result)), file=sys.stderr, flush=True)
                save(self._file, "crawl", asdict(result))

    def _run(self, contender: Contender, corpus: Corpus, server: Nginx) -> Result:
        with tempfile.TemporaryDirectory(prefix="bench-") as name, queue_for(contender, self._server_core) as queue:
            folder = Path(name)
            environment = {**contender.environment, "XDG_DATA_HOME": name}
            if queue:
                environment["REDIS_URL"] = queue.url
            server.forget()
            before = cpu_of(queue.pid) if queue else 0.0
            seeds = folder / "seeds"
            seeds.write_text("".join(f"{seed}\n" for seed in corpus.seeds))
            command = contender.command(self._python, seeds, folder / "items.jsonl")
            core = self._core if contender.processes == 1 else None
            used = run(command, core=core, folder=folder, environment=environment)
            server_cpu = cpu_of(queue.pid) - before if queue else 0.0
            fetched = server.fetched()
            said = (folder / "output").read_text(errors="replace")
            self._said[contender.name] = said
            if used.code:
                print(said[-3000:], file=sys.stderr)
            pages = len(corpus.pages)
            return Result(
                contender=contender.name,
                corpus=corpus.name,
                pages=pages,
                cpu_ms=round(used.cpu / pages * 1000, 4),
                server_ms=round(server_cpu / pages * 1000, 4),
                pages_per_second=round(pages / used.wall, 1),
                peak_mb=round(used.peak_bytes / 1e6, 1),
                missing=len(corpus.pages - fetched.keys()),
                surplus=len(fetched.keys() - corpus.pages),
                again=sum(times > 1 for times in fetched.values()),
            )


@contextmanager
def queue_for(contender: Contender, core: int | None) -> Iterator[Valkey | None]:
    """A fresh durable queue server on the web server's core; None if the contender needs none."""
    if not contender.needs_queue:
        yield None
        return
    with Valkey(appendonly=True, fsync="everysec") as server:
        if core is not None:
            os.sched_setaffinity(server.pid, {core})
        yield server


def table(results: Sequence[Result]) -> str:
    """A table of medians, and of each contender's CPU per page as a multiple of the first one's, with its spread."""
    corpora = {result.corpus for result in results}
    by_name: dict[str, list[Result]] = {}
    for result in results:
        name = result.contender if len(corpora) == 1 else f"{result.contender}, {result.corpus}"
        by_name.setdefault(name, []).append(result)
    first = next(iter(by_name.values()))
    lines = [
        "| contender | CPU-ms/page | × | spread | queue server | pages/s | MB | coverage |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, runs in by_name.items():
        ratios = [run.cpu_ms / one.cpu_ms for run, one in zip(runs, first, strict=True)]
        wrong = next((run for run in runs if not run.is_right), None)
        coverage = f"{wrong.missing} missing, {wrong.surplus} surplus, {wrong.again} twice" if wrong else "exact"
        lines.append(
            f"| {name} | {median(run.cpu_ms for run in runs):.3f} | {median(ratios):.2f} "
            f"| {min(ratios):.2f}–{max(ratios):.2f} | {median(run.server_ms for run in runs):.3f} "
            f"| {median(run.pages_per_second for run in runs):.0f} | {max(run.peak_mb for run in runs):.0f} "
            f"| {coverage} |"
        )
    return "\n".join(lines)
