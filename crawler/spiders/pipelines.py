"""ITEM_PIPELINES: what each item goes through after the spider's `process_item`, in Scrapy's shape.

They run in the worker, before the page commits, in the order of their numbers. The item of a page that is visited again
after a crash or a failure goes through them again.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
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

MEDIA: Mapping[str, str] = {
    "scrapy.contrib.pipeline.files.FilesPipeline": "FILES_STORE",
    "scrapy.contrib.pipeline.images.ImagesPipeline": "IMAGES_STORE",
    "scrapy.pipelines.files.FilesPipeline": "FILES_STORE",
    "scrapy.pipelines.images.ImagesPipeline": "IMAGES_STORE",
}
"""Scrapy's pipelines that fetch files, which the crawler does itself (docs/media.md) → the setting that says where they
are kept. Those behind them get an item when its files are there."""

_SUBCLASS = (
    "derives from a pipeline of Scrapy's that fetches files, which the crawler does itself: list "
    "scrapy.pipelines.files.FilesPipeline or scrapy.pipelines.images.ImagesPipeline instead. What get_media_requests "
    "asks for goes into file_urls or image_urls; a name from file_path, into a field; what item_completed does, into "
    "process_item of a pipeline behind it (docs/media.md)"
)


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

    def __init__(
        self,
        paths: Iterable[str],
        crawler: Any,
        seconds: float | None = None,
        waits: Callable[[Any], bool] = lambda item: False,
    ) -> None:
        """Make them. An async `process_item` is cancelled after `seconds`. `waits`: whether an item waits for files.
        Raise `ConfigError`."""
        self._seconds = seconds
        self._spider = crawler.spider
        self._waits = waits
        paths = list(paths)
        behind = next((number + 1 for number, path in enumerate(paths) if path in MEDIA), len(paths))
        self._steps = _steps(paths[:behind], crawler)
        self._behind = _steps(paths[behind:], crawler)

    def __bool__(self) -> bool:
        return bool(self._steps or self._behind)

    async def open(self) -> None:
        """Call `open_spider` of each. Raise `ConfigError` if one raises; those before it are closed again."""
        steps = self._steps + self._behind
        for place, step in enumerate(steps):
            try:
                with components.told_for(SETTING, f"{step.path}.open_spider"):
                    await self._call(step, "open_spider")
            except BaseException:
                await self._close(steps[:place])
                raise

    async def close(self) -> None:
        """Call `close_spider` of each, the last one first. Log what one raises."""
        await self._close(self._steps + self._behind)

    async def process(self, item: Any, turn: Turn = no_turn) -> Any:
        """Return the item as the last of them leaves it, or, if it waits for files, the last one before that. After
        each wait for one comes a `turn` of other pages. Raise `DropItem` and `CloseSpider`, or `PipelineError` for
        anything else."""
        item = await self._through(self._steps, item, turn)
        return item if self._behind and self._waits(item) else await self.process_behind(item, turn)

    async def process_behind(self, item: Any, turn: Turn = no_turn) -> Any:
        """Do the same for an item that has its files, or gets none, with the pipelines behind the one that fetches
        them."""
        return await self._through(self._behind, item, turn)

    async def _through(self, steps: Iterable[_Step], item: Any, turn: Turn) -> Any:
        for step in steps:
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


def _steps(paths: Iterable[str], crawler: Any) -> list[_Step]:
    return [step for path in paths if path not in MEDIA and (step := _step(path, crawler))]


def _step(path: str, crawler: Any) -> _Step | None:
    check(path)
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
    if path in MEDIA:
        return
    found = components.load(SETTING, path)
    if isinstance(found, type):
        if any(base.__module__.startswith("scrapy.pipelines.") for base in found.__mro__):
            raise ConfigError(f"{SETTING}: {path} {_SUBCLASS}")
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
