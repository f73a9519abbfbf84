"""Visits one URL: finds out, then decides. Nothing shared changes here; the worker commits the result.

1. has the lease its group's turn?        no, the group was unknown, or has its turns elsewhere → Release
2. does robots.txt allow the URL?         no → Skip; not known yet → Release, the turn went to robots.txt
3. fetch                                  error → Retry or Dead by policy
4. judge the status by policy             redirect → a new request; error → Retry or Dead
5. run the spider's callback              exception → Dead with its traceback, or Retry if it may pass
6. keep links that belong to the crawl    offsite, too deep, malformed → left out, counted
7. obey the page's directives             noindex → no items; nofollow → no links; counted
8. let items wait for their files         each becomes a request, which takes steps of its own (`waiting.py`)
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import msgspec
import structlog
from msgspec.structs import replace

from crawler import policy
from crawler.errors import AskedInstead, CrawlerError, FetchError, FrontierError, Ignored, OwnLimit, PageTooLarge
from crawler.interfaces import HIT, NOT_CACHED, Archive, Fetcher
from crawler.model import (
    SITEMAP_CALLBACK,
    Dead,
    Done,
    Failure,
    Lease,
    Outcome,
    Release,
    Request,
    Skip,
    Step,
    Visit,
    with_spider,
)
from crawler.parsing.request_fields import is_bare
from crawler.response import Response
from crawler.robots.gate import Verdict
from crawler.runtime.counts import added
from crawler.runtime.own_limits import own_limit
from crawler.runtime.tasks import was_cancelled
from crawler.runtime.tracebacks import error_in_words
from crawler.spiders import signals
from crawler.spiders.base import CloseSpider, DropItem, Spider
from crawler.spiders.callbacks import Found, by_name, close_reason, drop_reason, lacking, run_callback
from crawler.spiders.coverage import coverage_of
from crawler.spiders.empty_fields import EmptyFields
from crawler.spiders.errbacks import errback_arguments
from crawler.spiders.failures import failure_of
from crawler.spiders.items import encode_item, is_empty, item_keys, item_kinds
from crawler.spiders.pipelines import PipelineError
from crawler.spiders.stats import Page, counted, take_back
from crawler.spiders.taken import CallbackError
from crawler.visit import waiting
from crawler.visit.admission import Admission
from crawler.visit.item_files import ItemFiles, lacks_store
from crawler.visit.page_obedience import heed
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.spider_errors import SpiderErrors
from crawler.visit.waiting import Waiting
from crawler.worker.worker import LEFT_SECONDS

log = structlog.get_logger()

LARGE = 100_000  # bytes of a page that a spider takes so long to read that other pages must wait noticeably
SLOW = 0.1  # CPU seconds of work on a large page after which the other pages get as much time
LONGEST_REST = 1.0  # seconds that the other pages get at most
LACKS_DELAY = 1.5 * LEFT_SECONDS  # seconds that a page waits which this worker cannot read, so that others come first
LINKS_AT_ONCE = 1_000  # links of one page that are checked before the other pages get a turn: 2 to 4 ms


class MaybeNewUrls(Protocol):
    """Does the same for requests that consist of a URL alone."""

    def __call__(self, job: str, urls: Sequence[str], /) -> Sequence[str]: ...


class ParseSlot(Protocol):
    """Records which page the worker is parsing, so that the supervisor can blame a page that kills the process."""

    def enter(self, lease: Lease, retry: policy.RetryPolicy) -> None: ...
    def leave(self, lease: Lease) -> None: ...


async def _no_rest() -> None:
    await asyncio.sleep(0)


async def _in_time(lease: Lease) -> None:
    return None


class Visitor:
    """Turns leases into visits.

    `ready_for(job, spider)` raises `UsageError` if this worker has no such spider. `too_early(lease)` tells how to
    release a lease that does not have its turn (see `HostGroups`).
    """

    def __init__(
        self,
        fetcher: Fetcher,
        ready_for: Callable[[str, str], ReadySpider],
        admission: Admission,
        slot: ParseSlot,
        maybe_new_urls: MaybeNewUrls = lambda job, urls: urls,
        too_early: Callable[[Lease], Awaitable[Release | None]] = _in_time,
        callback_seconds: float | None = None,
        archive: Archive | None = None,
    ) -> None:
        """An async callback is cancelled after `callback_seconds`. `archive`: takes each page before it is read."""
        self._archive = archive
        self._fetcher = fetcher
        self._ready_for = ready_for
        self._maybe_new_urls = maybe_new_urls
        self._admission = admission
        self._slot = slot
        self._too_early = too_early
        self._callback_seconds = callback_seconds
        self._spider_errors = SpiderErrors()
        self._empty_fields: dict[tuple[str, str], EmptyFields] = {}
        self._refused: dict[bytes, Response] = {}  # by lease, until the errback has read it
        self._large = asyncio.Lock()  # one large page at a time, because their trees take much memory
        self._rested_at = 0.0  # CPU seconds of this thread at the last rest, which gave the small pages their time

    async def visit(self, lease: Lease) -> Visit:
        """Visit one lease. Raises `FrontierError` if the queue server is away, and nothing else."""
        with Page() as page:
            visit = await self._visited(lease)
        return replace(visit, noted=added(visit.noted, page.counts)) if page.counts else visit

    async def _visited(self, lease: Lease) -> Visit:
        try:
            ready = self._ready_for(lease.job, lease.request.spider)
            if ready.hooks is not None and not ready.hooks.is_open:
                await ready.open()
        except Exception as error:  # the spider's own code has part in it, and may raise anything
            return _left_to_others(str(error) if isinstance(error, CrawlerError) else error_in_words(error))
        if why := lacking(ready.spider, lease.request) or _lacks_files(ready, lease.request):
            return _left_to_others(why)
        try:
            return await self._visit(lease, ready.for_request(lease.request))
        except FrontierError:
            raise
        except Exception as error:
            if limit := own_limit(error):
                return _handed_back(limit)
            # A bug in the crawler or a library. It costs this page alone, and the log shows it.
            failure = replace(failure_of(type(ready.spider), lease.request.callback, error), kind="internal")
            log.error("visit_failed", url=lease.request.url, error=failure.message, exc_info=True)
            return Visit(_again(failure, lease, ready.retry), asked_at=time.monotonic())

    async def _visit(self, lease: Lease, ready: ReadySpider) -> Visit:
        if lease.request.media and ready.files is not None:
            return await self._take_step(lease, ready, ready.files)
        if not lease.request.errback:
            return await self._find_out(lease, ready)
        try:
            visit = await self._find_out(lease, ready)
            if failure := _given_up(visit.outcome):
                visit = await self._call_errback(lease, ready, visit, failure)
        finally:
            self._refused.pop(lease.message, None)
        return visit

    async def _take_step(self, lease: Lease, ready: ReadySpider, files: ItemFiles) -> Visit:
        """Let an item that waits for its files take one step. Raise `OwnLimit`."""
        item = waiting.of(lease.request)
        if not item.is_asking:
            visit = files.onward(lease, item)
            return await self._complete(lease, ready, item, visit) if visit.items else visit
        known = await files.before(lease, item, ready.retry)
        return known or files.judged(lease, await self._find_out(lease, ready), ready.retry)

    async def _complete(self, lease: Lease, ready: ReadySpider, item: Waiting, visit: Visit) -> Visit:
        """Let an item that has its files go through the pipelines that have waited for that, and leave."""
        try:
            with self._guarded(lease, ready.retry):
                found = await _behind(ready, visit.items[0], item.kind)
        except PipelineError as error:
            self._spider_errors.say(lease, ready.spider.name, "process_item", error.failure, "pipeline_failed")
            return Visit(_again(error.failure, lease, ready.retry), unasked=True)
        return replace(
            visit,
            items=tuple(found.items),
            item_keys=item_keys(ready.spider.ITEM_KEY, found.items),
            item_kinds=item_kinds(found.kinds),
            filled=coverage_of(item.callback, found.items, found.kinds),
            dropped=found.dropped,
            close=found.close,
        )

    async def _find_out(self, lease: Lease, ready: ReadySpider) -> Visit:
        if release := await self._too_early(lease):
            return Visit(release, unasked=True)
        if ready.gate is None:
            return await self._fetch(lease, ready, ready.delay)
        verdict = await ready.gate.check(lease, ready.fetcher, sitemaps=ready.sitemaps)
        visit = await self._obey(verdict, lease, ready)
        if verdict.noted:
            visit = replace(visit, noted=added(visit.noted, verdict.noted))
        if verdict.listed:
            visit = _without_sitemaps(visit, verdict.listed)
        if verdict.sitemaps:
            visit = _with_links(visit, await self._sitemaps(lease, ready, verdict.sitemaps))
        return visit

    async def _obey(self, verdict: Verdict, lease: Lease, ready: ReadySpider) -> Visit:
        match verdict.word:
            case "disallow":
                return Visit(Skip("robots", verdict.why), unasked=True)
            case "again":
                asked_at = verdict.asked_at
                return Visit(Release("robots"), asked_at=asked_at, unasked=asked_at is None)
            case "unreachable":
                error = verdict.error  # None: another page asked
                health = "down" if error is None or error.kind in policy.UNREADABLE else policy.health(error)
                return Visit(_unreachable(verdict, lease, ready), asked_at=verdict.asked_at, health=health)
        crawl_delay = ready.delay
        if verdict.crawl_delay is not None:
            crawl_delay = max(verdict.crawl_delay, ready.delay or 0.0)
        return await self._fetch(lease, ready, crawl_delay)

    async def _sitemaps(self, lease: Lease, ready: ReadySpider, urls: Iterable[str]) -> Found:
        """Requests for the sitemaps of an origin, treated like links of the page that led there."""
        wanted = [Request(url, callback=SITEMAP_CALLBACK) for url in urls]
        found = Found().admitting(*await self._admit_in_turns(lease, ready, wanted, _no_rest))
        return found.admitting(*await self._admission.on_seeded_hosts(lease, ready, found.requests))

    async def _fetch(self, lease: Lease, ready: ReadySpider, host_delay: float | None) -> Visit:
        began = time.monotonic()
        try:
            response = await (ready.fetcher or self._fetcher).fetch(lease.request)
        except OwnLimit as limit:
            return _handed_back(limit, host_delay)
        except Ignored as why:
            return _not_read(Skip(why.kind, str(why)), why, host_delay)
        except AskedInstead as instead:
            return await self._ask_instead(lease, ready, instead, host_delay)
        except FetchError as error:
            if error.kind == NOT_CACHED:
                return Visit(Skip(NOT_CACHED, str(error)), unasked=True)
            outcome = policy.judge_error(error, lease.attempt, ready.retry, chance=random.random())
            ended, health = time.monotonic(), policy.health(error)
            return Visit(outcome, asked_at=ended, seconds=ended - began, health=health, host_delay=host_delay)
        if lease.attempt:
            response.attempt = lease.attempt
        asked_at = response.answered_at or time.monotonic()
        archived = await self._archive.add(lease, response) if self._archive else ""
        if ready.hooks is not None and _hears_of(ready, signals.response_received):
            await ready.hooks.received(response, lease.request)
        try:
            outcome, found = await self._read(lease, ready, response)
        except OwnLimit as limit:
            return _handed_back(limit, host_delay)
        visit = Visit(
            outcome,
            items=tuple(found.items),
            item_keys=item_keys(ready.spider.ITEM_KEY, found.items),
            item_kinds=item_kinds(found.kinds),
            dropped=found.dropped,
            noted={**found.noted, f"httpcache/{response.cache}": 1} if response.cache else found.noted,
            status=response.status,
            size=len(response.body),
            asked_at=asked_at,
            seconds=response.seconds,
            pause=policy.pause(response, time.time()),
            health=policy.health(response),
            host_delay=host_delay,
            close=found.close,
            filled=found.filled,
            archived=archived,
        )
        if response.cache == HIT:
            visit = _unasked(visit)
        del response  # its tree may be large, and a call to the frontier may take long
        found = found.admitting(*await self._admission.on_seeded_hosts(lease, ready, found.requests))
        return _with_links(visit, found)

    async def _ask_instead(
        self, lease: Lease, ready: ReadySpider, instead: AskedInstead, host_delay: float | None
    ) -> Visit:
        """Let the request that a middleware wants join the queue, as the target of a redirect does."""
        try:
            target = policy.instead(lease.request, by_name(ready.spider, instead.request), ready.retry)
        except (CallbackError, ValueError) as error:
            return _not_read(Dead(Failure("middleware", f"{instead}: {error}")), instead, host_delay)
        found = Found().admitting(*self._admission.admit(lease, ready, [target]))
        found = found.admitting(*await self._admission.on_seeded_hosts(lease, ready, found.requests))
        return _with_links(_not_read(Skip("redirect", target.url), instead, host_delay), found)

    async def _read(self, lease: Lease, ready: ReadySpider, response: Response) -> tuple[Outcome, Found]:
        """Judge the status, then run the spider's callback on the page."""
        nothing = Found()
        files = ready.files if lease.request.media else None
        if ready.retry.follows(response.status):
            target = policy.redirect(response, ready.retry)
            if not isinstance(target, Request):
                return self._keep(lease, response, target), nothing
            skip = Skip("redirect", target.url)
            return skip, nothing if files else nothing.admitting(*self._admission.admit(lease, ready, [target]))
        judged = policy.judge(response, lease.attempt, ready.retry, chance=random.random(), now=time.time())
        if judged is not None:
            return self._keep(lease, response, judged), nothing
        if files:
            outcome, found = await files.read(lease, response, self._guarded(lease, files.blame(ready.retry)))
            return outcome, found.noting(_told_cuts(response)) if isinstance(outcome, Step) else found
        return await self._parse(lease, ready, lease.request.callback, response)

    @contextmanager
    def _guarded(self, lease: Lease, retry: policy.RetryPolicy) -> Iterator[None]:
        """Name the lease in the slot, so that it is blamed if this process ends meanwhile."""
        self._slot.enter(lease, retry)
        try:
            yield
        finally:
            self._slot.leave(lease)

    def _keep(self, lease: Lease, response: Response, outcome: Outcome) -> Outcome:
        """Return the outcome. Keep the answer for the errback if the page is given up for its status."""
        if lease.request.errback and isinstance(outcome, Dead):
            self._refused[lease.message] = response
        return outcome

    async def _parse(
        self, lease: Lease, ready: ReadySpider, callback: str, *arguments: object
    ) -> tuple[Outcome, Found]:
        page = arguments[0]
        if not isinstance(page, Response) or len(page.body) <= LARGE:
            return await self._parse_now(lease, ready, callback, *arguments)
        async with self._large:
            self._rested_at = time.thread_time()
            read = await self._parse_now(lease, ready, callback, *arguments)
            await self._rest()
        return read

    async def _rest(self) -> None:
        """Give small pages as much time as the large page took, because each needs many turns of the event loop."""
        took = time.thread_time() - self._rested_at
        await asyncio.sleep(min(took, LONGEST_REST) if took > SLOW else 0)
        if took > SLOW:
            self._rested_at = time.thread_time()

    async def _parse_now(
        self, lease: Lease, ready: ReadySpider, callback: str, *arguments: object
    ) -> tuple[Outcome, Found]:
        page = arguments[0]
        before = counted()
        self._slot.enter(lease, ready.retry)
        try:
            if isinstance(page, Response) and len(page.body) > LARGE:
                await self._read_ahead(lease, ready, page)
            found = await run_callback(
                ready.spider,
                callback,
                *arguments,
                maybe_new=partial(self._maybe_new_urls, lease.job),
                seconds=self._callback_seconds,
                cb_kwargs=lease.request.cb_kwargs if isinstance(page, Response) else {},
                steps=ready.hooks and ready.hooks.for_items,
                turn=partial(self._turn, lease, ready),
            )
            for stray in found.strays:
                self._spider_errors.say(lease, ready.spider.name, callback, stray, stray.kind)
            turn = partial(self._turn, lease, ready)
            out: list[Request] | None = [] if _hears_of(ready, signals.request_dropped) else None
            found = found.admitting(*await self._admit_in_turns(lease, ready, found.requests, turn, out))
            if out and ready.hooks is not None:
                await ready.hooks.left_out(out)
            if isinstance(page, Response):
                # Inside the `try`, because it may build the page's tree, which may fail on a hostile page.
                found = heed(found, page, ready.directives, time.time())
                found = self._with_refresh(lease, ready, page, found)
                if page.cut:
                    found = found.noting(_told_cuts(page))
            if empty := sum(map(is_empty, found.items)):
                found = found.noting({"empty/items": empty})
            self._note_fields(lease.job, ready.spider, callback, found.items)
            name = with_spider(callback, lease.request.spider)
            if ready.files is not None:
                # what an errback gives cannot wait: its page is given up
                found, settled = ready.files.split(lease, name, found, waits=isinstance(page, Response))
                for line, kind in settled:
                    found = _with_item(found, await _behind(ready, line, kind))
            return Done(), replace(found, filled=coverage_of(name, found.items, found.kinds))
        except PageTooLarge as error:
            take_back(before)
            log.warning("page_too_large", url=lease.request.url, why=str(error))
            return Skip(error.reason, str(error)), Found()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and was_cancelled():
                raise  # otherwise the `CancelledError` is the spider's own
            if limit := own_limit(error):
                raise limit from error
            take_back(before)
            if isinstance(error, PipelineError):
                self._spider_errors.say(lease, ready.spider.name, callback, error.failure, "pipeline_failed")
                return _again(error.failure, lease, ready.retry), Found()
            # A spider may raise anything; that costs this page alone.
            failure = failure_of(type(ready.spider), callback, error)
            self._spider_errors.say(lease, ready.spider.name, callback, failure)
            if ready.hooks is not None:
                await ready.hooks.tell_error(error, failure, page)
            outcome = policy.after_exception(error, failure, lease.attempt, ready.retry, chance=random.random())
            return outcome, Found()
        finally:
            self._slot.leave(lease)

    def _note_fields(self, job: str, spider: Spider, callback: str, items: Sequence[bytes]) -> None:
        """Look for fields that are always empty, but not in the items of spiders whose code is not the user's."""
        if items and not type(spider).__module__.startswith("crawler."):
            key = (job, spider.name)
            if key not in self._empty_fields:
                self._empty_fields[key] = EmptyFields(spider.name)
            self._empty_fields[key].note(callback, items)

    def _with_refresh(self, lease: Lease, ready: ReadySpider, page: Response, found: Found) -> Found:
        """Add the request for the page to which this one sends its reader: its links and items count all the same."""
        target = policy.refresh(page, ready.retry)
        if isinstance(target, str):
            return found.admitting(found.requests, {target: 1}) if target else found
        requests, left_out = self._admission.admit(lease, ready, [target])
        return found.admitting([*found.requests, *requests], left_out)

    async def _read_ahead(self, lease: Lease, ready: ReadySpider, page: Response) -> None:
        """Prepare the parts of a large page that the callback will use, because a callback cannot be interrupted."""
        if page.is_html:
            for part in ready.spider.read_ahead:
                for _ in page.prepare(part):
                    await self._turn(lease, ready, self._rest)

    async def _turn(self, lease: Lease, ready: ReadySpider, rest: Callable[[], Awaitable[None]] = _no_rest) -> None:
        """Give the other pages a turn. The slot names this page no longer, because another may be parsed meanwhile."""
        self._slot.leave(lease)
        try:
            await rest()
            await asyncio.sleep(0)  # runs the tasks that the network has just woken, which are queued after this one
        finally:
            self._slot.enter(lease, ready.retry)

    async def _call_errback(self, lease: Lease, ready: ReadySpider, visit: Visit, failure: Failure) -> Visit:
        errback = lease.request.errback
        response = self._refused.get(lease.message)
        given = errback_arguments(ready.spider, errback, lease.request, failure, response)
        outcome, found = await self._parse(lease, ready, errback, *given)
        if response is not None:
            found = found.noting(_told_cuts(response))
        found = found.admitting(*await self._admission.on_seeded_hosts(lease, ready, found.requests))
        if not isinstance(outcome, Done):
            found = found.dropping({"errback": 1}).noting({"spider_errors": 1})
        keys = item_keys(ready.spider.ITEM_KEY, found.items)
        # an errback may well have nothing to give
        noted = {name: count for name, count in added(visit.noted, found.noted).items() if name != "empty/pages"}
        visit = replace(
            visit,
            items=tuple(found.items),
            item_keys=keys,
            item_kinds=item_kinds(found.kinds),
            filled=found.filled,
            dropped=found.dropped,
            noted=noted,
            close=found.close,
        )
        return _with_links(visit, found)

    async def _admit_in_turns(
        self,
        lease: Lease,
        ready: ReadySpider,
        requests: list[Request],
        turn: Callable[[], Awaitable[None]],
        out: list[Request] | None = None,
    ) -> tuple[list[Request], Mapping[str, int]]:
        """Do the same as `Admission.admit`, in chunks if there are many requests, with a `turn` for other pages before
        each."""
        if len(requests) <= LINKS_AT_ONCE:
            return self._admission.admit(lease, ready, requests, out)
        admitted: list[Request] = []
        left_out: Mapping[str, int] = {}
        for at in range(0, len(requests), LINKS_AT_ONCE):
            await turn()
            some, others = self._admission.admit(lease, ready, requests[at : at + LINKS_AT_ONCE], out)
            admitted += some
            left_out = added(left_out, others)
        return admitted, left_out


