"""The figures of a crawl: in words for people, under Scrapy's names for scripts. Pure: no terminal, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from crawler.control.pauses import resuming
from crawler.control.routes import Assignment, queue_of
from crawler.model import Limits
from crawler.program import PROGRAM
from crawler.runtime.safe_text import shown
from crawler.status import OWN, Backlog, HostTurn, JobStats, WorkerInfo, clock, why_resting

if TYPE_CHECKING:
    from crawler.views.reports import CrawlReport

STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")

# ---------------------------------------------------------------------------------------------------------
# Single numbers


def counted(number: int) -> str:
    """`1,234,567`."""
    return f"{number:,}"


def several(number: int, noun: str) -> str:
    """`1 page`, `1,234 pages`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def source_in_words(backlog: Backlog) -> str:
    """`amqp://host:5672/?queue=urls: 1,234 messages, 2 consumers`."""
    consumers = "" if backlog.consumers is None else f", {several(backlog.consumers, 'consumer')}"
    return f"{shown(backlog.source)}: {several(backlog.messages, 'message')}{consumers}"


def rate(per_second: float) -> str:
    """Format a rate with its significant digits: `0.25`, `7.4`, `1,234`."""
    if per_second >= 99.95:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 0.995 else f"{per_second:.2f}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole:02d} s" if minutes else f"{whole} s"


def size(count: float) -> str:
    """Format a number of bytes: `640 B`, `12.3 kB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def counts_in_words(figures: Mapping[str, int], limit: int = 100) -> str:
    """Format counts as `2xx 500, 4xx 6`; those beyond `limit` are summed as `others`."""
    named = [f"{shown(name)} {counted(count)}" for name, count in list(figures.items())[:limit]]
    rest = sum(list(figures.values())[limit:])
    return ", ".join(named + ([f"others {counted(rest)}"] if rest else []))


# ---------------------------------------------------------------------------------------------------------
# Counters of a job


def group(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Return the counters that begin with `prefix/`, without the prefix, the largest first."""
    start = f"{prefix}/"
    found = {name.removeprefix(start): count for name, count in counters.items() if name.startswith(start)}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def left_out(counters: Mapping[str, int]) -> str:
    """Return how many items and links of fetched pages were left out, by reason; empty if none."""
    kinds = {"items": counts_in_words(group(counters, "dropped")), "links": counts_in_words(group(counters, "links"))}
    return "; ".join(f"{kind}: {reasons}" for kind, reasons in kinds.items() if reasons)


FIRST_WINS = "the first request for a URL wins; Request(…, dont_filter=True) asks for both"


def dead_words(stats: JobStats) -> str:
    """Return `7 (http_404 6, dns 1)`: the dead letters by kind, if none has been redriven since."""
    kinds = group(stats.counters, "dead")  # counted at death: some may have been redriven since
    why = f" ({counts_in_words(kinds)})" if sum(kinds.values()) == stats.dead else ""
    return f"{counted(stats.dead)}{why}"


def other_callbacks(stats: JobStats) -> str:
    """Report requests that were not admitted because another callback had their URLs; empty if none."""
    count = stats.counters.get("links/other_callback", 0)
    if not count:
        return ""
    named = ", ".join(f"{shown(callback)}, such as for {shown(url)}" for callback, url in stats.other_callbacks.items())
    requests = f"{several(count, 'request')} for {'a known URL' if count == 1 else 'known URLs'}"
    return f"{requests} named another callback ({named}): {FIRST_WINS}"


