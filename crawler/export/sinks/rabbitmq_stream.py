"""Items to a RabbitMQ stream: `amqp://user:password@host/vhost?stream=items`. Exactly once, in the raw stream.

A stream drops what its publisher has published before: every message has a number, and the broker keeps the last number
of each publisher (RabbitMQ, "Message deduplication"). The number is made of the item's position in the outbox, so an
item that is published a second time, by whomever, has the same number under the same publisher.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from msgspec import Meta, Struct

from crawler.amqp.address import Address
from crawler.errors import ConfigError, OutputError
from crawler.export.sinks.elsewhere import gone_to
from crawler.model import Exported, Job, OutboxEntry
from crawler.runtime.safe_text import shown

try:
    from rstream import AMQPMessage, Producer, Properties
    from rstream.exceptions import ClientError, ServerError, StreamDoesNotExist
    from rstream.recovery import BackOffRecoveryStrategy
except ImportError:
    raise ConfigError("?stream=… needs the extra `rabbitmq-streams`: pip install 'rstream>=1.1'") from None

Result = TypeVar("Result")

WINDOW = 1_000  # messages that may wait for their confirms

# A number has 64 bits: 32 of the milliseconds, 12 of the pages in one of them, 20 of the items of a page. What does not
# fit goes into the publisher's name, under which the numbers grow as well.
_ITEM_BITS, _PAGE_BITS, _MS_BITS = 20, 12, 32

_AWAY = (ServerError, ClientError, OSError, asyncio.IncompleteReadError)

logging.getLogger("rstream").setLevel(logging.CRITICAL)  # it logs what this module raises


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    stream: str  # must exist
    stream_port: Annotated[int, Meta(ge=1, le=65_535)] = 5552  # of RabbitMQ's stream plugin; 5551 with TLS


def number_of(position: str, item: int) -> tuple[str, int]:
    """Return the last part of the publisher's name and the number, for an item of the page at this position."""
    milliseconds, sequence = map(int, position.split("-"))
    window, within = milliseconds >> _MS_BITS, milliseconds & ((1 << _MS_BITS) - 1)
    more, page = sequence >> _PAGE_BITS, sequence & ((1 << _PAGE_BITS) - 1)
    return f"{window}.{more}", (within << (_PAGE_BITS + _ITEM_BITS)) + (page << _ITEM_BITS) + item


class RabbitStreamSink:
    """Implements `Sink`. It keeps no position, because the stream drops what it has."""

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
        """As for `AmqpSink`."""
        self._address = address
        self._words = words
        self._job = job
        self._name = name
        self._seconds = seconds
        self._tls = tls
        self._append = append
        self._producers: dict[str, Producer] = {}  # by the publisher's name; a producer has one for each stream

    @property
    def location(self) -> str:
        """The stream, for people."""
        return f"{self._address.url}?stream={quote(self._words.stream)}"

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Look for the stream. Return no positions.

        Raises `ConfigError` if it does not exist, `OutputError` if earlier items went elsewhere or the broker is away.
        """
        if exported.positions and exported.location != self.location and not self._append:
            raise OutputError(gone_to(exported.location, self.location))
        producer = await self._connected()
        try:
            if not await _bounded(producer.stream_exists(self._words.stream), self._seconds):
                raise ConfigError(f"{self.location}: there is no such stream; make it with a retention that suits you")
        finally:
            await _closed(producer)
        return {}

    async def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Publish the items, and return their number when the broker has confirmed all. Raises `OutputError`."""
        try:
            for publisher, messages in self._by_publisher(entries).items():
                producer = self._producers.get(publisher)
                if producer is None:
                    producer = self._producers[publisher] = await self._connected()
                for at in range(0, len(messages), WINDOW):
                    await self._publish(producer, publisher, messages[at : at + WINDOW])
        except OutputError:
            await self.close()
            raise
        return sum(len(entry.items) for entry in entries)

    async def finish(self) -> None:
        """Do nothing: what is confirmed is in its place."""

    async def close(self) -> None:
        """Disconnect."""
        producers, self._producers = self._producers, {}
        for producer in producers.values():
            await _closed(producer)

    async def _connected(self) -> Producer:
        reasons = []
        for host, _ in self._address.hosts:
            strategy = BackOffRecoveryStrategy(enable=False)  # an end is seen here, and all is published again
            producer = Producer(
                host,
                self._words.stream_port,
                ssl_context=self._tls,
                vhost=self._address.vhost,
                username=self._address.user,
                password=self._address.password,
                max_retries=1,
                connection_name=self._name,
                recovery_strategy=strategy,
            )
            try:
                await _bounded(producer.start(), self._seconds)
                return producer
            except TimeoutError:
                reasons.append(f"{host}:{self._words.stream_port} does not answer within {self._seconds:g} s")
            except _AWAY as error:
                reasons.append(f"{host}:{self._words.stream_port}: {_words(error)}")
            await _closed(producer)
        raise OutputError(f"{self._address.url}: {'; '.join(reasons)}")

    def _by_publisher(self, entries: Sequence[OutboxEntry]) -> dict[str, list[AMQPMessage]]:
        found: dict[str, list[AMQPMessage]] = {}
        for entry in entries:
            for publisher, message in self._messages(entry):
                found.setdefault(publisher, []).append(message)
        return found

    def _messages(self, entry: OutboxEntry) -> Iterator[tuple[str, AMQPMessage]]:
        epoch = self._job.epoch
        about = {"job": self._job.name, "spider": entry.spider, "url": entry.url}
        for place, item in enumerate(entry.items):
            part, number = number_of(entry.position, place)
            properties = Properties(
                message_id=f"{epoch}.{entry.shard}.{entry.position}.{place}", content_type="application/json"
            )
            message = AMQPMessage(body=item, properties=properties, application_properties=about)
            message.publishing_id = number  # as an argument it raises TypeError
            yield f"crawler.{epoch}.{entry.shard}.{part}", message

    async def _publish(self, producer: Producer, publisher: str, messages: Sequence[AMQPMessage]) -> None:
        """Publish, and wait for the confirms."""
        waits = {message.publishing_id for message in messages}
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def confirmed(status: Any) -> None:
            waits.discard(status.message_id)
            if not done.done() and (not waits or not status.is_confirmed):
                done.set_result("" if status.is_confirmed else f"refused with code {status.response_code}")

        try:
            sending = producer.send_batch(self._words.stream, messages, publisher, on_publish_confirm=confirmed)
            await _bounded(sending, self._seconds)
            why = await asyncio.wait_for(done, self._seconds)
        except TimeoutError:
            why = f"no confirm within {self._seconds:g} s"
        except StreamDoesNotExist:
            why = "the stream does not exist"
        except _AWAY as error:
            why = _words(error)
        if why:
            raise OutputError(f"{self.location}: {why}; what is not confirmed stays in the outbox")


async def _closed(producer: Producer) -> None:
    with suppress(Exception):  # it is given up in any case
        await _bounded(producer.close(), 2)


async def _bounded(call: Coroutine[Any, Any, Result], seconds: float) -> Result:
    """Wait that long, and no longer if the call does not heed its cancellation: rstream loses some. Raises
    `TimeoutError`."""
    task = asyncio.create_task(call)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise TimeoutError
    return task.result()


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return shown(str(error) or type(error).__name__)
