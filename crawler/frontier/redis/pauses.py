"""Pauses a host, spider or job on Redis, and resumes it."""

from __future__ import annotations

from collections.abc import Sequence

from crawler.frontier.redis.keys import job_prefix, shard_for
from crawler.frontier.redis.server import Server
from crawler.model import Job


class RedisPauses:
    """Implements `Pauses`."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards

    async def pause(self, job: Job, what: str, name: str, why: str) -> bool:
        """Pause a spider or job in every shard, because its pages are in all of them, and a host in its own shard."""
        return await self._set(job, what, name, why)

    async def resume(self, job: Job, what: str, name: str) -> bool:
        """Lift the pause in the same shards."""
        return await self._set(job, what, name, "")

    async def _set(self, job: Job, what: str, name: str, why: str) -> bool:
        changed = 0
        for shard in [shard_for(name, self._shards)] if what == "host" else self._shards:
            prefix = job_prefix(shard, job.name)
            changed += await self._server.run(
                "pause", f"{prefix}paused", prefix, job.epoch, f"{what} {name}", why, barrier=True
            )
        return changed > 0
