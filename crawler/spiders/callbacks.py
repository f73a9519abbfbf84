"""Runs one callback of a spider on one page: what it yields becomes encoded items and checked requests.

Callbacks travel by name. A spider may give a request's `callback` and `errback` as methods; this module turns them
into names. A name that the spider does not have fails the page that yielded it, before any page is fetched for it.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import (
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from functools import lru_cache
from types import FunctionType, MappingProxyType, MethodType
from typing import Any, NamedTuple, Protocol

from msgspec import Struct
from msgspec.structs import replace

from crawler.model import Failure, Filled, Request
from crawler.parsing.charset import clean
from crawler.response import Response
from crawler.runtime.counts import added
from crawler.runtime.tasks import within
from crawler.spiders.base import CloseSpider, DropItem, Spider, callback_name, method_of
from crawler.spiders.errbacks import takes_failure_alone
from crawler.spiders.items import ItemError, encode_item, is_item, shown_value
from crawler.spiders.taken import CallbackError, Frames, Taken, all_new

MAX_ITEM_BYTES = 100_000_000
"""Most bytes of JSON for the items of one page: they travel to the queue server in one piece."""

_MAX_CLOSE = 200  # characters kept of the reason of a `CloseSpider`
_MAX_REASON = 60  # characters of a `DropItem`'s text that are counted as its reason


CALLBACK = ("response",)  # the arguments of a callback
ERRBACK = ("request", "failure")  # and of an errback; one of Scrapy's takes the failure alone

Turn = Callable[[], Awaitable[None]]  # lets other pages run, and begins the time of this one anew


async def no_turn() -> None:
    """Let nobody run."""


class ItemSteps(Protocol):
    """What happens to each item after the spider's `process_item` (see `Hooks`)."""

    async def process(self, item: Any, response: Any, turn: Turn) -> Any: ...
    async def scraped(self, item: Any, response: Any) -> None: ...
    async def dropped(self, item: Any, response: Any, why: Exception) -> None: ...


# names already checked, each with the arguments it was checked for: those by place, and the names of others
Checked = set[tuple[str, tuple[str, ...], tuple[str, ...]]]


class Found(Struct, frozen=True):
    """The results of a callback for one page."""

    items: list[bytes] = []  # one line of JSON each
    kinds: list[str] = []  # the name of each item's class
    filled: tuple[Filled, ...] = ()  # which fields of the items are filled
    requests: list[Request] = []  # callbacks by name, known to the spider
    dropped: Mapping[str, int] = {}  # items left out, by reason
    unfollowed: Mapping[str, int] = {}  # requests left out, by reason
    noted: Mapping[str, int] = {}  # what else the job counts, by its counters
    # what the callback yielded that is neither an item nor a request, or a request that nobody can fetch; the kind is
    # the event that is logged
    strays: Sequence[Failure] = ()
    close: str = ""  # why the spider closes the job; empty: it does not

    def noting(self, counters: Mapping[str, int]) -> Found:
        """Return a copy with `counters` added to what else the job counts."""
        return replace(self, noted=added(self.noted, counters)) if counters else self

    def dropping(self, reasons: Mapping[str, int]) -> Found:
        """Return a copy with `reasons` added to the items left out."""
        return replace(self, dropped=added(self.dropped, reasons)) if reasons else self

    def admitting(self, requests: list[Request], left_out: Mapping[str, int]) -> Found:
        """Return a copy with only these requests, and with `left_out` added to the counts by reason."""
        return replace(self, requests=requests, unfollowed=added(self.unfollowed, left_out))