def _lacks_files(ready: ReadySpider, request: Request) -> str:
    """Why this worker cannot keep the files of an item that waits for them; empty if it can, or none waits."""
    if not request.media:
        return ""
    return lacks_store(waiting.KINDS) if ready.files is None else ready.files.lacks(request)


async def _behind(ready: ReadySpider, line: bytes, kind: str) -> Found:
    """Return an item of a class, with what became of its files, as the pipelines leave it that have waited for that;
    none if they drop it. Raise `PipelineError`."""
    if ready.hooks is None:
        return Found([line], [kind])
    try:
        item = await ready.hooks.process_behind(msgspec.json.decode(line))
    except DropItem as why:
        return Found(dropped={drop_reason(why): 1})
    except CloseSpider as why:
        return Found(dropped={"closed": 1}, close=close_reason(why))
    # the pipelines get a dict, whatever the class of the item
    return Found([encode_item(item)], [kind if type(item) is dict else type(item).__name__])


def _with_item(found: Found, one: Found) -> Found:
    items, kinds = [*found.items, *one.items], [*found.kinds, *one.kinds]
    return replace(found.dropping(one.dropped), items=items, kinds=kinds, close=found.close or one.close)


def _hears_of(ready: ReadySpider, signal: signals.Signal) -> bool:
    return ready.hooks is not None and ready.hooks.signals.has(signal)


