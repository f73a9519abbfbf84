"""Everything known about one URL, in sentences. Pure: no terminal, no clock."""

from __future__ import annotations

import time
from collections.abc import Iterator

from crawler.control.dead_letters import error_of
from crawler.control.pauses import resuming
from crawler.program import PROGRAM
from crawler.status import SKIPS_KEPT, TRACED, DeadLetter, HostTurn, Pause, Sighting, Skipped, clock
from crawler.views.figures import (
    FIRST_WINS,
    at_work,
    closed_in_words,
    counted,
    duration,
    group,
    no_worker,
    outbox_words,
    rest_words,
    several,
    size,
)
from crawler.views.inquiry import Inquiry

_SKIPS = {
    "robots": "robots.txt forbids it",
    "redirect": "it redirects elsewhere",
    "blocked": "a person has blocked it",
}


def state(inquiry: Inquiry) -> str:
    """Return the state in a word: unknown, pending, delayed, processing, dead, skipped, done."""
    trace = inquiry.trace
    if not trace.known:
        return "unknown"
    if trace.sightings:
        return trace.sightings[0].state
    if trace.unseen:
        return "pending"
    return "skipped" if trace.skipped else "done"


def told(inquiry: Inquiry) -> list[str]:
    """Return what has happened to the URL so far; for a dead letter, also the commands that help."""
    trace = inquiry.trace
    if not trace.known:
        return list(_unknown(inquiry))
    return [*_whereabouts(inquiry), *_kept(inquiry), *_other_callbacks(inquiry)]


def origin(inquiry: Inquiry) -> list[str]:
    """Return where the URL was found and how often it was tried, as far as its message tells."""
    said = [f"redirected from {inquiry.trace.redirected_from}"] if inquiry.trace.redirected_from else []
    for one in inquiry.trace.sightings[:1]:
        if one.request.depth:
            said.append(f"{several(one.request.depth, 'link')} away from a seed; which page linked to it is not kept")
        elif not one.request.redirects and not one.later:
            said.append("a seed")
        said += _tries(one)
    if last := inquiry.trace.failing:
        said.append(f"its last error, {_moment(last.when)}: {last.error.removeprefix(f'{last.url}: ')}")
    return said


def waits(inquiry: Inquiry) -> list[str]:
    """Return what the URL waits for, the longest-lasting reasons first; empty if it is not pending."""
    if state(inquiry) not in ("pending", "delayed"):
        return []
    if inquiry.stats.closed:
        return [f"not fetched: the job was {closed_in_words(inquiry.stats)}"]
    reasons = [*_standstill(inquiry), *_its_host(inquiry)]
    return reasons or ["nothing: a worker takes it with one of its next claims"]


def rules(inquiry: Inquiry) -> list[str]:
    """Return what scope, address and robots rules mean for a URL that has not been fetched yet."""
    if state(inquiry) not in ("unknown", "pending", "delayed"):
        return []
    return list(inquiry.outlook.obstacles) or [text for text in (inquiry.outlook.robots,) if text]


# ---------------------------------------------------------------------------------------------------------
# States


def _unknown(inquiry: Inquiry) -> Iterator[str]:
    yield "unknown: nobody seeded it, and the crawl has followed no link to it"
    limit = inquiry.outlook.depth_limit
    if inquiry.outlook.obstacles:
        return
    if limit:
        yield f"links more than {limit} away from a seed are not followed (DEPTH_LIMIT)"
    yield f"to fetch it: {PROGRAM} seed {inquiry.url} --job {inquiry.job}"


def _whereabouts(inquiry: Inquiry) -> list[str]:
    trace = inquiry.trace
    if trace.sightings:
        return [text for one in trace.sightings for text in _where(inquiry, one)]
    if trace.unseen:
        return [f"pending: not among the first {counted(TRACED)}, and {counted(trace.unseen)} more wait behind them"]
    return [f"skipped: {_skip(trace.skipped)}" if trace.skipped else f"done: {_done(inquiry)}"]


def _kept(inquiry: Inquiry) -> Iterator[str]:
    """Why the page is to be fetched again, and the commands that do it."""
    if kept := inquiry.trace.kept:
        fields = "; ".join(f"{name} is filled {words}" for name, words in sorted(kept.fields.items()))
        yield f"kept, because its items lack fields that others of {kept.callback} had: {fields}"
        pauses = (one for one in inquiry.trace.pauses if (one.what, one.name) == ("callback", kept.callback))
        resume = "".join(f", then {PROGRAM} {resuming(one)}" for one in pauses)
        yield f"after the fix: {PROGRAM} redrive --incomplete --job {inquiry.job}{resume}"


def _other_callbacks(inquiry: Inquiry) -> Iterator[str]:
    for callback in inquiry.trace.other_callbacks:
        yield f"another request for it named the callback {callback} and was not admitted: {FIRST_WINS}"


def _where(inquiry: Inquiry, one: Sighting) -> Iterator[str]:
    host = inquiry.trace.host
    match one.state:
        case "pending":
            yield (
                f"pending: {several(one.ahead, 'request')} to {host} before it"
                if one.ahead
                else (f"pending: the next one of {host}")
            )
        case "delayed":
            yield f"pending: not before its time, in {duration(one.due)}"
        case "processing":
            yield f"in flight: {one.worker} has it{_lease(inquiry, one.worker)}"
        case "dead":
            yield from _given_up(inquiry, one.letter)


