"""What the commands report: values for the display, the log and `--json`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from crawler.control.dead_letters import Group
from crawler.status import Coverage, JobStats, WorkerInfo
from crawler.views.history import Momentum


class SeedReport(Struct, frozen=True):
    """How many seeds were new, known and refused (by reason)."""

    job: str
    new: int
    known: int
    refused: Mapping[str, int]


class ExportReport(Struct, frozen=True):
    """What an export did. `left`: pages whose items still wait in the outbox."""

    job: str
    target: str
    items: int
    left: int
    aside: str = ""  # the new file beside the target that has the items until the export ends in order
    code: int = 0  # exit code


class Progress(Struct, frozen=True):
    """A snapshot of a running crawl, for the live display and the 10-second log line."""

    stats: JobStats
    workers: tuple[WorkerInfo, ...]
    seconds: float  # since this command started
    momentum: Momentum
    exported: int  # items in the sink so far, by this command


class CrawlReport(Struct, frozen=True):
    """How a crawl ended. `reason`: finished, closed, already finished, no seeds, paused, lacking, interrupted,
    failed."""

    reason: str
    stats: JobStats
    seeds: SeedReport
    target: str
    items: int
    seconds: float
    code: int = 0  # exit code
    causes: tuple[Group, ...] = ()  # the most frequent (error, line) of its dead letters
    aside: str = ""  # the new file beside the target that has the items until the crawl is finished
    kept: bool = True  # whether the job outlives this command
    coverage: tuple[Coverage, ...] = ()  # which fields of the job's items are filled
