"""How a job on Redis ends before it is finished: by a limit, or because its spider says so.

The limits, and who may hand out how much of them, are the job's budget, in the first shard. A process learns from the
reply of a claim that a job is limited; from then on it asks the budget before each claim. Jobs without limits cost
nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crawler.frontier.redis.errors import JobGone, errors
from crawler.frontier.redis.keys import job_prefix
from crawler.frontier.redis.records import number, packed, text
from crawler.frontier.redis.server import Server
from crawler.model import BY_LIMIT, Job, Limits

_SUMS = ("pages", "items", "spider_errors", "taken", "returned", "pending", "closed")


class RedisClosing:
    """Implements `Closing`. `shards` are the prefixes of all shards; the first one has the budgets."""

    def __init__(self, server: Server, shards: Sequence[str]) -> None:
        self._server = server
        self._shards = shards
        self._limited: set[str] = set()  # epochs of jobs whose budget is asked before each claim
        self._told: dict[str, str] = {}  # epoch → word of the closing that all shards have

    async def limit(self, job: Job, limits: Limits) -> None:
        """First stop the other shards, which then need the home's leave; then set the limits there."""
        order = {"epoch": job.epoch, "limits": _fields(limits)}
        for shard in self._shards[1:]:
            await self._run("limit", shard, job, order)
        others = await self._others(job)
        (reached,) = await self._run("limit", self._shards[0], job, {**order, "others": others})
        closed, times = await self._words(job)
        if not reached and reason_in(closed).startswith(BY_LIMIT):
            await self._open(job, times)

    async def close(self, job: Job, reason: str) -> None:
        """Close it in the first shard, then with the same words in the others."""
        closed, _ = await self._close(self._shards[0], job, reason, "")
        await self._spread(job, text(closed))

    async def reopen(self, job: Job) -> str:
        """Lift the limits, which opens a job that they have closed; then open all shards."""
        before, _ = await self._words(job)
        await self.limit(job, Limits())
        closed, times = await self._words(job)
        if closed:
            await self._open(job, times)
        return reason_in(closed or before)

    async def asked(self, jobs: Sequence[Job], shard: int, room: int) -> list[dict[str, Any]]:
        """What `claim.lua` must know of each job for a claim of at most `room` requests in that shard."""
        return [await self._asked(job, shard, room) for job in jobs]

    async def _asked(self, job: Job, shard: int, room: int) -> dict[str, Any]:
        known = {"name": job.name, "epoch": job.epoch}
        if job.epoch in self._limited and job.epoch not in self._told:
            try:
                known.update(await self._draw(job, shard, room))
            except JobGone:
                self._limited.discard(job.epoch)  # the claim says so
        return {**known, "told": self._told[job.epoch]} if job.epoch in self._told else known

    async def _draw(self, job: Job, shard: int, room: int) -> Mapping[str, Any]:
        others = await self._others(job)
        if closed := next((other["closed"] for other in others if other["closed"]), ""):
            await self._spread(job, closed)
            return {}
        wanted = min(room, int(number(others[shard - 1]["pending"].encode()))) if shard else 0
        order = {"epoch": job.epoch, "others": others, "shard": str(shard) if shard else "", "wanted": wanted}
        word, more = await self._run("draw", self._shards[0], job, order)
        if word == b"closed":
            await self._spread(job, text(more))
        elif word == b"open":
            self._limited.discard(job.epoch)
            for each in self._shards[1:]:
                await self._run("limit", each, job, {"epoch": job.epoch, "limits": {}})
        else:
            return {"asked": True, "given": more} if shard else {"asked": True}
        return {}

    async def hear(self, jobs: Sequence[Job], told: Sequence[bytes]) -> bool:
        """React to what a claim says: a job was closed in one shard, or is limited. Return whether a job is limited and
        this process did not know it: then the claim must be repeated."""
        by_name, is_new = {job.name: job for job in jobs}, False
        for name, word in zip(told[::2], told[1::2], strict=True):
            job = by_name[text(name)]
            if word:
                await self._spread(job, text(word))
            else:
                self._limited.add(job.epoch)
                self._told.pop(job.epoch, None)
                is_new = True
        return is_new

    async def _spread(self, job: Job, word: str) -> None:
        """Close all shards; or open those that are behind, if the job was opened again since that word."""
        several = self._shards if len(self._shards) > 1 else ()  # the word comes from the only one
        replies = [await self._close(shard, job, "", word) for shard in several]
        opened = max((int(number(times)) for _, times in replies), default=0)
        if opened > opened_before(word):
            await self._open(job, opened)
        else:
            self._told[job.epoch] = word

    async def _open(self, job: Job, opened: int) -> None:
        for shard in self._shards:
            await self._close(shard, job, "", str(opened))

    async def _close(self, shard: str, job: Job, reason: str, word: str) -> list[Any]:
        stats = f"{job_prefix(shard, job.name)}stats"
        reply: list[Any] = await self._server.run("close", stats, job.epoch, reason, word, barrier=True)
        return reply

    async def _words(self, job: Job) -> tuple[str, int]:
        """The word of the closing in any shard, and how often the job will have been opened when it is opened again.

        A repeated call finds that some shards are open, and opens the others as the first one would have."""
        found = await self._read(self._shards, job, ("closed", "opened"))
        words = [text(closed) for closed, _ in found if closed]
        opened = [int(number(opened)) for _, opened in found]
        return max(words, default=""), max(*opened, *(opened_before(word) + 1 for word in words), 0)

    async def _others(self, job: Job) -> list[dict[str, str]]:
        found = await self._read(self._shards[1:], job, _SUMS)
        return [
            {"shard": str(shard), **dict(zip(_SUMS, map(text, sums), strict=True))}
            for shard, sums in enumerate(found, 1)
        ]

    async def _read(self, shards: Sequence[str], job: Job, fields: Sequence[str]) -> list[list[bytes | None]]:
        if not shards:
            return []
        pipeline = self._server.pipeline()
        for shard in shards:
            pipeline.hmget(f"{job_prefix(shard, job.name)}stats", fields)
        with errors(self._server.shown):
            return list(await pipeline.execute())

    async def _run(self, script: str, shard: str, job: Job, order: Mapping[str, Any]) -> list[Any]:
        prefix = job_prefix(shard, job.name)
        barrier = script == "limit"
        reply: list[Any] = await self._server.run(
            script, f"{prefix}stats", packed({"J": prefix, **order}), barrier=barrier
        )
        return reply


