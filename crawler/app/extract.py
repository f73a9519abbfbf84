"""`extract`: runs a spider's callbacks over pages that were kept, without the network and without a queue."""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from crawler.app.config import Config, for_one_spider
from crawler.app.coverage import Covered, broken_by
from crawler.app.fetching import parse_limits
from crawler.app.item_files import files_of
from crawler.app.one_page import InThisProcess
from crawler.app.sinks import sinks
from crawler.app.spiders import spiders_of
from crawler.archive.cached import CachedPages
from crawler.archive.pages import Pages, StoredPage
from crawler.archive.replay import Replay
from crawler.errors import Exit, UnstorableItems, UsageError
from crawler.export.target import Target
from crawler.fetch.middleware import Middlewares
from crawler.fetch.page_cache import is_cache
from crawler.frontier import message
from crawler.interfaces import Sink, WithColumns
from crawler.model import (
    DEFAULT_SPIDER,
    Dead,
    Done,
    Exported,
    Job,
    Lease,
    OutboxEntry,
    Release,
    Request,
    Retry,
    Skip,
    Visit,
)
from crawler.parsing.url import dedup_key, host_of
from crawler.policy import counts
from crawler.robots.gate import RobotsGate
from crawler.runtime.safe_text import shown
from crawler.settings import Settings
from crawler.spiders.callbacks import lacking
from crawler.spiders.registry import Registry
from crawler.status import JobStats
from crawler.views.losses import lost, told
from crawler.visit import waiting
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpiders
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import NoSlot

log = structlog.get_logger()

_BATCH = 500  # pages whose items are written at once
_OFFLINE: Mapping[str, Any] = {
    "ROBOTSTXT_OBEY": False,
    "RETRY_TIMES": 0,
    "PACE_PER": "host",
    "FILES_EXPIRES": 1e6,  # days
    "IMAGES_EXPIRES": 1e6,
}
"""Settings that hold whatever a spider sets: the archive has what robots.txt allowed, and each page once; a file that
the store has cannot be fetched again."""


class Extraction(Struct):
    """What was done."""

    files: int = 0
    pages: int = 0  # read by a callback
    items: int = 0
    again: int = 0  # older visits of the same pages, which were not read
    missing: int = 0  # requests for pages that the archive does not have
    others: int = 0  # pages of other spiders, which were not asked for
    unstorable: int = 0  # items that an output cannot store
    counters: Counter[str] = field(default_factory=Counter)  # those of a crawl: `skip/…`, `dropped/…`, `cut/…` …
    errors: Counter[str] = field(default_factory=Counter)  # what failed, and in which line of the user's code → pages
    broken: tuple[str, ...] = ()  # the rules that the items break, as sentences

    @property
    def stats(self) -> JobStats:
        """The same as figures of a job, without what failed and what could not be stored."""
        return JobStats("", finished=True, counters={**self.counters, "pages": self.pages, "items": self.items})

    def code(self, *, strict: bool) -> Exit:
        """Return the exit code, by the rules of `crawl`."""
        failed = self.errors.total()
        if failed > self.pages:
            return Exit.FAILED
        has_lost = failed or self.unstorable or self.broken or lost(self.stats)
        return Exit.LOST if strict and has_lost else Exit.DONE


async def extract(
    config: Config,
    sources: Sequence[Path],
    targets: Sequence[Target],
    *,
    spider: str = "",
    job: str = "",
    arguments: Mapping[str, str] | None = None,
) -> Extraction:
    """Read the pages in `sources` again, each by the callback that it was asked for with, and write the items.

    `spider`: only its pages, and pages of which the archive does not tell who read them. `job`: only pages of this job.
    Raise `UsageError` for sources without such pages, `ConfigError` and `OutputError`.
    """
    reader = _pages(config.settings, sources, job)
    reader.scan()
    config = _offline(config)
    registry = spiders_of(config)
    name = _checked(reader, registry, spider, job)
    config = for_one_spider(config, registry.make(name, arguments or {}).custom_settings, name)
    files_of(config, config.settings)  # raises before an output is opened
    its_job = Job(f"extract-{name}", secrets.token_hex(4), spider=name, arguments=arguments or {})
    done = Extraction(reader.files, again=reader.again, counters=+reader.left_out)
    async with AsyncExitStack() as stack:
        stack.callback(reader.close)
        outputs = _Outputs(sinks(config, targets, its_job), done)
        stack.push_async_callback(outputs.close)
        await outputs.open()
        extractor = _Extractor(config, registry, reader, its_job, outputs, done, only=spider)
        await extractor.run()
        await outputs.finish()
    done.broken = broken_by(extractor.covered.coverage, done.items, config.settings, its_job)
    done.errors["the archive does not say what was asked for"] += reader.unreadable
    done.errors, done.counters = +done.errors, +done.counters  # without zeros
    return done


