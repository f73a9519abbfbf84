"""Which hosts share their turns on Redis."""

from __future__ import annotations

from collections.abc import Sequence

from crawler.frontier.redis.jobs import RedisJobs
from crawler.frontier.redis.keys import shard_for
from crawler.frontier.redis.records import packed
from crawler.frontier.redis.server import Server


class RedisLedger:
    """Implements `Ledger`."""

    def __init__(self, server: Server, shards: Sequence[str], jobs: RedisJobs) -> None:
        self._server = server
        self._shards = shards
        self._jobs = jobs

    async def join(self, host: str, group: str) -> float:
        """Run the script in the host's shard. Hosts of the group in other shards do not share its turns."""
        prefix = shard_for(host, self._shards)
        arguments = (prefix, host, group, packed(list(self._jobs.known)))
        return float(await self._server.run("join", f"{prefix}host:{host}", *arguments)) / 1000
