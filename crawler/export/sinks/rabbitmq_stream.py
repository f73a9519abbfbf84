"""Items to a RabbitMQ stream: `amqp://user:password@host/vhost?stream=items`. Exactly once, in the raw stream.

A stream drops what its publisher has published before: every message has a number, and the broker keeps the last number
of each publisher (RabbitMQ, "Message deduplication"). The number is made of the item's position in the outbox, so an
item that is published a second time, by whomever, has the same number under the same publisher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from msgspec import Meta, Struct

from crawler.amqp.address import Broker
from crawler.amqp.connection import reason_of
from crawler.errors import ConfigError, OutputError
from crawler.export.sinks.elsewhere import check_here
from crawler.export.sinks.item_messages import JSON, about, id_of
from crawler.model import Exported, Job, OutboxEntry
from crawler.program import extra

try:
    from rstream import AMQPMessage, Producer, Properties
    from rstream.exceptions import (
        AuthenticationFailure,
        ClientError,
        SASLAuthenticationFailureLoopback,
        SASLError,
        ServerError,
        StreamDoesNotExist,
        VirtualHostAccessFailure,
    )
    from rstream.recovery import BackOffRecoveryStrategy
except ImportError:
    raise ConfigError(f"?stream=… needs the extra `rabbitmq-streams`: {extra('rabbitmq-streams')}") from None

Result = TypeVar("Result")

WINDOW = 1_000  # messages that may wait for their confirms

# A number has 64 bits: 32 of the milliseconds, 12 of the pages in one of them, 20 of the items of a page. What does not
# fit goes into the publisher's name, under which the numbers grow as well.
_ITEM_BITS, _PAGE_BITS, _MS_BITS = 20, 12, 32

PORTS = {"amqp": 5552, "amqps": 5551}
"""The default port of the stream plugin, by scheme."""

_REFUSED = (AuthenticationFailure, SASLAuthenticationFailureLoopback, SASLError, VirtualHostAccessFailure)
_AWAY = (ServerError, ClientError, OSError, asyncio.IncompleteReadError)

logging.getLogger("rstream").setLevel(logging.CRITICAL)  # it logs what this module raises


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    stream: str  # must exist
    stream_port: Annotated[int, Meta(ge=1, le=65_535)] | None = None  # of RabbitMQ's stream plugin; else as in `PORTS`


def number_of(position: str, item: int) -> tuple[str, int]:
    """Return the last part of the publisher's name and the number, for an item of the page at this position."""
    milliseconds, sequence = map(int, position.split("-"))
    window, within = milliseconds >> _MS_BITS, milliseconds & ((1 << _MS_BITS) - 1)
    more, page = sequence >> _PAGE_BITS, sequence & ((1 << _PAGE_BITS) - 1)
    return f"{window}.{more}", (within << (_PAGE_BITS + _ITEM_BITS)) + (page << _ITEM_BITS) + item


class RabbitStreamSink:
    """Implements `Sink`. It keeps no position, because the stream drops what it has."""

    inode = 0

    def __init__(self, broker: Broker, words: Words, job: Job, *, append: bool = False) -> None:
        """As for `AmqpSink`."""
        self._broker = broker
        self._stream = words.stream
        self._port = words.stream_port or PORTS[broker.address.scheme]
        self._job = job
        self._append = append
        self._producers: dict[str, Producer] = {}  # by the publisher's name; a producer has one for each stream
        self.location = f"{broker.url}?stream={quote(words.stream)}"

    async def open(self, exported: Exported) -> Mapping[int, str]:
        """Look for the stream. Return no positions.

        Raises `ConfigError` if it does not exist or the broker refuses the login, `OutputError` if earlier items went
        elsewhere or the broker is away.
        """
        if not self._append:
            check_here(exported, self.location)
        producer = await self._connected()
        try:
            is_there = await _bounded(producer.stream_exists(self._stream), self._broker.seconds)
        except _AWAY as error:
            raise OutputError(f"{self.location}: {_named(error)}") from None
        finally:
            await _closed(producer)
        if not is_there:
            raise ConfigError(f"{self.location}: there is no such stream; make it with a retention that suits you")
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
        return sum(1 for entry in entries for _ in entry.numbered())

    async def finish(self) -> None:
        """Do nothing: what is confirmed is in its place."""

    async def close(self) -> None:
        """Disconnect."""
        producers, self._producers = self._producers, {}
        for producer in producers.values():
            await _closed(producer)

    async def _connected(self) -> Producer:
        address, seconds, reasons = self._broker.address, self._broker.seconds, []
        for host, _ in address.hosts:
            strategy = BackOffRecoveryStrategy(enable=False)  # an end is seen here, and all is published again
            producer = Producer(
                host,
                self._port,
                ssl_context=self._broker.tls,
                vhost=address.vhost,
                username=address.user,
                password=address.password,
                max_retries=1,
                connection_name=self._broker.name,
                recovery_strategy=strategy,
            )
            try:
                await _bounded(producer.start(), seconds)
                return producer
            except TimeoutError:
                reasons.append(f"{host}:{self._port} does not answer within {seconds:g} s")
            except _REFUSED as error:
                await _closed(producer)
                raise ConfigError(f"{self.location}: {host}:{self._port} refuses the login: {_named(error)}") from None
            except _AWAY as error:
                reasons.append(f"{host}:{self._port}: {_named(error)}")
            await _closed(producer)
        raise OutputError(f"{self.location}: {'; '.join(reasons)}")

    def _by_publisher(self, entries: Sequence[OutboxEntry]) -> dict[str, list[AMQPMessage]]:
        found: dict[str, list[AMQPMessage]] = {}
        for entry in entries:
            for publisher, message in self._messages(entry):
                found.setdefault(publisher, []).append(message)
        return found

    def _messages(self, entry: OutboxEntry) -> Iterator[tuple[str, AMQPMessage]]:
        for place, item in entry.numbered():
            part, number = number_of(entry.position, place)
            properties = Properties(message_id=id_of(self._job, entry, place), content_type=JSON)
            said = about(self._job, entry)
            message = AMQPMessage(body=item, properties=properties, application_properties=said)
            message.publishing_id = number  # as an argument it raises TypeError
            yield f"crawler.{self._job.epoch}.{entry.shard}.{part}", message

    async def _publish(self, producer: Producer, publisher: str, messages: Sequence[AMQPMessage]) -> None:
        """Publish, and wait for the confirms."""
        seconds, waits = self._broker.seconds, {message.publishing_id for message in messages}
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def confirmed(status: Any) -> None:
            waits.discard(status.message_id)
            if not done.done() and (not waits or not status.is_confirmed):
                done.set_result("" if status.is_confirmed else f"refused with code {status.response_code}")

        try:
            sending = producer.send_batch(self._stream, messages, publisher, on_publish_confirm=confirmed)
            await _bounded(sending, seconds)
            why = await asyncio.wait_for(done, seconds)
        except TimeoutError:
            why = f"no confirm within {seconds:g} s"
        except StreamDoesNotExist:
            why = "the stream does not exist"
        except _AWAY as error:
            why = _named(error)
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


def _named(error: BaseException) -> str:
    """What the error says; rstream's say little besides their class."""
    said = reason_of(error)
    return said if isinstance(error, OSError) else f"{type(error).__name__}: {said}"
