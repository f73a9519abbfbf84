"""What time it is: for the frontier, and for people."""

from __future__ import annotations

from crawler.frontier.redis.server import Server


async def frontier_ms(server: Server, shard: str) -> int:
    """Return the time of a shard, with which its ledgers, leases and delayed requests are compared."""
    return (await _read(server, shard))[0]


async def wall_seconds(server: Server, shard: str) -> float:
    """Return the clock of the shard's server, in seconds since 1970. It may step."""
    return (await _read(server, shard))[1] / 1000


async def _read(server: Server, shard: str) -> tuple[int, int]:
    now, wall, _ = await server.run("now", f"{shard}clock")
    return now, wall
