"""Items to a RabbitMQ exchange: `amqp://user:password@host/vhost?exchange=items&key={spider}.{host}`.

Each item is a persistent message with its own id, and counts as written when the broker has confirmed it. At least
once: after a crash some come again, with the ids that they had.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import quote

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aiormq.exceptions import DeliveryError
from msgspec import Struct

from crawler.amqp.address import Address
from crawler.amqp.connection import connect, within
from crawler.errors import BrokerUnavailable, ConfigError, OutputError
from crawler.export.sinks.elsewhere import gone_to
from crawler.model import Exported, Job, OutboxEntry
from crawler.parsing.url import host_of

WINDOW = 500  # messages that may wait for their confirms
KEY_BYTES = 255  # of a routing key (AMQP 0-9-1, short strings)

_PLACES = {"spider", "host", "job"}
_PLACE = re.compile(r"\{([^{}]*)\}")


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    exchange: str  # must exist; empty: the default exchange, where the key names a queue
    key: str = "{spider}.{host}"  # the routing key, with places for spider, host and job

    def __post_init__(self) -> None:
        if wrong := set(_PLACE.findall(self.key)) - _PLACES:
            raise ValueError(f"key: no place {{{wrong.pop()}}}; there are {{spider}}, {{host}} and {{job}}")


class AmqpSink:
    """Implements `Sink`. It keeps no position: the outbox does."""

    inode = 0

    def __init__(
        self,
        address: Address,
        words: Words,
        job: Job,
        *,
        name: str,
        seconds: float,
        tls: ssl.SSLContext | None = None,
        append: bool = False,
    ) -> None:
        """`name` shows in the broker's list of connections; `seconds` bounds each answer of the broker. `append`: also
        if earlier items of the job went elsewhere."""
        self._address = address
        self._words = words
        self._job = job
        self._name = name
        self._seconds = seconds
        self._tls = tls
        self._append = append
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._confirmed: set[str] = set()  # ids of a batch of which not all are confirmed yet

    @property
    def location(self) -> str:
        """The exchange, for people."""
        return f"{self._address.url}?exchange={quote(self._words.exchange)}"

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Connect and look for the exchange. Return no positions.

        Raises `ConfigError` if it does not exist or the broker refuses the login, `OutputError` if earlier items went
        elsewhere or the broker is away.
        """
        if exported.positions and exported.location != self.location and not self._append:
            raise OutputError(gone_to(exported.location, self.location))
        try:
            await self._open()
        except BrokerUnavailable as error:
            raise OutputError(str(error)) from None
        return {}

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Publish the items, and return their number when the broker has confirmed all.

        Raises `OutputError` if it does not, or if no queue takes one; those that it confirmed are not sent again.
        """
        messages = list(self._messages(entries))
        try:
            exchange = await self._open()
            for at in range(0, len(messages), WINDOW):
                window = [self._publish(exchange, message, key) for message, key in messages[at : at + WINDOW]]
                for failed in filter(None, await asyncio.gather(*window, return_exceptions=True)):
                    raise failed
        except (BrokerUnavailable, ConfigError, OutputError) as error:
            await self.close()
            raise OutputError(f"{error}; what is not confirmed stays in the outbox") from None
        self._confirmed.clear()
        return sum(len(entry.items) for entry in entries)

    async def finish(self) -> None:
        """Do nothing: what is confirmed is in its place."""

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with suppress(BrokerUnavailable, ConfigError):
                async with within(self._address, self._seconds, "close"):
                    await connection.close()

    async def _open(self) -> AbstractExchange:
        if self._exchange is not None and self._connection is not None and not self._connection.is_closed:
            return self._exchange
        await self.close()
        self._connection = await connect(self._address, name=self._name, seconds=self._seconds, tls=self._tls)
        name = self._words.exchange
        async with within(self._address, self._seconds, f"look for the exchange {name}"):
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = await channel.get_exchange(name) if name else channel.default_exchange
        return self._exchange

    def _messages(self, entries: Sequence[OutboxEntry]) -> Iterator[tuple[aio_pika.Message, str]]:
        """Yield the items that are not confirmed yet, each as a message with its routing key."""
        job = self._job
        for entry in entries:
            host = host_of(entry.url) if entry.url else ""
            places = {"spider": entry.spider, "host": host, "job": job.name}
            key = _PLACE.sub(lambda place: places[place[1]], self._words.key)  # noqa: B023 - used at once
            for number, item in enumerate(entry.items):
                message_id = f"{job.epoch}.{entry.shard}.{entry.position}.{number}"
                if message_id not in self._confirmed:
                    yield self._message(item, message_id, entry), key.encode()[:KEY_BYTES].decode(errors="ignore")

    def _message(self, item: bytes, message_id: str, entry: OutboxEntry) -> aio_pika.Message:
        return aio_pika.Message(
            item,
            message_id=message_id,
            headers={"job": self._job.name, "spider": entry.spider, "url": entry.url},
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            app_id="crawler",
        )

    async def _publish(self, exchange: AbstractExchange, message: aio_pika.Message, key: str) -> None:
        async with within(self._address, self._seconds, "publish"):
            try:
                await exchange.publish(message, key, mandatory=True)
            except DeliveryError:
                where = f"{self._address.url}: exchange {self._words.exchange!r}"
                raise OutputError(f"{where}: no queue takes messages with the key {key!r}; bind one") from None
        self._confirmed.add(message.message_id or "")
