"""The outbox of one job as its exporter sees it: the right to empty it, and what each sink has."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b

import structlog
from msgspec.structs import replace

from crawler.errors import FrontierUnavailable, OutputError, UsageError
from crawler.export.sinks.position import least, reaches
from crawler.interfaces import Outbox
from crawler.model import BadItem, DeadItem, Exported, Job, OutboxEntry
from crawler.program import PROGRAM
from crawler.runtime.safe_text import shown

log = structlog.get_logger()


class OtherExporter(OutputError):
    """Another exporter is at work on this job."""


class Records:
    """What left the outbox, and to which sinks. `name` identifies the exporter among others.

    Sinks are known by the location that their targets name: the one that they have before they are open.
    """

    def __init__(
        self, jobs: Callable[[], Awaitable[list[Job]]], outbox: Outbox, job: Job, name: str, lease_seconds: float
    ) -> None:
        self._jobs = jobs
        self._outbox = outbox
        self._job = job
        self._name = name
        self._lease = lease_seconds
        self._renewed_at = -lease_seconds
        self._exported = Exported()  # what had left the outbox before this exporter
        self._sinks: dict[str, Exported] = {}  # what each of our sinks has, the one named first is the first
        self._noting = asyncio.Lock()
        self._acknowledged: tuple[Exported, Mapping[str, Exported]] | None = None  # what the outbox has confirmed
        self.earlier: Mapping[str, Exported] = {}  # what each sink of earlier exporters has

    async def begin(self, names: Sequence[str]) -> None:
        """Become the job's exporter, to sinks of these names. Raise `OtherExporter` if there is another one."""
        await self.hold()
        self._exported, self.earlier = await self._outbox.exported(self._job), await self._outbox.sinks(self._job)
        self._sinks = {name: self.earlier.get(name, Exported()) for name in names} | self._sinks

    def before(self, name: str) -> Exported:
        """Return what the sink of that name has, or, if it lacks items that have left the outbox, what has left the
        outbox."""
        its = self.earlier.get(name, Exported())
        if reaches(its.positions, self._exported.positions):
            return its
        return replace(self._exported, values_left_out=its.values_left_out)

    async def others(self) -> dict[str, int]:
        """Return how many waiting pages each earlier sink lacks that is none of ours and has all that has left the
        outbox."""
        gone = self._exported.positions
        others = {
            name: its
            for name, its in self.earlier.items()
            if name not in self._sinks and its.positions and reaches(its.positions, gone)
        }
        return {name: await self._outbox.waiting(self._job, its.positions) for name, its in others.items()}

    async def leave_behind(self, name: str, pages: int) -> None:
        """Count the pages that a sink will never get."""
        await self._outbox.leave_behind(self._job, shown(name), pages)

    async def read(self, after: Mapping[int, str], limit: int) -> list[OutboxEntry]:
        """Return the next entries behind these positions. An item that was redriven for a sink which is none of ours is
        a dead item again."""
        entries = await self._outbox.read(self._job, after, limit)
        strays = [entry for entry in entries if entry.only_for and entry.only_for not in self._sinks]
        if strays:
            why = "the output that it was redriven for is not named any more"
            dead = [dead_item(its.only_for, its, number, why) for its in strays for number, _ in its.numbered()]
            await self._outbox.keep_dead(self._job, dead)
        return entries

    async def bury(self, name: str, entries: Sequence[OutboxEntry], bad: Sequence[BadItem]) -> list[OutboxEntry]:
        """Keep the items that a sink cannot store, and return the entries without them."""
        numbers: dict[tuple[int, str], dict[int, str]] = defaultdict(dict)  # entry → number of an item → why
        for item in bad:
            numbers[item.shard, item.position][item.number] = item.why
        left = [_without(entry, numbers.get((entry.shard, entry.position), {})) for entry in entries]
        if left == list(entries):
            raise OutputError(f"{name} refuses items that it does not name: {'; '.join(item.why for item in bad)}")
        dead = [
            dead_item(name, entry, number, why)
            for entry in entries
            for number, why in numbers.get((entry.shard, entry.position), {}).items()
        ]
        await self._outbox.keep_dead(self._job, dead)
        then = f"they are kept: {PROGRAM} dead items --job {self._job.name}"
        log.warning("items_not_stored", output=shown(name), items=len(dead), why=bad[0].why, then=then)
        return left

    async def waiting(self, after: Mapping[int, str]) -> int:
        """Return how many pages wait behind these positions."""
        return await self._outbox.waiting(self._job, after)

    async def note(self, name: str, exported: Exported) -> None:
        """Note what a sink has, and remove from the outbox what all have, unless that is done already."""
        self._sinks[name] = exported
        async with self._noting:
            first = next(iter(self._sinks.values()))
            positions = least([its.positions for its in self._sinks.values()])
            durable = Exported(positions, first.location, first.inode), dict(self._sinks)
            if durable != self._acknowledged:
                await self._outbox.acknowledge(self._job, *durable)
                self._acknowledged = durable

    async def hold(self) -> None:
        """Renew the right to export the job. Raise `OtherExporter` if another exporter has it.

        Raise `FrontierReplaced` if the server lost its data, because an empty outbox then does not prove the end.
        """
        now = time.monotonic()
        if now - self._renewed_at < self._lease / 3:
            return
        if all(job.epoch != self._job.epoch for job in await self._jobs()):
            raise UsageError(f"job {self._job.name!r} was deleted while its items were exported")
        holder = await self._outbox.hold(self._job, self._name, self._lease)
        if holder != self._name:
            raise OtherExporter(f"exporter {holder} is at work on job {self._job.name!r}; two would split its items")
        self._renewed_at = now

    async def let_go(self) -> None:
        """Give the right up, if this exporter has it."""
        if self._renewed_at > 0:
            with suppress(FrontierUnavailable):  # otherwise the right expires by itself
                await self._outbox.hold(self._job, self._name, 0)


def dead_item(output: str, entry: OutboxEntry, number: int, why: str) -> DeadItem:
    """Return an item of an entry as one that an output could not store; the same one has the same id."""
    word = blake2b(output.encode("utf-8", "replace"), digest_size=4).hexdigest()
    return DeadItem(
        f"{entry.shard}:{entry.position}:{number}:{word}",
        output,
        why,
        entry.items[number].decode(),
        entry.url,
        entry.spider,
        entry.kind(number),
    )


def _without(entry: OutboxEntry, numbers: Collection[int]) -> OutboxEntry:
    return replace(entry, left_out=entry.left_out.union(numbers)) if numbers else entry
