"""Side task: adds the messages of a `Source` to a job, so that each URL arrives once, whatever dies meanwhile.

A batch is settled only after its requests are in the frontier and on the queue server's disk. If anything ends before,
the source delivers the messages again, and the frontier knows their URLs already. While the frontier is full or away,
nothing is settled, and the source holds back the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from crawler.errors import BrokerUnavailable, FrontierError
from crawler.interfaces import Adding, Delivery, SharedValues, Source
from crawler.model import Job, Request
from crawler.runtime.patience import RETRY_SECONDS, Patience
from crawler.seeding.admission import Admission, NotAdmitted
from crawler.seeding.backlogs import report
from crawler.seeding.messages import seeds_of
from crawler.seeding.presence import present
from crawler.seeding.seeder import BATCH

_REPORT_SECONDS = 2  # between two reports of the backlog


class Intake:
    """Takes the messages of one source into one job. `new`, `known` and `refused` (by reason) grow as it goes."""

    def __init__(
        self,
        adding: Adding,
        shared: SharedValues,
        job: Job,
        admission: Admission,
        source: Source,
        *,
        name: str,
        lease_seconds: float,
        refused: Callable[[str, str], None],
    ) -> None:
        """After `lease_seconds` without a sign of life, the intake no longer counts as at work. It calls
        `refused(text, why)` for each message, or URL in it, that is rejected."""
        self._adding = adding
        self._shared = shared
        self._job = job
        self._admission = admission
        self._source = source
        self._name = name
        self._lease = lease_seconds
        self._tell_refused = refused
        self._patiently = Patience("seeding_waits").until_done
        self._taking = Patience("source_unavailable", (BrokerUnavailable,))
        self._settling = Patience("source_unsettled", (BrokerUnavailable,))
        self._reported = 0.0
        self.new = 0
        self.known = 0
        self.refused: Counter[str] = Counter()

    async def run(self, idle: float | None, progress: Callable[[int, int], None] | None = None) -> None:
        """Take messages until none has come for `idle` seconds (0: until the source is empty; None: for ever).

        The job counts as unfinished while this runs.
        """
        async with present(self._adding, self._job, self._name, self._lease):
            while batch := await self._next(idle):
                rejected = await self._add(batch)
                await self._patiently(self._adding.durable)
                if not await self._settling.attempt(partial(self._settle, batch, rejected)):
                    await asyncio.sleep(RETRY_SECONDS)  # the batch comes again, and the frontier knows it then
                if progress is not None:
                    progress(self.new, self.known)
                await self._report()

    async def _settle(self, batch: Sequence[Delivery], rejected: list[tuple[Delivery, str]]) -> bool:
        await self._source.settle(batch, rejected)
        return True

    async def _next(self, idle: float | None) -> Sequence[Delivery]:
        """Return the next messages; none if the source has been idle for too long. An outage of it does not count."""
        waited = 0.0

        async def take() -> Sequence[Delivery]:
            nonlocal waited
            since = time.monotonic()
            batch = await self._source.take()
            waited += time.monotonic() - since
            return batch

        while not (batch := await self._taking.until_done(take)):
            await self._report()
            if idle is not None and waited >= idle:
                break
        return batch

    async def _add(self, batch: Sequence[Delivery]) -> list[tuple[Delivery, str]]:
        """Add the requests of a batch. Return the messages that are rejected, with the reasons."""
        requests: list[Request] = []
        rejected = []
        for message in batch:
            if why := self._read(message, requests):
                rejected.append((message, why))
            while len(requests) >= BATCH:  # a message may hold thousands of lines
                await self._send(requests)
        await self._send(requests)
        return rejected

    async def _send(self, requests: list[Request]) -> None:
        """Add the first of the requests, and remove them from the list."""
        part = requests[:BATCH]
        if part:
            added = await self._patiently(lambda: self._adding.add(self._job, part, seed=True))
            self.new += added.new
            self.known += added.known
            del requests[:BATCH]

    def _read(self, message: Delivery, requests: list[Request]) -> str:
        """Append the requests of a message. Return why it is rejected; empty if it is not.

        One bad line rejects the message; its other lines are seeds all the same, and known when it comes again.
        """
        try:
            seeds = seeds_of(message)
        except ValueError as error:
            return self._refuse("bad message", message.body[:200].decode(errors="backslashreplace"), str(error))
        first = ""
        for seed in seeds:
            try:
                requests.append(self._admission.admit(seed))
            except NotAdmitted as error:
                why = self._refuse(error.reason, error.url, error.why)
                first = first or why
        return first

    def _refuse(self, reason: str, text: str, why: str) -> str:
        self.refused[reason] += 1
        self._tell_refused(text, why)
        return f"{text[:200]}: {why}"

    async def _report(self) -> None:
        """Let `status` show the backlog."""
        if time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        with suppress(BrokerUnavailable, FrontierError):  # the next call tells of it
            await report(self._shared, self._job, await self._source.backlog(), self._lease)
