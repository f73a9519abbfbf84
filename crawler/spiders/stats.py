"""What a project's own code counts: `self.crawler.stats` of spiders, pipelines and middlewares.

What is counted while a page is read goes into the page's `Visit`, so the commit that ends the page adds it to the job's
counters: over the whole fleet the sum is exact, however many workers die. An attempt that does not reach its commit
counts nothing, and a callback or errback that raises counts nothing, as its items count nothing.

All the rest is of one process: values that are set, what is counted outside pages, and what `get_value` returns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import structlog

from crawler.parsing.charset import clean
from crawler.program import PROGRAM
from crawler.runtime.tracebacks import user_line
from crawler.status import OWN

log = structlog.get_logger()

MAX_NAMES = 1_000  # different names that one spider may count in one process; the sum of all others is OTHERS
MAX_NAME = 100  # characters
OTHERS = "(other names)"
CUT = "cut/stats"  # counts the pages with such names
LARGEST = 10**15  # of a count: the queue server adds in 64 bits, and JSON keeps 53

_FLEETS = frozenset({"item_scraped_count", "item_dropped_count", "response_received_count", "request_depth_max"})
_FLEETS_BEGIN = (
    "downloader/",
    "scheduler/",
    "retry/",
    "dupefilter/",
    "offsite/",
    "log_count/",
    "item_dropped_reasons_",
)
_ASK = f"`{PROGRAM} status --json` has it; to stop a crawl after a number write CLOSESPIDER_ITEMCOUNT and its like"


class Page:
    """What is counted inside `with Page() as page`, by this task and those that it starts, belongs to one page."""

    __slots__ = ("_token", "counts", "is_over")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}  # the job's counters
        self.is_over = False

    def __enter__(self) -> Page:
        self._token = _page.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.is_over = True
        _page.reset(self._token)

    def add(self, counter: str, count: int) -> None:
        """Add to one of them."""
        self.counts[counter] = self.counts.get(counter, 0) + count


_page: ContextVar[Page | None] = ContextVar("page", default=None)


def counted() -> Mapping[str, int]:
    """Return what the page has counted so far, for `take_back`."""
    page = _page.get()
    return dict(page.counts) if page else {}


def take_back(before: Mapping[str, int]) -> None:
    """Let the page have counted no more than this, because what came after has failed."""
    if page := _page.get():
        page.counts = dict(before)


class Stats:
    """The figures of one spider, and of its pipelines and middlewares, in this process."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._names: set[str] = set()
        self._said: set[str] = set()
        self._fleet: Mapping[str, Any] | None = None

    def inc_value(self, key: str, count: int = 1, start: int = 0, spider: Any = None) -> None:
        """Add `count` to a figure of the job. Raise `TypeError` unless it is a whole number; `start` must be 0.

        Outside a page it is a figure of this process alone; the log says so.
        """
        _check_count(key, count, start)
        before = self._values.get(key, 0)
        self._values[key] = before + count if isinstance(before, int | float) else count
        page = _page.get()
        if page is None or page.is_over:
            self._say_once("inc_value", key, "was not counted: no page was being read; status shows what pages count")
        else:
            page.add(self._counter(key, page), count)

    def _counter(self, key: str, page: Page) -> str:
        name = clean(str(key)[:MAX_NAME])
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                why = f"counts as {OTHERS}: this process has counted {MAX_NAMES:,} names; name a kind, not a page"
                self._say_once("inc_value", OTHERS, why)
                page.counts[CUT] = 1
                return f"{OWN}/{OTHERS}"
            self._names.add(name)
        return f"{OWN}/{name}"

    def set_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Set a value of this process, for `get_value`. The log says that no other process sees it."""
        self._say_once("set_value", key, "is a value of this process alone; inc_value counts for the whole job")
        self._values[key] = value

    def max_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Set a value of this process, as `set_value` does, unless it is larger already."""
        self.set_value(key, max(self._values.get(key, value), value))

    def min_value(self, key: str, value: Any, spider: Any = None) -> None:
        """Set a value of this process, as `set_value` does, unless it is smaller already."""
        self.set_value(key, min(self._values.get(key, value), value))

    def get_value(self, key: str, default: Any = None, spider: Any = None) -> Any:
        """Return what this process has counted or set; `default` if nothing.

        In `closed` it is the job's figure, also under Scrapy's names. Before that only the queue server knows those of
        the crawler itself, such as `item_scraped_count`: raise `LookupError` with what to do instead.
        """
        if self._fleet is not None and key in self._fleet:
            return self._fleet[key]
        if key not in self._values and self._fleet is None and _is_fleets(key):
            raise LookupError(
                f"stats.get_value({key!r}): a worker does not know the figures of the whole crawl; {_ASK}"
            )
        return self._values.get(key, default)

    def get_stats(self, spider: Any = None) -> dict[str, Any]:
        """Return all that `get_value` knows."""
        return {**self._values, **(self._fleet or {})}

    def set_stats(self, stats: Mapping[str, Any], spider: Any = None) -> None:
        """Raise `TypeError`: what the whole fleet counts cannot be replaced."""
        _refuse("set_stats")

    def clear_stats(self, spider: Any = None) -> None:
        """Raise `TypeError`: what the whole fleet counts cannot be taken back."""
        _refuse("clear_stats")

    def learn(self, figures: Mapping[str, Any]) -> None:
        """Take the job's figures, for `closed`."""
        self._fleet = figures

    def _say_once(self, method: str, key: str, why: str) -> None:
        if key not in self._said and len(self._said) <= MAX_NAMES:
            self._said.add(key)
            log.warning("stat_of_one_process", stat=str(key)[:MAX_NAME], method=method, line=_line(), why=why)


def _check_count(key: str, count: int, start: int) -> None:
    if not isinstance(count, int) or abs(count) > LARGEST:
        raise TypeError(f"stats.inc_value({key!r}, {count!r}): a count is a whole number; sums of others go into items")
    if start:
        raise TypeError(f"stats.inc_value({key!r}, start={start!r}): the figures of a job begin at 0; leave start out")


def _refuse(method: str) -> NoReturn:
    raise TypeError(
        f"stats.{method}(): the job's figures belong to all its workers; `{PROGRAM} jobs delete` ends a job"
    )


def _is_fleets(key: str) -> bool:
    return key in _FLEETS or str(key).startswith(_FLEETS_BEGIN)


def _line() -> str:
    """Return the user's line that is running."""
    frames = []
    frame = sys._getframe(2)
    while frame.f_back:
        frames.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return user_line(reversed(frames))
