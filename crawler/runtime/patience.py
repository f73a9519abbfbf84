"""Waits out an outage of the queue server: repeats the same call, and logs the start and the end of the outage."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from crawler.errors import FrontierFull, FrontierUnavailable
from crawler.runtime.incident import Incident
from crawler.runtime.tasks import was_cancelled

RETRY_SECONDS = 0.25  # between two tries: work resumes soon after the server is back, and a try costs it little

OUTAGE = (FrontierUnavailable, FrontierFull)
"""Errors after which the same call may be repeated until it succeeds; it takes effect only once."""

Result = TypeVar("Result")


class Stop(Protocol):
    """An event that ends the wait."""

    def is_set(self) -> bool: ...
    async def wait(self) -> object: ...


class Patience:
    """Lets one task wait out outages of the queue server. Every other error passes through."""

    def __init__(self, event: str = "", outage: tuple[type[Exception], ...] = OUTAGE) -> None:
        """`event` names the outage in the log; empty if another task of this process logs it. `outage` holds the errors
        to wait out."""
        self._incident = Incident(event) if event else None
        self._outage = outage

    async def until_done(
        self,
        call: Callable[[], Awaitable[Result]],
        stop: Stop | None = None,
        *,
        also: tuple[type[Exception], ...] = (),
    ) -> Result:
        """Repeat `call` until it succeeds, and return its result. `also`: further errors to wait out.

        Once `stop` is set, raises the next error.
        """
        errors: tuple[type[Exception], ...] = (*self._outage, *also)
        while True:
            try:
                result = await call()
            except errors as error:
                if was_cancelled():
                    raise asyncio.CancelledError from error
                if stop is not None and stop.is_set():
                    raise
                self.met(error)
                await pause(RETRY_SECONDS, stop)
            else:
                self._over()
                return result

    async def attempt(self, call: Callable[[], Awaitable[Result]]) -> Result | None:
        """Make one call and return its result; None during an outage."""
        try:
            result = await call()
        except self._outage as error:
            self.met(error)
            return None
        self._over()
        return result

    @property
    def is_waiting(self) -> bool:
        """Whether the outage lasts; false if another task logs it."""
        return self._incident is not None and self._incident.lasts

    def met(self, error: Exception) -> None:
        """Count an error of the same outage that another call met."""
        if self._incident is not None:
            self._incident.met(error)

    def _over(self) -> None:
        if self._incident is not None:
            self._incident.over()


async def every(seconds: float, call: Callable[[], Awaitable[object]], stop: Stop | None = None) -> None:
    """Make the call now and `seconds` after each has ended, until `stop` is set (None: until cancelled or an error)."""
    while stop is None or not stop.is_set():
        await call()
        await pause(seconds, stop)


async def pause(seconds: float, stop: Stop | None = None) -> None:
    """Sleep for `seconds`, or until `stop` is set."""
    if stop is None:
        await asyncio.sleep(seconds)
    else:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
