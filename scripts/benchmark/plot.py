"""Draw saved results as plain SVG: CPU a page by contender, and the queue's cost by the size of the frontier.

Each picture is drawn from a small table beside it (CSV, below a title and a note), so it can be checked and redrawn.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from scripts.benchmark.results import read

OURS, OTHERS = "#0b6e4f", "#8a94a0"
INK, FAINT = "#24292f", "#d0d7de"
WIDTH, LEFT, RIGHT, ROW, TOP = 720, 190, 110, 30, 62


@dataclass(frozen=True)
class Bar:
    """One row: its name, its length, and the spread of the runs."""

    name: str
    value: float
    low: float
    high: float
    is_ours: bool


def main(files: Sequence[Path], into: Path) -> int:
    """Write a table and a picture for each corpus and each kind of growth that has results. Return 0."""
    results = read(list(files))
    into.mkdir(parents=True, exist_ok=True)
    crawls = [one for one in results if one["what"] == "crawl" and not one["missing"] and not one["surplus"]]
    for corpus, pages in sorted({(one["corpus"], one["pages"]) for one in crawls}):
        runs = [one for one in crawls if (one["corpus"], one["pages"]) == (corpus, pages)]
        title = f"CPU a page, milliseconds: {corpus}, {pages:,} pages"
        _save(into / f"cpu-{corpus}-{pages}.csv", title, "median of the runs; line: least to most", _contenders(runs))
    for kind in ("pending", "hosts"):
        costs = [one for one in results if one["what"] == f"growth-{kind}"]
        if costs:
            title = f"Claim and commit, µs of CPU a request, by {kind}"
            _save(into / f"queue-by-{kind}.csv", title, "median of the blocks; line: quartiles", _growth(costs, kind))
    return draw(into)


def draw(folder: Path) -> int:
    """Draw a picture of every table in the folder, beside the table. Return 0."""
    for table in sorted(folder.glob("*.csv")):
        picture = table.with_suffix(".svg")
        picture.write_text(_picture(*_load(table)))
        print(picture)
    return 0


def _contenders(runs: Sequence[dict[str, Any]]) -> list[Bar]:
    """One bar for each contender. The cost of a crawler includes its queue server."""
    bars = []
    for name in dict.fromkeys(run["contender"] for run in runs):
        values = [run["cpu_ms"] + run["server_ms"] for run in runs if run["contender"] == name]
        bars.append(Bar(name, median(values), min(values), max(values), name.startswith("crawler")))
    return sorted(bars, key=lambda bar: bar.value)


def _growth(costs: Sequence[dict[str, Any]], kind: str) -> list[Bar]:
    bars = []
    for side in ("server", "client"):
        for size in sorted({one["size"] for one in costs}):
            values = sorted(value for one in costs if one["size"] == size for value in one[side])
            quarter = len(values) // 4
            bar = Bar(
                f"{side}, {size:,} {kind}", median(values), values[quarter], values[-1 - quarter], side == "server"
            )
            bars.append(bar)
    return bars


# ---------------------------------------------------------------------------------------------------------
# Tables

_COLUMNS = ("name", "value", "low", "high", "ours")


def _save(file: Path, title: str, note: str, bars: Sequence[Bar]) -> None:
    with file.open("w", newline="") as lines:
        lines.write(f"# {title}\n# {note}\n")
        table = csv.writer(lines, lineterminator="\n")
        table.writerow(_COLUMNS)
        for bar in bars:
            table.writerow([bar.name, *(f"{one:.3g}" for one in (bar.value, bar.low, bar.high)), _YES_NO[bar.is_ours]])


def _load(file: Path) -> tuple[str, str, list[Bar]]:
    title, note, *lines = file.read_text().splitlines()
    rows = csv.DictReader(lines)
    bars = [
        Bar(row["name"], float(row["value"]), float(row["low"]), float(row["high"]), row["ours"] == _YES_NO[True])
        for row in rows
    ]
    return title.removeprefix("# "), note.removeprefix("# "), bars


_YES_NO = {True: "yes", False: "no"}

# ---------------------------------------------------------------------------------------------------------
# SVG


def _picture(title: str, note: str, bars: Sequence[Bar]) -> str:
    height = TOP + ROW * len(bars) + 18
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        '     font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="16" y="45" fill="{INK}" fill-opacity="0.65">{escape(note)}</text>',
        *_rows(bars),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rows(bars: Sequence[Bar]) -> Iterable[str]:
    scale = (WIDTH - LEFT - RIGHT) / max(bar.high for bar in bars)
    bottom = TOP + ROW * len(bars)
    yield f'<path d="M{LEFT} {TOP - 4}V{bottom}" stroke="{FAINT}"/>'
    for number, bar in enumerate(bars):
        middle = TOP + ROW * number + ROW / 2
        low, end, high = (LEFT + value * scale for value in (bar.low, bar.value, bar.high))
        color = OURS if bar.is_ours else OTHERS
        yield f'<text x="{LEFT - 10}" y="{middle + 4:.0f}" text-anchor="end" fill="{INK}">{escape(bar.name)}</text>'
        yield f'<rect x="{LEFT}" y="{middle - 9:.0f}" width="{end - LEFT:.1f}" height="18" rx="2" fill="{color}"/>'
        if bar.high > bar.low:
            yield f'<path d="M{low:.1f} {middle:.0f}H{high:.1f}" stroke="{INK}" stroke-width="1.5"/>'
        yield f'<text x="{max(end, high) + 8:.0f}" y="{middle + 4:.0f}" fill="{INK}">{_figure(bar.value)}</text>'


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(draw(Path(*sys.argv[1:] or ["docs/plots"])))
