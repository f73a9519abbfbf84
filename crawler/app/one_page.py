"""Fetches single pages as a worker would, without a queue server: for `shell`, `fetch` and `parse`.

The settings, the address guard, robots.txt, logins and middlewares are those of a crawl. A page is asked for once: what
a crawl would retry is an error here. Between two pages of a host lies the host's delay, in this process alone; a page's
robots.txt and redirects follow at once, as in a browser.
"""

from __future__ import annotations

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from msgspec.structs import replace

from crawler import policy
from crawler.app.config import Config
from crawler.app.fetching import caching, http_fetcher, parse_limits
from crawler.errors import FetchError, UsageError
from crawler.fetch.middleware import Middlewares
from crawler.interfaces import Fetcher
from crawler.model import DEFAULT_SPIDER, Dead, Job, Lease, Request
from crawler.parsing.url import host_of, origin_of
from crawler.response import Response
from crawler.robots.gate import RobotsGate, Verdict
from crawler.seeding.contact import ContactCheck
from crawler.settings import Settings
from crawler.spiders.registry import Registry
from crawler.visit.ready_spiders import ReadySpider, ReadySpiders

log = structlog.get_logger()

_IGNORE_ROBOTS = "to fetch it all the same: -s ROBOTSTXT_OBEY=false"


class InThisProcess:
    """What the reading of robots.txt needs of a backend, kept in this process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get_shared(self, key: str) -> bytes | None:
        """Return the value; None if there is none."""
        return self._values.get(key)

    async def put_shared(self, key: str, value: bytes, seconds: float) -> None:
        """Keep the value until this process ends."""
        self._values[key] = value

    async def take_host(self, worker: str, lease: Lease) -> bool:
        """Return True: nobody else asks."""
        return True


class Pages:
    """Fetches pages for one spider, each once."""

    def __init__(
        self, ready: ReadySpider, fetcher: Fetcher, settings: Settings, sent: Callable[[Request], Mapping[str, str]]
    ) -> None:
        """`sent` returns the headers that a request is sent with."""
        self.ready = ready
        self.fetcher = fetcher
        self.sent = sent
        self._delay = settings.DOWNLOAD_DELAY if ready.delay is None else ready.delay
        self._contact = ContactCheck(settings.USER_AGENT)
        self._turns: dict[str, float] = {}  # host → monotonic seconds of its next turn

    async def fetch(self, request: Request, *, redirects: bool = True) -> Response:
        """Fetch a page with a canonical URL, and follow its redirects. A status of failure is a response as well.

        What a bound cut off it is logged. Raises `FetchError` (of kind `robots` if robots.txt forbids the page or
        cannot be read, `redirect` or `redirects` for a redirect that leads nowhere), `Refused` and `OwnLimit`.
        """
        ready = self.ready.for_request(request)
        while True:
            await self.take_turn(request, await self._asked_robots(ready, request))
            response = await self.fetcher.fetch(request)
            if not redirects or not ready.retry.follows(response.status):
                for what, why in response.cut.items():
                    log.warning("page_cut", url=response.url, cut=what, why=why)
                return response
            following = policy.redirect(response, ready.retry)
            if not isinstance(following, Request):
                assert isinstance(following, Dead)  # noqa: S101 - for the type checker
                raise FetchError(following.failure.kind, following.failure.message, transient=False)
            request = following

    async def take_turn(self, request: Request, crawl_delay: float | None = None) -> None:
        """Wait until the host may be asked for a page; not for the target of a redirect."""
        host = host_of(request.url)
        self._contact.met(host)
        now = time.monotonic()
        turn = now if request.redirects else max(now, self._turns.get(host, 0.0))
        self._turns[host] = turn + max(self._delay, crawl_delay or 0.0)
        await asyncio.sleep(turn - now)

    async def _asked_robots(self, ready: ReadySpider, request: Request) -> float | None:
        """Return the Crawl-delay of the host, if it asks for one. Raise `FetchError` if the page may not be fetched."""
        if ready.gate is None:
            return None
        verdict = Verdict("again")
        while verdict.word == "again":
            verdict = await ready.gate.check(Lease("", request, b"", host_of(request.url)), fetcher=ready.fetcher)
        if verdict.word == "disallow":
            raise FetchError(
                "robots", f"{request.url}: robots.txt forbids it ({verdict.why}); {_IGNORE_ROBOTS}", transient=False
            )
        if verdict.word == "unreachable":
            if verdict.error is not None and verdict.error.kind not in policy.UNREADABLE:
                raise verdict.error  # the host cannot be asked for the page either
            why = f"{origin_of(request.url)}: no page without its robots.txt: {verdict.error or verdict.why}"
            raise FetchError("robots", why, transient=True)
        return verdict.crawl_delay


@asynccontextmanager
async def open_pages(
    config: Config,
    registry: Registry,
    spider: str = DEFAULT_SPIDER,
    arguments: Mapping[str, str] | None = None,
    *,
    pipelines: bool = False,
) -> AsyncIterator[Pages]:
    """Yield what fetches pages for one spider of the registry, with its own settings, and with its pipelines if
    `pipelines`.

    Raise `UsageError` if there is no such spider, `ConfigError` if it or a setting cannot be used.
    """
    settings = config.settings
    http = http_fetcher(settings)
    fetcher = caching(config, http, http.sent)
    middlewares = Middlewares(settings.DOWNLOADER_MIDDLEWARES, fetcher, settings.CALLBACK_TIMEOUT)
    gate = RobotsGate(
        InThisProcess(),
        middlewares.fetcher,
        worker="",
        user_agent=settings.USER_AGENT,
        cache_seconds=settings.ROBOTSTXT_CACHE_SECONDS,
        max_delay=settings.ROBOTSTXT_MAX_DELAY,
    )

    def job_of(name: str) -> Job:
        return Job(name, spider=spider, arguments=arguments or {})

    unpaced = replace(settings, DOWNLOAD_DELAY=0.0)  # so that the delay of the spider may also be a shorter one
    spiders = ReadySpiders(registry, unpaced, config.explicit, gate, job_of, fetcher_for=middlewares.fetcher_for)
    try:
        ready = spiders(spider, spider)
        await ready.open(pipelines=pipelines)
        yield Pages(ready, ready.fetcher or middlewares.fetcher, settings, http.sent)
    finally:
        await spiders.close({"": "finished"})
        await http.close()


def saved_page(config: Config, file: Path) -> Response:
    """Return the page in a file, whose name tells its type. Raise `UsageError` if it cannot be read."""
    kind, encoding = mimetypes.guess_type(file.name)
    try:
        body = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    headers = {} if kind is None or encoding else {"content-type": kind}
    return Response(file.absolute().as_uri(), headers=headers, body=body, parse_limits=parse_limits(config.settings))
