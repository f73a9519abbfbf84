"""Makes spiders ready to work: an instance per job, with the rules that its settings give."""

from __future__ import annotations

from collections.abc import Callable, Collection

import structlog
from msgspec import Struct

from crawler.errors import CrawlerError
from crawler.model import Job
from crawler.parsing.scope import Scope
from crawler.policy import RetryPolicy
from crawler.robots.answer import agent_token
from crawler.robots.gate import RobotsGate
from crawler.robots.page_directives import names_of
from crawler.settings import Settings, override
from crawler.spiders.base import Spider, reads_robots_sitemaps
from crawler.spiders.registry import Registry
from crawler.visit.page_obedience import DirectivePolicy

log = structlog.get_logger()


class ReadySpider(Struct, frozen=True):
    """A spider ready to work in one job, with the rules its settings give."""

    spider: Spider
    scope: Scope
    retry: RetryPolicy
    gate: RobotsGate | None  # None: robots.txt is not asked
    delay: float | None = None  # seconds between requests to a host, when the spider asks for its own
    directives: DirectivePolicy = DirectivePolicy()
    sitemaps: bool = True  # follow those that robots.txt names


class ReadySpiders:
    """Keeps one `ReadySpider` for each pair of job and spider met."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        explicit: Collection[str],
        gate: RobotsGate,
        job_of: Callable[[str], Job],
    ) -> None:
        """`explicit` names the settings that stand closer to the user than a spider's own."""
        self._registry = registry
        self._settings = settings
        self._explicit = explicit
        self._gate = gate
        self._job_of = job_of
        self._ready: dict[tuple[str, str], ReadySpider] = {}
        self._said: set[tuple[str, str]] = set()  # that they cannot be made

    def __call__(self, job: str, spider: str) -> ReadySpider:
        """Raises `UsageError` or `ConfigError` when there is no such spider, or it cannot be made."""
        record = self._job_of(job)
        key = (record.epoch, spider)
        if key not in self._ready:
            self._ready[key] = self._make_or_say(record, spider)
        return self._ready[key]

    def close(self, reason: str) -> None:
        """Tell the spiders that it is over."""
        for ready in self._ready.values():
            ready.spider.closed(reason)

    def _make_or_say(self, job: Job, name: str) -> ReadySpider:
        """One line a job and spider: each of its requests will fail alike."""
        try:
            return self._make(job, name)
        except CrawlerError as error:
            if (job.epoch, name) not in self._said:
                self._said.add((job.epoch, name))
                log.warning("spider_unusable", job=job.name, spider=name, why=str(error))
            raise

    def _make(self, job: Job, name: str) -> ReadySpider:
        spider = self._registry.make(name, job.arguments)
        own = spider.custom_settings
        settings = override(self._settings, own, f"spider {name}", keep=self._explicit)
        paced = "DOWNLOAD_DELAY" in own and "DOWNLOAD_DELAY" not in self._explicit
        return ReadySpider(
            spider=spider,
            scope=Scope(spider.allowed_domains, settings.DEPTH_LIMIT),
            retry=RetryPolicy(
                retry_times=settings.RETRY_TIMES,
                retry_http_codes=frozenset(settings.RETRY_HTTP_CODES),
                retry_delay=settings.RETRY_DELAY,
                retry_max_delay=settings.RETRY_MAX_DELAY,
                redirect_max_times=settings.REDIRECT_MAX_TIMES,
            ),
            gate=self._gate if settings.ROBOTSTXT_OBEY else None,
            delay=settings.DOWNLOAD_DELAY if paced else None,
            directives=DirectivePolicy(
                names=names_of(agent_token(self._settings.USER_AGENT)),  # what the fetcher calls itself
                noindex=settings.NOINDEX_OBEY,
                nofollow=settings.NOFOLLOW_OBEY,
                nofollow_links=settings.NOFOLLOW_LINKS_OBEY,
            ),
            sitemaps=settings.ROBOTSTXT_SITEMAPS and reads_robots_sitemaps(spider),
        )
