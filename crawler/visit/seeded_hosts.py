"""Remembers which hosts were seeded in a job, so that each host costs one call to the frontier."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from crawler.model import Job

MAX_HOSTS = 150_000  # hosts remembered, of all jobs; some 160 bytes each
MAX_JOBS = 100
NO_HOLDS_FOR = 5.0  # seconds, because a host that was not seeded may be seeded at any moment


class SeededHosts:
    """Answers for many jobs. `in_scope` is the frontier's method; `job_of(name)` returns the job of a lease."""

    def __init__(
        self, in_scope: Callable[[Job, Sequence[str]], Awaitable[list[bool]]], job_of: Callable[[str], Job]
    ) -> None:
        self._in_scope = in_scope
        self._job_of = job_of
        self._yes: dict[str, set[str]] = {}  # by the job's epoch
        self._no: dict[tuple[str, str], float] = {}  # (epoch, host) → until when, monotonic seconds

    async def among(self, job: str, hosts: Iterable[str]) -> set[str]:
        """Return those of the hosts that were seeded."""
        record = self._job_of(job)
        yes = self._yes.setdefault(record.epoch, set())
        now = time.monotonic()
        wanted = set(hosts)
        unknown = [host for host in wanted - yes if self._no.get((record.epoch, host), 0.0) < now]
        if unknown:
            answers = await self._in_scope(record, unknown)
            for host, seeded in zip(unknown, answers, strict=True):
                if seeded:
                    yes.add(host)
                else:
                    self._no[record.epoch, host] = now + NO_HOLDS_FOR
        answer = wanted & yes
        if unknown:
            self._forget_some()
        return answer

    def _forget_some(self) -> None:
        if len(self._no) > MAX_HOSTS:
            self._no.clear()
        while len(self._yes) > MAX_JOBS or sum(map(len, self._yes.values())) > MAX_HOSTS:
            del self._yes[next(iter(self._yes))]
