"""Compares positions in an outbox, and counts what waits behind one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import FIRST_GENERATION
from crawler.model import Job

Entries = Sequence[tuple[bytes, Any]]  # as the library returns those of a stream


def numbers(position: str) -> tuple[int, int]:
    """The two numbers of a position; they order it."""
    first, _, second = position.partition("-")
    return int(first), int(second)


def latest(several: Iterable[Mapping[int, str]]) -> dict[int, str]:
    """The last position in each shard that one of several sinks has."""
    found: dict[int, str] = {}
    for positions in several:
        for shard, position in positions.items():
            found[shard] = max(position, found.get(shard, "0-0"), key=numbers)
    return found


def reaches(positions: Mapping[int, str], wanted: Mapping[int, str]) -> bool:
    """Whether `positions` are as far as those wanted, in each shard."""
    return all(numbers(positions.get(shard, "0-0")) >= numbers(position) for shard, position in wanted.items())


async def waiting(server: Server, shards: Sequence[str], job: Job, after: Mapping[int, str]) -> int:
    """How many entries of the job's outboxes are behind these positions. Reads two of each, as a rule."""
    outboxes = [f"{job_prefix(shard, job.name)}outbox" for shard in shards]
    pipeline = server.pipeline()
    for outbox in outboxes:
        pipeline.xlen(outbox).xrange(outbox, count=1).xrevrange(outbox, count=1)
    with errors(server.shown):
        replies = await pipeline.execute()
    total = 0
    for number, outbox in enumerate(outboxes):
        length, first, last = replies[3 * number : 3 * number + 3]
        its = _behind(length, first, last, after.get(number, "0-0"))
        total += await _count(server, outbox, after[number]) if its is None else its
    return total


def _behind(length: int, first: Entries, last: Entries, position: str) -> int | None:
    """How many of the entries are behind a position; None if the numbers do not tell."""
    at = numbers(position)
    if not length or at >= (end := numbers(last[0][0].decode())):
        return 0
    if at < (start := numbers(first[0][0].decode())):
        return length
    if at[0] < FIRST_GENERATION:
        return None
    if at[0] == end[0]:
        return end[1] - at[1]
    return length - (at[1] - start[1] + 1) if at[0] == start[0] else None


async def _count(server: Server, outbox: str, position: str) -> int:
    with errors(server.shown):
        return len(await server.at(outbox).xrange(outbox, min=f"({position}"))
