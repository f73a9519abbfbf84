"""Makes spiders ready to work: one instance per job, with the rules from its settings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import structlog
from msgspec import Struct
from msgspec.structs import replace

from crawler.control.routes import queue_of
from crawler.errors import ConfigError, UsageError
from crawler.interfaces import Fetcher
from crawler.model import Job, Request
from crawler.parsing.scope import Scope
from crawler.policy import RetryPolicy, for_request
from crawler.program import PROGRAM
from crawler.robots.answer import agent_token
from crawler.robots.gate import RobotsGate
from crawler.robots.page_directives import names_of
from crawler.settings import PER_PROCESS, Settings, override, own_settings
from crawler.spiders.base import Spider, reads_robots_sitemaps
from crawler.spiders.context import Crawler
from crawler.spiders.failures import failure_of
from crawler.spiders.hooks import Hooks
from crawler.spiders.registry import Registry
from crawler.visit.item_files import ItemFiles
from crawler.visit.page_obedience import DirectivePolicy
from crawler.worker.blame_slot import Making, NoSlot, Slot

log = structlog.get_logger()

SHUTDOWN = "shutdown"
"""Scrapy's word for a spider that ends before its job."""


class ReadySpider(Struct, frozen=True):
    """A spider ready to work in one job, with the rules from its settings."""

    spider: Spider
    scope: Scope
    retry: RetryPolicy
    gate: RobotsGate | None  # None: robots.txt is ignored
    delay: float | None = None  # seconds between requests to a host, if the spider sets its own
    directives: DirectivePolicy = DirectivePolicy()
    sitemaps: bool = True  # follow the sitemaps that robots.txt names
    files: ItemFiles | None = None  # of items; None: they are not fetched
    hooks: Hooks | None = None  # pipelines, extensions, middlewares, signals; they are open

    async def open(self, *, pipelines: bool = True) -> None:
        """Open the hooks, if that is not done. Raise `ConfigError`."""
        if self.hooks is not None and not self.hooks.is_open:
            await self.hooks.open(pipelines=pipelines)

    @property
    def fetcher(self) -> Fetcher | None:
        """The fetcher with the spider's own middlewares; None if it has none."""
        return self.hooks.fetcher if self.hooks is not None else None

    def for_request(self, request: Request) -> ReadySpider:
        """The same with the retry policy, and without the robots.txt, that the request asks for."""
        if request.media and self.files is not None:
            return replace(self, retry=self.files.retry(self.retry), sitemaps=False)
        if not request.meta:
            return self
        retry = for_request(self.retry, request.meta)
        if retry is self.retry:
            return self
        return replace(self, retry=retry, gate=None if request.meta.get("dont_obey_robotstxt") else self.gate)