def _pages(settings: Settings, sources: Sequence[Path], job: str) -> Pages:
    """Return the pages of the sources. Raise `UsageError` for sources that have none."""
    how: Any = {
        "most_bytes": max(settings.DOWNLOAD_MAXSIZE, settings.SITEMAP_MAXSIZE, settings.MEDIA_MAXSIZE),
        "parse_limits": parse_limits(settings),
    }
    caches = [source for source in sources if is_cache(source)]
    if not caches:
        from crawler.archive.reader import ArchiveReader  # needs an extra

        return ArchiveReader(sources, job=job, **how)
    if job:
        raise UsageError(f"{caches[0]} is a page cache, which knows no jobs: leave --job out")
    if others := [source for source in sources if source not in caches]:
        raise UsageError(f"{caches[0]} is a page cache, and {others[0]} is none: read one kind at a time")
    return CachedPages(caches, **how)


def _offline(config: Config) -> Config:
    settings = replace(config.settings, **_OFFLINE)
    return replace(config, settings=settings, origins={**config.origins, **dict.fromkeys(_OFFLINE, "-s")})


def _checked(reader: Pages, registry: Registry, spider: str, job: str) -> str:
    """Return the spider of most pages, or the one asked for. Raise `UsageError` if there is nothing to read."""
    if not len(reader):
        why = "".join(f"; {one.text}" for one in told(JobStats("", counters=reader.left_out)))
        raise UsageError(f"no page {f'of job {job} ' if job else ''}is in the archive{why}")
    names = Counter(asked for asked, _ in reader.asked.elements())
    name = spider or names.most_common(1)[0][0] or DEFAULT_SPIDER
    registry.get(name)
    if not names[name] and not names[""]:
        raise UsageError(f"the archive has no page of spider {name}, but of {', '.join(sorted(names))}")
    return name


