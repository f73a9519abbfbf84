"""Events that the broker does not take are lost, and each is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler.amqp.events import Events, Words
from crawler.errors import BrokerUnavailable

BROKER: Any = None  # nobody connects


def events(monkeypatch: pytest.MonkeyPatch, exchange: Any) -> Events:
    made = Events(BROKER, Words("crawler.events"), "news")
    monkeypatch.setattr(made, "_exchange", exchange)
    return made


class Away:
    """An exchange of a broker that is away."""

    async def open(self) -> None:
        raise BrokerUnavailable("refused")


class Silent:
    """An exchange of a broker that never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def open(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()


async def test_how_many_were_lost_is_told_at_the_end_though_the_broker_stays_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    telling = events(monkeypatch, Away())
    with capture_logs() as logs:
        for event in ("started", "host_rests", "finished"):
            await telling.publish(event, {})
        telling.say_lost()
    assert [(one["event"], one.get("times")) for one in logs] == [("events_lost", None), ("events_lost_in_all", 3)]


async def test_nothing_is_told_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        events(monkeypatch, Away()).say_lost()
    assert logs == []


async def test_one_that_is_cut_off_by_the_end_is_lost_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Silent()
    telling = events(monkeypatch, exchange)
    publishing = asyncio.create_task(telling.publish("started", {}))
    await exchange.asked.wait()
    publishing.cancel()
    with capture_logs() as logs:
        await asyncio.gather(publishing, return_exceptions=True)
        telling.say_lost()
    assert [(one["event"], one.get("times")) for one in logs] == [("events_lost", None), ("events_lost_in_all", 1)]
