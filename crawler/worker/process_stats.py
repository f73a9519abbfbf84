"""Counts what one worker process does, for its heartbeat and the live display. Plain numbers, no I/O."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from msgspec import to_builtins

from crawler.control.routes import Assignment
from crawler.model import Done, Lease, Release, Visit

MAX_HOSTS = 2_000
SHOWN_HOSTS = 5
MAX_SHOWN = 20  # jobs, and spiders of each, that are reported as unusable
MAX_WORDS = 500  # characters of the reason


class Tally:
    """One per process. `info()` may be called from another thread."""

    def __init__(self, version: str, assigned: Assignment | None = None) -> None:
        """`assigned` are the jobs that the process works for; None: all."""
        self.in_flight = 0
        self.fenced = 0
        self.idle = ""
        self.own_limit = ""  # the limit of this machine that slows the worker down
        self._version = version
        self._assigned = assigned or Assignment()
        self._no_spider: dict[str, dict[str, str]] = {}  # job → spider that this process cannot use → why
        self._pages = 0
        self._lately: Counter[str] = Counter()  # job → pages since the last `info()`
        self._told_at = time.monotonic()
        self._status: Counter[str] = Counter()
        self._hosts: dict[tuple[str, str], tuple[int, float]] = {}  # (job, host) → requests, mean seconds (moving)

    def visited(self, lease: Lease, visit: Visit) -> None:
        """Count one visit."""
        if isinstance(visit.outcome, Done):
            self._pages += 1
            self._lately[lease.job] += 1
        self._note_spider(lease, visit)
        if visit.asked_at is None or isinstance(visit.outcome, Release):
            return
        self._status[f"{visit.status // 100}xx" if visit.status else "error"] += 1
        key = (lease.job, lease.host)
        requests, mean = self._hosts.get(key, (0, visit.seconds))
        self._hosts[key] = (requests + 1, mean + (visit.seconds - mean) * 0.1)
        if len(self._hosts) > MAX_HOSTS:  # keep the busiest
            keep = sorted(self._hosts, key=lambda host: -self._hosts[host][0])[: MAX_HOSTS // 2]
            self._hosts = {host: self._hosts[host] for host in keep}

    def _note_spider(self, lease: Lease, visit: Visit) -> None:
        match visit.outcome:
            case Release(lacks=why) if why and len(self._no_spider) < MAX_SHOWN:
                spiders = self._no_spider.setdefault(lease.job, {})
                if len(spiders) < MAX_SHOWN:
                    spiders[lease.request.spider] = why[:MAX_WORDS]

    def info(self) -> dict[str, Any]:
        """The info that the heartbeat carries: small, however large the crawl is."""
        return {
            "pid": os.getpid(),
            "version": self._version,
            "limits": True,  # this version obeys the limits of jobs (`app/limits.py`)
            "pages": self._pages,
            "in_flight": self.in_flight,
            "fenced": self.fenced,
            "idle": self.idle,
            "rss": resident_bytes(),
            **{name: value for name, value in to_builtins(self._assigned).items() if value},
            **({"own_limit": self.own_limit} if self.own_limit else {}),
            **({"no_spider": self._no_spider} if self._no_spider else {}),
            "rates": self._rates(),
            "status": dict(self._status),
            "job_hosts": self._chosen_hosts(),
        }

    def _rates(self) -> dict[str, float]:
        """Job → pages a second since the last call."""
        now, lately = time.monotonic(), self._lately
        seconds, self._told_at, self._lately = now - self._told_at, now, Counter()
        return {job: round(count / seconds, 2) for job, count in lately.most_common(MAX_SHOWN)}

    def _chosen_hosts(self) -> dict[str, dict[str, list[float]]]:
        """Job → the busiest and slowest of its hosts → requests, mean ms."""
        chosen: dict[str, dict[str, list[float]]] = {}
        for job in list(dict.fromkeys(job for job, _ in list(self._hosts)))[:MAX_SHOWN]:
            hosts = [(host, figures) for (its_job, host), figures in list(self._hosts.items()) if its_job == job]
            busiest = sorted(hosts, key=lambda pair: -pair[1][0])[:SHOWN_HOSTS]
            slowest = sorted(hosts, key=lambda pair: -pair[1][1])[:SHOWN_HOSTS]
            chosen[job] = {host: [requests, round(mean * 1000, 1)] for host, (requests, mean) in busiest + slowest}
        return chosen


def resident_bytes() -> int:
    """This process's resident memory in bytes; 0 if the system does not report it."""
    try:
        with open("/proc/self/statm") as file:  # read every few seconds; a plain open is enough
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