def _not_read(outcome: Outcome, why: Ignored | AskedInstead, host_delay: float | None) -> Visit:
    """The visit of a page whose answer a middleware has discarded, or whose host it has not let the worker ask."""
    asked_at = None if why.unasked else time.monotonic()
    return Visit(outcome, asked_at=asked_at, unasked=why.unasked, host_delay=host_delay)


def _given_up(outcome: Outcome) -> Failure | None:
    """Return why a page was given up, for its errback; None if it was not."""
    match outcome:
        case Dead(failure=failure):
            return failure
        case Skip(reason="ignored", detail=why):
            return Failure("ignored", why)
    return None


def _told_cuts(page: Response) -> dict[str, int]:
    """Log what a bound has cut off a page, and return it as counters."""
    for what, why in page.cut.items():
        log.warning("page_cut", url=page.url, cut=what, why=why)
    return {f"cut/{what}": 1 for what in page.cut}


def _without_sitemaps(visit: Visit, listed: Collection[str]) -> Visit:
    """Leave out links to the sitemaps that robots.txt lists: `parse_sitemap` reads these, even one that is an ordinary
    page.
    A request that is more than a link stays."""
    links = (link for link in visit.links if link.url not in listed or link.callback != "parse" or not is_bare(link))
    pages = tuple(links)
    if len(pages) == len(visit.links):
        return visit
    left_out = {"listed_sitemap": len(visit.links) - len(pages)}
    return replace(visit, links=pages, unfollowed=added(visit.unfollowed, left_out))