def reason_in(word: str) -> str:
    """The reason in the word of a closing; empty if there is none."""
    return word.partition(" ")[2].partition(" ")[2]


def opened_before(word: str) -> int:
    """How often the job had been opened again before this closing."""
    return int(word.partition(" ")[0])


def closed_at(word: str) -> float:
    """The time of a closing in ms."""
    return number(word.partition(" ")[2].partition(" ")[0].encode())


def _fields(limits: Limits) -> dict[str, int]:
    """The limits as `budget.lua` names them, without those that are not set."""
    named = {
        "pages": limits.pages,
        "items": limits.items,
        "errors": limits.errors,
        "ms": int(limits.seconds * 1000),
        "pages_idle": limits.pages_without_item,
        "ms_idle": int(limits.seconds_without_item * 1000),
    }
    return {name: value for name, value in named.items() if value}


def read_limits(budget: Mapping[str, bytes]) -> Limits:
    """Read `J budget`."""
    value = {name: number(budget.get(name)) for name in ("pages", "items", "errors", "ms", "pages_idle", "ms_idle")}
    return Limits(
        pages=int(value["pages"]),
        items=int(value["items"]),
        errors=int(value["errors"]),
        seconds=value["ms"] / 1000,
        pages_without_item=int(value["pages_idle"]),
        seconds_without_item=value["ms_idle"] / 1000,
    )
