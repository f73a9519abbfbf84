"""What a user's project hangs on one spider in one process: pipelines, extensions, middlewares, handlers of signals.

They are made and opened once, before the spider's first page in this process, and closed when the process ends in
order.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from typing import Any

from crawler.errors import ConfigError
from crawler.interfaces import Fetcher
from crawler.model import Failure, Request
from crawler.response import Response
from crawler.runtime import components
from crawler.spiders import signals
from crawler.spiders.callbacks import Turn, no_turn
from crawler.spiders.context import Crawler
from crawler.spiders.pipelines import PipelineError, Pipelines
from crawler.spiders.signals import Signals

EXTENSIONS = "EXTENSIONS"


class Raised:
    """What handlers of `spider_error` and `item_error` get as `failure`, with the attributes of Twisted's that they
    use. `value` is the exception, `line` that of the user's code."""

    def __init__(self, error: BaseException, failure: Failure) -> None:
        self.value = error
        self.type = type(error)
        self.line = failure.line
        self._failure = failure

    def check(self, *classes: type[BaseException]) -> type[BaseException] | None:
        """Return the first of these classes that the exception belongs to; None if there is none."""
        return next((one for one in classes if isinstance(self.value, one)), None)

    def getErrorMessage(self) -> str:
        """Return the text of the exception."""
        return str(self.value)

    def getTraceback(self, *_: Any, **__: Any) -> str:
        """Return the traceback of the user's code."""
        return self._failure.traceback


class Hooks:
    """The hooks of one spider in one process. Nothing is made before `open`."""

    def __init__(
        self,
        crawler: Crawler,
        *,
        pipelines: Sequence[str] = (),
        extensions: Sequence[str] = (),
        fetcher_for: Callable[[Crawler], Fetcher | None] = lambda crawler: None,
        seconds: float | None = None,
        making: Callable[[], AbstractContextManager[None]] = nullcontext,
        waits: Callable[[Any], bool] = lambda item: False,
    ) -> None:
        """`fetcher_for` returns the fetcher with the spider's middlewares around it; None if they are those of all
        spiders. What is async is cancelled after `seconds`. `making` records that they are made, in case one of them
        ends the process. `waits`: whether an item waits for files."""
        self.signals: Signals = crawler.signals
        self.signals.seconds = seconds
        self.fetcher: Fetcher | None = None
        self.is_open = False
        self._crawler = crawler
        self._paths, self._extensions = pipelines, extensions
        self._fetcher_for = fetcher_for
        self._seconds = seconds
        self._making = making
        self._waits = waits
        self._pipelines, self._has_pipelines = Pipelines((), crawler), False
        self._kept: list[Any] = []  # the extensions
        self._opening = asyncio.Lock()

    @property
    def for_items(self) -> Hooks | None:
        """Itself if anybody waits for items; else None, so that they cost nothing."""
        return self if self._has_pipelines or self.signals.hears_items else None

    async def open(self, *, pipelines: bool = True) -> None:
        """Make and open all of them, if that is not done; without `pipelines` all others. Raise `ConfigError`, which
        names setting, path and cause; then the next call begins anew."""
        async with self._opening:
            if not self.is_open:
                heard = self.signals.copy()
                try:
                    with self._making():
                        await self._open(self._paths if pipelines else ())
                except BaseException:
                    self.signals.restore(heard)
                    raise
                self.is_open = True
                spider = self._crawler.spider
                await self.signals.send(signals.spider_opened, spider=spider)
                await self.signals.send(signals.engine_started)

    async def _open(self, pipelines: Sequence[str]) -> None:
        extensions = components.wanted(EXTENSIONS, self._extensions)
        self._kept = [components.make(EXTENSIONS, path, self._crawler) for path in extensions]
        self.fetcher = self._fetcher_for(self._crawler)
        self._pipelines = Pipelines(pipelines, self._crawler, self._seconds, self._waits)
        _let_adapters_know()
        await self._pipelines.open()
        self._has_pipelines = bool(self._pipelines)

    async def close(self, reason: str) -> None:
        """Close the pipelines, then tell the handlers. What fails is logged."""
        if self.is_open:
            self.is_open = False
            await self._pipelines.close()
            spider = self._crawler.spider
            await self.signals.send(signals.spider_closed, spider=spider, reason=reason)
            await self.signals.send(signals.engine_stopped)

    async def process(self, item: Any, response: Any, turn: Turn = no_turn) -> Any:
        """Return what the pipelines leave of the item. Raise `DropItem` or `PipelineError`."""
        return await self._told(self._pipelines.process, item, response, turn)

    async def process_behind(self, item: Any) -> Any:
        """Do the same for an item that has its files, with the pipelines behind the one that fetches them."""
        return await self._told(self._pipelines.process_behind, item, None, no_turn)

    async def _told(self, process: Callable[[Any, Turn], Awaitable[Any]], item: Any, response: Any, turn: Turn) -> Any:
        try:
            return await process(item, turn)
        except PipelineError as error:
            await self._tell(
                signals.item_error,
                item=item,
                response=response,
                failure=Raised(error.__cause__ or error, error.failure),
            )
            raise

    async def scraped(self, item: Any, response: Any) -> None:
        """Send the signal that an item has passed all of them."""
        await self._tell(signals.item_scraped, item=item, response=response)

    async def dropped(self, item: Any, response: Any, why: Exception) -> None:
        """Send the signal that an item was dropped."""
        await self._tell(signals.item_dropped, item=item, response=response, exception=why)

    async def received(self, response: Response, request: Request) -> None:
        """Send the signal that the fetch gave an answer."""
        await self._tell(signals.response_received, response=response, request=request)

    async def left_out(self, requests: Iterable[Request]) -> None:
        """Send the signal that these requests do not join the queue."""
        for request in requests:
            await self._tell(signals.request_dropped, request=request)

    async def tell_error(self, error: BaseException, failure: Failure, page: Any) -> None:
        """Send the signal that a callback raised."""
        response = page if isinstance(page, Response) else None
        await self._tell(signals.spider_error, failure=Raised(error, failure), response=response)

    async def _tell(self, signal: signals.Signal, **arguments: Any) -> None:
        if self.signals.has(signal):
            await self.signals.send(signal, spider=self._crawler.spider, **arguments)


def _let_adapters_know() -> None:
    """Let ItemAdapter handle our items, if somebody has imported it."""
    if "itemadapter" in sys.modules:
        with suppress(ImportError, ConfigError):
            import_module("crawler.spiders.adapters")
