"""The display of a running crawl: a live picture on a terminal, one log line every ten seconds elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crawler.cli.terminal import live_picture
from crawler.runtime.safe_text import shown
from crawler.status import JobStats, WorkerInfo, clock
from crawler.views.figures import (
    HostFigures,
    answers,
    at_work,
    busiest,
    counted,
    counts_in_words,
    dead_words,
    duration,
    group,
    hosts,
    left_out,
    pages,
    pauses,
    rate,
    resting,
    several,
    size,
    slowest,
    why_idle,
)
from crawler.views.history import SETTLED

if TYPE_CHECKING:
    from crawler.views.reports import Progress

Observer = Callable[["Progress"], None]

_LOG_EVERY = 10.0  # seconds
_HOSTS_SHOWN = 3
_SKIPS_SHOWN = 6
_PAUSES_SHOWN = 3
_BARS = "▁▂▃▄▅▆▇█"

# ---------------------------------------------------------------------------------------------------------
# On a terminal


@contextmanager
def live_display(title: str, target: str) -> Iterator[Observer]:
    """Yield the function that shows a `Progress` as a picture at the bottom of the terminal."""
    with live_picture() as show:
        yield lambda progress: show(picture(progress, title, target))


def picture(progress: Progress, title: str, target: str) -> RenderableType:
    """Return one picture of the crawl: a headline, a bar, and one line per figure."""
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, text in _lines(progress, target):
        lines.add_row(name, text)
    return Group(Text(), _headline(progress, title), _bar(progress), lines)


def _lines(progress: Progress, target: str) -> Iterator[tuple[str, Text]]:
    stats, counters, momentum = progress.stats, progress.stats.counters, progress.momentum
    yield "queue", Text(f"{counted(stats.pending)} pending, {counted(stats.processing)} in flight")
    yield (
        "pages",
        Text(f"{counted(pages(stats))}, {rate(momentum.pages_per_second)} pages/s {sparkline(momentum.trend)}"),
    )
    yield "bytes", Text(f"{size(counters.get('bytes', 0))}, {size(momentum.bytes_per_second)}/s")
    if end := _end(progress):
        yield "end", Text(end)
    yield "items", Text(_items(progress, target))
    if said := answers(counters):
        yield "answers", _coloured(said)
    if skips := group(counters, "skip"):
        yield "skipped", Text(counts_in_words(skips, limit=_SKIPS_SHOWN))
    if unkept := left_out(counters):
        yield "left out", Text(unkept)
    if trouble := _trouble(stats):
        yield "trouble", Text(counts_in_words(trouble), style="yellow")
    if stats.dead:
        yield "dead", Text(dead_words(stats), style="red")
    known = hosts(stats.job, progress.workers)
    if known:
        few = len(known) <= _HOSTS_SHOWN
        yield "hosts" if few else "busiest", Text(_hosts(busiest(known, _HOSTS_SHOWN)))
        if not few:
            yield "slowest", Text(_hosts(slowest(known, _HOSTS_SHOWN)))
    yield "workers", Text(_workers(at_work(stats, progress.workers)))
    if lines := pauses(stats, _PAUSES_SHOWN):
        yield "paused", Text("\n".join(line.removeprefix("paused: ") for line in lines), style="yellow")
    if why := _why_idle(progress):
        yield "idle", Text(why, style="green" if stats.finished else "yellow")
    elif stats.resting:
        yield "resting", Text("\n".join(resting(stats)), style="yellow")


def _why_idle(progress: Progress) -> str:
    """Return why the job makes no progress; nothing while the workers of this very command start or end."""
    ours = at_work(progress.stats, progress.workers)
    return why_idle(progress.stats, progress.workers) if ours or progress.stats.finished else ""


def _headline(progress: Progress, title: str) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis", style="bold")
    line.add_column(no_wrap=True, justify="right")
    line.add_row(Text(shown(title)), Text(duration(progress.seconds)))
    return line


def _bar(progress: Progress) -> RenderableType:
    """Return the share of known URLs that have ended: as a bar only if the end can be estimated, because the number of
    known URLs grows during the crawl."""
    stats = progress.stats
    ended = stats.done + stats.dead + stats.dropped
    line = Table.grid(expand=True, padding=(0, 2, 0, 0))
    line.add_column(ratio=1)
    line.add_column(no_wrap=True, justify="right")
    if progress.momentum.seconds_left is None:
        return Text(f"{counted(ended)} of {counted(stats.known)} URLs found so far")
    share = f"{counted(ended)} of {counted(stats.known)} URLs found so far"
    line.add_row(ProgressBar(total=max(stats.known, 1), completed=min(ended, stats.known)), Text(share))
    return line


def _end(progress: Progress) -> str:
    """Return when the crawl ends at the rates of the last minute; empty if nothing flows or it has just begun."""
    stats, left = progress.stats, progress.momentum.seconds_left
    if left is not None:
        return f"in about {duration(left)}, at {clock(stats.at, left)}, if it goes on finding as little as now"
    if progress.seconds < SETTLED or not stats.is_flowing or not stats.pending:
        return ""
    return "nobody can tell yet: nearly as many URLs are found as are fetched, or more"


def sparkline(values: Sequence[float]) -> str:
    """Return one character a value, `▁` for none and `█` for the most."""
    most = max(values, default=0.0)
    return "".join(_BARS[round(value / most * (len(_BARS) - 1))] if most else _BARS[0] for value in values)


def _items(progress: Progress, target: str) -> str:
    where = "stdout" if target == "-" else shown(target)
    left = progress.stats.outbox
    waiting = f", {several(left, 'page')} to be written" if left else ""
    return f"{counted(progress.exported)} → {where}{waiting}"


def _coloured(said: Mapping[str, int]) -> Text:
    styles = {"2xx": "green", "4xx": "yellow", "5xx": "red", "no answer": "red"}
    text = Text()
    for name, count in said.items():
        text.append(f"{', ' if text else ''}{name} ").append(counted(count), style=styles.get(name, ""))
    return text


def _trouble(stats: JobStats) -> dict[str, int]:
    """Return the counts of failures that are not zero."""
    found = {
        "retries": stats.counters.get("retried", 0),
        "put back by limits of our own": stats.counters.get("own_limit", 0),
        "taken back from lost workers": stats.counters.get("reaped", 0),
    }
    return {name: count for name, count in found.items() if count}


def _hosts(figures: Sequence[HostFigures]) -> str:
    return ", ".join(f"{shown(one.host)} {counted(one.pages)} × {one.seconds * 1000:,.0f} ms" for one in figures)


def _workers(workers: Sequence[WorkerInfo]) -> str:
    if not workers:
        return "none at the moment: they are starting or ending"
    memory = sum(int(one.info.get("rss", 0)) for one in workers)
    return f"{len(workers)}{f', {size(memory)}' if memory else ''}"


# ---------------------------------------------------------------------------------------------------------
# Elsewhere


def log_display() -> Observer:
    """Return an observer that logs the same figures as fields, one line every ten seconds."""
    import structlog

    log = structlog.get_logger()
    due = _LOG_EVERY

    def observe(progress: Progress) -> None:
        nonlocal due
        if progress.seconds >= due:
            due = progress.seconds + _LOG_EVERY
            log.info("crawling", **log_fields(progress))

    return observe


def log_fields(progress: Progress) -> dict[str, Any]:
    """Return the fields of that log line."""
    stats = progress.stats
    fields: dict[str, Any] = {
        "job": stats.job,
        "pages": pages(stats),
        "items": progress.exported,
        "pages_per_second": round(progress.momentum.pages_per_second, 2),
        "pending": stats.pending,
        "in_flight": stats.processing,
        "dead": stats.dead,
        "retried": stats.counters.get("retried", 0),
        "outbox": stats.outbox,
        "workers": len(at_work(stats, progress.workers)),
        "no_answer": 0,
        **{name.replace(" ", "_"): count for name, count in answers(stats.counters).items()},
    }
    if progress.momentum.seconds_left is not None:
        fields["seconds_left"] = round(progress.momentum.seconds_left)
    if why := _why_idle(progress):
        fields["idle"] = why
    return fields
