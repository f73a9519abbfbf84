"""Tells a worker until when its requests are certainly its own. A worker that cannot renew its lease stops fetching.

Others may take its requests when its lease ends by the queue server's clock. A worker cannot ask that clock while the
server is away, so it uses its own monotonic clock, and ends its requests a little sooner.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from crawler.errors import FrontierUnavailable
from crawler.interfaces import Fetcher
from crawler.model import Request
from crawler.response import Response

SAFE_SHARE = 0.8  # of the lease; the rest is for ending requests. Heartbeats come every fifth of a lease
CELL_BYTES = 16
# Runs on while the machine sleeps, unlike Linux's monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds by the clock of leases, the same in all processes of a machine."""
    return time.clock_gettime(_CLOCK)


class LeaseClock:
    """The time for which the worker's leases are safe. The worker's heartbeat renews it, or its supervisor while a page
    holds the worker's interpreter.

    Once it has run out it stays invalid, even if it is renewed later, because others may have had the requests in
    between. It begins again when all visits that began under it have ended.
    """

    def __init__(self, lease_seconds: float, cell: memoryview[float] | None = None) -> None:
        """The worker holds no request at first, so the lease begins now. `cell` is memory shared between processes."""
        self._seconds = lease_seconds * SAFE_SHARE
        self._cell = memoryview(bytearray(CELL_BYTES)).cast("d") if cell is None else cell
        # The end of the lease, and whether it ran out before a renewal. Each write is atomic, so there is no lock.
        self._cell[0], self._cell[1] = now() + self._seconds, False

    @property
    def left(self) -> float:
        """Seconds until all requests must have ended; negative if that time has passed."""
        return self._cell[0] - now()

    @property
    def is_valid(self) -> bool:
        """Whether requests may be in flight."""
        return self.left > 0 and not self._cell[1]

    def renewed(self, began: float) -> None:
        """Record that the queue server confirmed a renewal that was sent at `began` (see `now`), or later."""
        if self.left <= 0:
            self._cell[1] = True
        self._cell[0] = max(self._cell[0], began + self._seconds)

    def begin_anew(self) -> bool:
        """Begin a new lease; call it when all visits of the old one have ended. False if the lease is not renewed."""
        self._cell[1] = False
        return self.is_valid


class LeasedFetcher:
    """A `Fetcher` that starts no exchange without a lease."""

    def __init__(self, fetcher: Fetcher, lease: LeaseClock) -> None:
        self._fetcher = fetcher
        self._lease = lease

    def fetch(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Fetch the page. Raises `FrontierUnavailable` if the lease is over."""
        if not self._lease.is_valid:
            raise FrontierUnavailable("this worker's lease is over, so it fetches no page")
        return self._fetcher.fetch(request)

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()
