"""Crawls inside a program: in a script, a notebook, a test, a web application.

    from crawler import crawl, run

    report = run(Quotes, ["https://quotes.example/"])          # blocks; report.items
    report = await crawl(Quotes, output="quotes.jsonl")        # in an event loop; the items go to the file
    async with crawl(Quotes) as crawling:
        async for item in crawling:                            # as they come
            …
    crawling.report.reason

docs/python.md describes it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from crawler.app.config import Config, for_one_spider
from crawler.app.crawl import crawl as crawl_here
from crawler.app.in_process import Inside
from crawler.app.limits import limits_of
from crawler.app.outputs import with_feeds
from crawler.app.spiders import spiders_of
from crawler.control.dead_letters import Group
from crawler.errors import Exit, UsageError
from crawler.export.formats import is_path
from crawler.export.sinks.handover import Handover
from crawler.export.target import Target
from crawler.model import Job, Request
from crawler.runtime.logs import through_logging
from crawler.runtime.standard_output import leave_to_the_program
from crawler.runtime.tasks import end
from crawler.settings import given_by_program
from crawler.spiders.base import Spider
from crawler.spiders.own_seeds import OwnSeeds
from crawler.spiders.registry import Registry
from crawler.status import JobStats
from crawler.views import losses
from crawler.views.figures import scrapy_stats
from crawler.views.losses import Loss
from crawler.views.reports import CrawlReport, Progress

__all__ = ["Crawling", "Item", "Loss", "Report", "crawl", "run"]

Item = dict[str, Any]
Output = str | os.PathLike[str]

_IN_MEMORY = "memory://"
_BOUNDS: Mapping[str, Any] = {"REDIS_URL": _IN_MEMORY, "OUTBOX_LIMIT": 1_000, "EXPORT_BATCH": 100}
"""Defaults of a program's crawl that are not those of the commands: it needs no server, and few pages wait for a
program that is slow to take their items."""


class Report(Struct, frozen=True):
    """How a crawl ended."""

    reason: str  # as in `CrawlReport`: finished, no seeds, paused …
    code: int  # the exit code that the command `crawl` would have had
    job: str
    counts: Mapping[str, Any]  # the figures, under Scrapy's names where the meaning is the same
    stats: JobStats
    losses: tuple[Loss, ...]  # what was left out, skipped or given up, in sentences; what is lost comes first
    refused: Mapping[str, str]  # seed → why it was refused, of the first thousand
    causes: tuple[Group, ...]  # the most frequent errors of the pages that were given up
    seconds: float
    items: list[Item]  # those that `run` and `await` collect; empty if there is an output, or a loop took them
    output: str = ""  # where the items are; empty if nowhere
    outputs: tuple[str, ...] = ()  # the same of all outputs, those of FEEDS among them

    @property
    def ok(self) -> bool:
        """Whether the command would have ended with exit code 0."""
        return self.code == Exit.DONE

    @property
    def lost(self) -> tuple[Loss, ...]:
        """What was left out although nobody asked for it."""
        return tuple(loss for loss in self.losses if not loss.is_asked_for)


_REFUSALS_KEPT = 1_000
_ENDS = 10.0  # seconds that a crawl may take to hand back what it has and close its connections, once it is cancelled


class _Order(Struct, frozen=True):
    """What the program asked for."""

    spider: type[Spider] | str
    urls: Iterable[str | Request] | None
    settings: Mapping[str, Any]
    output: tuple[str, ...]
    append: bool
    arguments: Mapping[str, str]
    job: str
    project: str | os.PathLike[str] | None
    handle_signals: bool


class Crawling:
    """A crawl, from `crawl()`. It begins when it is awaited, entered or iterated over, whichever comes first.

    - `await crawling` waits for the end and returns the report.
    - `async for item in crawling` takes the items, each once; the crawl waits for a loop that is slow.
    - `async with crawling` ends the crawl on leaving, however the block ends: no task or connection stays.
    """

    def __init__(self, order: _Order) -> None:
        self._order = order
        self._handover = None if order.output else Handover()
        self._task: asyncio.Task[CrawlReport] | None = None
        self._refused: dict[str, str] = {}
        self._report: Report | None = None
        self._is_taken = False
        self._is_entered = False
        self.progress: Progress | None = None  # how far it is, read twice a second

    @property
    def report(self) -> Report:
        """How the crawl ended. Raise `UsageError` if it has not ended, or was cancelled."""
        if self._report is None:
            raise UsageError("this crawl has no report: it has not ended, or was left before its end")
        return self._report

    def __await__(self) -> Generator[Any, None, Report]:
        """Wait for the end. Raise `CrawlerError` for what makes the crawl impossible."""
        return self._whole().__await__()

    async def __aenter__(self) -> Crawling:
        self._begin()
        self._is_entered = True
        return self

    async def __aexit__(self, kind: object, error: object, where: object) -> None:
        task = self._begin()
        is_over = task.done()
        await end(task, again=_ENDS)
        if is_over and error is None and not task.cancelled():
            task.result()  # an error that nobody has met yet

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield the items. Raise `CrawlerError` for what makes the crawl impossible."""
        if self._handover is None:
            raise UsageError(f"the items go to {', '.join(self._order.output)}; leave out output= to take them here")
        if self._is_taken:
            raise UsageError("the items of this crawl have been taken already: it yields each once")
        self._is_taken = True
        task = self._begin()
        try:
            while (item := await self._handover.take()) is not None:
                yield msgspec.json.decode(item)
            await task
        finally:
            if not self._is_entered:
                await end(task, again=_ENDS)

    async def _whole(self) -> Report:
        async with self:
            if self._handover is None or self._is_taken:
                await self._begin()
                return self.report
            items = [item async for item in self]
            return msgspec.structs.replace(self.report, items=items)

    def _begin(self) -> asyncio.Task[CrawlReport]:
        if self._task is None:
            self._task = asyncio.create_task(self._crawl(), name="crawl")
            self._task.add_done_callback(self._end)
        return self._task

    def _end(self, task: asyncio.Task[CrawlReport]) -> None:
        if self._handover is not None:
            self._handover.end()

    async def _crawl(self) -> CrawlReport:
        leave_to_the_program()
        with through_logging():
            made = await _crawl(self._order, self._handover, self._note, self._refuse)
        self._report = self._reported(made)
        return made

    def _note(self, progress: Progress) -> None:
        self.progress = progress

    def _refuse(self, url: str, why: str) -> None:
        if len(self._refused) < _REFUSALS_KEPT:
            self._refused[url] = why

    def _reported(self, made: CrawlReport) -> Report:
        return Report(
            reason=made.stats.closed if made.reason == "closed" else made.reason,
            code=made.code,
            job=made.stats.job,
            counts=scrapy_stats(made),
            stats=made.stats,
            losses=tuple(losses.told_of(made)),
            refused=self._refused,
            causes=tuple(made.causes),
            seconds=made.seconds,
            items=[],
            output=made.outputs[0].where if self._handover is None else "",
            outputs=tuple(one.where for one in made.outputs if one.target),
        )