async def run_callback(
    spider: Spider,
    name: str,
    *arguments: Any,
    maybe_new: Callable[[Sequence[str]], Sequence[str]] = all_new,
    seconds: float | None = None,
    cb_kwargs: Mapping[str, Any] = MappingProxyType({}),
    steps: ItemSteps | None = None,
    turn: Turn = no_turn,
) -> Found:
    """Call the spider's method `name` and collect its results. A callback gets a response, and the `cb_kwargs` of its
    request; an errback gets what `errback_arguments` returns.

    The method may be a plain or an async generator or function; it may return an iterable, one item or request,
    or None. Anything else that it yields, and a request that nobody can fetch, is left out and reported as a stray; the
    rest of the page stays. `DropItem` drops one item when `process_item` raises it, the rest of the page when the
    callback does. `CloseSpider` leaves out the rest of the page as well, and closes the job. `maybe_new` filters out
    the URLs of a `Follow` that are certainly known. `steps` get each item after `process_item`. After each wait for an
    item comes a `turn` of other pages.
    Raise `CallbackError`, `ItemError`, and what the spider's own code raises, unchanged; `TimeoutError` from the line
    that awaits if an async method takes longer than `seconds`.
    """
    taken, close = Taken(spider, name, maybe_new), ""
    try:
        given = callback_of(spider, name)(*arguments, **cb_kwargs)
        if inspect.isawaitable(given) or hasattr(given, "__aiter__"):
            async with within(seconds, taken.who):
                await taken.take_later(given)
        else:
            taken.take(given)
    except DropItem as why:
        taken.dropped[drop_reason(why)] += 1
    except CloseSpider as why:
        close = close_reason(why)
    requests = _by_name(spider, taken)
    page = arguments[0] if isinstance(arguments[0], Response) else None
    way = _Way(spider, taken, seconds, steps, page, turn)
    items: list[bytes] = []
    kinds: list[str] = []
    for place, given in enumerate(taken.items):
        try:
            line, kind = await _encoded(*given, way)
        except CloseSpider as why:
            close = close_reason(why)
            taken.dropped["closed"] += len(taken.items) - place  # this one and those behind it
            break
        if line:
            items.append(line)
            kinds.append(kind)
    if sum(map(len, items)) > MAX_ITEM_BYTES:
        raise CallbackError(f"{taken.who} gave more than {MAX_ITEM_BYTES:,} bytes of items for one page")
    noted = {"empty/pages": 1} if taken.is_empty and not close else {}
    left_out = (taken.dropped, taken.unfollowed)
    return Found(items, kinds, (), requests, *left_out, noted, taken.strays, close)


def _by_name(spider: Spider, taken: Taken) -> list[Request]:
    checked: Checked = set()
    requests = taken.requests
    for place, request in enumerate(requests):
        if request.errback or request.cb_kwargs or (request.callback, CALLBACK, ()) not in checked:
            try:
                requests[place] = by_name(spider, request, checked)
            except CallbackError as error:
                error.line = taken.line_that_named(request)
                raise
    return requests


def callback_of(spider: Spider, name: str) -> Callable[..., Any]:
    """Return the spider's method of that name. Raise `CallbackError` if it is missing or cannot be a callback."""
    if name.startswith("_"):
        raise CallbackError(f"callback {spider.name}.{name} is private; rename it without the underscore")
    method = spider.callback_named(name)
    if method is None:
        lacks, near = method_of(name), nearest(type(spider), method_of(name))
        raise CallbackError(f"spider {spider.name} has no method {lacks!r} to call back{near}")
    if not callable(method):
        raise CallbackError(f"callback {spider.name}.{name} is a {type(method).__name__}, not a method")
    return method  # type: ignore[no-any-return]


def lacking(spider: Spider, request: Request) -> str:
    """Why the spider of this program cannot read the request's page: it lacks a method. Empty if it has all."""
    try:
        callback_of(spider, request.callback)
        if request.errback:
            callback_of(spider, request.errback)
        if request.cb_kwargs:
            _check(spider, request.callback, CALLBACK, tuple(request.cb_kwargs))
    except CallbackError as error:
        return str(error)
    return ""


