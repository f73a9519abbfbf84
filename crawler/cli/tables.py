"""Tables for people: values in, rich tables out. Everything from outside is shown as plain, safe text."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from crawler.control.dead_letters import LETTERS_READ, Group, error_of, said_by
from crawler.model import BY_LIMIT, DeadItem
from crawler.program import PROGRAM
from crawler.runtime.safe_text import printable_lines, shown, without_password
from crawler.status import DeadLetter, Failing, JobStats, WorkerInfo
from crawler.views.coverage import incomplete
from crawler.views.figures import (
    answers_in_words,
    assigned_to,
    closed_in_words,
    counted,
    dead_words,
    duration,
    files_in_words,
    hosts_in_words,
    lags,
    limits_in_words,
    nobody_exports,
    own_figures,
    pages,
    pauses,
    put_back,
    rate,
    resting,
    routes_differ,
    several,
    size,
    slowed_down,
    source_in_words,
    spiders_missing,
    to_fetch_again,
    unexported,
    urls,
    wait_for_newer,
    why_idle,
)
from crawler.views.losses import asked_for_in_words, lost, lost_in_words, told, told_of

if TYPE_CHECKING:
    from crawler.views.reports import CrawlReport

_WIDTH_OFF_TERMINAL = 160


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error of a closed pipe, so that `exits` ends the command as for any other output."""
        raise BrokenPipeError


def console(*, error: bool = False) -> Console:
    """Return a console for the terminal, or for plain text without colours elsewhere. Rich honours `NO_COLOR`."""
    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else _WIDTH_OFF_TERMINAL
    return _Console(file=stream, width=width, highlight=False, emoji=False, markup=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[str] = ()) -> Table:
    """Return a plain table; the columns named in `numbers` are right-aligned."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    numbers = set(numbers)
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: object) -> RenderableType:
    if isinstance(value, Text):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(counted(value))
    return Text(shown(str(value)))


def fields(pairs: Mapping[str, object]) -> Table:
    """Return a grid with one name and value per line."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        made.add_row(name, _cell(value))
    return made


# ---------------------------------------------------------------------------------------------------------
# status, jobs


def status_view(stats: Sequence[JobStats], workers: Sequence[WorkerInfo], url: str, waits: str = "") -> RenderableType:
    """Return what `status` prints: jobs, workers, and each job in words. `waits`: what the crawls wait for, if for
    something."""
    if not stats:
        return Text(f"{shown(url)}: no jobs yet; start one with: {PROGRAM} crawl URL", overflow="fold")
    parts: list[RenderableType] = [Text(f"queue server: {shown(url)}", style="dim", overflow="fold")]
    parts += [Text(shown(waits), "red", overflow="fold")] if waits else []
    parts += [Text()]
    parts += [jobs_table(stats), Text(), workers_table(workers) if workers else Text("no workers")]
    if differ := routes_differ(workers):
        parts.append(Text(differ, "yellow", overflow="fold"))
    for one in stats:
        if lines := [line for line in _about(one, workers) if line[1]]:
            parts += [Text(), Text(shown(one.job), style="bold"), fields(dict(lines))]
    return Lines(*parts)


def away_view(why: str, url: str) -> RenderableType:
    """Return what `status --watch` shows while the server does not answer."""
    return Text(f"{shown(why)}\ntrying again every second; Ctrl-C ends", style="red", overflow="fold")


def _about(stats: JobStats, workers: Sequence[WorkerInfo]) -> Iterator[tuple[str, object]]:
    """Describe one job: why it is idle, if it is, and what happened to its requests."""
    yield "limits", limits_in_words(stats.limits)
    if stats.finished:
        yield "closed", Text(closed_in_words(stats).removeprefix("closed: "), "yellow")
        yield "to be written", unexported(stats)
    else:
        idle = why_idle(stats, workers)
        yield "idle", Text(idle, "yellow")
        yield "hosts", hosts_in_words(stats) if not idle or stats.ready or stats.held else ""
        yield "resting", Text("\n".join(resting(stats) if not idle else ()), "yellow")
        yield "export", Text(nobody_exports(stats) if "exporter" not in idle else "", "yellow")
        yield "seeding", f"under way ({several(stats.seeding, 'seeder')})" if stats.seeding else ""
        yield "source", Text(source_in_words(stats.source) if stats.source else "", overflow="fold")
        yield "spiders", Text("\n".join(spiders_missing(stats, workers)), "red")
        yield "too new", Text("\n".join(wait_for_newer(stats)), "red")
        yield "slowed down", Text("\n".join(slowed_down(stats, workers)), "yellow")
        yield "paused", Text("\n".join(line.removeprefix("paused: ") for line in pauses(stats)), "yellow")
    yield "incomplete", Text("\n".join(to_fetch_again(stats)), "yellow", overflow="fold")
    yield "outputs", Text("\n".join(lags(stats)), overflow="fold")
    yield "answers", answers_in_words(stats.counters)
    yield "files", files_in_words(stats)
    yield "skipped", Text(asked_for_in_words(stats, pages=True), overflow="fold")
    yield "left out", Text(asked_for_in_words(stats, pages=False), overflow="fold")
    yield "lost", Text(lost_in_words(told(stats)), "yellow", overflow="fold")
    yield "put back", put_back(stats)
    yield "own figures", own_figures(stats)


