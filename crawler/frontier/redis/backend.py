"""Opens the frontier on Redis or Valkey: one object for each interface of `crawler/interfaces.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from crawler.frontier.redis import acl
from crawler.frontier.redis.adding import RedisAdding
from crawler.frontier.redis.asking import RedisAsking
from crawler.frontier.redis.closing import RedisClosing
from crawler.frontier.redis.control import RedisControl
from crawler.frontier.redis.dead import RedisDead
from crawler.frontier.redis.dead_items import RedisDeadItems
from crawler.frontier.redis.handed_out import HandedOut
from crawler.frontier.redis.hosts import RedisHosts
from crawler.frontier.redis.jobs import RedisJobs, adopt
from crawler.frontier.redis.keys import shard_prefix
from crawler.frontier.redis.leases import RedisLeases
from crawler.frontier.redis.ledger import RedisLedger
from crawler.frontier.redis.outbox import RedisOutbox
from crawler.frontier.redis.pauses import RedisPauses
from crawler.frontier.redis.queue import RedisQueue
from crawler.frontier.redis.schedules import RedisSchedules
from crawler.frontier.redis.server import Server
from crawler.frontier.redis.tickets import RedisTickets
from crawler.frontier.redis.tracing import RedisTraces
from crawler.frontier.redis.views import RedisViews
from crawler.interfaces import Backend, Capabilities
from crawler.settings import DEFAULTS


@asynccontextmanager
async def open_redis(
    server: Server, *, prefix: str = DEFAULTS.KEY_PREFIX, shards: int = 0, **options: Any
) -> AsyncIterator[Backend]:
    """Open the server, yield the backend on it, and close the server at the end.

    `shards` applies to an empty server (0: one, or some for each master of a cluster); any other keeps its number, and
    another one is refused. `options` are those of `parts`. Raises `ConfigError` for a server that cannot be trusted
    with a crawl, and `FrontierUnavailable`.
    """
    try:
        await server.open()
        await _check_permissions(server, prefix)
        yield parts(server, *await adopt(server, prefix, shards), **options)
    finally:
        await server.close()


async def _check_permissions(server: Server, prefix: str) -> None:
    """Raise `ConfigError` if the user may not run a command that some script will run."""
    if refused := await server.run("permitted", f"{shard_prefix(prefix, 0)}mark", *acl.COMMANDS):
        names = ", ".join(sorted({name.decode() for name in refused}))
        raise acl.refusal(server.shown, f"it may not run {names} on the keys {{{prefix}:*", prefix)


def parts(
    server: Server,
    prefixes: Sequence[str],
    identity: bytes,
    *,
    lease_seconds: float = DEFAULTS.LEASE_SECONDS,
    max_crashes: int = DEFAULTS.MAX_CRASHES,
    outbox_limit: int = DEFAULTS.OUTBOX_LIMIT,
    exploding_share: float = DEFAULTS.EXPLODING_SHARE,
    exploding_min: int = DEFAULTS.EXPLODING_MIN,
    drift_share: float = DEFAULTS.DRIFT_SHARE,
    drift_min: int = DEFAULTS.DRIFT_MIN,
    capabilities: Capabilities = Capabilities(),  # noqa: B008 - a constant
) -> Backend:
    """The backend on an open server; `prefixes` and `identity` are what `adopt` returned. The other values are those of
    the settings of the same names, as are the defaults."""
    exploding = (exploding_share, exploding_min)
    jobs = RedisJobs(server, prefixes, identity)
    adding = RedisAdding(server, prefixes, jobs)
    handed_out = HandedOut(server, prefixes)
    ledger = RedisLedger(server, prefixes, jobs, lease_seconds=lease_seconds)
    control = RedisControl(server, prefixes)
    letters = RedisDead(server, prefixes)
    outbox = RedisOutbox(server, prefixes)
    closing = RedisClosing(server, prefixes)

    def doubt() -> None:
        """React to a new connection: the server may have restarted and lost its last second."""
        adding.doubt()
        handed_out.doubt()
        ledger.doubt()
        outbox.doubt()

    server.call_when_connected(doubt)
    return Backend(
        queue=RedisQueue(
            server,
            prefixes,
            jobs,
            adding,
            handed_out,
            ledger,
            closing,
            lease_seconds=lease_seconds,
            outbox_limit=outbox_limit,
            exploding=exploding,
            drift=(drift_share, drift_min),
        ),
        adding=adding,
        links=adding,
        ledger=ledger,
        asking=RedisAsking(server, prefixes),
        leases=RedisLeases(
            server,
            prefixes,
            lease_seconds=lease_seconds,
            max_crashes=max_crashes,
            exploding=exploding,
        ),
        jobs=jobs,
        reading=RedisViews(server, prefixes, control),
        hosts=RedisHosts(server, prefixes),
        traces=RedisTraces(server, prefixes, jobs, letters, control),
        letters=letters,
        pauses=RedisPauses(server, prefixes),
        outbox=outbox,
        dead_items=RedisDeadItems(server, prefixes),
        tickets=RedisTickets(server, prefixes[0]),
        control=control,
        broadcasts=control,
        schedules=RedisSchedules(server, prefixes, identity),
        closing=closing,
        store=server,
        address=server.url,
        url=server.shown,
        capabilities=capabilities,
    )