class _Extractor:
    """Visits one page after the other."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        reader: Pages,
        job: Job,
        outputs: _Outputs,
        done: Extraction,
        *,
        only: str,
    ) -> None:
        self._reader = reader
        self._job = job
        self._outputs = outputs
        self._done = done
        self._only = only
        self._replay = Replay(reader)
        self._read: set[int] = set()  # hashes of (URL, callback), because there may be millions
        self._refused: set[int] = set()  # the same of requests for pages that another callback reads
        self._waiting: deque[Request] = deque()
        settings = config.settings
        self.covered = Covered(settings.COVERAGE_RULES)
        middlewares = Middlewares(settings.DOWNLOADER_MIDDLEWARES, self._replay, settings.CALLBACK_TIMEOUT)
        gate = RobotsGate(
            InThisProcess(),
            self._replay,
            worker="",
            user_agent=settings.USER_AGENT,
            cache_seconds=settings.ROBOTSTXT_CACHE_SECONDS,
            max_delay=settings.ROBOTSTXT_MAX_DELAY,
        )
        self._ready = ReadySpiders(
            registry,
            settings,
            config.explicit,
            gate,
            lambda _: job,
            fetcher_for=middlewares.fetcher_for,
            files_for=partial(files_of, config),
        )
        admission = Admission(_EveryHost(), message.check)
        self._visitor = Visitor(
            middlewares.fetcher, self._ready, admission, NoSlot(), callback_seconds=settings.CALLBACK_TIMEOUT
        )
        self._lacking = self._lacking_callbacks()

    async def run(self) -> None:
        """Read all pages."""
        try:
            for kept in self._reader:
                if not self._is_wanted(kept.request):
                    continue
                request = replace(kept.request, spider=kept.request.spider or self._job.spider)
                if request.media:
                    self._look_at_file(request)
                    continue
                await self._visit(kept._replace(request=request))
                while self._waiting:
                    await self._follow(self._waiting.popleft())
            self._done.counters["unread/other_callback"] += len(self._refused - self._read)
        finally:
            await self._ready.close({self._job.epoch: "finished"})

    def _lacking_callbacks(self) -> frozenset[tuple[str, str]]:
        """(spider, callback) that pages were asked for with and that the code does not have any more."""
        request = Request("http://a.invalid/")
        return frozenset(
            (spider, callback)
            for spider, callback in self._reader.asked
            if spider
            and (not self._only or spider == self._only)
            and lacking(self._ready(self._job.name, spider).spider, replace(request, callback=callback))
        )

    def _is_wanted(self, request: Request) -> bool:
        is_other = bool(self._only and request.spider and request.spider != self._only)
        self._done.others += is_other
        return not is_other

    def _look_at_file(self, request: Request) -> None:
        """Count a file that no item gets. The others are read when their items ask for them."""
        files = self._ready(self._job.name, request.spider).files
        is_redirected = bool(waiting.of(request).at)  # which is counted where it was asked for first
        if not is_redirected and (files is None or files.lacks(request)):
            self._done.counters["unread/files"] += 1

    async def _visit(self, kept: StoredPage) -> None:
        request = kept.request
        self._replay.chosen = kept
        lease = Lease(self._job.name, request, b"", host_of(request.url), kept.attempt, epoch=self._job.epoch)
        visit = await self._visitor.visit(lease)
        if not request.media:
            self._read.add(_hashed(request))
        self._count(request, visit)
        self.covered.add(request.url, visit.filled)
        await self._outputs.put(request, visit)
        self._waiting.extend(visit.links)

    async def _follow(self, request: Request) -> None:
        """Read a page that another one leads to, unless it is read anyway. Take the next step of an item that waits."""
        if request.media:
            await self._visit(StoredPage(request, self._replay.last))
            return
        found = self._reader.of(request.url) if request.method == "GET" else None
        if found is None:
            self._done.missing += not self._reader.has(request)
            return
        if _hashed(request) in self._read:
            return
        if self._is_unread(found, request):
            await self._visit(StoredPage(request, found.answer))
        elif request.callback != found.request.callback:
            self._refused.add(_hashed(request))

    def _is_unread(self, found: StoredPage, request: Request) -> bool:
        if not found.is_told:
            return request.callback != found.request.callback
        return (found.request.spider, found.request.callback) in self._lacking

    def _count(self, request: Request, visit: Visit) -> None:
        self._done.counters.update(counts(visit))
        match visit.outcome:
            case Done():
                self._done.pages += 1
            case Dead(failure=failure) | Retry(failure=failure):
                why = failure.message.removeprefix(f"{request.url}: ")
                self._done.errors[f"{why} ({failure.line})" if failure.line else why] += 1
            case Release(reason=reason, lacks=lacks, own_limit=limit):
                self._done.errors[lacks or limit or reason] += 1
            case Skip(reason=reason):
                self._done.counters[f"skip/{reason}"] += 1


def _hashed(request: Request) -> int:
    return hash((dedup_key(request.url), request.callback))


class _EveryHost:
    """The network is off, so a spider may follow to any host."""

    async def among(self, job: str, hosts: Iterable[str]) -> set[str]:
        """Return all of them."""
        return set(hosts)


class _Outputs:
    """Writes the items into the sinks, batch by batch."""

    def __init__(self, sinks: Sequence[Sink], done: Extraction) -> None:
        self._sinks = sinks
        self._done = done
        self._entries: list[OutboxEntry] = []
        self._keys: set[str] = set()  # of items that are written
        self._number = 0

    async def open(self) -> None:
        """Open the sinks. Raise `OutputError`."""
        for one in self._sinks:
            await one.open(Exported())

    async def put(self, request: Request, visit: Visit) -> None:
        """Take the items of a page, without those whose keys others have."""
        if isinstance(visit.outcome, Release | Retry):
            return
        keys = visit.item_keys or ("",) * len(visit.items)
        new = [number for number, key in enumerate(keys) if not key or self._is_new(key)]
        self._done.counters["dropped/duplicate_item"] += len(keys) - len(new)
        items = tuple(visit.items[number] for number in new)
        if items:
            self._number += 1
            kinds = tuple(visit.item_kinds[number] for number in new) if visit.item_kinds else ()
            position = f"1-{self._number}"
            self._entries.append(OutboxEntry(0, position, items, request.url, request.spider, kinds=kinds))
            self._done.items += len(items)
        if len(self._entries) >= _BATCH:
            await self._write()

    async def finish(self) -> None:
        """Write what is left, and put the items in their final places. Raise `OutputError`."""
        await self._write()
        for one in self._sinks:
            await one.finish()
            if isinstance(one, WithColumns):
                self._done.counters[f"values_left_out/{shown(one.location)}"] = one.values_left_out

    async def close(self) -> None:
        """Release the sinks."""
        for one in self._sinks:
            await one.close()

    def _is_new(self, key: str) -> bool:
        is_new = key not in self._keys
        self._keys.add(key)
        return is_new

    async def _write(self) -> None:
        entries, self._entries = self._entries, []
        for one in self._sinks if entries else ():
            await self._write_to(one, entries)

    async def _write_to(self, one: Sink, entries: Sequence[OutboxEntry]) -> None:
        """Write the entries without the items that the sink cannot store."""
        while True:
            try:
                await one.write(entries)
            except UnstorableItems as error:
                for bad in error.items:
                    log.warning("item_not_stored", output=one.location, why=bad.why)
                self._done.unstorable += len(error.items)
                entries = [_without(entry, error) for entry in entries]
            else:
                return


def _without(entry: OutboxEntry, error: UnstorableItems) -> OutboxEntry:
    bad = {one.number for one in error.items if one.position == entry.position}
    return replace(entry, left_out=entry.left_out | bad)