def _unasked(visit: Visit) -> Visit:
    """The visit of a page that came from the page cache: its host was not asked, and nothing is learnt about it."""
    return replace(visit, asked_at=None, unasked=True, seconds=0.0, pause=0.0, health="", host_delay=None)


def _left_to_others(why: str) -> Visit:
    """Release the page without an attempt: another worker, or this one after an update, has the spider and the method.
    A program never sends a callback that it does not have itself, so the page comes from another version."""
    return Visit(Release("lacks", delay=LACKS_DELAY, lacks=why), unasked=True)


def _with_links(visit: Visit, found: Found) -> Visit:
    """The visit with the requests of `found` besides its own, and with what was left out of them."""
    unfollowed = added(visit.unfollowed, found.unfollowed)
    return replace(visit, links=(*visit.links, *found.requests), unfollowed=unfollowed)


def _handed_back(limit: OwnLimit, host_delay: float | None = None) -> Visit:
    """Release the page without an attempt and without judging the host. The host may have been asked, so its next turn
    counts from now."""
    outcome = Release("own limit", own_limit=str(limit))
    return Visit(outcome, asked_at=time.monotonic(), host_delay=host_delay)


def _again(failure: Failure, lease: Lease, retry: policy.RetryPolicy, at_least: float = 0.0) -> Outcome:
    return policy.after(failure, lease.attempt, retry, chance=random.random(), at_least=at_least)


def _unreachable(verdict: Verdict, lease: Lease, ready: ReadySpider) -> Outcome:
    """Judge a page whose robots.txt is unreachable, so that it must not be fetched, by the error of robots.txt. An
    answer that cannot be read is worth another try, because the whole site depends on it."""
    error = verdict.error
    if error is not None and error.kind not in policy.UNREADABLE:
        return policy.judge_error(error, lease.attempt, ready.retry, chance=random.random())
    failure = Failure("robots", verdict.why) if error is None else Failure(error.kind, str(error))
    return _again(failure, lease, ready.retry, at_least=verdict.delay)