def _lease(inquiry: Inquiry, worker: str) -> str:
    left = next((info.lease_left for info in inquiry.workers if info.worker == worker), 0.0)
    if left <= 0:
        return ", which is silent: the reaper will take it back"
    return f" (its lease: {duration(left)} more, renewed while it lives)"


def _given_up(inquiry: Inquiry, letter: DeadLetter | None) -> Iterator[str]:
    if letter is None:
        return
    why = letter.failure.message.removeprefix(f"{letter.url}: ")
    where = f" ({letter.failure.line})" if letter.failure.line else ""
    tries = "the first try" if letter.attempts == 1 else f"{counted(letter.attempts)} tries"
    yield f"dead: given up {_moment(letter.died)} after {tries}: {error_of(letter.failure)}: {why}{where}"
    yield f"in full: {PROGRAM} dead show {letter.id}; try again: {PROGRAM} redrive {letter.id} --job {inquiry.job}"


def _skip(skipped: Skipped) -> str:
    detail = f": {skipped.detail}" if skipped.detail else ""
    return f"{_SKIPS.get(skipped.reason, skipped.reason)}{detail} ({_moment(skipped.when)})"


def _done(inquiry: Inquiry) -> str:
    """Return what may have happened to the URL: the frontier does not remember single pages or old skips."""
    if read := inquiry.trace.read:
        found = f"{several(read.items, 'item')}, {several(read.links, 'link')} passed on"
        return (
            f"fetched and read {_moment(read.when)} by {read.worker}: status {read.status}, {size(read.size)}, {found}"
        )
    stats = inquiry.stats
    ways = ["fetched and read"]
    noted = sum(group(stats.counters, "skip").values()) + stats.counters.get("links/other_callback", 0)
    if noted > SKIPS_KEPT:
        ways.append("skipped too long ago to be remembered")
    if stats.dropped:
        ways.append("given up and dropped by a person")
    return ", or ".join(ways) + (" (which of these is not kept)" if len(ways) > 1 else "")


def _tries(one: Sighting) -> Iterator[str]:
    if one.state == "dead":
        return  # the dead letter says more
    if one.attempt:
        yield f"failed {several(one.attempt, 'time')} so far"
    if one.crashes:
        yield f"its worker's machine was gone {several(one.crashes, 'time')}"
    if one.delivery:
        yield f"handed out {several(one.delivery, 'time')} before"


# ---------------------------------------------------------------------------------------------------------
# What it waits for


def _standstill(inquiry: Inquiry) -> Iterator[str]:
    """Yield the reasons that do not pass by themselves."""
    ours = at_work(inquiry.stats, inquiry.workers)
    if not ours:
        yield no_worker(inquiry.stats, inquiry.workers)
    for pause in inquiry.trace.pauses:
        yield _paused(inquiry, pause)
    for one in inquiry.trace.sightings[:1]:
        if one.later:
            yield f"a newer worker: its message is of version {one.later}, which this crawler does not know"
    for why in {one.info.get("no_spider", {}).get(inquiry.job, {}).get(inquiry.outlook.spider, "") for one in ours} - {
        ""
    }:
        yield f"a worker cannot use spider {inquiry.outlook.spider}: {why}"
    if inquiry.stats.outbox >= inquiry.outbox_limit:
        yield outbox_words(inquiry.stats)


def _paused(inquiry: Inquiry, pause: Pause) -> str:
    what = "its job" if pause.what == "job" else f"{pause.what} {pause.name}"
    return f"{what} is paused since {_moment(pause.since)}: {pause.why}; {PROGRAM} {resuming(pause)}"


def _its_host(inquiry: Inquiry) -> Iterator[str]:
    trace = inquiry.trace
    yield from _turn(inquiry, trace.turn, trace.host)
    if trace.turn.group not in ("", trace.host):
        yield from _turn(inquiry, trace.group_turn, f"{trace.turn.group}, with which it shares its turns,")
    for one in trace.sightings[:1]:
        if one.ahead:
            yield f"the {several(one.ahead, 'request')} before it"
        elif one.state == "delayed":
            yield f"its own time, in {duration(one.due)} (a retry, or the delay its spider asked for)"


def _turn(inquiry: Inquiry, turn: HostTurn, name: str) -> Iterator[str]:
    if turn.asking:
        yield f"{name} is being asked for its robots.txt by {turn.asking}{_lease(inquiry, turn.asking)}"
    asked = f"; it asked for {duration(turn.delay)} between requests" if turn.delay else ""
    if turn.inflight >= inquiry.cap:
        yield f"{name} has {several(turn.inflight, 'request')} in flight, its limit"
    if turn.rest > 0:
        yield f"{name} {rest_words(turn, inquiry.stats.at)}"
    elif turn.wait > 0:
        yield f"{name} is at its pace{asked}; next request {clock(inquiry.stats.at, turn.wait)}"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
