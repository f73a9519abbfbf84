"""All that can be found out about one URL, as values."""

from __future__ import annotations

from msgspec import Struct

from crawler.status import JobStats, Trace, WorkerInfo


class Outlook(Struct, frozen=True):
    """What the rules in force in this folder say of a URL. Texts are for people."""

    spider: str  # whose request it is, or would be
    obstacles: tuple[str, ...] = ()  # why it would not be followed, or not be fetched
    robots: str = ""  # what robots.txt says, as far as the fleet knows it
    depth_limit: int = 0


class Inquiry(Struct, frozen=True):
    """All that can be found out about one URL in one job."""

    job: str
    url: str  # canonical
    trace: Trace
    stats: JobStats
    workers: tuple[WorkerInfo, ...]
    outlook: Outlook
    cap: int  # requests at once to a host
    outbox_limit: int
