"""One sink of a job: moves items from the outbox into it. They leave the outbox only once they are durable in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf

from msgspec.structs import replace

from crawler.errors import OutputError, UnstorableItems
from crawler.export.records import Records
from crawler.export.sinks.position import merged
from crawler.interfaces import Gathering, Sink, WithColumns
from crawler.model import Exported, OutboxEntry
from crawler.runtime.patience import OUTAGE, Patience, Stop, pause

POLL_SECONDS = 0.25  # between two polls of an outbox that holds no whole batch: each costs as much as many items


class Draining:
    """Moves one job's items into one sink, batch by batch, at its own pace."""

    def __init__(self, sink: Sink, records: Records, *, batch: int, patient: bool) -> None:
        """`patient`: wait out a full disk, or a server that is away, instead of raising `OutputError`."""
        self._sink = sink
        self._records = records
        self._batch = batch
        self._also = (OutputError,) if patient else ()
        self._positions: dict[int, str] = {}  # shard → position of the last page that is durable in the sink
        self._kept: Mapping[int, str] = {}  # the same behind the last batch of which the sink has an item
        self._waiting_since = inf  # since when pages wait for a sink that gathers
        self._patience = Patience("export_waits")
        self.name = sink.location  # as its target names it: an open sink may write elsewhere until the end
        self.is_open = False
        self.items = 0  # written by this exporter

    @property
    def location(self) -> str:
        """Where the items are."""
        return self._sink.location

    async def open(self) -> None:
        """Open the sink, unless it is open. May be called again after an error."""
        if not self.is_open:  # the lock on the sink would also keep ourselves out
            before = self._records.before(self.name)
            self._kept = before.positions if before.kept is None else before.kept
            opened = await self._opened(replace(before, positions=self._kept, kept=None))
            self._positions = merged(opened, before.positions)
            self.is_open = True

    async def _opened(self, before: Exported) -> Mapping[int, str]:
        try:
            return await self._sink.open(before)
        except BaseException:
            await self._sink.close()  # its locks would keep the next try out
            raise

    async def run(self, stop: Stop, until: Callable[[], bool] | None, *, follow: bool) -> None:
        """Drain the outbox and end; see `Exporter.run`."""
        await self._patience.until_done(self.open, stop, also=self._also)
        while True:
            at_end = until is None or until()
            last = not follow or stop.is_set() or (until is not None and at_end)
            pages = await self._patience.until_done(partial(self._move, last), stop, also=self._also)
            if last and not pages:
                if at_end:
                    await self._finish()
                return
            if not last and pages < self._limit:
                await pause(POLL_SECONDS, stop)

    async def acknowledge(self) -> None:
        """Note what is durable in the sink, and where, if it is open."""
        if self.is_open:
            where = self._sink.location, self._sink.inode
            left_out = self._sink.values_left_out if isinstance(self._sink, WithColumns) else 0
            await self._records.note(self.name, Exported(dict(self._positions), *where, self._kept, left_out))

    async def close(self) -> None:
        """Release the sink for other exporters."""
        await self._sink.close()

    async def _move(self, last: bool) -> int:
        """Move one batch, and return its pages: none if the outbox is empty now, or too few wait and these are not the
        last."""
        await self._records.hold()
        entries = await self._records.read(self._positions, self._limit) if last or await self._is_time() else ()
        if entries:
            written = await self._write([self._ours(entry) for entry in entries])
            for entry in entries:
                self._positions[entry.shard] = entry.position
            if written:
                self.items += written
                self._kept = dict(self._positions)
            self._waiting_since = inf
        await self.acknowledge()  # even without entries: the last answer may have been lost
        return len(entries)

    async def _is_time(self) -> bool:
        """Return whether the pages that wait are enough for the sink, or have waited long enough."""
        sink, now = self._sink, time.monotonic()
        if not isinstance(sink, Gathering):
            return True
        pages = await self._records.waiting(self._positions)
        self._waiting_since = min(self._waiting_since, now) if pages else inf
        return pages >= sink.pages or now - self._waiting_since >= sink.seconds

    @property
    def _limit(self) -> int:
        """The pages of one batch, in each shard."""
        return (
            max(1, self._sink.pages // max(1, len(self._positions)))
            if isinstance(self._sink, Gathering)
            else self._batch
        )

    async def _write(self, entries: Sequence[OutboxEntry]) -> int:
        """Write the entries, without the items that the sink can never store."""
        while True:
            try:
                return await self._sink.write(entries)
            except UnstorableItems as error:
                entries = await self._records.bury(self.name, entries, error.items)

    def _ours(self, entry: OutboxEntry) -> OutboxEntry:
        """Return the entry, without anything in it if it is for another sink."""
        if entry.only_for in ("", self.name):
            return entry
        return OutboxEntry(entry.shard, entry.position, (), entry.url, entry.spider)

    async def _finish(self) -> None:
        await self._sink.finish()
        with suppress(*OUTAGE):  # it only notes where the items are now
            await self.acknowledge()