def jobs_table(stats: Iterable[JobStats]) -> Table:
    """Return a table with one job per line."""
    columns = ("job", "known", "pending", "processing", "done", "dead", "lost", "outbox", "state")
    rows = (
        (
            *(one.job, one.known, one.pending, one.processing),
            *(one.done, _bad(one.dead), _bad(_lost(one)), one.outbox, job_state(one)),
        )
        for one in stats
    )
    return table(columns, rows, numbers=columns[1:-1])


def _lost(stats: JobStats) -> int:
    """Return how much is lost besides the dead letters."""
    return sum(one.count for one in lost(stats) if one.counter not in ("dead", "nothing"))


def job_state(stats: JobStats) -> str:
    """Return the job's state in a word or two: empty, seeding, running, waiting, paused, finished."""
    if not stats.known and not stats.seeding:
        return "empty"
    if stats.finished:
        return "items wait for export" if stats.outbox else "closed" if stats.closed else "finished"
    if stats.closed:
        return "closing"
    if stats.seeding:
        return "seeding"
    if stats.is_all_paused:
        return "paused"
    return "running" if stats.is_flowing else "waiting"


def workers_table(workers: Iterable[WorkerInfo]) -> Table:
    """Return a table with one worker process per line, living ones first."""
    columns = ("worker", "in flight", "pages", "memory", "takes", "doing", "lease")
    rows = [
        (
            one.worker,
            one.info.get("in_flight", "?"),
            one.info.get("pages", "?"),
            size(one.info["rss"]) if "rss" in one.info else "?",
            _taken(one),
            (one.info.get("idle") or "fetching") if one.lease_left > 0 else "",
            f"{duration(one.lease_left)} left" if one.lease_left > 0 else Text("expired", "red"),
        )
        for one in sorted(workers, key=lambda one: (one.lease_left <= 0, one.worker))
    ]
    return table(columns, rows, numbers=("in flight", "pages", "memory"))


def _taken(worker: WorkerInfo) -> str:
    """Return the queues and jobs that the worker takes."""
    ours = assigned_to(worker)
    queues, jobs = ", ".join(ours.queues), ", ".join(ours.jobs)
    return "; ".join(filter(None, [queues and f"queue {queues}", jobs and f"job {jobs}"])) or "all jobs"


def _bad(number: int) -> Text:
    return Text(counted(number), style="red" if number else "")


# ---------------------------------------------------------------------------------------------------------
# dead letters


def dead_groups_table(by: Sequence[str], groups: Iterable[tuple[str, Group]]) -> Table:
    """Return a table with one group per line; the first of each pair is its job."""
    columns = ("count", "job", *by, "newest (UTC)", "it said", "for example")
    rows = (
        (
            *(one.count, job, *(value or "-" for value in one.values), moment(one.newest)),
            *(one.message[:200], one.url or "(no request)"),
        )
        for job, one in groups
    )
    return table(columns, rows, numbers=("count",))


def dead_table(letters: Iterable[tuple[str, DeadLetter]]) -> Table:
    """Return a table with one dead letter per line; the first of each pair is its job."""
    columns = ("id", "job", "URL", "why", "tries", "died (UTC)")
    rows = (
        (one.id, job, one.url or "(no request)", _why(one)[:300], one.attempts, moment(one.died))
        for job, one in letters
    )
    return table(columns, rows, numbers=("tries",))


