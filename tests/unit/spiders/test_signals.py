"""Signals reach the handlers that take them; what a handler does costs nobody else anything."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
import scrapy.signals
from structlog.testing import capture_logs

from crawler import signals
from crawler.errors import ConfigError
from crawler.spiders.signals import LACKING, Signals


async def test_a_handler_gets_those_of_the_arguments_that_it_takes() -> None:
    heard: list[Any] = []
    sent = Signals("the crawler")

    async def later(spider: str) -> None:
        await asyncio.sleep(0)
        heard.append(spider)

    sent.connect(lambda: heard.append("none"), signal=signals.item_scraped)
    sent.connect(lambda item, sender: heard.append((item, sender)), signal=signals.item_scraped)
    sent.connect(lambda **all_of_them: heard.append(sorted(all_of_them)), signal=signals.item_scraped)
    sent.connect(later, signal=signals.item_scraped)
    sent.connect(later, signal=signals.item_dropped)
    await sent.send(signals.item_scraped, item=1, spider="shop")
    assert heard == ["none", (1, "the crawler"), ["item", "sender", "signal", "spider"], "shop"]


async def test_a_handler_that_fails_is_logged_once_and_keeps_no_other_from_hearing() -> None:
    sent, heard = Signals(seconds=0.05), list[int]()

    def fails(item: int) -> None:
        raise KeyError(item)

    async def hangs() -> None:
        await asyncio.Event().wait()

    def exits() -> None:
        raise SystemExit(1)

    for handler in (fails, hangs, exits, heard.append):
        sent.connect(handler, signal=signals.item_scraped)
    sent.connect(lambda item: heard.append(item), signal=signals.item_scraped)
    with capture_logs() as logs:
        for number in (1, 2):
            await sent.send(signals.item_scraped, item=number)
    assert heard == [1, 2]
    told = [(line["event"], line["handler"].rpartition(".")[2]) for line in logs]
    assert sorted(told) == [("signal_handler_failed", name) for name in ("append", "exits", "fails", "hangs")]
    assert all("test_signals.py:" in line["line"] for line in logs if not line["handler"].endswith("append"))


async def test_one_connected_twice_hears_once_and_one_disconnected_never() -> None:
    sent, heard = Signals(), list[str]()

    def handler() -> None:
        heard.append("x")

    sent.connect(handler, signal=signals.spider_opened)
    sent.connect(handler, signal=signals.spider_opened)
    await sent.send(signals.spider_opened)
    sent.disconnect(handler, signal=signals.spider_opened)
    await sent.send(signals.spider_opened)
    assert heard == ["x"]
    assert not sent.has(signals.spider_opened)


async def test_one_signal_is_disconnected_from_all_who_hear_it() -> None:
    sent, heard = Signals(), list[str]()
    for signal in (signals.item_scraped, signals.spider_opened):
        for name in ("a", "b"):
            sent.connect(partial(heard.append, f"{name} {signal.name}"), signal=signal)
    sent.disconnect_all(signals.item_scraped)
    await sent.send(signals.item_scraped)
    await sent.send(signals.spider_opened)
    assert heard == ["a spider_opened", "b spider_opened"]
    assert not sent.hears_items


def test_a_signal_of_ones_own_is_sent_from_plain_code() -> None:
    sent, mine = Signals(), object()

    async def later() -> None: ...

    sent.connect(lambda number: number + 1, signal=mine)
    sent.connect(later, signal=mine)
    with capture_logs() as logs:
        (_, result), (_, error) = sent.send_catch_log(mine, number=1)
    assert result == 2
    assert "await crawler.signals.send" in str(error)
    assert len(logs) == 1


@pytest.mark.parametrize("signal", [None, "item_scraped"])
def test_a_handler_without_a_signal_is_refused(signal: Any) -> None:
    with pytest.raises(ConfigError, match=r"name the signal, such as signal=signals\.item_scraped"):
        Signals().connect(print, signal=signal)


def test_each_signal_of_scrapy_is_here_or_says_what_to_write() -> None:
    theirs = {name for name in vars(scrapy.signals) if not name.startswith("_") and name != "annotations"}
    ours = {name for name, found in vars(signals).items() if isinstance(found, signals.Signal)}
    assert theirs == ours | set(LACKING)
    with pytest.raises(ImportError, match="the crawler has no signal spider_idle: the queue is shared"):
        signals.spider_idle  # noqa: B018
