"""Runs one callback of a spider on one page: what it yields becomes encoded items and checked requests.

Callbacks travel by name. A request's `callback` and `errback` may be given as methods of the spider; here,
where they enter the crawl, they become names. A name that the spider does not have fails the page that holds
the mistake, before it costs the pages it would have asked for.
"""

from __future__ import annotations

import inspect
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from crawler.errors import CrawlerError
from crawler.model import Failure, Follow, Request, Unfollowed
from crawler.parsing.charset import clean
from crawler.runtime.safe_text import without_password
from crawler.spiders.base import DropItem, Spider, callback_name
from crawler.spiders.items import ItemError, encode_item, is_item

MAX_RESULTS = 100_000
"""Most items and requests one page may give."""

MAX_ITEM_BYTES = 100_000_000
"""Most bytes of JSON that the items of one page may take: they travel to the queue server in one piece."""

_MAX_REASON = 60  # characters of a `DropItem`'s text that are counted as its reason
_MAX_MESSAGE = 2_000  # characters of an exception's text that are kept
_MAX_TRACEBACK = 8_000  # characters of its last lines


class CallbackError(CrawlerError):
    """A callback that does not exist, is none, or gives more than a page may."""


class Found(NamedTuple):
    """What a callback made of a page."""

    items: list[bytes]  # one line of JSON each
    requests: list[Request]  # callbacks by name, known to the spider
    dropped: Counter[str]  # items left out, by reason
    unfollowed: Mapping[str, int] = {}  # requests left out, by reason

    def admitting(self, requests: list[Request], left_out: Mapping[str, int]) -> Found:
        """The same with these of its requests, and how many more were left out, by reason."""
        unfollowed = Counter(self.unfollowed) + Counter(left_out) if left_out else self.unfollowed
        return self._replace(requests=requests, unfollowed=unfollowed)


def _all(urls: Sequence[str]) -> Sequence[str]:
    return urls


async def run_callback(
    spider: Spider, name: str, *arguments: Any, maybe_new: Callable[[Sequence[str]], Sequence[str]] = _all
) -> Found:
    """Call the spider's method `name` and take all it gives. A callback gets a response; an errback gets
    the request and the failure.

    The method may be a plain or an async generator or function; it may give an iterable, one item or request,
    or None. `DropItem` leaves out one item when `process_item` raises it, the rest of the page when the
    callback does. `maybe_new` leaves out the URLs of a `Follow` that are certainly known.
    Raises `CallbackError`, `ItemError`, and what the spider's own code raises, unchanged.
    """
    found = Found([], [], Counter())
    results: list[Any] = []
    try:
        await _gather(callback_of(spider, name)(*arguments), results, f"{spider.name}.{name}")
    except DropItem as why:
        found.dropped[_reason(why)] += 1
    known: set[str] = set()  # callback names already checked
    left_out: Counter[str] = Counter()
    for result in results:
        if isinstance(result, Request):
            if result.errback or result.callback not in known:
                result = by_name(spider, result, known)
            found.requests.append(result)
        elif isinstance(result, Follow):
            found.requests.extend(
                Request(url, spider=spider.name) for url in filter(result.keep, maybe_new(result.urls))
            )
        elif isinstance(result, Unfollowed):
            left_out[result.reason] += result.links
        else:
            await _add_item(spider, result, found)
    if len(found.requests) > MAX_RESULTS:
        raise _too_many(f"{spider.name}.{name}")
    if sum(map(len, found.items)) > MAX_ITEM_BYTES:
        raise CallbackError(f"{spider.name}.{name} gave more than {MAX_ITEM_BYTES:,} bytes of items for one page")
    return found.admitting(found.requests, left_out) if left_out else found


