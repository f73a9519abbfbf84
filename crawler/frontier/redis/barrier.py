"""The barrier: a server answers before its replicas have what it wrote, so what others build on waits for the replicas.

Writes and the wait go over one connection. Another one might lead to a replica that was promoted between the two, which
would say that all replicas have what it has. A mark is written between them: the server waits only for the last write
of its own connection, and what the commands found may be the write of another client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import ReadOnlyError, ResponseError

from crawler.errors import FrontierUnavailable, ReplicasMissing
from crawler.frontier.redis.keys import absent_beside, mark_beside

log = structlog.get_logger()

SYNC_MS = 2000  # longest wait for a server's disk, which syncs once a second (`appendfsync everysec`)
REPLICA_MS = 1000  # longest wait for replicas to have what was written; on a good network they need less than one

# The first write frees memory, so a server that is out of memory still runs it.
_MARK = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 1)"

_DEMOTED = ("UNBLOCKED", "cannot be used with replica instances")  # what WAIT and WAITAOF say

Command = tuple[Any, ...]


class Barrier:
    """Waits for `replicas` replicas; 0: there is no barrier. `shown` names the server, `timeout` is that of its
    replies.

    The clients are the library's, of one server, which has the key. Their errors are the library's, but for
    `ReplicasMissing` and `FrontierUnavailable`.
    """

    def __init__(self, shown: str, replicas: int, timeout: float) -> None:
        self.replicas = replicas
        self._shown = shown
        self._timeout = timeout
        self._is_told = False

    async def write(self, client: Any, key: str, commands: Sequence[Command] = ()) -> list[Any]:
        """Run the commands, and return their replies behind the barrier."""
        if not self.replicas:
            return _good(await _together(client, commands)) if commands else []
        replies = _good(await _together(client, [*commands, _mark(key), *self._wait()]))
        self._check(replies)
        return replies[: len(commands)]

    async def synced(self, client: Any, key: str, before: Sequence[Command], fsync: str) -> list[Any]:
        """Run the commands, and return their replies once the disks of the server and of the replicas have all that is
        written. `fsync` is the server's `appendfsync`, empty if unknown."""
        if fsync == "no":
            self._tell("with appendfsync no nothing tells when the file reaches the disk")
            return await self.write(client, key, before)
        await self.write(client, key)  # says sooner than the next wait that replicas are missing
        sync = ("WAITAOF", 1, self.replicas, self._longest(SYNC_MS))
        replies = await _together(client, [*before, _mark(key), sync, *self._wait()])
        synced = replies.pop(len(before) + 1)  # an error without an append-only file, and of servers older than 7.2
        self._check(_good(replies))
        if not isinstance(synced, list):
            self._tell(str(synced))
        elif fsync:
            self._check_disks(*synced)
        elif synced[0] < 1 or synced[1] < self.replicas:
            self._tell("appendfsync is unknown, and a disk has not confirmed in time")
        return replies[: len(before)]

    def advice(self, found: int, least: int) -> list[str]:
        """What to change so that an outage of one server neither stops the crawl nor harms it. `found`: replicas;
        `least`: the server's `min-replicas-to-write`."""
        advice = []
        if found <= self.replicas:
            advice.append(
                f"replicas: {found}, REDIS_REPLICAS={self.replicas}, so the crawl waits while one of them is away; "
                f"run {self.replicas + 1}"
            )
        if not least:
            advice.append(
                "min-replicas-to-write is 0, so a server that is cut off from its replicas hands out pages that the "
                "promoted replica also hands out; set it to 1"
            )
        return advice if self.replicas else []

    def _wait(self) -> list[Command]:
        return [("WAIT", self.replicas, self._longest(REPLICA_MS))] if self.replicas else []

    def _longest(self, milliseconds: int) -> int:
        """The longest wait in one command: its reply must come before the client gives up."""
        return int(min(milliseconds, self._timeout * 750))

    def _check(self, replies: Sequence[Any]) -> None:
        """Read the last reply, that of the wait, if there was one."""
        if self.replicas and replies[-1] < self.replicas:
            raise ReplicasMissing(
                f"the queue server {self._shown} has {replies[-1]} of the {self.replicas} replicas that must have what "
                f"is written (REDIS_REPLICAS={self.replicas}): waiting for them",
                replies,
            )

    def _tell(self, why: str) -> None:
        """Log once that no call waits for the disk. The command warned of a missing append-only file at its start."""
        if self._is_told or "appendonly is disabled" in why:
            return
        self._is_told = True
        lost = "after a power failure the items of the last second may come twice, and its seeds may be lost"
        log.warning("disk_not_awaited", server=self._shown, why=f"{why}; {lost}")

    def _check_disks(self, own: int, theirs: int) -> None:
        if own < 1:
            raise FrontierUnavailable(f"the disk of the queue server {self._shown} is slow: waiting for it")
        if theirs < self.replicas:
            raise FrontierUnavailable(
                f"the replicas of the queue server {self._shown} have not written what they have to their disks yet: "
                "waiting for them; if that lasts, check that each has `appendonly yes`"
            )


async def _together(client: Any, commands: Sequence[Command]) -> list[Any]:
    """Run the commands over one connection and return their replies; an error is the reply of its command.

    Raises `ReadOnlyError` if the server has become a replica meanwhile: then nothing waits any longer.
    """
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies = list(await pipeline.execute(raise_on_error=False))
    for reply in replies:
        if isinstance(reply, ResponseError) and any(words in str(reply) for words in _DEMOTED):
            raise ReadOnlyError(f"READONLY {reply}")
    return replies


def _mark(key: str) -> Command:
    # The second key keeps it from a slot whose keys are moving: what DEL has deleted could not be set again there.
    return ("EVAL", _MARK, 2, mark_beside(key), absent_beside(key))


def _good(replies: list[Any]) -> list[Any]:
    """The replies; raises the first that is an error."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