def failing_table(failing: Iterable[tuple[str, Failing]]) -> Table:
    """Return a table of the requests that wait for another try, one error per line; the first of each pair is its
    job."""
    groups: dict[tuple[str, str], list[Failing]] = {}
    for job, one in failing:
        groups.setdefault((job, one.error.removeprefix(f"{one.url}: ")), []).append(one)
    rows = (
        (len(ones), job, error[:300], moment(ones[0].when), ones[0].url)
        for (job, error), ones in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    return table(("count", "job", "last error", "newest (UTC)", "for example"), rows, numbers=("count",))


def dead_items_table(items: Iterable[tuple[str, DeadItem]]) -> Table:
    """Return a table of items that an output could not store, one a line; the first of each pair is its job."""
    rows = ((one.id, job, one.output, one.why[:300], one.url, one.item[:300]) for job, one in items)
    return table(("id", "job", "output", "why", "URL", "item"), rows)


def letter_view(job: str, letter: DeadLetter) -> RenderableType:
    """Return everything known about one dead letter."""
    failure = letter.failure
    known: dict[str, object] = {
        "id": letter.id,
        "job": job,
        "URL": letter.url or "(no request)",
        "host": letter.host,
        "spider": letter.spider,
        "callback": letter.callback,
        "why": _why(letter),
        "line": failure.line,
        "status": str(failure.status or ""),
        "tries": f"{counted(letter.attempts)} failed; handed out {several(letter.deliveries, 'time')}",
        "worker": letter.worker,
        "died": f"{moment(letter.died)} UTC",
        "message": letter.message,
    }
    parts: list[RenderableType] = [fields({name: value for name, value in known.items() if value})]
    if failure.traceback:
        parts += [Text(), Text(without_password(printable_lines(failure.traceback)), overflow="fold")]
    return Lines(*parts, Text())


def _why(letter: DeadLetter) -> str:
    """Return the error and its message about the page."""
    failure = letter.failure
    return f"{error_of(failure)}: {said_by(letter)}" + (f" ({failure.line})" if failure.line else "")


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


# ---------------------------------------------------------------------------------------------------------
# the end of a crawl


def summary(report: CrawlReport, *, fresh: bool = False) -> RenderableType:
    """Return the result of a crawl, and what the user can do next."""
    stats = report.stats
    lines: dict[str, object] = {
        "ended": closed_in_words(stats) or report.reason,
        "pages": f"{counted(pages(stats))} of {counted(urls(stats))} known URLs",
        "answers": answers_in_words(stats.counters) or "none",
        "items": _items(report),
        "filled": incomplete(report.coverage),
        "broken rules": Text("\n".join(report.broken), "red", overflow="fold"),
        "files": files_in_words(stats),
        "time": f"{duration(report.seconds)}{_pace(report)}",
        "skipped": Text(asked_for_in_words(stats, pages=True), overflow="fold"),
        "left out": Text(asked_for_in_words(stats, pages=False), overflow="fold"),
        "lost": Text(lost_in_words(told_of(report)), "yellow", overflow="fold"),
        "retries": counted(stats.counters.get("retried", 0)) if stats.counters.get("retried") else "",
        "put back": put_back(stats),
        "dead": _dead(report),
        "own figures": own_figures(stats),
    }
    parts: list[RenderableType] = [fields({name: value for name, value in lines.items() if value})]
    if after := _what_now(report, fresh):
        parts += [Text(), Text(after, overflow="fold")]
    return Lines(*parts)


def _items(report: CrawlReport) -> Text:
    total = report.stats.counters.get("items", 0)
    before = f" ({counted(total)} with earlier runs)" if total > report.items else ""
    lines = (f"{counted(one.items)} → {shown(one.where)}{before}" for one in report.outputs)
    return Text("\n".join(lines), overflow="fold")


def _pace(report: CrawlReport) -> str:
    # a resumed crawl counts pages of earlier runs; a rate over them would be wrong
    if not report.seconds or not report.seeds.new or report.seeds.known:
        return ""
    return f", {rate(pages(report.stats) / report.seconds)} pages/s"


def _dead(report: CrawlReport) -> Text | str:
    stats = report.stats
    if not stats.dead:
        return ""
    among = f" of {LETTERS_READ:,} of them" if stats.dead > LETTERS_READ else ""
    causes = [
        f"{counted(group.count)}{among} × {error} at {line}: {group.message[:200]}"
        for group in report.causes
        for error, line in [group.values]
        if line
    ]
    return Text("\n".join(map(shown, [dead_words(stats), *causes])), style="red")


_FORGOTTEN = (
    "memory:// keeps nothing: what was pending, paused or given up is gone with this process.\n"
    "To keep it, and to go on where a crawl stopped, use `crawl` without REDIS_URL."
)


def _what_now(report: CrawlReport, fresh: bool) -> str:
    job = shown(report.stats.job)
    if not report.kept:
        return _FORGOTTEN if report.reason != "finished" or report.stats.dead else ""
    if report.reason == "interrupted":
        same = "the same command without --fresh" if fresh else "the same command"
        kept = "".join(f"\n{shown(one.target)} stays as it was until then." for one in report.outputs if one.aside)
        return f"Nothing is lost: {same} resumes where this one stopped.{kept}"
    if report.reason == "paused":
        redrive = [f"Try those given up again: {PROGRAM} redrive --all --job {job}"] if report.stats.dead else []
        then = "Fix the cause and resume, then run the same command again."
        return "\n".join((*pauses(report.stats), *to_fetch_again(report.stats), *redrive, then))
    if report.reason == "lacking":
        return "The log names what the spiders here lack. Add it, or start a worker that has it; then run this again."
    if report.reason in ("closed", "already finished") and report.stats.closed:
        again = "the same command with a higher limit or without one"
        if not report.stats.closed.startswith(BY_LIMIT):
            again = f"{PROGRAM} control resume job:{job}, then the same command"
        return f"To go on: {again}. To start again: the same command with --fresh"
    if report.reason == "already finished":
        return "This crawl is already finished. To start it again: run the same command with --fresh"
    if report.stats.dead:
        return (
            f"See why they were given up: {PROGRAM} dead --job {job}\n"
            f"Try them again: {PROGRAM} redrive --all --job {job}, then run the same command again"
        )
    return ""