def crawl(
    spider: type[Spider] | str,
    urls: Iterable[str | Request] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    output: Output | Sequence[Output] = (),
    append: bool = False,
    arguments: Mapping[str, str] | None = None,
    job: str = "",
    redis_url: str = "",
    project: str | os.PathLike[str] | None = None,
    handle_signals: bool = False,
) -> Crawling:
    """Return a crawl that begins when it is awaited, entered or iterated over. It runs in this process and event loop.

    `spider`: a class, also one of the script itself; or, with `project`, a name. `urls`: the seeds, or one seed; None:
    the spider's own. `settings` win over the spider's `custom_settings`. `output`: a file, which replaces an older
    one at the end, or with `append` grows; a URL or class (docs/items.md); or a list of these. Those of FEEDS are
    written as well. `arguments`: those of `-a NAME=VALUE`.

    `redis_url`: the queue server, as REDIS_URL. If nothing names one, the queue is in this process (`memory://`). A
    `job` that is named stays there, and the same call goes on with it; one without a name is deleted at the end.
    `project`: a folder whose settings.py, and the environment's CRAWLER_… and REDIS_URL, count as for a command.
    Without it, neither is read. `handle_signals`: drain at SIGINT, SIGTERM and SIGHUP, as the command does.

    Raise `UsageError` for arguments that contradict each other.
    """
    if redis_url:
        settings = {**(settings or {}), "REDIS_URL": redis_url}
    if isinstance(spider, str) and project is None:
        raise UsageError(f'spider {spider!r}: give the class, or the folder that has it: project="."')
    if not isinstance(spider, str) and not (isinstance(spider, type) and issubclass(spider, Spider)):
        raise UsageError(f"{spider!r} is no spider: give the class, such as run(Quotes)")
    if append and not output:
        raise UsageError("append=True goes with output=FILE")
    seeds = [urls] if isinstance(urls, (str, Request)) else urls
    return Crawling(
        _Order(
            spider,
            seeds,
            settings or {},
            _names(output),
            append,
            arguments or {},
            job,
            project,
            handle_signals,
        )
    )


