"""What one call of a callback yields: items, requests, and strays, each of which is logged with the user's line."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import AsyncIterable, Awaitable, Callable, Generator, Iterable, Sequence
from types import GeneratorType
from typing import Any

from msgspec.structs import replace

from crawler.errors import CrawlerError
from crawler.model import BLANK, Failure, Follow, Request, Unfollowed
from crawler.parsing.request_fields import is_plain_url
from crawler.parsing.url import BadUrl, canonical
from crawler.runtime.safe_text import without_password
from crawler.runtime.tracebacks import user_line
from crawler.spiders.base import Spider, method_of
from crawler.spiders.failures import MAX_MESSAGE, definition, files_of
from crawler.spiders.items import is_item, shown_value

MAX_RESULTS = 100_000
"""Most results that one page may yield, a `Follow` counting as one."""

MAX_FOLLOWED = 1_000_000
"""Most requests of one page, with those that are made of its `Follow`s. PARSE_MAXLINKS may not be higher."""

NO_ITEM = "not_an_item"
"""The kind of a stray that is no request, and what it is counted as."""


Frames = Sequence[tuple[str, int]]  # file and line of each, the outermost first


class CallbackError(CrawlerError):
    """A callback does not exist, is not callable, or yields more than a page may. `line` is that of the user's code,
    if it is known."""

    line = ""


def all_new(urls: Sequence[str]) -> Sequence[str]:
    """Return the URLs as they are."""
    return urls


class Taken:
    """What a callback has given so far, also if it raises in the end."""

    def __init__(self, spider: Spider, name: str, maybe_new: Callable[[Sequence[str]], Sequence[str]]) -> None:
        """`name` is the spider's method; `maybe_new` filters out the URLs of a `Follow` that are certainly known."""
        self.who = f"{spider.name}.{method_of(name)}"
        self._spider = spider
        self._name = name
        self._maybe_new = maybe_new
        self._count = 0
        self.is_empty = True  # it gave nothing, or None alone
        self.items: list[tuple[Any, Frames]] = []  # each with where it was given
        self.requests: list[Request] = []  # callbacks as the spider gave them
        self._places: dict[Any, Frames] = {}  # callback, errback and names of arguments → where they were first named
        self.dropped: dict[str, int] = defaultdict(int)  # items, by reason
        self.unfollowed: dict[str, int] = defaultdict(int)  # links, by reason
        self.strays: list[Failure] = []  # as in `Found`

    def take(self, given: Any) -> None:
        """Take the results of a plain callback: an iterable, or one."""
        for result in one_by_one(given):
            self._take_one(result, given)

    async def take_later(self, given: Any) -> None:
        """Take the results of an async callback."""
        if inspect.isawaitable(given):
            given = await given
        if not hasattr(given, "__aiter__"):
            self.take(given)
            return
        async for result in given:
            self._take_one(result, given)

    def line_that_named(self, request: Request) -> str:
        """The user's line that first named the callbacks of this request; empty if it is not known."""
        return self.line_of(self._places.get(_named(request), ()))

    def line_of(self, frames: Frames) -> str:
        """The user's line among these frames; empty if it is not known, as of an item in a list."""
        return user_line(frames, files_of(type(self._spider)))

    def _take_one(self, result: Any, given: Any) -> None:
        self._count += 1
        self._check(self._count, MAX_RESULTS)
        if result is None:
            return
        self.is_empty = False
        if isinstance(result, Follow):
            self._take_follow(result, given)
        elif isinstance(result, Unfollowed):
            self.unfollowed[result.reason] += result.links
        elif isinstance(result, Request):
            if why := _why_not_fetched(result):
                self._refuse(f"a request for {why}", 1, given)
            else:
                self.requests.append(result)
                named = _named(result)
                if named not in self._places:
                    self._places[named] = _frames(given)
        elif is_item(result):
            self.items.append((result, _frames(given)))
        else:
            self._drop(result, given)

    def _take_follow(self, follow: Follow, given: Any) -> None:
        urls = self._maybe_new(follow.urls)
        kept = list(filter(follow.keep, urls)) if follow.keep else urls
        if len(kept) < len(urls):
            self.unfollowed["filtered"] += len(urls) - len(kept)
        spider = self._spider.name
        unfit = []
        for url in kept:
            if is_plain_url(url):
                self.requests.append(replace(BLANK, url=url, spider=spider))
            else:
                unfit.append(url)
        if unfit:
            why = f"a Follow with {shown_value(unfit[0])}; it takes absolute URLs, such as response.links"
            self._refuse(why, len(unfit), given)
        self._check(len(self.requests), MAX_FOLLOWED)

    def _check(self, count: int, most: int) -> None:
        if count > most:
            raise CallbackError(f"{self.who} gave more than {most:,} items and requests for one page")

    def _refuse(self, what: str, links: int, given: Any) -> None:
        self.unfollowed["malformed"] += links
        self._tell("request_refused", "BadUrl", what, given)

    def _drop(self, value: Any, given: Any) -> None:
        self.dropped[NO_ITEM] += 1
        if inspect.iscoroutine(value):
            value.close()  # otherwise Python warns that nobody awaited it
        way = next((way for kinds, way in _WAYS if isinstance(value, kinds)), "yield a dict, or a Request")
        self._tell(NO_ITEM, "ItemError", f"{shown_value(value)}, which is neither an item nor a request; {way}", given)

    def _tell(self, kind: str, error: str, what: str, given: Any) -> None:
        line = self.line_of(_frames(given)) or definition(type(self._spider), self._name)
        message = without_password(f"{self.who} yielded {what}")[:MAX_MESSAGE]
        self.strays.append(Failure(kind, message, error=error, line=line))


def _named(request: Request) -> tuple[Any, ...]:
    return (request.callback, request.errback, *request.cb_kwargs)


def one_by_one(given: Any) -> Iterable[Any]:
    """Return the results of a plain callback one by one, also if there is only one."""
    is_many = type(given) in _MANY or (
        isinstance(given, Iterable) and not isinstance(given, (str, bytes)) and not is_item(given)
    )
    return given if is_many else (given,)


_MANY = frozenset({GeneratorType, list, tuple})  # what most callbacks give; to ask for an item's marks takes longer


def _frames(generator: Any) -> Frames:
    """Return file and line of a generator, and of those that it yields from; the outermost first."""
    found = []
    while frame := getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None):
        found.append((frame.f_code.co_filename, frame.f_lineno))
        generator = getattr(generator, "gi_yieldfrom", None)
    return found


def _why_not_fetched(request: Request) -> str:
    """Return why nobody can fetch the URL; empty for a request that `response.follow` has made for this spider."""
    if request.spider:
        return ""
    if not isinstance(request.url, str):  # of a copy, which is not checked when it is made
        return f"{shown_value(request.url)}; write text, such as str(url)"
    try:
        canonical(request.url)
    except BadUrl as error:
        return str(error)
    return ""


_WAYS: tuple[tuple[Any, str], ...] = (
    (Generator, "write `yield from` before it"),
    (AsyncIterable, "write `async for one in it: yield one`"),
    (Awaitable, "write `await` before it"),
    ((list, tuple, set, frozenset), "yield its parts one by one, with `yield from`"),
)
