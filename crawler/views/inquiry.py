"""Everything known about one URL, as values."""

from __future__ import annotations

from msgspec import Struct

from crawler.status import JobStats, Trace, WorkerInfo


class Outlook(Struct, frozen=True):
    """What the settings and spiders of this folder mean for a URL. Texts are for people."""

    spider: str  # the spider of its request, or of a future one
    obstacles: tuple[str, ...] = ()  # why a link to it would not be followed, or the page not fetched
    robots: str = ""  # what robots.txt says, as far as the fleet knows it
    depth_limit: int = 0


class Inquiry(Struct, frozen=True):
    """Everything known about one URL in one job."""

    job: str
    url: str  # canonical
    trace: Trace
    stats: JobStats
    workers: tuple[WorkerInfo, ...]
    outlook: Outlook
    cap: int  # requests at once to a host
    outbox_limit: int