def status_classes(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the number of answers of each class, `1xx` to `5xx`, without empty classes."""
    classes: Counter[str] = Counter()
    for status, count in group(counters, "status").items():
        classes[f"{status[:1]}xx"] += count
    return {name: classes[name] for name in STATUS_CLASSES if classes[name]}


def answers(counters: Mapping[str, int]) -> dict[str, int]:
    """Return the number of answers of each class, and how often a host gave no answer."""
    silent = sum(group(counters, "error").values())
    return {**status_classes(counters), **({"no answer": silent} if silent else {})}


def answers_in_words(counters: Mapping[str, int]) -> str:
    """`2xx 500, no answer 3 (dns 2, timeout 1)`."""
    kinds = group(counters, "error")
    return counts_in_words(answers(counters)) + (f" ({counts_in_words(kinds)})" if kinds else "")


def urls(stats: JobStats) -> int:
    """Return the number of URLs found, without the steps of items that wait for their files."""
    return stats.known - stats.counters.get("steps", 0)


def files_in_words(stats: JobStats) -> str:
    """Return `1,234 kept (12.3 MB), 7 up to date; 2 items wait for theirs`: the files of items; empty if none."""
    files = group(stats.counters, "files")
    kept, known = files.get("downloaded", 0), files.get("uptodate", 0)
    waiting = files.get("waiting", 0) - files.get("complete", 0)
    figures = (
        f"{counted(kept)} kept ({size(files.get('bytes', 0))})" if kept else "",
        f"{counted(known)} up to date" if known else "",
    )
    waits = f"{several(waiting, 'item')} {'waits' if waiting == 1 else 'wait'} for theirs" if waiting > 0 else ""
    return "; ".join(filter(None, (", ".join(filter(None, figures)), waits)))


def own_figures(stats: JobStats) -> str:
    """Return what the project's own code has counted, the largest first."""
    return counts_in_words(group(stats.counters, OWN))


def pages(stats: JobStats) -> int:
    """Return the number of pages fetched and parsed."""
    return stats.counters.get("pages", 0)


# ---------------------------------------------------------------------------------------------------------
# Workers


def pages_per_second(job: str, workers: Iterable[WorkerInfo]) -> float:
    """Return how many pages of the job the living workers have read a second, between their last two heartbeats."""
    rates: Iterable[float] = (worker.info.get("rates", {}).get(job, 0.0) for worker in alive(workers))
    return round(sum(rates, start=0.0), 2)


class HostFigures(Struct, frozen=True):
    """Recent figures of one host, over all workers."""

    host: str
    pages: int
    seconds: float  # mean time to answer


def hosts(job: str, workers: Iterable[WorkerInfo]) -> list[HostFigures]:
    """Merge what the workers' heartbeats report about the hosts of a job; unordered."""
    joined: dict[str, tuple[int, float]] = {}
    for worker in alive(workers):
        for host, (count, mean_ms) in worker.info.get("job_hosts", {}).get(job, {}).items():
            before, total = joined.get(host, (0, 0.0))
            joined[host] = before + count, total + count * mean_ms
    return [HostFigures(host, count, ms / count / 1000) for host, (count, ms) in joined.items() if count]


def busiest(figures: Iterable[HostFigures], limit: int) -> list[HostFigures]:
    """Return the hosts with the most pages."""
    return sorted(figures, key=lambda one: (-one.pages, one.host))[:limit]


def slowest(figures: Iterable[HostFigures], limit: int) -> list[HostFigures]:
    """Return the hosts that take longest to answer."""
    return sorted(figures, key=lambda one: (-one.seconds, one.host))[:limit]


def alive(workers: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Return the workers whose lease has not expired."""
    return [worker for worker in workers if worker.lease_left > 0]


def at_work(stats: JobStats, workers: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """Return the living workers of this job, each by the names, queues and routes that it has told."""
    return [worker for worker in alive(workers) if assigned_to(worker).has(stats.job, stats.spider)]


def assigned_to(worker: WorkerInfo) -> Assignment:
    """Return the jobs that the worker works for; one that tells nothing of them works for all."""
    told = {name: worker.info[name] for name in Assignment.__struct_fields__ if name in worker.info}
    try:
        return msgspec.convert(told, Assignment)
    except msgspec.ValidationError:
        return Assignment()  # told by a version that has other words for it


def why_idle(stats: JobStats, workers: Iterable[WorkerInfo]) -> str:
    """Return why this job makes no progress now, and what would help; empty if it makes progress."""
    if stats.closed:
        return closed_in_words(stats)
    if stats.finished:
        return "finished: every URL found has been fetched, skipped or given up"
    ours = at_work(stats, workers)
    if not ours:
        return no_worker(stats, workers)
    if stats.is_all_paused:
        return "only paused requests are left"
    if stats.outbox and any(worker.info.get("idle") == "outbox" for worker in ours):
        return outbox_words(stats)
    return "" if stats.is_flowing else _waiting(stats)


def closed_in_words(stats: JobStats) -> str:
    """Return why the job ended early, how many requests it leaves, and the command that opens it again; empty if it was
    not closed."""
    if not stats.closed:
        return ""
    left = f"{several(stats.pending, 'request')} {'was' if stats.pending == 1 else 'were'} left pending"
    if stats.processing:
        return f"closed: {shown(stats.closed)}; {several(stats.processing, 'request')} in flight will end; {left}"
    return f"closed: {shown(stats.closed)}; {left}; {PROGRAM} control resume job:{shown(stats.job)} goes on"


def limits_in_words(limits: Limits) -> str:
    """Return `10 pages, 60 s`: the limits at which a job is closed; empty if there are none."""
    seconds, silent = limits.seconds, limits.seconds_without_item
    named = (
        several(limits.pages, "page") if limits.pages else "",
        several(limits.items, "item") if limits.items else "",
        several(limits.errors, "error") if limits.errors else "",
        duration(seconds) if seconds else "",
        f"{several(limits.pages_without_item, 'page')} without an item" if limits.pages_without_item else "",
        f"{duration(silent)} without an item" if silent else "",
    )
    return ", ".join(filter(None, named))


def routes_differ(workers: Iterable[WorkerInfo]) -> str:
    """Return that living workers have different ROUTES, so that two or none may take a job; empty if they agree."""
    assigned = [one for one in map(assigned_to, alive(workers)) if not one.jobs]
    different = {msgspec.json.encode(one.routes) for one in assigned}
    if len(different) < 2:
        return ""
    return (
        f"workers have {len(different)} different ROUTES; each obeys its own, so a job may be taken by workers of two "
        f"queues, or by none: give all the same settings.py; {PROGRAM} inspect conf"
    )


def no_worker(stats: JobStats, workers: Iterable[WorkerInfo]) -> str:
    """Return the message that no worker works for a job, with the command that starts one."""
    others = alive(workers)
    for one in map(assigned_to, others):
        if one.queues and not one.jobs:
            queue = shown(queue_of(one.routes, stats.job, stats.spider))
            return (
                f"no worker serves the queue {queue}, to which ROUTES lead this job "
                f"({several(len(others), 'worker')} for others); {PROGRAM} worker --queue {queue}"
            )
    if others:
        return (
            f"no worker works for this job ({several(len(others), 'worker')} for others); "
            f"{PROGRAM} worker --job {stats.job}"
        )
    return f"no worker is running; start one with: {PROGRAM} worker"


def outbox_words(stats: JobStats) -> str:
    """Return why the outbox is full."""
    waiting = f"the outbox is full: items of {several(stats.outbox, 'page')} wait"
    if stats.exporter and len(stats.outputs) > 1:
        slowest = max(stats.outputs, key=lambda one: one.pages)
        return (
            f"{waiting}; {shown(slowest.output)} holds up the crawl: it lacks {several(slowest.pages, 'page')} of them"
        )
    if stats.exporter:
        return f"{waiting}; {shown(stats.exporter)} writes them more slowly than pages come in"
    return f"{waiting} and no exporter is running; start: {PROGRAM} export --job {stats.job} -o FILE --follow"


def nobody_exports(stats: JobStats) -> str:
    """Return that the items of a job wait and nobody writes them; empty if somebody does, or none wait."""
    if not stats.outbox or stats.exporter or stats.finished:
        return ""
    return (
        f"no exporter is running: items of {several(stats.outbox, 'page')} wait, and when the outbox is full the crawl "
        f"stops; start: {PROGRAM} export --job {stats.job} -o FILE --follow"
    )


def lags(stats: JobStats) -> list[str]:
    """Return one line for each of several outputs: how many pages wait for it; none if nothing waits."""
    if not stats.outbox or len(stats.outputs) < 2:
        return []
    return [f"{shown(one.output)}: {several(one.pages, 'page')} wait{'s' * (one.pages == 1)}" for one in stats.outputs]


def unexported(stats: JobStats) -> str:
    """Return that a finished job still has items to export; empty if it has none."""
    if not (stats.finished and stats.outbox):
        return ""
    waiting = f"items of {several(stats.outbox, 'page')} wait to be written"
    if stats.exporter:
        return f"{waiting}; {shown(stats.exporter)} is writing them"
    return f"{waiting}: {PROGRAM} export --job {stats.job} -o FILE"


def spiders_missing(stats: JobStats, workers: Iterable[WorkerInfo]) -> list[str]:
    """Return one line for each spider that workers cannot use, with the reason."""
    found: dict[str, tuple[int, str]] = {}
    for worker in at_work(stats, workers):
        for spider, why in worker.info.get("no_spider", {}).get(stats.job, {}).items():
            found[spider] = found.get(spider, (0, ""))[0] + 1, str(why)
    return [
        f"{several(count, 'worker')} cannot use spider {shown(spider)}: {shown(why)}; "
        "its pages wait for a worker that can, without an attempt; mend it here and restart them"
        for spider, (count, why) in sorted(found.items())
    ]


def wait_for_newer(stats: JobStats) -> list[str]:
    """Return one line for each later message version: how many requests no worker could read so far."""
    return [
        f"{several(count, 'request')} of message version {version}, which workers did not know; start newer workers"
        for version, count in sorted(stats.later.items())
    ]


def slowed_down(stats: JobStats, workers: Iterable[WorkerInfo]) -> list[str]:
    """Return one line for each limit of a machine that slows workers down."""
    limits = Counter(str(worker.info["own_limit"]) for worker in at_work(stats, workers) if "own_limit" in worker.info)
    return [f"{several(count, 'worker')}: {shown(limit)}" for limit, count in sorted(limits.items())]


def put_back(stats: JobStats) -> str:
    """Return how many pages were released because of a limit of a worker's machine; empty if none."""
    times = stats.counters.get("own_limit", 0)
    return f"{several(times, 'page')}, by limits of the workers' machines; no attempt counted" if times else ""


def hosts_in_words(stats: JobStats) -> str:
    """Return the states of the hosts with pending requests: `2 may be asked now, 10 wait for their turn …`."""
    due = "" if stats.next_due is None else f" (the next is due in {duration(stats.next_due)})"
    figures = (
        (stats.ready, "may be asked now", ""),
        (max(0, stats.cooling - len(stats.resting)), "wait for their turn", due),
        (len(stats.resting), "rest", ""),
        (stats.held, "left alone, paused", ""),
        (stats.asking, "asked for their robots.txt now", ""),
    )
    return ", ".join(f"{counted(number)} {what}{more}" for number, what, more in figures if number)


def resting(stats: JobStats, limit: int = 3) -> list[str]:
    """Return one line for each host that rests: why, and the local time of its next try; at most `limit`."""
    return [f"{shown(one.host)} {rest_words(one.turn, stats.at)}" for one in stats.resting[:limit]]


def rest_words(turn: HostTurn, now: float) -> str:
    """Return `answered 503 (3rd time); next try 15:12`. `now`: Unix seconds."""
    why = why_resting(turn.cause, turn.rests, asked=turn.asked_for_rest)
    return f"{shown(why)}; next try {clock(now, turn.rest)}"


def host_state(turn: HostTurn, now: float) -> str:
    """Return what a host does: rests, is asked for robots.txt, answers, waits for its turn, may be asked now."""
    if turn.rest:
        return rest_words(turn, now)
    if turn.asking:
        return f"waits for its robots.txt, which {shown(turn.asking)} asks for"
    if turn.wait:
        return f"at its pace; next request {clock(now, turn.wait)}"
    return f"{several(turn.inflight, 'request')} in flight" if turn.inflight else "may be asked now"


def pauses(stats: JobStats, limit: int = 5) -> list[str]:
    """Return one line for each pause in a job: why, and the command that lifts it; at most `limit`, then the rest."""
    lines = [
        f"paused: {one.what} {shown(one.name)}: {shown(one.why)}; {PROGRAM} {shown(resuming(one))}"
        for one in stats.paused[:limit]
    ]
    more = len(stats.paused) - limit
    return lines + ([f"{counted(more)} more are paused; {PROGRAM} status --json names them"] if more > 0 else [])


def to_fetch_again(stats: JobStats) -> list[str]:
    """Return one line for each callback of which pages with incomplete items are remembered, with the command."""
    return [
        f"{several(count, 'page')} of {shown(callback)} gave items without fields that they had before; after the fix, "
        f"fetch them again: {PROGRAM} redrive --incomplete --job {shown(stats.job)}"
        for callback, count in group(stats.counters, "incomplete").items()
        if count > 0
    ]


def _waiting(stats: JobStats) -> str:
    """Return what a job with nothing in flight and no ready host waits for."""
    due = "" if stats.next_due is None else f"; the next is due in {duration(stats.next_due)}"
    if not stats.pending:
        seeders = several(stats.seeding, "seeder")
        return f"waiting for seeds ({seeders} at work)" if stats.seeding else "waiting for new requests"
    if stats.pending and sum(stats.later.values()) >= stats.pending:
        return "only requests for newer workers are left: " + ", ".join(wait_for_newer(stats))
    if stats.delayed and stats.delayed >= stats.pending:
        return f"{several(stats.pending, 'request')} left, none due yet (retries, delays){due}"
    if stats.resting:
        return "; ".join(resting(stats))
    return f"{several(stats.pending, 'request')} pending{due}"


# ---------------------------------------------------------------------------------------------------------
# For scripts


def scrapy_stats(report: CrawlReport) -> dict[str, Any]:
    """Return the final figures under Scrapy's stat names where the meaning is the same, and `queue/…` for ours."""
    stats = report.stats
    return {
        "finish_reason": stats.closed if report.reason == "closed" else report.reason.replace(" ", "_"),
        "elapsed_time_seconds": round(report.seconds, 3),
        **job_figures(stats),
        "items_exported": report.items,
        "own": group(stats.counters, OWN),
        "job": stats.job,
        "target": report.outputs[0].target,
        "outputs": [{"target": one.target, "items": one.items} for one in report.outputs],
        "seeds/new": report.seeds.new,
        "seeds/known": report.seeds.known,
        "seeds/refused": sum(report.seeds.refused.values()),
    }


def job_figures(stats: JobStats) -> dict[str, int]:
    """Return those of them that the job itself has."""
    counters = stats.counters
    statuses, files = group(counters, "status"), group(counters, "files")
    return {
        "response_received_count": sum(statuses.values()),
        "downloader/response_count": sum(statuses.values()),
        **{f"downloader/response_status_count/{status}": count for status, count in statuses.items()},
        "downloader/response_bytes": counters.get("bytes", 0),
        "item_scraped_count": counters.get("items", 0),
        "pages": pages(stats),
        "retry/count": counters.get("retried", 0),
        "own_limit/count": counters.get("own_limit", 0),
        **{f"skip/{reason}": count for reason, count in group(counters, "skip").items()},
        **{f"file_status_count/{status}": files[status] for status in ("downloaded", "uptodate") if status in files},
        **{f"files/{name}": count for name, count in files.items() if name not in ("downloaded", "uptodate")},
        **{f"given_up/{why}": count for why, count in group(counters, "given_up").items()},
        "item_dropped_count": sum(group(counters, "dropped").values()),
        **{f"item_dropped_reasons_count/{why}": count for why, count in group(counters, "dropped").items()},
        **{f"links/{why}": count for why, count in group(counters, "links").items()},
        **{f"dead/{kind}": count for kind, count in group(counters, "dead").items()},
        **queue_figures(stats),
    }


def queue_figures(stats: JobStats) -> dict[str, int]:
    """Return the numbers of a job's requests in each state, as `queue/…`."""
    names = ("known", "pending", "processing", "done", "dead", "dropped", "outbox")
    counted_ones = {f"queue/{name}": getattr(stats, name) for name in names}
    return {**counted_ones, **{f"queue/{name}": stats.counters.get(name, 0) for name in ("reaped", "fenced")}}