def run(spider: type[Spider] | str, urls: Iterable[str | Request] | None = None, **options: Any) -> Report:
    """Crawl to the end and return the report, with the items unless they go to an `output`. `options`: as in `crawl`.

    Raise `CrawlerError` for what makes the crawl impossible, and `UsageError` where an event loop runs already.
    """
    crawling = crawl(spider, urls, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_finished(crawling))
    raise UsageError("an event loop runs in this thread already: write `await crawl(…)` instead of run(…)")


async def _finished(crawling: Crawling) -> Report:
    return await crawling


async def _crawl(
    order: _Order,
    handover: Handover | None,
    note: Callable[[Progress], None],
    refuse: Callable[[str, str], None],
) -> CrawlReport:
    if order.handle_signals and threading.current_thread() is not threading.main_thread():
        raise UsageError("handle_signals=True: only the main thread of a program gets signals; leave it out here")
    config = _config(order)
    registry, name = _spiders(order, config)
    made = registry.make(name, order.arguments)
    config = for_one_spider(msgspec.structs.replace(config, registry=registry), made.custom_settings, made.name)
    # in a thread, because the spider's own `start` may need an event loop to itself
    seeds = order.urls if order.urls is not None else await asyncio.to_thread(OwnSeeds, made)
    job = Job(order.job or f"{name}-{secrets.token_hex(4)}", order="", spider=name, arguments=dict(order.arguments))
    return await crawl_here(
        config,
        job,
        seeds,
        _targets(order, config),
        refused=refuse,
        limits=limits_of(config, made),
        observe=note,
        inside=Inside(handover, is_brief=not order.job, heeds_signals=order.handle_signals),
    )


def _names(output: Output | Sequence[Output]) -> tuple[str, ...]:
    some = [output] if isinstance(output, (str, os.PathLike)) else output
    return tuple(os.fspath(one) for one in some if one)


def _targets(order: _Order, config: Config) -> list[Target]:
    """Return the outputs that the program names, then those of FEEDS. If it names none, the program itself comes
    first."""
    named = [Target(name, overwrite=is_path(name) and not order.append, append=order.append) for name in order.output]
    return with_feeds(config.settings, named) if named else [Target(""), *with_feeds(config.settings)]


def _config(order: _Order) -> Config:
    folder = Path.cwd() if order.project is None else Path(order.project).absolute()
    settings, origins = given_by_program(order.settings, None if order.project is None else folder)
    unset = {name: value for name, value in _BOUNDS.items() if name not in origins}
    return Config(msgspec.structs.replace(settings, **unset), origins, folder)


def _spiders(order: _Order, config: Config) -> tuple[Registry, str]:
    """Return the spiders, and the name of the one that was asked for."""
    if isinstance(order.spider, str):
        return spiders_of(config), order.spider
    registry = Registry(config.settings, config.explicit)
    registry.add(order.spider)
    for error in registry.broken.values():
        raise error
    return registry, order.spider.name