def failure_of(spider: Spider, error: BaseException) -> Failure:
    """What is kept of an exception that came out of `run_callback`: no credentials, which its text may quote."""
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(cannot be shown: its __str__ fails)"
    return Failure(
        "callback",
        without_password(f"{name}: {text}"[: 2 * _MAX_MESSAGE])[:_MAX_MESSAGE],
        traceback=without_password("".join(traceback.format_exception(error))[-2 * _MAX_TRACEBACK :])[-_MAX_TRACEBACK:],
        error=name,
        line=_line_in(_files_of(spider), error),
    )


def _line_in(files: set[str], error: BaseException) -> str:
    """`shop.py:42`: the deepest line of these files the exception came through; empty: none."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return next((f"{Path(file).name}:{line}" for file, line in reversed(lines) if file in files), "")


def _files_of(spider: Spider) -> set[str]:
    """Where its class and those it is made from are written."""
    classes = type(spider).__mro__
    files = set()
    for one in classes[: classes.index(Spider)]:
        with suppress(OSError, TypeError):  # written nowhere, such as in a Python shell
            files.add(inspect.getfile(one))
    return files


def callback_of(spider: Spider, name: str) -> Callable[..., Any]:
    """The spider's method of that name. Raises `CallbackError` when there is none that may be a callback."""
    if name.startswith("_"):
        raise CallbackError(f"callback {spider.name}.{name} is private; rename it without the underscore")
    method = getattr(spider, name, None)
    if method is None:
        raise CallbackError(f"spider {spider.name} has no method {name!r} to call back")
    if not callable(method):
        raise CallbackError(f"callback {spider.name}.{name} is a {type(method).__name__}, not a method")
    return method  # type: ignore[no-any-return]


def by_name(spider: Spider, request: Request, known: set[str] | None = None) -> Request:
    """The request with its callbacks as names, checked unless they are in `known`. Raises `CallbackError`."""
    known = set() if known is None else known
    callback, errback = request.callback, request.errback
    if type(callback) is not str or type(errback) is not str:
        callback, errback = _name(spider, callback) or "parse", _name(spider, errback)
        request = replace(request, callback=callback, errback=errback)
    for name in (callback, errback) if errback else (callback,):
        if name not in known:
            callback_of(spider, name)
            known.add(name)
    return request


def _name(spider: Spider, callback: Any) -> str:
    if callback is None or isinstance(callback, str):
        return str(callback or "")
    if getattr(callback, "__self__", spider) is not spider or not callback_name(callback):
        raise CallbackError(f"callback {callback!r} is no method of spider {spider.name}")
    return callback_name(callback)


async def _gather(given: Any, results: list[Any], who: str) -> None:
    """Put what a callback gave, in whichever form, into `results`; what came before an exception is in it."""
    if inspect.isawaitable(given):
        given = await given
    if hasattr(given, "__aiter__"):
        async for result in given:
            results.append(result)
            if len(results) > MAX_RESULTS:
                break
    else:
        results.extend(islice(_iterable(given, who), MAX_RESULTS + 1))
    if len(results) > MAX_RESULTS:
        raise _too_many(who)


def _too_many(who: str) -> CallbackError:
    return CallbackError(f"{who} gave more than {MAX_RESULTS:,} items and requests for one page")


def _iterable(given: Any, who: str) -> Iterable[Any]:
    if given is None:
        return ()
    if is_item(given):  # a Request is a struct, too
        return (given,)
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        return given
    raise CallbackError(f"{who} returned a {type(given).__name__}; yield items and requests, or return a list of them")


async def _add_item(spider: Spider, item: Any, found: Found) -> None:
    """Encode it after the spider's last look at it, or count why it was left out."""
    try:
        item = spider.process_item(item)
        if inspect.isawaitable(item):
            item = await item
    except DropItem as why:
        found.dropped[_reason(why)] += 1
        return
    if item is None:
        raise ItemError(f"{spider.name}.process_item returned None; return the item, or raise DropItem(why)")
    found.items.append(encode_item(item))


def _reason(why: DropItem) -> str:
    return clean(str(why)[:_MAX_REASON]).strip() or "dropped"
