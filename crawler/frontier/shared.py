"""Small values that the fleet shares on Redis, such as robots.txt: found out by one, used by all."""

from __future__ import annotations

from collections.abc import Callable

from crawler.frontier.server import Server, errors


class RedisShared:
    """`shard_for(key)` is the prefix of the shard that a value lies in."""

    def __init__(self, server: Server, shard_for: Callable[[str], str]) -> None:
        self._server = server
        self._shard_for = shard_for

    async def get(self, key: str) -> bytes | None:
        """Read it."""
        with errors(self._server.shown):
            value: bytes | None = await self._server.client.get(f"{self._shard_for(key)}shared:{key}")
        return value

    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Write it and let go of its lock."""
        shard = self._shard_for(key)
        with errors(self._server.shown):
            await self._server.client.set(f"{shard}shared:{key}", value, px=max(1, int(seconds * 1000)))
            await self._server.client.delete(f"{shard}lock:{key}")

    async def lock(self, key: str, seconds: float) -> bool:
        """Take the lock, unless somebody has it."""
        with errors(self._server.shown):
            name = f"{self._shard_for(key)}lock:{key}"
            return bool(await self._server.client.set(name, b"1", nx=True, px=max(1, int(seconds * 1000))))