class ReadySpiders:
    """Makes and keeps one `ReadySpider` for each pair of job and spider."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        explicit: Collection[str],
        gate: RobotsGate,
        job_of: Callable[[str], Job],
        slot: Slot | NoSlot = NoSlot(),  # noqa: B008 - without state
        deadly: Mapping[Making, str] = {},
        fetcher_for: Callable[[Iterable[str], Crawler], Fetcher | None] = lambda paths, crawler: None,
        files_for: Callable[[Settings], ItemFiles | None] = lambda settings: None,
    ) -> None:
        """`explicit` names the settings that the user set, which override a spider's own. A `deadly` spider is not
        made, for the reason given. `fetcher_for` returns a fetcher with these middlewares for one spider; None if they
        are those of all spiders. `files_for` returns what keeps the files of items by these settings."""
        self._fetcher_for = fetcher_for
        self._files_for = files_for
        self._registry = registry
        self._settings = settings
        self._explicit = explicit
        self._gate = gate
        self._job_of = job_of
        self._slot = slot
        self._deadly = deadly
        self._ready: dict[tuple[str, str], ReadySpider] = {}

    def __call__(self, job: str, spider: str) -> ReadySpider:
        """Return it. Raises `UsageError` or `ConfigError` if there is no such spider, or it cannot be made."""
        record = self._job_of(job)
        key = (record.epoch, spider)
        if key not in self._ready:
            if why := self._deadly.get(Making(*key)):
                raise UsageError(why)
            with self._slot.making(*key):
                self._ready[key] = self._make(record, spider)
        return self._ready[key]

    @property
    def epochs(self) -> frozenset[str]:
        """Those of the jobs that it has made spiders for."""
        return frozenset(epoch for epoch, _ in self._ready)

    def learn(self, epoch: str, figures: Mapping[str, Any]) -> None:
        """Let the spiders of that job read its figures in `closed`."""
        for (one, _), ready in self._ready.items():
            if one == epoch:
                ready.spider.crawler.stats.learn(figures)

    async def close(self, reasons: Mapping[str, str]) -> None:
        """Close the hooks of each spider, then call its `closed`, with the reason for its job's epoch, or `shutdown`.
        Log what that raises: no page depends on it."""
        for (epoch, _), ready in self._ready.items():
            if ready.hooks is not None:
                await ready.hooks.close(reasons.get(epoch, SHUTDOWN))
            try:
                ready.spider.closed(reasons.get(epoch, SHUTDOWN))
            except (Exception, SystemExit) as error:
                failure = failure_of(type(ready.spider), "closed", error)
                where = {"spider": ready.spider.name, "line": failure.line, "error": failure.message}
                log.error("closed_failed", **where, exception=failure.traceback.rstrip())

    def _check_process(self, name: str, settings: Settings) -> None:
        """Raise `ConfigError` if the spider sets something for its whole process that this one does not have."""
        names = sorted(PER_PROCESS - {"LOG_LEVEL"})  # each worker may log at a level of its own
        if others := [one for one in names if getattr(settings, one) != getattr(self._settings, one)]:
            raise ConfigError(
                f"spider {name} has its own {', '.join(others)}, which hold for a whole process, and this worker was "
                f"started with others; run `{PROGRAM} crawl --spider {name}`, or set them in settings.py or with -s for"
                " a worker that serves this spider alone"
            )

    def _make(self, job: Job, name: str) -> ReadySpider:
        routes = self._settings.ROUTES
        goes, wanted = queue_of(routes, job.name, job.spider), queue_of(routes, job.name, name)
        if goes != wanted:
            log.warning(
                "goes_with_its_job",
                job=job.name,
                spider=name,
                why=f"a job goes to one queue ({goes}) as a whole; for the queue {wanted} give the spider its own job",
            )
        spider = self._registry.make(name, job.arguments)
        own = own_settings(self._settings, name, spider.custom_settings)
        settings = override(self._settings, own, f"spider {name}", keep=self._explicit)
        self._check_process(name, settings)
        paced = "DOWNLOAD_DELAY" in own and "DOWNLOAD_DELAY" not in self._explicit
        if paced and settings.DOWNLOAD_DELAY < self._settings.DOWNLOAD_DELAY:
            log.warning(
                "delay_not_shortened",
                spider=name,
                wanted=settings.DOWNLOAD_DELAY,
                seconds=self._settings.DOWNLOAD_DELAY,
                help="a spider can only lengthen the gap that this worker keeps; start it with "
                f"-s DOWNLOAD_DELAY={settings.DOWNLOAD_DELAY:g}, or use `{PROGRAM} control rate`",
            )
        files = self._files_for(settings)
        return ReadySpider(
            spider=spider,
            scope=Scope(spider.allowed_domains, settings.DEPTH_LIMIT, follow=job.follow),
            retry=RetryPolicy(
                retry_times=settings.RETRY_TIMES,
                retry_http_codes=frozenset(settings.RETRY_HTTP_CODES),
                retry_delay=settings.RETRY_DELAY,
                retry_max_delay=settings.RETRY_MAX_DELAY,
                redirect_max_times=settings.REDIRECT_MAX_TIMES,
                handle_httpstatus_list=frozenset(spider.handle_httpstatus_list),
                metarefresh_maxdelay=settings.METAREFRESH_MAXDELAY if settings.METAREFRESH_ENABLED else -1.0,
            ),
            gate=self._gate if settings.ROBOTSTXT_OBEY else None,
            delay=settings.DOWNLOAD_DELAY if paced else None,
            directives=DirectivePolicy(
                names=names_of(agent_token(self._settings.USER_AGENT)),  # the name in the fetcher's User-Agent
                noindex=settings.NOINDEX_OBEY,
                nofollow=settings.NOFOLLOW_OBEY,
                nofollow_links=settings.NOFOLLOW_LINKS_OBEY,
            ),
            sitemaps=job.follow and settings.ROBOTSTXT_SITEMAPS and reads_robots_sitemaps(spider),
            files=files,
            hooks=Hooks(
                spider.crawler,
                pipelines=settings.ITEM_PIPELINES,
                extensions=settings.EXTENSIONS,
                fetcher_for=partial(self._fetcher_for, settings.DOWNLOADER_MIDDLEWARES),
                seconds=settings.CALLBACK_TIMEOUT,
                making=partial(self._slot.making, job.epoch, name),
                waits=files.waits if files else lambda item: False,
            ),
        )
