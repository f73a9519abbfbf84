"""Until when a worker's requests are certainly its own: a worker that cannot renew its lease stops asking.

Others may take its requests as soon as the queue server counts its lease as over. The server's clock cannot be asked
when the server is away, so the worker goes by its own monotonic clock, and ends its requests a little sooner.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from typing import Any

from crawler.errors import FrontierUnavailable
from crawler.interfaces import Fetcher
from crawler.model import Request
from crawler.response import Response

SAFE_SHARE = 0.8  # of the lease; in the rest of it, requests are ended. Heartbeats come every fifth of a lease
CELL_BYTES = 16
# Goes on while the machine sleeps, which Linux's monotonic clock does not.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds by the clock of leases, the same in all processes of a machine."""
    return time.clock_gettime(_CLOCK)


class LeaseClock:
    """Renewed by the worker's heartbeat, and by its supervisor while a page holds the worker's interpreter.

    Once it has run out it stays over, though renewed later: meanwhile others may have had the requests. It begins anew
    when all that was begun under it has ended.
    """

    def __init__(self, lease_seconds: float, cell: memoryview[float] | None = None) -> None:
        """Nothing is held at first, so the lease begins now. `cell`: memory that another process has as well."""
        self._seconds = lease_seconds * SAFE_SHARE
        self._cell = memoryview(bytearray(CELL_BYTES)).cast("d") if cell is None else cell
        # Until when; and whether it ran out before it was renewed. Each is written in one piece: no lock is needed.
        self._cell[0], self._cell[1] = now() + self._seconds, False

    @property
    def left(self) -> float:
        """Seconds until all requests must have ended; negative: since then."""
        return self._cell[0] - now()

    @property
    def is_valid(self) -> bool:
        """Whether requests may be under way."""
        return self.left > 0 and not self._cell[1]

    def renewed(self, began: float) -> None:
        """The queue server has just confirmed a renewal that was sent at `began` (see `now`), or later."""
        if self.left <= 0:
            self._cell[1] = True
        self._cell[0] = max(self._cell[0], began + self._seconds)

    def begin_anew(self) -> bool:
        """To be called when nothing goes on that was begun under a lease that is over. False: it was not renewed."""
        self._cell[1] = False
        return self.is_valid


class LeasedFetcher:
    """A `Fetcher` that starts no exchange without a lease."""

    def __init__(self, fetcher: Fetcher, lease: LeaseClock) -> None:
        self._fetcher = fetcher
        self._lease = lease

    def fetch(self, request: Request) -> Coroutine[Any, Any, Response]:
        """Raises `FrontierUnavailable` instead."""
        if not self._lease.is_valid:
            raise FrontierUnavailable("this worker's lease is over, so it asks for no page")
        return self._fetcher.fetch(request)

    async def close(self) -> None:
        """Close the connections."""
        await self._fetcher.close()
