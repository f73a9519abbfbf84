"""Signals, with Scrapy's names: what extensions, pipelines, middlewares and spiders hear of while a spider works.

    crawler.signals.connect(self.item_scraped, signal=signals.item_scraped)

All of them come from the process in which they happen, and before the page commits: after a crash the page is visited
again, and they come again. A handler takes those of the arguments that it wants, and may be async. What it raises is
logged, and costs the page nothing.

=================  ======================================  ==========================================================
spider_opened      spider                                  this process has opened the spider for a job
engine_started                                             right after it
response_received  response, request, spider               the fetch gave an answer, of any status
item_scraped       item, response, spider                  an item passed all pipelines
item_dropped       item, response, exception, spider       `process_item` or a pipeline raised `DropItem`
item_error         item, response, spider, failure         a pipeline raised anything else
spider_error       failure, response, spider               a callback raised
request_dropped    request, spider                         a request was left out: out of scope, too deep, or known here
spider_closed      spider, reason                          this process closes the spider, after its pipelines
engine_stopped                                             right after it
=================  ======================================  ==========================================================

`response` is None for what an errback gives.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from msgspec import Struct

from crawler.errors import ConfigError
from crawler.program import PROGRAM
from crawler.runtime.tasks import was_cancelled, within
from crawler.runtime.tracebacks import told

log = structlog.get_logger()


class Signal(Struct, frozen=True):
    """One kind of event."""

    name: str


spider_opened = Signal("spider_opened")
spider_closed = Signal("spider_closed")
spider_error = Signal("spider_error")
engine_started = Signal("engine_started")
engine_stopped = Signal("engine_stopped")
response_received = Signal("response_received")
request_dropped = Signal("request_dropped")
item_scraped = Signal("item_scraped")
item_dropped = Signal("item_dropped")
item_error = Signal("item_error")

OF_ITEMS = frozenset({item_scraped, item_dropped, item_error})

_BYTES = "write a middleware (DOWNLOADER_MIDDLEWARES), which gets the whole response"
_QUEUE = "the queue is shared: no process alone knows what waits in it"
_SINK = "the exporter writes the items, in a process of its own; -o names where to"
LACKING: Mapping[str, str] = {
    "bytes_received": _BYTES,
    "feed_exporter_closed": _SINK,
    "feed_slot_closed": _SINK,
    "headers_received": _BYTES,
    "memusage_warning_reached": "limit the memory from outside: ulimit, systemd's MemoryMax= or the container",
    "request_left_downloader": _BYTES,
    "request_reached_downloader": _BYTES,
    "request_scheduled": "requests join the queue when their page commits; `request_dropped` tells what was left out",
    "response_downloaded": "write response_received, or a middleware (DOWNLOADER_MIDDLEWARES)",
    "robots_parsed": "robots.txt is asked for once in the fleet, and its answer is shared",
    "scheduler_empty": _QUEUE,
    "spider_idle": f"{_QUEUE}. To feed a running crawl, seed its job at any time: `{PROGRAM} seed --from`",
}
"""Signals of Scrapy that do not exist here, and what to write instead."""


def __getattr__(name: str) -> Any:
    if advice := LACKING.get(name):
        raise ImportError(f"the crawler has no signal {name}: {advice}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Handler(Struct, frozen=True):
    receiver: Callable[..., Any]
    takes: frozenset[str] | None  # names of arguments; None: any

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        if self.takes is not None:
            arguments = {name: value for name, value in arguments.items() if name in self.takes}
        return self.receiver(**arguments)

    @property
    def name(self) -> str:
        where = getattr(self.receiver, "__module__", "") or ""
        return f"{where}.{getattr(self.receiver, '__qualname__', type(self.receiver).__name__)}".lstrip(".")


class Signals:
    """The handlers of one spider in one process, as `crawler.signals`."""

    def __init__(self, sender: Any = None, seconds: float | None = None) -> None:
        """`sender` is given to handlers that take it. An async handler is cancelled after `seconds`."""
        self._sender = sender
        self.seconds = seconds
        self._handlers: dict[Any, tuple[_Handler, ...]] = {}
        self.hears_items = False  # whether anybody hears what becomes of items
        self._told: set[tuple[str, str]] = set()  # handlers and what they raised, which is logged once

    def connect(self, receiver: Callable[..., Any], signal: Any = None, sender: Any = None, weak: bool = False) -> None:
        """Call `receiver` at each `signal`. Raise `ConfigError` if that is no signal, or the receiver cannot be called.

        `sender` and `weak` are Scrapy's: only this spider sends, and handlers are kept.
        """
        if signal is None or isinstance(signal, str):
            raise ConfigError(f"connect({_named(receiver)}): name the signal, such as signal=signals.item_scraped")
        if not callable(receiver):
            raise ConfigError(f"connect({receiver!r}): a handler is a function or method")
        known = self._handlers.get(signal, ())
        if all(handler.receiver != receiver for handler in known):
            self._set(signal, (*known, _Handler(receiver, _names(receiver))))

    def disconnect(self, receiver: Callable[..., Any], signal: Any = None, sender: Any = None) -> None:
        """Call `receiver` no longer at this signal."""
        known = self._handlers.get(signal, ())
        self._set(signal, tuple(handler for handler in known if handler.receiver != receiver))

    def disconnect_all(self, signal: Any, **_: Any) -> None:
        """Call nobody any longer at this signal."""
        self._set(signal, ())

    def has(self, signal: Any) -> bool:
        """Return whether anybody hears of this signal."""
        return bool(self._handlers.get(signal))

    async def send(self, signal: Any, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Call all handlers of the signal one after the other. Return each with what it returned, or raised."""
        results = []
        for handler in self._handlers.get(signal, ()):
            result: Any
            try:
                result = handler(self._completed(signal, arguments))
                if inspect.isawaitable(result):
                    async with within(self.seconds, handler.name):
                        result = await result
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and was_cancelled():
                    raise
                self._say(handler, signal, error)
                result = error
            results.append((handler.receiver, result))
        return results

    send_catch_log_async = send

    def send_catch_log(self, signal: Any, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Do the same, in code that is not async, for handlers that are not async either."""
        results = []
        for handler in self._handlers.get(signal, ()):
            result: Any
            try:
                result = handler(self._completed(signal, arguments))
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError(f"{handler.name} is async; send with await crawler.signals.send(signal, …)")
            except Exception as error:
                self._say(handler, signal, error)
                result = error
            results.append((handler.receiver, result))
        return results

    def _completed(self, signal: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**arguments, "signal": signal, "sender": self._sender}

    def copy(self) -> dict[Any, tuple[_Handler, ...]]:
        """Return who hears of what, for `restore`."""
        return dict(self._handlers)

    def restore(self, handlers: Mapping[Any, tuple[_Handler, ...]]) -> None:
        """Let those hear of signals who did when `handlers` was copied."""
        self._handlers = dict(handlers)
        self._set(item_scraped, self._handlers.get(item_scraped, ()))

    def _set(self, signal: Any, handlers: tuple[_Handler, ...]) -> None:
        self._handlers[signal] = handlers
        self.hears_items = any(self._handlers.get(one) for one in OF_ITEMS)

    def _say(self, handler: _Handler, signal: Any, error: BaseException) -> None:
        line, stack = told(error)
        kind = (handler.name, f"{type(error).__name__} {line}")
        if kind not in self._told:
            self._told.add(kind)
            shown = getattr(signal, "name", repr(signal))
            log.error("signal_handler_failed", signal=shown, handler=handler.name, line=line, exception=stack.rstrip())


def _names(receiver: Callable[..., Any]) -> frozenset[str] | None:
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except (TypeError, ValueError):  # a function of C
        return None
    if any(part.kind is part.VAR_KEYWORD for part in parameters):
        return None
    return frozenset(part.name for part in parameters if part.kind is not part.POSITIONAL_ONLY)


def _named(receiver: Any) -> str:
    return getattr(receiver, "__qualname__", repr(receiver))
