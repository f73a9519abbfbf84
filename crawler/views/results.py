"""The result of a job and of a URL: one of seven states, the same wherever a program asks (docs/results.md). Pure.

`status --json`, `why --json`, the Python API (`crawler/results.py`) and whoever else tells a state take it from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from crawler.control.dead_letters import Group, error_of
from crawler.errors import Exit
from crawler.model import Failure
from crawler.status import Failing, JobStats, WorkerInfo
from crawler.views import reasons
from crawler.views.figures import (
    closed_in_words,
    pages,
    pages_per_second,
    pauses,
    resting,
    several,
    spiders_missing,
    unexported,
    why_idle,
)
from crawler.views.inquiry import Inquiry
from crawler.views.losses import exit_code, lost

VERSION = 1
"""Of the schema: it grows when a field or a state is removed or gets another meaning, not when one is added."""


class State(StrEnum):
    """Where a job or a URL stands. The last three stay until somebody changes something: seeds, redrives, resumes."""

    UNKNOWN = "UNKNOWN"  # nobody has made the job; the job does not know the URL
    PENDING = "PENDING"  # no worker has taken it yet
    STARTED = "STARTED"  # at work, or not all items are exported yet
    RETRY = "RETRY"  # all that is left waits for another try
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"  # a person paused or blocked it


class Counts(Struct, frozen=True):
    """How far a job is."""

    known: int = 0  # requests that were ever admitted: pending + processing + done + dead + dropped
    pending: int = 0
    processing: int = 0
    done: int = 0  # read or skipped
    dead: int = 0
    dropped: int = 0  # dead letters that a person dropped
    pages: int = 0  # fetched and read
    items: int = 0
    unexported: int = 0  # pages whose items no sink has yet
    pages_per_second: float = 0.0  # lately, over all workers


class JobResult(Struct, frozen=True):
    """The result of a job."""

    job: str
    state: State
    reason: str = ""  # in words, for people: what it waits for, what was lost, who revoked it; may be empty
    failure: Failure | None = None  # of FAILURE: what most of it failed of
    progress: Counts = Counts()
    version: int = VERSION


class UrlResult(Struct, frozen=True):
    """The result of a URL in a job."""

    job: str
    url: str  # canonical
    state: State
    reason: str = ""  # in words, for people: where it is, what it waits for, how it ended
    failure: Failure | None = None  # of FAILURE
    version: int = VERSION


Explained = tuple[State, str, Failure | None]
"""A state, why it is so, and what went wrong."""


def of_job(
    stats: JobStats,
    workers: Sequence[WorkerInfo] = (),
    *,
    largest: Group | None = None,
    last: Failing | None = None,
    strict: bool = False,
) -> JobResult:
    """Return the result of a job that exists.

    `largest` is the largest group of its dead letters, `last` its last error that is tried again, both None if there
    is none or if nobody looked. `strict`: any loss is a failure, as with STRICT.
    """
    state, reason, failure = _job_state(stats, workers, largest, last, strict=strict)
    return JobResult(stats.job, state, reason, failure, _counts(stats, workers))


def _counts(stats: JobStats, workers: Sequence[WorkerInfo]) -> Counts:
    return Counts(
        known=stats.known,
        pending=stats.pending,
        processing=stats.processing,
        done=stats.done,
        dead=stats.dead,
        dropped=stats.dropped,
        pages=pages(stats),
        items=stats.counters.get("items", 0),
        unexported=stats.outbox,
        pages_per_second=pages_per_second(stats.job, workers),
    )


def _job_state(
    stats: JobStats, workers: Sequence[WorkerInfo], largest: Group | None, last: Failing | None, *, strict: bool
) -> Explained:
    if stats.finished and stats.outbox:
        return State.STARTED, unexported(stats), None
    if who := _who_revoked(stats):
        return State.REVOKED, who, None
    if stats.finished:
        return _ended(stats, largest, strict=strict)
    if stats.is_all_paused:
        why = "; ".join(pauses(stats))
        return State.FAILURE, why, Failure("paused", why, traceback=largest.failure.traceback if largest else "")
    why = "; ".join(filter(None, [why_idle(stats, workers), *spiders_missing(stats, workers)]))
    if not _is_begun(stats):
        return State.PENDING, why, None
    if stats.is_retrying:
        return State.RETRY, "; ".join([*([last.error] if last else []), *resting(stats)]) or why, None
    return State.STARTED, why, None


def _who_revoked(stats: JobStats) -> str:
    """Return who stopped the job, and why: by a block, a pause of the job, or pauses of all that is left."""
    if stats.blocked and (not stats.finished or stats.counters.get("skip/blocked")):
        return f"blocked: {stats.blocked}"
    ordered = [one for one in stats.paused if one.by]
    is_revoked = not stats.finished and (
        any(one.what == "job" for one in ordered) or (stats.is_all_paused and len(ordered) == len(stats.paused))
    )
    return "; ".join(pauses(stats)) if is_revoked else ""


def _ended(stats: JobStats, largest: Group | None, *, strict: bool) -> Explained:
    losses = lost(stats)
    why = "; ".join([*filter(None, [closed_in_words(stats)]), *(one.text for one in losses)])
    if exit_code(stats, strict=strict) == Exit.DONE:
        return State.SUCCESS, why, None
    if largest:
        return State.FAILURE, f"{why}; {several(largest.count, 'page')}: {error_of(largest.failure)}", largest.failure
    return State.FAILURE, why, Failure(losses[0].counter, losses[0].text)


_BACK = ("retried", "released", "spared", "set_aside", "reaped", "redriven")
"""The counters of requests that returned to pending from a worker or from the dead letters."""


def _is_begun(stats: JobStats) -> bool:
    """Whether a worker has ever taken a request of the job."""
    return stats.known > stats.pending or any(stats.counters.get(name) for name in _BACK)


# ---------------------------------------------------------------------------------------------------------
# URLs


def of_url(inquiry: Inquiry) -> UrlResult:
    """Return the result of a URL in a job that exists."""
    state, reason, failure = _url_state(inquiry)
    return UrlResult(inquiry.job, inquiry.url, state, reason, failure)


def _url_state(inquiry: Inquiry) -> Explained:
    trace, told = inquiry.trace, next(iter(reasons.told(inquiry)), "")
    match reasons.state(inquiry):
        case "unknown":
            return State.UNKNOWN, told, None
        case "processing":
            return State.STARTED, told, None
        case "dead":
            letter = trace.sightings[0].letter
            return State.FAILURE, told, letter.failure if letter else None
        case "skipped":
            return _skipped(trace.skipped.reason if trace.skipped else "", told)
        case "done":
            return _read(inquiry, told)
    waits = "; ".join(reasons.waits(inquiry))
    if inquiry.stats.closed:
        return State.REVOKED, waits, None
    if any(one.by for one in trace.pauses):
        return State.REVOKED, waits, None
    if trace.failing or any(one.attempt or one.crashes for one in trace.sightings[:1]):
        return State.RETRY, "; ".join([*([trace.failing.error] if trace.failing else []), waits]), None
    return State.PENDING, waits, None


def _skipped(reason: str, told: str) -> Explained:
    if reason == "blocked":
        return State.REVOKED, told, None
    if reason == "redirect":
        return State.SUCCESS, told, None  # the page that it leads to has a result of its own
    return State.FAILURE, told, Failure(f"skip/{reason}", told)


def _read(inquiry: Inquiry, told: str) -> Explained:
    if inquiry.trace.read and not inquiry.trace.read.exported:
        return State.STARTED, f"{told}; its items wait to be written", None
    return State.SUCCESS, told, None
