"""Small values that the fleet shares on Redis, such as robots.txt: found out by one, used by all."""

from __future__ import annotations

from collections.abc import Callable

from crawler.frontier.redis.server import Server, errors


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
        """Write it."""
        with errors(self._server.shown):
            name = f"{self._shard_for(key)}shared:{key}"
            await self._server.client.set(name, value, px=max(1, int(seconds * 1000)))
