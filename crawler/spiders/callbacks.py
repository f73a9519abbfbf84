"""Runs one callback of a spider on one page: what it yields becomes encoded items and checked requests.

Callbacks travel by name. A spider may give a request's `callback` and `errback` as methods; this module turns them
into names. A name that the spider does not have fails the page that yielded it, before any page is fetched for it.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
from collections import Counter
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import lru_cache
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from msgspec.structs import replace

from crawler.errors import CrawlerError
from crawler.model import BLANK, Failure, Follow, Request, Unfollowed
from crawler.parsing.charset import clean
from crawler.parsing.url import BadUrl, canonical
from crawler.runtime.safe_text import without_password
from crawler.runtime.tracebacks import user_line
from crawler.spiders.base import DropItem, Spider, callback_name
from crawler.spiders.failures import MAX_MESSAGE, definition, files_of
from crawler.spiders.items import ItemError, encode_item, is_item, shown_value

MAX_RESULTS = 100_000
"""Most items and requests that one page may yield, a `Follow` counting as one."""

MAX_FOLLOWED = 1_000_000
"""Most requests of one page, with those that are made of its `Follow`s. PARSE_MAXLINKS may not be higher."""

MAX_ITEM_BYTES = 100_000_000
"""Most bytes of JSON for the items of one page: they travel to the queue server in one piece."""

_MAX_REASON = 60  # characters of a `DropItem`'s text that are counted as its reason


CALLBACK = ("response",)  # the arguments of a callback
ERRBACK = ("request", "failure")  # and of an errback

NO_ITEM = "not_an_item"  # the kind of a stray that is no request, and what it is counted as

Known = set[tuple[str, tuple[str, ...]]]  # names already checked, each with the arguments it was checked for
Frames = Sequence[tuple[str, int]]  # file and line of each, the outermost first


class CallbackError(CrawlerError):
    """A callback does not exist, is not callable, or yields more than a page may."""


class Found(NamedTuple):
    """The results of a callback for one page."""

    items: list[bytes]  # one line of JSON each
    requests: list[Request]  # callbacks by name, known to the spider
    dropped: Counter[str]  # items left out, by reason
    unfollowed: Mapping[str, int] = {}  # requests left out, by reason
    noted: Mapping[str, int] = {}  # what else the job counts, by its counters
    # what the callback yielded that is neither an item nor a request, or a request that nobody can fetch; the kind is
    # the event that is logged
    strays: Sequence[Failure] = ()

    def noting(self, counters: Mapping[str, int]) -> Found:
        """Return a copy with `counters` added to what else the job counts."""
        return self._replace(noted=Counter(self.noted) + Counter(counters)) if counters else self

    def admitting(self, requests: list[Request], left_out: Mapping[str, int]) -> Found:
        """Return a copy with only these requests, and with `left_out` added to the counts by reason."""
        unfollowed = Counter(self.unfollowed) + Counter(left_out) if left_out else self.unfollowed
        return self._replace(requests=requests, unfollowed=unfollowed)


def _all(urls: Sequence[str]) -> Sequence[str]:
    return urls


async def run_callback(
    spider: Spider,
    name: str,
    *arguments: Any,
    maybe_new: Callable[[Sequence[str]], Sequence[str]] = _all,
    seconds: float | None = None,
) -> Found:
    """Call the spider's method `name` and collect its results. A callback gets a response; an errback gets the
    request and the failure.

    The method may be a plain or an async generator or function; it may return an iterable, one item or request,
    or None. Anything else that it yields, and a request that nobody can fetch, is left out and told as a stray; the
    rest of the page stays. `DropItem` drops one item when `process_item` raises it, the rest of the page when the
    callback does. `maybe_new` filters out the URLs of a `Follow` that are certainly known.
    Raise `CallbackError`, `ItemError`, and what the spider's own code raises, unchanged; `TimeoutError` from the line
    that awaits if an async method takes longer than `seconds`.
    """
    found = Found([], [], Counter())
    results: list[Any] = []
    strays: list[tuple[Any, Frames]] = []
    try:
        given = callback_of(spider, name)(*arguments)
        if inspect.isawaitable(given) or hasattr(given, "__aiter__"):
            async with _within(seconds, f"{spider.name}.{name}"):
                await _gather(given, results, strays, f"{spider.name}.{name}")
        else:
            await _gather(given, results, strays, f"{spider.name}.{name}")
    except DropItem as why:
        found.dropped[_reason(why)] += 1
    known: Known = set()
    left_out: Counter[str] = Counter()
    for result in results:
        if isinstance(result, Request):
            if result.errback or (result.callback, CALLBACK) not in known:
                result = by_name(spider, result, known)
            found.requests.append(result)
        elif isinstance(result, Follow):
            urls = maybe_new(result.urls)
            kept = list(filter(result.keep, urls))
            if len(kept) < len(urls):
                left_out["filtered"] += len(urls) - len(kept)
            found.requests.extend(replace(BLANK, url=url, spider=spider.name) for url in kept)
        elif isinstance(result, Unfollowed):
            left_out[result.reason] += result.links
        else:
            await _add_item(spider, result, found, seconds)
    if len(found.requests) > MAX_FOLLOWED:
        raise _too_many(f"{spider.name}.{name}", MAX_FOLLOWED)
    if not results and not strays:
        found = found.noting({"empty/pages": 1})
    if strays:
        found = found._replace(strays=[_stray(spider, name, *stray) for stray in strays])
        for stray in found.strays:
            if stray.kind == NO_ITEM:
                found.dropped[NO_ITEM] += 1
            else:
                left_out["malformed"] += 1
    if sum(map(len, found.items)) > MAX_ITEM_BYTES:
        raise CallbackError(f"{spider.name}.{name} gave more than {MAX_ITEM_BYTES:,} bytes of items for one page")
    return found.admitting(found.requests, left_out) if left_out else found


def callback_of(spider: Spider, name: str) -> Callable[..., Any]:
    """Return the spider's method of that name. Raise `CallbackError` if it is missing or cannot be a callback."""
    if name.startswith("_"):
        raise CallbackError(f"callback {spider.name}.{name} is private; rename it without the underscore")
    method = getattr(spider, name, None)
    if method is None:
        raise CallbackError(f"spider {spider.name} has no method {name!r} to call back{nearest(type(spider), name)}")
    if not callable(method):
        raise CallbackError(f"callback {spider.name}.{name} is a {type(method).__name__}, not a method")
    return method  # type: ignore[no-any-return]


