"""Opens the backend of `REDIS_URL`: the only file that knows which kinds of frontier exist."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import structlog
from msgspec import Struct

from crawler.app.config import Config, data_dir
from crawler.embedded import allocator
from crawler.embedded import server as embedded
from crawler.errors import ConfigError, FrontierFull, FrontierUnavailable, UsageError
from crawler.frontier.redis.address import FORM, SCHEMES, mask, read
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.connection import options
from crawler.frontier.redis.diagnosis import diagnose
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Capabilities
from crawler.model import DEFAULT_ORDER
from crawler.program import PROGRAM
from crawler.runtime.patience import Patience
from crawler.settings import Settings

log = structlog.get_logger()


def has_server(config: Config) -> bool:
    """Return whether there is a server to ask: a named one, or an embedded one that runs or has ever run here."""
    if config.settings.REDIS_URL:
        return True
    folder = data_dir(config)
    return embedded.status(folder)["running"] or (folder / "appendonlydir").is_dir()


Opener = Callable[[str, Settings, Capabilities], AbstractAsyncContextManager[Backend]]


async def _not_known(url: str) -> None:
    """Nobody can tell what is wrong with a server that does not answer."""


class _Kind(Struct, frozen=True):
    """A kind of backend: what its REDIS_URL means. A new one needs what has no default."""

    open: Opener
    check: Callable[[str], object]  # raises `ConfigError` for a URL that cannot be used; connects nowhere
    check_replicas: Callable[[Settings], None]  # the same for one that does not go with REDIS_REPLICAS
    capabilities: Capabilities = Capabilities()
    order: Callable[[str], str] = lambda url: DEFAULT_ORDER  # that of a job for which none is given
    diagnose: Callable[[str], Awaitable[ConfigError | None]] = _not_known  # what is wrong with one that does not answer
    unsafe: Callable[[Settings], Iterable[tuple[str, str]]] = lambda settings: ()  # events to log, and why


@asynccontextmanager
async def connect(config: Config, *, warn: bool = True, alone: bool = False) -> AsyncIterator[Backend]:
    """Open the backend of `REDIS_URL`, or the embedded server if it is empty. `warn`: log unsafe server settings.

    Waits while a new server has no memory left. Raises `UsageError` for a backend that no other process can reach,
    unless the command is `alone`: it shares its state with no other.
    """
    settings = config.settings
    async with AsyncExitStack() as stack:
        url = settings.REDIS_URL
        _check_replicas(settings)
        if not url:
            url = await asyncio.to_thread(_attach_embedded, config, stack)
        kind = _kind_of(url)
        if not (kind.capabilities.shared or alone):
            raise UsageError(
                f"REDIS_URL={url} lives in one process, so this command would find nothing in it and leave nothing "
                f"in it; use `{PROGRAM} crawl` or `runspider`, or a Redis or Valkey server: REDIS_URL={FORM}"
            )
        try:
            connected = await Patience("queue_server_full", (FrontierFull,)).until_done(
                lambda: stack.enter_async_context(kind.open(url, settings, kind.capabilities))
            )
        except FrontierUnavailable as error:
            raise await kind.diagnose(url) or error from None
        if warn:
            await _warn(connected, config)
        yield connected


def check_server(settings: Settings) -> None:
    """Raise `ConfigError` for a `REDIS_URL` that cannot be used, names such a certificate, or does not go with
    `REDIS_REPLICAS`. Connect nowhere."""
    url = settings.REDIS_URL
    if url:
        _kind_of(url).check(url)
    _check_replicas(settings)


def _check_replicas(settings: Settings) -> None:
    url = settings.REDIS_URL
    check = _kind_of(url).check_replicas if url else _has_no_replicas
    check(settings)


def _has_no_replicas(settings: Settings) -> None:
    if settings.REDIS_REPLICAS:
        raise ConfigError(
            f"REDIS_REPLICAS={settings.REDIS_REPLICAS}: {settings.REDIS_URL or 'the embedded server'} has no replicas; "
            "set REDIS_URL to a server that has, or leave REDIS_REPLICAS out"
        )


def _cluster_needs_replicas(settings: Settings) -> None:
    url = settings.REDIS_URL
    if not settings.REDIS_REPLICAS and not settings.ACCEPT_LOSS and read(url).kind == "cluster":
        raise ConfigError(
            f"REDIS_URL {mask(url)}: set REDIS_REPLICAS=1 (better with two replicas a master), because a master that "
            "fails over to a replica that is behind loses the links that pages on other masters had; "
            "ACCEPT_LOSS=true crawls without"
        )


def _attach_embedded(config: Config, stack: AsyncExitStack) -> str:
    settings = config.settings
    binary = embedded.find_binary(settings.EMBEDDED_BINARY)
    server = embedded.attach(data_dir(config), binary=binary, fsync=settings.EMBEDDED_FSYNC)
    stack.callback(server.detach)
    return server.url


def _redis(url: str, settings: Settings, capabilities: Capabilities) -> AbstractAsyncContextManager[Backend]:
    server = Server(url, timeout=settings.REDIS_TIMEOUT, ca_file=settings.TLS_CA_FILE, replicas=settings.REDIS_REPLICAS)
    return open_redis(server, **_options(settings), capabilities=capabilities)


def _unsafe_redis(settings: Settings) -> Iterator[tuple[str, str]]:
    address = read(settings.REDIS_URL)
    if address.kind == "sentinel" and not settings.REDIS_REPLICAS and not settings.ACCEPT_LOSS:
        yield (
            "replicas",
            "a fail-over to a replica that is behind writes items twice; set REDIS_REPLICAS=1, or ACCEPT_LOSS=true",
        )
    is_near = all(host in ("127.0.0.1", "localhost", "::1") for host, _ in address.nodes)
    if not is_near and not (address.tls and address.password):
        yield "queue_server_open", "use rediss:// and a password across a network"
    if address.tls and address.tls.ssl_cert_reqs == "none":
        yield (
            "queue_server_not_verified",
            "ssl_cert_reqs=none: anyone in between can read the password; TLS_CA_FILE adds an authority",
        )


def _memory(url: str, settings: Settings, capabilities: Capabilities) -> AbstractAsyncContextManager[Backend]:
    # imported here because few crawls need them, and each process pays for imports
    from crawler.frontier.memory.backend import open_memory
    from crawler.frontier.memory.server import MemoryServer

    maxsize = _memory_options(url)["maxsize"]
    return open_memory(MemoryServer(url), maxsize=int(maxsize), **_options(settings), capabilities=capabilities)


def order_of(config: Config) -> str:
    """Return the order of a job for which none is given: that of `memory://?order=…`, else `fifo`."""
    url = config.settings.REDIS_URL
    return _kind_of(url).order(url) if url else DEFAULT_ORDER


def _memory_options(url: str) -> dict[str, str]:
    before, _, query = url.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    options = {"maxsize": "0", "order": DEFAULT_ORDER, **dict(given)}
    example = "for example memory://?maxsize=10000&order=lifo"
    if before != "memory://" or len(options) > 2 or len(given) > len(dict(given)):
        raise ConfigError(f"REDIS_URL {url}: memory:// takes maxsize and order, each once, and nothing else; {example}")
    if not options["maxsize"].isdecimal() or not options["maxsize"].isascii():
        raise ConfigError(f"REDIS_URL {url}: maxsize must be a number of requests; {example}")
    if options["order"] not in (DEFAULT_ORDER, "lifo"):
        raise ConfigError(f"REDIS_URL {url}: order must be fifo or lifo; {example}")
    return options


def _options(settings: Settings) -> dict[str, Any]:
    """Return the settings that `open_redis` takes."""
    return {
        "prefix": settings.KEY_PREFIX,
        "shards": settings.SHARDS,
        "lease_seconds": settings.LEASE_SECONDS,
        "max_crashes": settings.MAX_CRASHES,
        "outbox_limit": settings.OUTBOX_LIMIT,
        "exploding_share": settings.EXPLODING_SHARE,
        "exploding_min": settings.EXPLODING_MIN,
        "drift_share": settings.DRIFT_SHARE,
        "drift_min": settings.DRIFT_MIN,
    }


_KINDS: dict[str, _Kind] = {
    **dict.fromkeys(
        SCHEMES,
        _Kind(
            _redis,
            check=lambda url: options(read(url)),
            check_replicas=_cluster_needs_replicas,
            diagnose=lambda url: diagnose(read(url)),
            unsafe=_unsafe_redis,
        ),
    ),
    "memory": _Kind(
        _memory,
        check=_memory_options,
        check_replicas=_has_no_replicas,
        capabilities=Capabilities(shared=False, durable=False),
        order=lambda url: _memory_options(url)["order"],
    ),
}
"""URL scheme → the kind of backend."""


_RABBITMQ = re.compile(r"(py)?amqps?|librabbitmq|rabbitmqs?").fullmatch


def _kind_of(url: str) -> _Kind:
    kind = _KINDS.get(url.partition("://")[0])
    if kind is None:
        scheme = re.split("[:/]", url, maxsplit=1)[0]
        raise ConfigError(f"REDIS_URL {mask(url)}: {_instead_of(scheme.lower())}")
    return kind


def _instead_of(scheme: str) -> str:
    """Return what to write instead of an unknown scheme."""
    if _RABBITMQ(scheme):
        return (
            "RabbitMQ cannot keep a crawl: it knows no URL that it has seen and no host that must wait. "
            f"Set REDIS_URL to a Redis or Valkey server, such as {FORM}; "
            f"URLs come in from RabbitMQ with {PROGRAM} seed --from 'amqp://…?queue=NAME', "
            "and items go out with -o 'amqp://…?exchange=NAME'"
        )
    near = next(iter(difflib.get_close_matches(scheme, _KINDS, n=1)), "")
    meant = f"; did you mean {near}://?" if near else f", for example {FORM}"
    return f"expected redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// or memory://{meant}"


async def _warn_of_allocator(connected: Backend, config: Config) -> None:
    is_embedded = not config.settings.REDIS_URL
    if not await connected.store.is_slowed_by_allocator():
        return
    if is_embedded and allocator.is_loaded(embedded.status(data_dir(config))["pid"]):
        return
    log.warning(
        "slow_allocator",
        server=connected.url,
        why="it holds much data and uses the C library's allocator, which makes each request cost it more",
        then="install libjemalloc2 and start the embedded server again"
        if is_embedded
        else "use a server that is built with jemalloc, or load libjemalloc in front of it, which INFO does not tell",
    )


async def _warn(connected: Backend, config: Config) -> None:
    """Warn at start about a server that is slow, that may lose the crawl or that others may read."""
    await _warn_of_allocator(connected, config)
    url = config.settings.REDIS_URL
    if not url or not connected.capabilities.durable:
        return
    if not await connected.store.keeps_data():
        log.warning("no_append_only_file", server=connected.url, why="a restart of the server loses the crawl")
    for advice in await connected.store.replica_advice():
        log.warning("replicas", server=connected.url, why=advice)
    for event, why in _kind_of(url).unsafe(config.settings):
        log.warning(event, server=connected.url, why=why)
