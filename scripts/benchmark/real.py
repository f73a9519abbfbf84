"""Every condition of real crawls that the project has a target for, each by the command that measures it.

The crawls write their results to a file, from which each row takes its ratio: medians of ratios within a round.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scripts.benchmark.contenders import LOW_LIMIT, ROOT
from scripts.benchmark.results import read

Runs = list[dict[str, Any]]
Figure = Callable[[Runs], str]


@dataclass(frozen=True)
class Row:
    """A condition, its target, and how to measure it: the words after `scripts/bench`, those of a quick run besides."""

    name: str
    target: str
    command: str
    quick: str
    figures: Sequence[Figure] = ()  # of the results that the command saves; without any, see what it prints


def _ratio(field: str, above: Any, below: Any, of: str = "cpu_ms") -> Figure:
    """Return the median ratio of runs, and its spread: those whose `field` is `above` to those where it is `below`."""

    def figure(runs: Runs) -> str:
        tops, bases = ([run[of] for run in runs if run[field] == value] for value in (above, below))
        ratios = [top / base for top, base in zip(tops, bases, strict=True)]
        return f"{median(ratios):.2f} × ({min(ratios):.2f}–{max(ratios):.2f})"

    return figure


def _each(what: str, show: Callable[[dict[str, Any]], float], form: str = ".2f") -> Figure:
    """Return the figure of each size, or of the only one: a median."""

    def figure(runs: Runs) -> str:
        sizes = sorted({run["hosts"] for run in runs})
        found = [median(show(run) for run in runs if run["hosts"] == size) for size in sizes]
        return f"{what} {', '.join(f'{value:{form}}' for value in found)}"

    return figure


def _exact(runs: Runs) -> str:
    wrong = {run["contender"] for run in runs if any(run.get("seen", run)[name] for name in ("missing", "surplus"))}
    return f"coverage wrong of {', '.join(sorted(wrong))}" if wrong else "coverage exact"


_OF_IDEAL = _each("pages/s ÷ ideal", lambda run: run["middle"] / run["ideal"])
_LARGEST = _each("MB", lambda run: run["peak_mb"], ".0f")


def rows(documentation: Sequence[Path]) -> list[Row]:
    """The rows. `documentation`: folders of HTML; without any, the rows that need them are left out."""
    docs = " ".join(map(str, documentation))
    peers = "crawler aiohttp-queue lean"
    return [
        Row(
            "CPU a page at 20,000 hosts ÷ 4,000; at 10⁵",
            "1.2 ×; 1.3 ×",
            "broad --hosts 4000 20000 100000 --pages-per-host 20 --limit 20000 --repeat 3",
            "--limit 5000 --repeat 1",
            (_ratio("hosts", 20_000, 4_000), _ratio("hosts", 100_000, 4_000), _OF_IDEAL, _LARGEST),
        ),
        Row(
            "a crawl of 10⁵ hosts, all of them opened",
            "200 MB",
            "broad --hosts 100000 --pages-per-host 2",
            "--hosts 10000",
            (_each("ms a page", lambda run: run["cpu_ms"]), _OF_IDEAL, _LARGEST, _exact),
        ),
        Row(
            "broad crawl: pages/s ÷ min(hosts ÷ delay, 1 ÷ CPU a page)",
            "0.8",
            "broad --hosts 300 --pages-per-host 60 --delay 1 --repeat 3",
            "--pages-per-host 20 --repeat 1",
            (_OF_IDEAL, _exact),
        ),
        Row(
            "… and against Scrapy's settings for broad crawls",
            "–",
            "broad --hosts 4000 --only crawler scrapy",
            "--hosts 500",
            (_ratio("contender", "scrapy", "crawler"),),
        ),
        Row(
            "a worker at 10⁶ known URLs",
            "200 MB",
            "broad --hosts 4000 --pages 2000000 --limit 60000",
            "--limit 20000",
            (_LARGEST,),
        ),
        Row(
            f"5,000 hosts, `ulimit -n {LOW_LIMIT}` ÷ unlimited",
            "1.2 ×, all pages",
            f"broad --hosts 5000 --pages-per-host 4 --only crawler crawler-{LOW_LIMIT} --repeat 3",
            "--pages-per-host 2 --repeat 1",
            (_ratio("contender", f"crawler-{LOW_LIMIT}", "crawler"), _exact),
        ),
        Row(
            "queue, 35 random links, 10⁶ known URLs",
            "client 120, server 100 µs",
            "queue --only known --sizes 20000 1000000",
            "--sizes 20000 300000",
        ),
        Row(
            "the `site` item ÷ links only; Scrapy with the same ÷ ours",
            "1.9 ×; 15 ×",
            "crawl --only crawler crawler-site scrapy-site",
            "--pages 1000 --repeat 1",
            (
                _ratio("contender", "crawler-site", "crawler"),
                _ratio("contender", "scrapy-site", "crawler-site"),
                _exact,
            ),
        ),
        Row(
            "links of documentation never tuned on ÷ aiohttp, selectolax and a queue; ÷ the leanest loop",
            "1.0 ×; –",
            f"crawl --only {peers} --docs {docs}",
            "--repeat 1",
            (
                _ratio("contender", "crawler", "aiohttp-queue"),
                _ratio("contender", "crawler", "lean"),
                _exact,
            ),
        ),
        Row(
            "TLS, gzip and chunks ÷ plain",
            "1.25 ×",
            "crawl --only crawler --over plain tls+gzip",
            "--pages 6000 --repeat 2",
            (_ratio("corpus", "generated over tls+gzip", "generated"), _exact),
        ),
        Row(
            "one host, 8 at once: pages/s ÷ aiohttp",
            "0.95 ×",
            "crawl --hosts 1 --at-once 8 --only crawler aiohttp",
            "--pages 2000 --repeat 2",
            (_ratio("contender", "crawler", "aiohttp", of="pages_per_second"), _exact),
        ),
        Row(
            "two processes ÷ one; four on two cores",
            "1.10 ×; –",
            "crawl --only crawler crawler-2 crawler-4",
            "--pages 6000 --repeat 2",
            (
                _ratio("contender", "crawler-2", "crawler"),
                _ratio("contender", "crawler-4", "crawler"),
                _exact,
            ),
        ),
        Row(
            "10⁷ pending ÷ 10⁵, the server's CPU",
            "1.1 ×",
            "growth --only pending",
            "--pending 100000 1000000",
        ),
    ]


def main(is_quick: bool, documentation: Sequence[Path], only: Sequence[int]) -> int:
    """Run the commands one after the other, then print the table. Return 0 if each of them did."""
    table, codes = [], []
    for number, row in enumerate(rows(documentation), 1):
        if (only and number not in only) or row.command.endswith("--docs "):
            continue
        words = [*row.command.split(), *(row.quick.split() if is_quick else ())]
        print(f"\n{number}. {row.name} (target {row.target})\n   scripts/bench {' '.join(words)}", flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            saved = Path(folder, "saved")
            more = ["--save", str(saved)] if row.figures else []
            codes.append(
                subprocess.run([sys.executable, "-m", "scripts.benchmark", *words, *more], cwd=ROOT).returncode
            )
            runs = read([saved]) if saved.exists() else []
        reached = "; ".join(figure(runs) for figure in row.figures) if runs else "see above"
        table.append(f"| {row.name} | {row.target} | {reached} |")
    print("\n| | target | reached |\n|---|---|---|", *table, sep="\n")
    return 0 if not any(codes) else 1
