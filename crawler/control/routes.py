"""Which queue each job belongs to, and which jobs a worker takes.

    ROUTES = {"spider:shop": "eu", "job:news*": "fast"}        crawler worker --queue eu

A route names a job, or the spider that a job was created with; `*` and `?` stand for characters, as in names of files.
The first route that matches decides. A job without a route belongs to the queue `default`. A job goes to one queue as a
whole, with those of its requests that name another spider. Politeness knows no queues: all workers share one ledger.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from crawler.errors import UsageError

DEFAULT_QUEUE = "default"
_KINDS = ("job", "spider")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII).fullmatch


def queue_of(routes: Mapping[str, str], job: str, spider: str) -> str:
    """Return the queue of a job with that name and spider."""
    for subject, queue in routes.items():
        what, _, pattern = subject.partition(":")
        if fnmatchcase(job if what == "job" else spider, pattern):
            return queue
    return DEFAULT_QUEUE


class Assignment(Struct, frozen=True):
    """The jobs that a worker works for."""

    jobs: tuple[str, ...] = ()  # by name; empty: any
    queues: tuple[str, ...] = ()  # of these queues; empty: of any
    routes: Mapping[str, str] = {}

    def has(self, job: str, spider: str) -> bool:
        """Return whether the worker works for a job with that name and spider."""
        if self.jobs and job not in self.jobs:
            return False
        return not self.queues or queue_of(self.routes, job, spider) in self.queues


def assignment(routes: Mapping[str, str], jobs: Collection[str], queues: Collection[str]) -> Assignment:
    """Return the jobs of a worker that was started with these jobs and queues, of which either may be empty.

    A worker with neither takes the queue `default`; one with jobs takes them, whatever queue they belong to.
    Raise `UsageError` for a queue to which no route leads.
    """
    names = {DEFAULT_QUEUE, *routes.values()}
    for queue in queues:
        if queue not in names:
            near = difflib.get_close_matches(queue, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"ROUTES has: {', '.join(sorted(names))}"
            raise UsageError(f"--queue {queue}: no route leads there; {hint}")
    if not queues and routes and not jobs:
        queues = (DEFAULT_QUEUE,)
    return Assignment(tuple(jobs), tuple(dict.fromkeys(queues)), routes if queues else {})


def unmatched(routes: Mapping[str, str], spiders: Collection[str]) -> list[str]:
    """Return the names and patterns of spiders in ROUTES to which none of these spiders belongs."""
    subjects = (subject.partition(":") for subject in routes)
    patterns = (pattern for what, _, pattern in subjects if what == "spider")
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in spiders)]


def problems(routes: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for each mistake in ROUTES."""
    for subject, queue in routes.items():
        what, colon, pattern = subject.partition(":")
        if what not in _KINDS or not colon or not pattern:
            near = difflib.get_close_matches(what, _KINDS, n=1, cutoff=0.5) or _KINDS[:1]
            yield f"ROUTES: {subject!r} is no subject; write {near[0]}:{pattern or 'NAME'}"
        if not _NAME(queue):
            yield f"ROUTES: {queue!r} is no name of a queue: up to 64 letters, digits and . _ -"
