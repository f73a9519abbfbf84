"""Which lease asks a host for robots.txt on Redis; and the answer, which one worker stores for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import shard_for
from crawler.frontier.redis.server import Server
from crawler.model import Lease


class _Batch:
    """Shared values that are read together."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.values: asyncio.Task[list[bytes | None]]


class RedisAsking:
    """Implements `Asking`."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards
        self._next: dict[str, _Batch] = {}  # by shard

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """Run the script in the host's shard."""
        prefix = shard_for(lease.host, self._shards)
        arguments = (prefix, lease.host, lease.job, worker, lease.message)
        return bool(await self._server.run("take", f"{prefix}asking", *arguments))

    async def get_shared(self, key: str) -> bytes | None:
        """Read the value in the key's shard, together with all that are asked for in this turn of the event loop."""
        prefix = shard_for(key, self._shards)
        batch = self._next.get(prefix)
        if batch is None:
            batch = self._next[prefix] = _Batch()
            batch.values = asyncio.create_task(self._read(prefix))
        number = len(batch.names)
        batch.names.append(f"{prefix}shared:{key}")
        return (await asyncio.shield(batch.values))[number]

    async def _read(self, prefix: str) -> list[bytes | None]:
        names = self._next.pop(prefix).names
        with errors(self._server.shown):
            values: list[bytes | None] = await self._server.at(names[0]).mget(names)
        return values

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Write the value to the key's shard."""
        name = f"{shard_for(key, self._shards)}shared:{key}"
        with errors(self._server.shown):
            await self._server.at(name).set(name, value, px=max(1, int(seconds * 1000)))