def lacking(spider: Spider, request: Request) -> str:
    """Why the spider of this program cannot read the request's page: it lacks a method. Empty if it has all."""
    try:
        callback_of(spider, request.callback)
        if request.errback:
            callback_of(spider, request.errback)
    except CallbackError as error:
        return str(error)
    return ""


def nearest(cls: type[Spider], name: str) -> str:
    """Return `; did you mean parse_item?` if the class has a method of a similar name; else nothing."""
    own = [word for word in dir(cls) if not word.startswith("_") and callable(getattr(cls, word, None))]
    near = difflib.get_close_matches(name, own, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def by_name(spider: Spider, request: Request, known: Known | None = None) -> Request:
    """Return the request with its callbacks as names; check those not in `known`. Raise `CallbackError`."""
    known = set() if known is None else known
    callback, errback = request.callback, request.errback
    if type(callback) is not str or type(errback) is not str:
        callback, errback = _name(spider, callback) or "parse", _name(spider, errback)
        request = replace(request, callback=callback, errback=errback)
    for name, arguments in ((callback, CALLBACK), (errback, ERRBACK))[: 2 if errback else 1]:
        if (name, arguments) not in known:
            _check(spider, name, arguments)
            known.add((name, arguments))
    return request


def _check(spider: Spider, name: str, arguments: tuple[str, ...]) -> None:
    callback_of(spider, name)
    if wrong := wrong_arguments(type(spider), name, arguments):
        raise CallbackError(f"spider {spider.name}: {wrong}")


def wrong_arguments(cls: type[Spider], name: str, arguments: tuple[str, ...]) -> str:
    """Return why a method cannot be called with these arguments; empty if it can, or if there is no such method.

    Each page asks for the callbacks that it names, so this looks quickly, and `inspect` looks once.
    """
    method = getattr(cls, name, None)
    if not isinstance(method, FunctionType | MethodType):
        return ""
    defined = next((vars(one)[name] for one in cls.__mro__ if name in vars(one)), None)
    is_bound = isinstance(defined, staticmethod | classmethod)
    return _refusal(method, name, arguments if is_bound else ("self", *arguments))


@lru_cache
def _refusal(method: Callable[..., Any], name: str, arguments: tuple[str, ...]) -> str:
    signature = inspect.signature(method)
    try:
        signature.bind(*arguments)
    except TypeError:
        takes = ", ".join(signature.parameters)
        given = ", ".join(one for one in arguments if one != "self")
        return f"{name}({takes}) is called with {given}; write def {name}({', '.join(arguments)})"
    return ""


def _name(spider: Spider, callback: Any) -> str:
    if callback is None or isinstance(callback, str):
        return str(callback or "")
    name = callback_name(callback)
    if callback not in (getattr(spider, name, None), getattr(type(spider), name, None)):
        raise CallbackError(
            f"callback {callback!r} is not the method {name} of spider {spider.name}, by whose name it would travel; "
            "write a method of this spider, such as callback=self.parse_item"
        )
    return name


async def _gather(given: Any, results: list[Any], strays: list[tuple[Any, Frames]], who: str) -> None:
    """Append what a callback gave, in any form, to `results`, including what came before an exception; what is neither
    an item nor a request that can be fetched to `strays`, with the generators' frames."""

    def take(result: Any) -> None:
        if is_item(result) and not _why_not_fetched(result):  # a Request is a struct, as items may be
            results.append(result)
        elif result is not None:
            strays.append((result, _frames(given)))

    if inspect.isawaitable(given):
        given = await given
    if hasattr(given, "__aiter__"):
        async for result in given:
            take(result)
            if len(results) + len(strays) > MAX_RESULTS:
                break
    else:
        for result in islice(_iterable(given), MAX_RESULTS + 1):
            if type(result) in _USUAL or (type(result) is Request and result.spider):
                results.append(result)
            else:
                take(result)
    if len(results) + len(strays) > MAX_RESULTS:
        raise _too_many(who, MAX_RESULTS)


@asynccontextmanager
async def _within(seconds: float | None, who: str) -> AsyncIterator[None]:
    """Cancel what awaits in here after `seconds`, and raise a `TimeoutError` from the place where it did."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as late:
        if not limit.expired() or late.__cause__ is None:
            raise  # the spider's own
        why = f"{who} did not return within {seconds:g} s (CALLBACK_TIMEOUT)"
        raise TimeoutError(why).with_traceback(late.__cause__.__traceback__) from None


def _frames(generator: Any) -> Frames:
    """Return file and line of a generator, and of those that it yields from."""
    found = []
    while frame := getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None):
        found.append((frame.f_code.co_filename, frame.f_lineno))
        generator = getattr(generator, "gi_yieldfrom", None)
    return found


def _why_not_fetched(result: Any) -> str:
    """Return why nobody can fetch the URL of a request; empty for other results, and for a request that
    `response.follow` has made for this spider."""
    if not isinstance(result, Request) or result.spider:
        return ""
    if not isinstance(result.url, str):  # of a copy, which is not checked when it is made
        return f"{shown_value(result.url)}; write text, such as str(url)"
    try:
        canonical(result.url)
    except BadUrl as error:
        return str(error)
    return ""


def _stray(spider: Spider, name: str, value: Any, frames: Frames) -> Failure:
    if inspect.iscoroutine(value):
        value.close()  # otherwise Python warns that nobody awaited it
    line = user_line(frames, files_of(type(spider))) or definition(type(spider), name)
    if why := _why_not_fetched(value):
        message = f"{spider.name}.{name} yielded a request for {why}"
        return Failure("request_refused", without_password(message)[:MAX_MESSAGE], error="BadUrl", line=line)
    way = next((way for kinds, way in _WAYS if isinstance(value, kinds)), "yield a dict, or a Request")
    message = f"{spider.name}.{name} yielded {shown_value(value)}, which is neither an item nor a request; {way}"
    return Failure(NO_ITEM, without_password(message)[:MAX_MESSAGE], error="ItemError", line=line)


_USUAL = frozenset({dict, Follow, Unfollowed})
_WAYS: tuple[tuple[Any, str], ...] = (
    (Generator, "write `yield from` before it"),
    (AsyncIterable, "write `async for one in it: yield one`"),
    (Awaitable, "write `await` before it"),
    ((list, tuple, set, frozenset), "yield its parts one by one, with `yield from`"),
)


def _too_many(who: str, most: int) -> CallbackError:
    return CallbackError(f"{who} gave more than {most:,} items and requests for one page")


def _iterable(given: Any) -> Iterable[Any]:
    is_many = isinstance(given, Iterable) and not isinstance(given, (str, bytes)) and not is_item(given)
    return given if is_many else (given,)


async def _add_item(spider: Spider, item: Any, found: Found, seconds: float | None) -> None:
    """Run `process_item` on the item and encode it, or count why it was dropped."""
    try:
        item = spider.process_item(item)
        if inspect.isawaitable(item):
            async with _within(seconds, f"{spider.name}.process_item"):
                item = await item
    except DropItem as why:
        found.dropped[_reason(why)] += 1
        return
    if not is_item(item):
        what = "None" if item is None else shown_value(item)
        raise ItemError(f"{spider.name}.process_item returned {what}; return the item, or raise DropItem(why)")
    found.items.append(encode_item(item))


def _reason(why: DropItem) -> str:
    return clean(str(why)[:_MAX_REASON]).strip() or "dropped"
