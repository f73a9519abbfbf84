"""The tickets on Redis: one hash for all jobs. A ticket outlives its job, because somebody waits for it."""

from __future__ import annotations

import msgspec

from crawler.errors import UsageError
from crawler.frontier.redis.errors import errors
from crawler.frontier.redis.records import Unreadable, text
from crawler.frontier.redis.server import Server
from crawler.frontier.rules import MAX_TICKET
from crawler.model import Ticket


class RedisTickets:
    """Implements `Tickets`. `shard` is the prefix of the first shard."""

    def __init__(self, server: Server, shard: str) -> None:
        self._server = server
        self._key = f"{shard}tickets"
        self._unreadable = Unreadable("ticket", f"nothing waits for it; HDEL it from {self._key}")

    async def issue(self, ticket: Ticket) -> bool:
        """HSETNX. Raise `UsageError` for a ticket that is too long to be kept."""
        record = msgspec.json.encode(ticket)
        if len(record) > MAX_TICKET:
            raise UsageError(
                f"task {ticket.id}: what follows it (its chain, its callbacks) takes {len(record):,} bytes, more than "
                f"the {MAX_TICKET:,} that a ticket may have; pass large arguments by reference"
            )
        (is_new,) = await self._server.write(self._key, ("HSETNX", self._key, ticket.id, record))
        return bool(is_new)

    async def open(self) -> list[Ticket]:
        """HGETALL."""
        with errors(self._server.shown):
            records = await self._server.at(self._key).hgetall(self._key)
        tickets = []
        for id, record in records.items():
            try:
                tickets.append(msgspec.json.decode(record, type=Ticket))
            except (ValueError, RecursionError) as error:
                self._unreadable.met(text(id), error)
        return sorted(tickets, key=lambda ticket: ticket.issued)

    async def close(self, id: str) -> bool:
        """HDEL."""
        with errors(self._server.shown):
            return bool(await self._server.at(self._key).hdel(self._key, id))
