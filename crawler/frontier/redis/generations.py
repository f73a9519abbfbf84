"""Notices on each new connection that another server answers than before, ahead of the frontier's first command.

A promoted replica, or a server that has started again, may lack the last of what its predecessor had, and its clock may
show another time. So a new generation begins in each shard that this server has (`generation.lua`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import structlog
from redis.exceptions import AskError, MovedError, ReadOnlyError, ResponseError

from crawler.frontier.redis import scripts

log = structlog.get_logger()

_MOVED = (MovedError, AskError)
_PROMOTED = 2  # the reply of `generation.lua`


class Generations:
    """The servers that this process has met; `shown` is their address for people."""

    def __init__(self, shown: str) -> None:
        self.shards: Sequence[str] = ()  # the prefixes of all shards, once they are known
        self._shown = shown
        self._source = scripts.source("generation")
        self._met: set[str] = set()  # replication ids of servers whose shards have their generation

    def doubt(self) -> None:
        """React to shards that have moved to other servers: each server must be greeted again."""
        self._met.clear()

    async def greet(self, connection: Any) -> None:
        """Send the first commands on a new connection of redis-py.

        Raises `ReadOnlyError` if a replica answers: once it is promoted, a new connection will notice that.
        """
        commands = self._commands()
        with suppress(StopIteration):
            command = next(commands)
            while True:
                await connection.send_command(*command)
                reply: Any
                try:
                    reply = await connection.read_response()
                except ResponseError as error:
                    reply = error
                command = commands.send(reply)

    def greet_in_thread(self, connection: Any) -> None:
        """Do the same on a new connection of a thread, after what redis-py does there."""
        connection.on_connect()
        commands = self._commands()
        with suppress(StopIteration):
            command = next(commands)
            while True:
                connection.send_command(*command)
                reply: Any
                try:
                    reply = connection.read_response()
                except ResponseError as error:
                    reply = error
                command = commands.send(reply)

    def _commands(self) -> Generator[tuple[Any, ...], Any, None]:
        """Yield the commands. Send the reply of each, or the error that it was."""
        server = _fields(_good((yield "INFO", "replication")))
        if server.get("role") == "slave":
            raise ReadOnlyError("READONLY it is a replica, and no other server answers there")
        id = server.get("master_replid", "")
        if not self.shards or id in self._met:
            return
        uptime = int(_fields(_good((yield "INFO", "server"))).get("uptime_in_seconds", "0"))
        ran = max(0, uptime - 1) * 1000  # at least: the server counts whole seconds of its clock
        found = set()
        for shard in self.shards:
            calls = f"{shard}calls" if shard == self.shards[0] else ""
            arguments = (id, server.get("master_replid2", ""), ran, calls)
            reply = yield "EVAL", self._source, 1, f"{shard}clock", *arguments
            if not isinstance(reply, _MOVED):  # another node has the shard
                found.add(_good(reply))
        self._met.add(id)
        if _PROMOTED in found:
            why = (
                "a replica was promoted, a slot came from another master, or the server was restored; "
                "work that it had not received yet is repeated"
            )
            log.warning("queue_server_promoted", server=self._shown, why=why)


def _good(reply: Any) -> Any:
    """Return the reply; raise it if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def _fields(info: Any) -> dict[str, str]:
    """Read the reply of INFO."""
    lines = (info.decode() if isinstance(info, bytes) else info).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
