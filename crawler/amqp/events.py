"""Publishes events to a topic exchange, at most once: an event that cannot be sent now is dropped, and the log says so.

`EVENTS_URL=amqp://user:password@host/vhost?exchange=crawler.events&key={job}.{event}`
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aio_pika
import msgspec
from msgspec import Struct

from crawler.amqp.address import Broker
from crawler.amqp.exchange import Exchange, NotTaken, check_key, key_of
from crawler.errors import BrokerUnavailable, ConfigError
from crawler.runtime.incident import Incident

REST = 5.0  # seconds without a try after the broker was away or refused something


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    exchange: str  # must exist; one of the type `topic` lets consumers choose
    key: str = "{job}.{event}"  # the routing key, with places for the job and the event

    def __post_init__(self) -> None:
        check_key(self.key, ("job", "event"))


class Events:
    """Tells of one job."""

    def __init__(self, broker: Broker, words: Words, job: str) -> None:
        self._words = words
        self._job = job
        self._exchange = Exchange(broker, words.exchange)
        self._lost = Incident("events_lost")
        self._rests_until = 0.0

    async def publish(self, event: str, facts: Mapping[str, Any]) -> None:
        """Publish one event, whether or not a queue takes it. Count it as lost if the broker does not."""
        if time.monotonic() < self._rests_until:
            self.lose("the broker was away just now")
            return
        body = msgspec.json.encode({"event": event, "job": self._job, "at": time.time(), **facts})
        key = key_of(self._words.key, {"job": self._job, "event": event})
        message = aio_pika.Message(body, content_type="application/json", app_id="crawler", type=event)
        try:
            await self._exchange.open()
            await self._exchange.publish(message, key, mandatory=False)
        except (BrokerUnavailable, ConfigError, NotTaken) as error:
            self._rests_until = time.monotonic() + REST
            self.lose(error)
        except asyncio.CancelledError:
            self.lose("the broker had not confirmed it when the work ended")
            raise
        else:
            self._lost.over()

    def lose(self, why: object) -> None:
        """Count an event that was not sent, and log the first one."""
        self._lost.met(why)

    def say_lost(self) -> None:
        """Log how many events were lost since the broker took one."""
        self._lost.sum_up()

    async def close(self) -> None:
        """Disconnect."""
        await self._exchange.close()
