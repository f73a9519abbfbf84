"""Records which requests the workers of this process hold, and finds those that the server lists beyond that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.records import read_claim
from crawler.frontier.redis.server import Server
from crawler.model import Claim, Job


class HandedOut:
    """Finds requests whose commit a crashed server lost, so that they lie in the processing lists again.

    While their worker lives, no other worker may take them, so it must find them itself. After each new connection it
    compares its lists with the requests that it was handed and has not ended. `shards` are the prefixes of all shards.
    """

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards
        self._handed_out: dict[str, set[tuple[str, bytes]]] = defaultdict(set)  # by worker: (job, message)
        self._in_doubt: set[str] = set()

    def doubt(self) -> None:
        """React to a new connection: the server may have crashed, so all lists must be compared."""
        self._in_doubt.update(self._handed_out)

    def is_in_doubt(self, worker: str) -> bool:
        """Whether the worker's lists must still be compared."""
        return worker in self._in_doubt

    def take(self, worker: str, claim: Claim) -> None:
        """Record that the worker was handed the messages of this claim."""
        self._handed_out[worker].update((lease.job, lease.message) for lease in claim.leases)
        self._handed_out[worker].update((junk.job, junk.message) for junk in claim.junk)

    def end(self, worker: str, messages: Iterable[tuple[str, bytes]]) -> None:
        """Record that the worker has ended these messages, each with its job: (job, message)."""
        self._handed_out[worker].difference_update(messages)

    async def given_back(self, worker: str, jobs: Sequence[Job], limit: int) -> Claim | None:
        """At most `limit` requests that the worker has ended and its lists still hold, as if it had just claimed them;
        None if there are none."""
        handed = frozenset(self._handed_out[worker])  # read before the lists: a commit in between is no surprise
        lists_of = [(job, number) for job in jobs for number in range(len(self._shards))]
        pipeline = self._server.pipeline()
        for job, number in lists_of:
            pipeline.lrange(f"{job_prefix(self._shards[number], job.name)}processing:{worker}", 0, -1)
        with errors(self._server.shown):
            lists = await pipeline.execute()
        claim = Claim(wait=0.0)
        for (job, number), messages in zip(lists_of, lists, strict=True):
            found = [job.name.encode(), [message for message in messages if (job.name, message) not in handed]]
            # Claimed at some earlier time (0.0), so that claim did not know what the ledger has learned since.
            part = read_claim([0, b"", [], [], *found], {job.name: job.epoch}, 0.0, number, len(self._shards))
            claim = replace(claim, leases=claim.leases + part.leases, junk=claim.junk + part.junk)
        if not claim.leases and not claim.junk:
            self._in_doubt.discard(worker)
            return None
        claim = replace(claim, leases=claim.leases[:limit], junk=claim.junk[:limit])
        self.take(worker, claim)
        return claim
