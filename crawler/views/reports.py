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


class Output(Struct, frozen=True):
    """What a command has written to one target."""

    target: str  # as the user named it, without a password
    items: int = 0
    aside: str = ""  # the new file beside the target that has the items until the end in order

    @property
    def where(self) -> str:
        """Where the items are, for people."""
        return "stdout" if self.target == "-" else self.aside or self.target


class ExportReport(Struct, frozen=True):
    """What an export did. `left`: pages whose items still wait in the outbox."""

    job: str
    outputs: tuple[Output, ...]
    left: int = 0
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
    outputs: tuple[Output, ...]
    seconds: float
    code: int = 0  # exit code
    causes: tuple[Group, ...] = ()  # the most frequent (error, line) of its dead letters
    kept: bool = True  # whether the job outlives this command
    coverage: tuple[Coverage, ...] = ()  # which fields of the job's items are filled
    broken: tuple[str, ...] = ()  # the rules that the items break, as sentences

    @property
    def items(self) -> int:
        """How many items this command wrote to the output that got most."""
        return max(one.items for one in self.outputs)
