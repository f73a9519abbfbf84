"""The queue of `REDIS_URL`, opened: the only place that knows which kinds of frontier exist."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import structlog
from msgspec import Struct

from crawler.app.config import Config, data_dir
from crawler.embedded import server as embedded
from crawler.errors import ConfigError
from crawler.frontier.redis.frontier import RedisFrontier
from crawler.frontier.redis.server import mask
from crawler.interfaces import Control, Frontier, Outbox
from crawler.settings import Settings

log = structlog.get_logger()


class Connected(Struct, frozen=True):
    """An open frontier, its outbox, and what people order and ask."""

    frontier: Frontier
    outbox: Outbox
    control: Control
    url: str  # shown to people: without password
    address: str  # for workers: with it
    uptime: Callable[[], Awaitable[float]]  # seconds the server has been running


@asynccontextmanager
async def connect(config: Config, *, warn: bool = True) -> AsyncIterator[Connected]:
    """The frontier and outbox of `REDIS_URL`; the embedded server when none is set. `warn`: of a careless server."""
    settings = config.settings
    async with AsyncExitStack() as stack:
        url = settings.REDIS_URL
        if not url:
            url = await asyncio.to_thread(_attach_embedded, config, stack)
        connected = _memory(url, settings) if url.startswith("memory:") else _redis(url, settings)
        stack.push_async_callback(connected.frontier.close)
        await connected.frontier.open()
        if warn:
            await _warn(connected, config)
        yield connected


def _attach_embedded(config: Config, stack: AsyncExitStack) -> str:
    settings = config.settings
    binary = embedded.find_binary(settings.EMBEDDED_BINARY)
    server = embedded.attach(data_dir(config), binary=binary, fsync=settings.EMBEDDED_FSYNC)
    stack.callback(server.detach)
    return server.url


def _redis(url: str, settings: Settings) -> Connected:
    if urlsplit(url).scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"REDIS_URL {mask(url)}: expected redis://, rediss://, unix:// or memory://, "
            "for example redis://127.0.0.1:6379/0"
        )
    frontier = RedisFrontier(
        url,
        prefix=settings.KEY_PREFIX,
        shards=settings.SHARDS,
        lease_seconds=settings.LEASE_SECONDS,
        max_crashes=settings.MAX_CRASHES,
        outbox_limit=settings.OUTBOX_LIMIT,
        exploding_share=settings.EXPLODING_SHARE,
        exploding_min=settings.EXPLODING_MIN,
        timeout=settings.REDIS_TIMEOUT,
    )
    return Connected(frontier, frontier.outbox, frontier.control, mask(url), url, frontier.server.uptime)


def _memory(url: str, settings: Settings) -> Connected:
    from crawler.frontier.memory.frontier import MemoryFrontier  # few crawls need it, and all processes start

    maxsize = parse_qs(urlsplit(url).query).get("maxsize", ["0"])[0]
    if not maxsize.isdigit():
        raise ConfigError(f"REDIS_URL {url}: maxsize must be a number, for example memory://?maxsize=10000")
    frontier = MemoryFrontier(
        lease_seconds=settings.LEASE_SECONDS,
        max_crashes=settings.MAX_CRASHES,
        outbox_limit=settings.OUTBOX_LIMIT,
        exploding_share=settings.EXPLODING_SHARE,
        exploding_min=settings.EXPLODING_MIN,
        maxsize=int(maxsize),
    )

    async def uptime() -> float:
        return math.inf

    return Connected(frontier, frontier, frontier.control, url, url, uptime)


async def _warn(connected: Connected, config: Config) -> None:
    """Once, at start: what a careful person would want to know."""
    url = config.settings.REDIS_URL
    frontier = connected.frontier
    if not url or not isinstance(frontier, RedisFrontier):
        return
    if not await frontier.server.keeps_data():
        log.warning("no_append_only_file", server=connected.url, why="a restart of the server loses the crawl")
    parts = urlsplit(url)
    is_near = parts.scheme == "unix" or parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not is_near and (parts.scheme != "rediss" or not parts.password):
        log.warning("queue_server_open", server=connected.url, why="use rediss:// and a password across a network")
