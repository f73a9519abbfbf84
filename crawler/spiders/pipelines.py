"""ITEM_PIPELINES: what each item goes through after the spider's `process_item`, in Scrapy's shape.

They run in the worker, before the page commits, in the order of their numbers. The item of a page that is visited again
after a crash or a failure goes through them again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import ConfigError, CrawlerError
from crawler.model import Failure
from crawler.runtime import components
from crawler.runtime.tasks import was_cancelled, within
from crawler.spiders.base import CloseSpider, DropItem
from crawler.spiders.callbacks import Turn, no_turn
from crawler.spiders.failures import MAX_MESSAGE, failure_of
from crawler.spiders.items import is_item, shown_value

log = structlog.get_logger()

SETTING = "ITEM_PIPELINES"


class PipelineError(CrawlerError):
    """A pipeline raised, or gave no item. `failure` names it, with the line."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Wrong(CrawlerError):
    """A pipeline gave what it must not give."""


class _Step(Struct, frozen=True):
    path: str  # as the setting names it
    pipeline: Any
    process: Callable[..., Any]
    extra: tuple[Any, ...]  # what it takes after the item: the spider, or nothing

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


class Pipelines:
    """The pipelines of one spider in one process."""

    def __init__(self, paths: Iterable[str], crawler: Any, seconds: float | None = None) -> None:
        """Make them. An async `process_item` is cancelled after `seconds`. Raise `ConfigError`."""
        self._seconds = seconds
        self._spider = crawler.spider
        self._steps = [step for path in paths if (step := _step(path, crawler))]

    def __bool__(self) -> bool:
        return bool(self._steps)

    async def open(self) -> None:
        """Call `open_spider` of each. Raise `ConfigError` if one raises; those before it are closed again."""
        for place, step in enumerate(self._steps):
            try:
                with components.told_for(SETTING, f"{step.path}.open_spider"):
                    await self._call(step, "open_spider")
            except BaseException:
                await self._close(self._steps[:place])
                raise

    async def close(self) -> None:
        """Call `close_spider` of each, the last one first. Log what one raises."""
        await self._close(self._steps)

    async def process(self, item: Any, turn: Turn = no_turn) -> Any:
        """Return the item as the last of them leaves it. After each wait for one comes a `turn` of other pages. Raise
        `DropItem` and `CloseSpider`, or `PipelineError` for anything else."""
        for step in self._steps:
            try:
                given = step.process(item, *step.extra)
                item = given if is_item(given) else await self._settled(step, given, turn)
            except (DropItem, CloseSpider):
                raise
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and was_cancelled():
                    raise
                raise PipelineError(_failure(step, error)) from error
        return item

    async def _settled(self, step: _Step, given: Any, turn: Turn) -> Any:
        if inspect.isawaitable(given) and not components.is_deferred(given):
            async with within(self._seconds, f"{step.name}.process_item"):
                given = await given
            await turn()
        if is_item(given):
            return given
        raise _Wrong(f"process_item returned {_shown(given)}")

    async def _call(self, step: _Step, name: str) -> None:
        method = getattr(step.pipeline, name, None)
        if method is None:
            return
        given = method(self._spider) if components.takes_number(method, 1) else method()
        if components.is_deferred(given):
            raise ConfigError(f"{SETTING}: {step.path}.{name} returned a Deferred; write async def {name}(self)")
        if inspect.isawaitable(given):
            async with within(self._seconds, f"{step.name}.{name}"):
                await given

    async def _close(self, steps: list[_Step]) -> None:
        for step in reversed(steps):
            try:
                await self._call(step, "close_spider")
            except (Exception, SystemExit) as error:
                failure = failure_of(type(step.pipeline), "close_spider", error)
                where = {"pipeline": step.path, "line": failure.line, "error": failure.message}
                log.error("close_spider_failed", **where, exception=failure.traceback.rstrip())


def _step(path: str, crawler: Any) -> _Step | None:
    pipeline = components.make(SETTING, path, crawler)
    if pipeline is None:
        return None
    _check(path, pipeline)
    process = pipeline.process_item
    if components.takes_number(process, 2):
        return _Step(path, pipeline, process, (crawler.spider,))
    if not components.takes_number(process, 1):
        raise ConfigError(f"{SETTING}: {path}.process_item gets an item; write def process_item(self, item)")
    return _Step(path, pipeline, process, ())


def check(path: str) -> None:
    """Raise `ConfigError` if the pipeline cannot be imported or can process no items. Make none."""
    found = components.load(SETTING, path)
    if isinstance(found, type):
        _check(path, found)


def _check(path: str, pipeline: Any) -> None:
    method = getattr(pipeline, "process_item", None)
    if method is None:
        raise ConfigError(f"{SETTING}: {path} has no process_item(self, item)")
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise ConfigError(
            f"{SETTING}: {path}.process_item yields; let it return the item. Several items of one are yielded by the "
            "callback"
        )


def _failure(step: _Step, error: BaseException) -> Failure:
    failure = failure_of(type(step.pipeline), "process_item", error)
    what = str(error) if isinstance(error, _Wrong) else failure.message
    return replace(failure, kind="pipeline", message=f"{step.path}: {what}"[:MAX_MESSAGE])


def _shown(given: Any) -> str:
    if given is None:
        return "None; return the item, or raise DropItem(why)"
    if components.is_deferred(given):
        return "a Deferred; write async def process_item(self, item)"
    if inspect.isgenerator(given) or inspect.isasyncgen(given):
        return "a generator; return one item, without yield"
    return f"{shown_value(given)}; return the item, or raise DropItem(why)"
