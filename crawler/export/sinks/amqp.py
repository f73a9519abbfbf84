"""Items to a RabbitMQ exchange: `amqp://user:password@host/vhost?exchange=items&key={spider}.{host}`.

Each item is a persistent message with its own id, and counts as written when the broker has confirmed it. At least
once: after a crash some come again, with the ids that they had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

import aio_pika
from msgspec import Struct

from crawler.amqp.address import Broker
from crawler.amqp.exchange import Exchange, NotTaken, check_key, key_of
from crawler.errors import BrokerUnavailable, ConfigError, OutputError
from crawler.export.sinks.elsewhere import check_here
from crawler.export.sinks.item_messages import JSON, about, id_of
from crawler.model import Exported, Job, OutboxEntry
from crawler.parsing.url import host_of

WINDOW = 500  # messages that may wait for their confirms


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    exchange: str  # must exist; empty: the default exchange, where the key names a queue
    key: str = "{spider}.{host}"  # the routing key, with places for spider, host and job

    def __post_init__(self) -> None:
        check_key(self.key, ("spider", "host", "job"))


class AmqpSink:
    """Implements `Sink`. It keeps no position: the outbox does."""

    inode = 0

    def __init__(self, broker: Broker, words: Words, job: Job, *, append: bool = False) -> None:
        """`append`: also if earlier items of the job went elsewhere."""
        self._words = words
        self._job = job
        self._append = append
        self._exchange = Exchange(broker, words.exchange)
        self._confirmed: set[str] = set()  # ids of a batch of which not all are confirmed yet
        self.location = f"{broker.url}?exchange={quote(words.exchange)}"

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Connect and look for the exchange. Return no positions.

        Raises `ConfigError` if it does not exist or the broker refuses the login, `OutputError` if earlier items went
        elsewhere or the broker is away.
        """
        if not self._append:
            check_here(exported, self.location)
        try:
            await self._exchange.open()
        except BrokerUnavailable as error:
            raise OutputError(str(error)) from None
        return {}

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Publish the items, and return their number when the broker has confirmed all.

        Raises `OutputError` if it does not, or if no queue takes one; those that it confirmed are not sent again.
        """
        messages = list(self._messages(entries))
        try:
            await self._exchange.open()
            for at in range(0, len(messages), WINDOW):
                window = [self._publish(message, key) for message, key in messages[at : at + WINDOW]]
                for failed in filter(None, await asyncio.gather(*window, return_exceptions=True)):
                    raise failed
        except NotTaken as error:
            raise OutputError(f"{self.location}: {error}; it stays in the outbox") from None
        except (BrokerUnavailable, ConfigError) as error:
            raise OutputError(f"{error}; what is not confirmed stays in the outbox") from None
        self._confirmed.clear()
        return sum(1 for entry in entries for _ in entry.numbered())

    async def finish(self) -> None:
        """Do nothing: what is confirmed is in its place."""

    async def close(self) -> None:
        """Disconnect."""
        await self._exchange.close()

    def _messages(self, entries: Sequence[OutboxEntry]) -> Iterator[tuple[aio_pika.Message, str]]:
        """Yield the items that are not confirmed yet, each as a message with its routing key."""
        for entry in entries:
            host = host_of(entry.url) if entry.url else ""
            key = key_of(self._words.key, {"spider": entry.spider, "host": host, "job": self._job.name})
            for number, item in entry.numbered():
                message_id = id_of(self._job, entry, number)
                if message_id not in self._confirmed:
                    yield self._message(item, message_id, entry), key

    def _message(self, item: bytes, message_id: str, entry: OutboxEntry) -> aio_pika.Message:
        return aio_pika.Message(
            item,
            message_id=message_id,
            headers=about(self._job, entry),
            content_type=JSON,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            app_id="crawler",
        )

    async def _publish(self, message: aio_pika.Message, key: str) -> None:
        await self._exchange.publish(message, key, mandatory=True)
        self._confirmed.add(message.message_id or "")
