"""Logs what a spider's callbacks raise: the first of each kind with its traceback, the others as a count."""

from __future__ import annotations

from collections import Counter

import structlog

from crawler.model import Failure, Lease

log = structlog.get_logger()

MAX_KINDS = 1_000  # kinds of errors that are told apart in one process; those beyond share one count


class SpiderErrors:
    """Errors of one kind have the same job, spider, callback, exception class and line."""

    def __init__(self) -> None:
        self._times: Counter[tuple[str, ...]] = Counter()

    def say(self, lease: Lease, spider: str, callback: str, failure: Failure, event: str = "callback_failed") -> None:
        """Log the first error of its kind in full; of the later ones, the 10th, the 100th, and so on."""
        kind: tuple[str, ...] = (lease.job, spider, callback, failure.error, failure.line)
        if kind not in self._times and len(self._times) >= MAX_KINDS:
            kind = ()
        self._times[kind] += 1
        times = self._times[kind]
        where = {"spider": spider, "callback": callback, "line": failure.line, "error": failure.message}
        if times == 1:
            stack = {"exception": failure.traceback.rstrip()} if failure.traceback else {}
            log.error(event, url=lease.request.url, **where, **stack)
        elif str(times).strip("0") == "1":  # a power of ten
            log.error(f"{event}_again", times=times, url=lease.request.url, **where)
