"""A queue of RabbitMQ as a source, with prefetch, and one acknowledgement for a whole batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Literal

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import ChannelNotFoundEntity
from msgspec import Meta, Struct

from crawler.amqp.address import Broker
from crawler.amqp.connection import connect, version, within
from crawler.errors import BrokerUnavailable, ConfigError
from crawler.interfaces import Delivery
from crawler.runtime.safe_text import shown
from crawler.status import Backlog

log = structlog.get_logger()

_WAIT = 1.0  # seconds that `take` waits for a message
_SAFE_QUORUM = (4,)  # the first version whose quorum queues survived every kill -9 of the broker in our trials


class Words(Struct, frozen=True):
    """What the URL says after the `?`."""

    queue: Annotated[str, Meta(min_length=1)]
    prefetch: Annotated[int, Meta(ge=1, le=65_535)] = 1000  # messages taken and not acknowledged, at most
    rejected: str = ""  # the queue for bad messages; empty: they are dead-lettered by the queue's own policy
    declare: Literal["no", "classic", "quorum"] = "no"  # make the queues, if they do not exist


class AmqpSource:
    """Implements `Source`. After an error it connects anew, and the broker delivers again what was not settled."""

    def __init__(self, broker: Broker, words: Words) -> None:
        self._broker = broker
        self._words = words
        self._shown = f"{broker.url}?queue={shown(words.queue)}"
        self._warned = False
        self._connection: AbstractConnection | None = None
        self._queue: AbstractQueue | None = None
        self._publishing: AbstractChannel | None = None  # for bad messages
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def open(self) -> None:
        """Connect and consume. Warn of a broker whose quorum queues a crash may destroy."""
        await self.close()
        self._connection = await connect(self._broker)
        self._warn(version(self._connection))
        if self._words.rejected:
            async with self._asking(f"queue {self._words.rejected}"):
                self._publishing = await self._connection.channel(on_return_raises=True)
                await self._declare(self._publishing, self._words.rejected)
        async with self._asking(f"queue {self._words.queue}"):
            channel = await self._connection.channel()
            await channel.set_qos(prefetch_count=self._words.prefetch)
            self._queue = await self._declare(channel, self._words.queue)
            self._arrived = asyncio.Queue()  # what an earlier connection delivered is void
            await self._queue.consume(self._arrived.put)

    async def take(self) -> Sequence[Delivery]:
        """Return what the broker has delivered, at most `prefetch` messages."""
        if self._queue is None:
            await self.open()
        while self._arrived.empty():
            try:
                async with asyncio.timeout(_WAIT):
                    first = await self._arrived.get()
            except TimeoutError:
                if await self._is_empty():
                    return []
            else:
                return [_delivery(first), *self._rest()]
        return self._rest()

    async def settle(self, taken: Sequence[Delivery], rejected: Sequence[tuple[Delivery, str]]) -> None:
        """Copy the bad messages to the queue for them, with the reason in the header `why`; then acknowledge all.

        Without such a queue they are rejected, so that the queue's own policy may dead-letter them.
        """
        if self._words.rejected:
            async with self._asking(f"publishing to queue {self._words.rejected}"):
                await asyncio.gather(*(self._move(message, why) for message, why in rejected))
            rejected = ()
        bad = {id(message) for message, _ in rejected}
        good = [message for message in taken if id(message) not in bad]
        async with self._asking("the acknowledgement"):
            for message, _ in rejected:
                await message.receipt.reject(requeue=False)
            if good:
                await good[-1].receipt.ack(multiple=True)

    async def backlog(self) -> Backlog:
        """Ask the broker for the queue's depth and consumers."""
        async with self._asking(f"queue {self._words.queue}"):
            if self._queue is None:
                raise ConnectionError("not connected")
            channel = await self._queue.channel.get_underlay_channel()
            found = await channel.queue_declare(self._words.queue, passive=True)
        return Backlog(self._shown, found.message_count or 0, found.consumer_count or 0)

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._queue = self._connection, None, None
        if connection is not None:
            with suppress(BrokerUnavailable):
                async with within(self._broker, "the end"):
                    await connection.close()

    async def _is_empty(self) -> bool:
        """Whether the queue has nothing for us. Raise `BrokerUnavailable` if the broker delivers no more."""
        backlog = await self.backlog()
        if not backlog.consumers:
            await self.close()
            raise BrokerUnavailable(f"{self._shown}: the broker has cancelled the consumer")
        return not backlog.messages and self._arrived.empty()

    def _rest(self) -> list[Delivery]:
        return [_delivery(self._arrived.get_nowait()) for _ in range(self._arrived.qsize())]

    async def _declare(self, channel: AbstractChannel, name: str) -> AbstractQueue:
        kind = self._words.declare
        if kind != "no":
            return await channel.declare_queue(name, durable=True, arguments={"x-queue-type": kind})
        try:
            return await channel.declare_queue(name, passive=True)
        except ChannelNotFoundEntity:
            raise ConfigError(
                f"{self._shown}: there is no queue {name}; make it, or let the crawler make it: "
                "add &declare=classic or &declare=quorum"
            ) from None

    async def _move(self, message: Delivery, why: str) -> None:
        copy = Message(message.body, headers={"why": why}, delivery_mode=DeliveryMode.PERSISTENT)
        assert self._publishing is not None  # noqa: S101 - opened with the connection
        await self._publishing.default_exchange.publish(copy, self._words.rejected)

    @asynccontextmanager
    async def _asking(self, what: str) -> AsyncIterator[None]:
        """Give the connection up after an error, so that the broker delivers again what it has not settled."""
        try:
            async with within(self._broker, what):
                yield
        except BrokerUnavailable:
            await self.close()
            raise

    def _warn(self, found: tuple[int, ...]) -> None:
        if found < _SAFE_QUORUM and self._words.declare != "classic" and not self._warned:
            self._warned = True
            tell = log.warning if self._words.declare == "quorum" else log.info
            tell(
                "broker_old",
                broker=self._broker.url,
                version=".".join(map(str, found)),
                why="a crash of such a broker may leave a quorum queue down, with all its messages",
                help="use RabbitMQ 4 for quorum queues, or a durable classic queue",
            )


def _delivery(message: AbstractIncomingMessage) -> Delivery:
    return Delivery(message.body, message, message.priority or 0)
