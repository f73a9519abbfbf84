"""What a crawl did to its URLs and items, told from the web server's log and the output file alone; and the table.

lost        pages of the site that nobody asked for
refetched   requests for a page after its first one
missing     pages whose item is not in the output
duplicates  lines of the output beyond the first of their page
foreign     lines that say something else than the page they name, or name no page
broken      lines that are no JSON object in UTF-8, or not ended
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.website import Hit, Site


@dataclass(frozen=True)
class Crawl:
    """The figures of one crawl."""

    pages: int
    lost: int
    refetched: int
    missing: int
    duplicates: int
    foreign: int
    broken: int
    concurrent: int  # most requests at once at one host
    gap: float  # shortest time between the starts of two requests to one host, seconds
    first: float  # monotonic seconds of the first request for a page
    end: float  # … and of the last first request for a page


def judge(site: Site, hits: Sequence[Hit], output: Path) -> Crawl:
    """Compare what was asked and what was written with what is there."""
    truth = site.truth()
    asked = Counter(hit.url for hit in hits if hit.url in truth)
    firsts = {hit.url: hit.time for hit in reversed(hits) if hit.url in truth}.values()
    items, broken = read_items(output)
    written = Counter(str(item.get("url")) for item in items)
    return Crawl(
        pages=site.pages,
        lost=len(truth - asked.keys()),
        refetched=asked.total() - len(asked),
        missing=len(truth - written.keys()),
        duplicates=written.total() - len(written),
        foreign=sum(not is_true(site, item) for item in items),
        broken=broken,
        concurrent=max((hit.concurrent for hit in hits), default=0),
        gap=min(_gaps(hits), default=0.0),
        first=min(firsts, default=0.0),
        end=max(firsts, default=0.0),
    )


def refetch_delays(hits: Sequence[Hit], faults: Sequence[tuple[float, str]]) -> list[float]:
    """For each request that repeats one: seconds since the first fault between the two, shortest first."""
    last: dict[str, float] = {}
    delays = []
    for hit in hits:
        between = [time for time, _ in faults if last.get(hit.url, hit.time) < time < hit.time]
        if between:
            delays.append(hit.time - min(between))
        last[hit.url] = hit.time
    return sorted(delays)


def read_items(output: Path) -> tuple[list[dict[str, object]], int]:
    """(the items of a raw output file, number of broken lines)."""
    items, broken = [], 0
    for line in output.read_bytes().splitlines(keepends=True) if output.exists() else ():
        try:
            item = json.loads(line.decode())
        except ValueError:
            item = None
        if isinstance(item, dict) and line.endswith(b"\n"):
            items.append(item)
        else:
            broken += 1
    return items, broken


def is_true(site: Site, item: dict[str, object]) -> bool:
    """Whether an item says what its page says."""
    url = str(item.get("url"))
    if site.page(url) is None:
        return False
    page = site.item(url)
    links = item.get("links")
    return (
        item.get("title") == page["title"]
        and str(page["token"]) in str(item.get("text"))
        and isinstance(links, list)
        and set(page["links"]) <= set(links)
    )


def _gaps(hits: Iterable[Hit]) -> Iterable[float]:
    by_host: dict[str, list[float]] = {}
    for hit in hits:
        by_host.setdefault(hit.host, []).append(hit.time)
    return [later - earlier for times in by_host.values() for earlier, later in pairwise(sorted(times))]


# ---------------------------------------------------------------------------------------------------------
# The table


@dataclass
class Figure:
    """One number and what it must be; without a target it is only told."""

    name: str
    value: float
    target: str = ""
    met: bool = True

    def __str__(self) -> str:
        value = f"{self.value:g}" if self.value == int(self.value) else f"{self.value:.2f}"
        return f"{self.name} {value}{f' ({self.target})' if self.target else ''}{'' if self.met else ' ✗'}"


@dataclass
class Row:
    """One scenario: its promise, what was done to the crawl, what came out."""

    promise: str
    title: str
    seed: int
    figures: list[Figure] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)  # monotonic seconds, what was done
    pictures: list[str] = field(default_factory=list)
    problem: str = ""  # why there is no verdict: something did not come to its end
    seconds: float = 0.0

    def told(self, name: str, value: float) -> None:
        """A figure without a target."""
        self.figures.append(Figure(name, value))

    def exactly(self, name: str, value: float, wanted: float) -> None:
        """Must be that."""
        self.figures.append(Figure(name, value, f"= {wanted:g}", value == wanted))

    def at_most(self, name: str, value: float, limit: float) -> None:
        """Must not be more."""
        self.figures.append(Figure(name, value, f"≤ {limit:g}", value <= limit))

    def at_least(self, name: str, value: float, limit: float) -> None:
        """Must not be less."""
        self.figures.append(Figure(name, value, f"≥ {limit:g}", value >= limit))

    def drawn(self, name: str, times: Iterable[float], began: float, end: float) -> None:
        """Something that happened at these times, as bars: the whole time from `began` to `end` in 60 steps."""
        step = max(0.001, (end - began) / 60)
        counts = Counter(int((time - began) / step) for time in times)
        most = max(counts.values(), default=1)
        bars = "".join(_BARS[-(-counts[n] * (len(_BARS) - 1) // most)] for n in range(60))
        self.pictures.append(f"       {name:<46} |{bars}| {end - began:.0f} s, {most} in {step:.2f} s at most")

    def faults_before(self, end: float) -> None:
        """A run whose faults all came after the crawl's end proves nothing, and says so."""
        within = sum(time < end for time, _ in self.faults)
        self.told("faults", within)
        if not within:
            self.problem = "proved nothing: all faults came after the crawl's end"

    @property
    def passed(self) -> bool:
        """Whether every figure met its target."""
        return not self.problem and all(figure.met for figure in self.figures)

    def __str__(self) -> str:
        figures = " · ".join(map(str, self.figures))
        verdict = "ok  " if self.passed else "FAIL"
        end = f"  [{self.problem.splitlines()[0]}]" if self.problem else ""
        return f"{verdict} {self.promise:<4} {self.title:<44} seed {self.seed:<3} {self.seconds:5.1f} s  {figures}{end}"


_BARS = " ▁▂▃▄▅▆▇█"

TABLE: list[Row] = []


def table() -> list[str]:
    """All rows so far, in the order of the promises, with their pictures."""
    rows = sorted(TABLE, key=lambda row: (int(row.promise[1:]), row.seed))
    return [line for row in rows for line in (str(row), *row.pictures)]
