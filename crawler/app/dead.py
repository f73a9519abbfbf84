"""The `dead -o` command: dead letters as messages of a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from crawler.app.config import Config
from crawler.app.connect import connect
from crawler.app.sinks import sink
from crawler.control.dead_letters import Condition, meets
from crawler.errors import OutputError, UsageError
from crawler.export.target import Target
from crawler.interfaces import Letters, Reading, Sink
from crawler.model import Exported, Job, OutboxEntry
from crawler.runtime.patience import OUTAGE, Patience, every
from crawler.runtime.signals import calling
from crawler.status import DeadLetter
from crawler.views.figures import group
from crawler.views.job_names import no_job

BATCH = 100  # letters in one write
POLL_SECONDS = 2.0  # between two polls of the counts of the dead


async def send_dead(config: Config, job: str, target: Target, conditions: Sequence[Condition], *, follow: bool) -> int:
    """Send the dead letters of a job (empty: of all jobs) that meet the conditions; with `follow`, go on with those
    that come until stopped. Return how many were sent.

    At least once: each call sends all letters that there are, under ids that stay the same.
    """
    stop = asyncio.Event()
    patience = Patience("dead_letters_wait", (*OUTAGE, OutputError) if follow else ())
    sending: dict[str, _Sending] = {}  # by epoch
    async with connect(config) as connected:

        async def send() -> None:
            jobs = await connected.jobs.all()
            if job and not follow and job not in [one.name for one in jobs]:
                raise UsageError(no_job(job, [one.name for one in jobs]))
            for one in jobs:
                if one.epoch not in sending and job in ("", one.name):
                    sending[one.epoch] = _Sending(
                        connected.reading, connected.letters, one, sink(config, target, one), conditions
                    )
            for its in sending.values():
                await its.send()

        with calling(stop.set):
            try:
                if follow:
                    await every(POLL_SECONDS, lambda: patience.attempt(send), stop)
                await patience.attempt(send)
            finally:
                for its in sending.values():
                    await its.sink.close()
    return sum(its.sent for its in sending.values())


class _Sending:
    """Sends the letters of one job, each once while this process lives."""

    def __init__(
        self, reading: Reading, letters: Letters, job: Job, sink: Sink, conditions: Sequence[Condition]
    ) -> None:
        self._reading = reading
        self._letters = letters
        self._job = job
        self._conditions = conditions
        self._ids: set[str] = set()  # of the letters that are sent and still there
        self._counts: dict[str, int] | None = None
        self.sink = sink
        self.sent = 0

    async def send(self) -> None:
        """Send the letters that have come since the last call."""
        counts = group((await self._reading.stats(self._job)).counters, "dead")
        if counts == self._counts:
            return
        if self._counts is None:
            await self.sink.open(Exported())
        there, batch = set(), []
        async for letter in self._letters.each(self._job):
            there.add(letter.id)
            if letter.id not in self._ids and meets(letter, self._conditions):
                batch.append(letter)
                if len(batch) >= BATCH:
                    await self._write(batch)
        await self._write(batch)
        self._ids &= there
        self._counts = dict(counts)

    async def _write(self, batch: list[DeadLetter]) -> None:
        if batch:
            await self.sink.write([self._entry(letter) for letter in batch])
            self._ids.update(letter.id for letter in batch)
            self.sent += len(batch)
            batch.clear()

    def _entry(self, letter: DeadLetter) -> OutboxEntry:
        body = msgspec.json.encode({"job": self._job.name, **msgspec.to_builtins(letter)})
        return OutboxEntry(0, f"dead-{letter.id}", (body,), letter.url, letter.spider)