def nearest(cls: type[Spider], name: str) -> str:
    """Return `; did you mean parse_item?` if the class has a method of a similar name; else nothing."""
    own = [word for word in dir(cls) if not word.startswith("_") and callable(getattr(cls, word, None))]
    near = difflib.get_close_matches(name, own, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def by_name(spider: Spider, request: Request, checked: Checked | None = None) -> Request:
    """Return the request with its callbacks as names; check those not in `checked`. Raise `CallbackError`."""
    checked = set() if checked is None else checked
    callback, errback = request.callback, request.errback
    if type(callback) is not str or type(errback) is not str:
        callback, errback = _name(spider, callback) or "parse", _name(spider, errback)
        request = replace(request, callback=callback, errback=errback)
    keywords = tuple(request.cb_kwargs)
    for called in ((callback, CALLBACK, keywords), (errback, ERRBACK, ()))[: 2 if errback else 1]:
        if called not in checked:
            _check(spider, *called)
            checked.add(called)
    return request


def _check(spider: Spider, name: str, arguments: tuple[str, ...], keywords: tuple[str, ...]) -> None:
    callback_of(spider, name)
    if wrong := wrong_arguments(type(spider), method_of(name), arguments, keywords):
        raise CallbackError(f"spider {spider.name}: {wrong}")


def wrong_arguments(
    cls: type[Spider], name: str, arguments: tuple[str, ...], keywords: tuple[str, ...] | None = ()
) -> str:
    """Return why a method cannot be called with these arguments by place, and with those of `cb_kwargs` by name (None:
    with some that are not known yet); empty if it can, or if there is no such method. An errback may take the failure
    alone.

    Each page asks for the callbacks that it names, so this looks quickly, and `inspect` looks once.
    """
    method = getattr(cls, name, None)
    if not isinstance(method, FunctionType | MethodType):
        return ""
    defined = next((vars(one)[name] for one in cls.__mro__ if name in vars(one)), None)
    before = () if isinstance(defined, staticmethod | classmethod) else ("self",)
    if arguments == ERRBACK and takes_failure_alone(method, before):
        return ""
    return _refusal(method, name, (*before, *arguments), keywords)


@lru_cache
def _refusal(
    method: Callable[..., Any], name: str, arguments: tuple[str, ...], keywords: tuple[str, ...] | None
) -> str:
    signature = inspect.signature(method)
    others = list(signature.parameters.values())[len(arguments) :]
    if keywords is None:
        keywords = tuple(one.name for one in others if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    try:
        signature.bind(*arguments, **dict.fromkeys(keywords))
    except TypeError:
        takes = ", ".join(signature.parameters)
        given = ", ".join(one for one in (*arguments, *keywords) if one != "self")
        because = " (cb_kwargs)" if keywords else ""
        instead = "" if keywords or CALLBACK[0] not in arguments or not others else ", or give the request cb_kwargs"
        right = ", ".join((*arguments, *keywords))
        return f"{name}({takes}) is called with {given}{because}; write def {name}({right}){instead}"
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


class _Way(NamedTuple):
    """What the items of one page go through."""

    spider: Spider
    taken: Taken
    seconds: float | None
    steps: ItemSteps | None
    page: Response | None  # None: an errback gave the items
    turn: Turn


async def _encoded(item: Any, frames: Frames, way: _Way) -> tuple[bytes, str]:
    """Pass the item through all steps; return it encoded, and its class. Both are empty if it was dropped, which is
    counted."""
    given, steps = item, way.steps
    try:
        item = await _processed(item, way)
        if steps is not None:
            item = await steps.process(item, way.page, way.turn)
    except DropItem as why:
        way.taken.dropped[drop_reason(why)] += 1
        if steps is not None:
            await steps.dropped(given, way.page, why)
        return b"", ""
    try:
        line = encode_item(item)
    except ItemError as error:
        error.line = way.taken.line_of(frames)
        raise
    if steps is not None:
        await steps.scraped(item, way.page)
    return line, type(item).__name__


async def _processed(item: Any, way: _Way) -> Any:
    item = way.spider.process_item(item)
    if inspect.isawaitable(item):
        async with within(way.seconds, f"{way.spider.name}.process_item"):
            item = await item
        await way.turn()
    if is_item(item):
        return item
    what = "None" if item is None else shown_value(item)
    wrong = f"{way.spider.name}.process_item returned {what}; return the item, or raise DropItem(why)"
    raise ItemError(wrong, "process_item")


def close_reason(why: CloseSpider) -> str:
    """Return the reason as it travels: one line of text."""
    return " ".join(clean(str(why.reason)).split())[:_MAX_CLOSE] or "cancelled"


def drop_reason(why: DropItem) -> str:
    """Return the reason as it is counted."""
    return clean(str(why)[:_MAX_REASON]).strip() or "dropped"
