"""Heartbeats on Redis, and the reaping of silent workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from crawler.frontier.redis.records import failure_words, outcome_arguments, packed, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import REAP_CHUNK
from crawler.model import Dead, Lease, Reaped, Retry


class RedisLeases:
    """Implements `Leases`. `exploding`: the share and the number of pages that must fail alike before their host or
    spider is paused."""

    def __init__(
        self,
        server: Server,
        shards: Sequence[str],
        *,
        lease_seconds: float,
        max_crashes: int,
        exploding: tuple[float, int],
    ) -> None:
        self._server = server
        self._shards = shards
        self._lease_ms = int(lease_seconds * 1000)
        self._max_crashes = max_crashes
        self._exploding = exploding

    def beat(self, worker: str, info: Mapping[str, Any]) -> None:
        """Renew the lease in every shard; `info` goes to the first shard only."""
        text = msgspec.json.encode(info)
        for number, shard in enumerate(self._shards):
            self._server.run_in_thread(
                "beat", f"{shard}workers", shard, worker, self._lease_ms, text if number == 0 else b"{}"
            )

    async def reap(self, worker: str | None = None, *, blame: tuple[Lease, Retry | Dead] | None = None) -> list[Reaped]:
        """Run the script on each shard until it finds nothing more."""
        found: dict[str, Reaped] = {}
        for shard in self._shards:
            while True:
                named: dict[str, Any] = {
                    "P": shard,
                    "worker": worker or "",
                    "max_crashes": self._max_crashes,
                    "budget": REAP_CHUNK,
                    "share": self._exploding[0],
                    "least": self._exploding[1],
                }
                messages: list[bytes] = []
                if worker is not None and blame is not None:
                    named["blame"], messages = _blamed(worker, *blame)
                reply = await self._server.run("reap", f"{shard}workers", packed(named), *messages)
                if not reply:
                    break
                name = text(reply[0])
                requeued, dead, more = reply[1:]
                before = found.get(name, Reaped(name))
                found[name] = Reaped(name, before.requeued + requeued, before.dead + dead)
                if worker is not None and not more:
                    break
        return list(found.values())


def _blamed(worker: str, lease: Lease, outcome: Retry | Dead) -> tuple[dict[str, Any], list[bytes]]:
    """The arguments of `reap.lua` for the request that killed the worker: by name, and as byte strings."""
    _, delay, payload = outcome_arguments(worker, lease, outcome)
    kind = "retry" if isinstance(outcome, Retry) else "dead"  # `spent` counts as dead: here no host is to blame
    named = {"job": lease.job, "kind": kind, "delay": int(delay * 1000), "failure": failure_words(outcome.failure)}
    return named, [lease.message, payload]
