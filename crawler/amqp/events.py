"""Publishes events to a topic exchange, at most once: an event that cannot be sent now is dropped, and the log says so.

`EVENTS_URL=amqp://user:password@host/vhost?exchange=crawler.events&key={job}.{event}`
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractConnection, AbstractExchange
from msgspec import Struct

from crawler.amqp.address import Address
from crawler.amqp.connection import connect, within
from crawler.errors import BrokerUnavailable, ConfigError
from crawler.runtime.incident import Incident


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    exchange: str  # must exist; one of the type `topic` lets consumers choose
    key: str = "{job}.{event}"  # the routing key, with places for the job and the event


class Events:
    """One connection, made when the first event comes and again after an error."""

    def __init__(
        self, address: Address, words: Words, *, name: str, seconds: float, tls: ssl.SSLContext | None = None
    ) -> None:
        """`name` shows in the broker's list of connections; `seconds` bounds each answer of the broker."""
        self._address = address
        self._words = words
        self._name = name
        self._seconds = seconds
        self._tls = tls
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._lost = Incident("events_lost")

    async def publish(self, job: str, event: str, facts: Mapping[str, Any]) -> None:
        """Publish one event, without waiting for a queue that takes it. Raises `ConfigError` if the exchange does not
        exist or the broker refuses the login."""
        body = msgspec.json.encode({"event": event, "job": job, "at": time.time(), **facts})
        key = self._words.key.replace("{job}", job).replace("{event}", event)
        message = aio_pika.Message(body, content_type="application/json", app_id="crawler", type=event)
        try:
            exchange = await self._open()
            async with within(self._address, self._seconds, "publish"):
                await exchange.publish(message, key, mandatory=False)
        except BrokerUnavailable as error:
            await self.close()
            self._lost.met(error)
        else:
            self._lost.over()

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
            channel = await self._connection.channel()
            self._exchange = await channel.get_exchange(name)
        return self._exchange
