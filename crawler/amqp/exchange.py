"""Publishes to an exchange: over one connection, which is made when it is needed, and anew after an error."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aiormq.exceptions import DeliveryError, PublishError

from crawler.amqp.address import Broker
from crawler.amqp.connection import connect, within
from crawler.errors import BrokerUnavailable, ConfigError

_KEY_BYTES: Final = 255  # of a routing key (AMQP 0-9-1, short strings)
_PLACE: Final = re.compile(r"\{([^{}]*)\}")


class NotTaken(Exception):
    """No queue has taken the message; the text says why. The connection lives on."""


class Exchange:
    """An exchange that exists; with an empty name the default one, where the routing key names a queue.

    Its methods raise `BrokerUnavailable` if the broker is away or blocks, and `ConfigError` if it refuses the login or
    has no such exchange. After either the next call connects anew.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self._name = name
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def open(self) -> None:
        """Connect, unless that is done."""
        if self._exchange is not None and self._connection is not None and not self._connection.is_closed:
            return
        await self.close()
        self._connection = await connect(self._broker)
        try:
            async with within(self._broker, f"look for exchange {self._name}"):
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._exchange = await channel.get_exchange(self._name) if self._name else channel.default_exchange
        except BaseException:
            await self.close()
            raise

    async def publish(self, message: aio_pika.Message, key: str, *, mandatory: bool) -> None:
        """Publish on the open connection, and wait for the broker's confirm. Raises `NotTaken` if the message is
        `mandatory` and no queue is bound for its key, or if a queue refuses it."""
        if self._exchange is None:
            raise BrokerUnavailable(f"{self._broker.url}: the connection has ended")
        try:
            async with within(self._broker, "publish"):
                try:
                    await self._exchange.publish(message, key, mandatory=mandatory)
                except PublishError:
                    raise NotTaken(f"no queue takes messages with the key {key!r}: bind one") from None
                except DeliveryError:
                    raise NotTaken(f"a queue refuses the message with the key {key!r}: is it full?") from None
        except (BrokerUnavailable, ConfigError):
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with suppress(BrokerUnavailable, ConfigError):
                async with within(self._broker, "close"):
                    await connection.close()


def check_key(template: str, places: Collection[str]) -> None:
    """Raise `ValueError` for a routing key with a place that is none of these, such as `{hots}`."""
    wrong = [place for place in _PLACE.findall(template) if place not in places]
    if wrong:
        raise ValueError(f"key: no place {{{wrong[0]}}}; there are {', '.join(f'{{{place}}}' for place in places)}")


def key_of(template: str, places: Mapping[str, str]) -> str:
    """Return the routing key for these places, cut to what AMQP permits."""
    key = _PLACE.sub(lambda place: places[place[1]], template)
    return key.encode()[:_KEY_BYTES].decode(errors="ignore")
