"""`record` and `check`: saves pages with what a spider makes of them, and compares it later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from crawler import policy
from crawler.app.config import Config
from crawler.app.one_page import open_pages
from crawler.app.spiders import spiders_of
from crawler.errors import CrawlerError, UsageError
from crawler.model import Dead, Outcome, Request, Retry
from crawler.runtime.standard_output import kept_from_users
from crawler.spiders.registry import Registry
from crawler.testing.saved_pages import (
    SavedPage,
    body_of,
    difference,
    made_now,
    name_for,
    read,
    saved_from,
    write,
)


class Recorded(Struct, frozen=True):
    """A page that was saved, and in which file."""

    file: Path
    page: SavedPage


class Checked(Struct, frozen=True):
    """A saved page, and how the spider's results differ from it: a unified diff; empty if they are equal."""

    file: Path
    diff: str
    losses: Sequence[str] = ()  # what a crawl would lose of the page now, in sentences
    is_updated: bool = False


async def record(
    config: Config,
    registry: Registry,
    spider: str,
    requests: Sequence[Request],
    folder: Path,
    *,
    name: str = "",
    ignore: Collection[str] = (),
    arguments: Mapping[str, str] | None = None,
) -> AsyncGenerator[Recorded, None]:
    """Fetch pages, save each with what the spider makes of it, and yield it. `name` is that of the files.

    Raise `FetchError` for a page that cannot be had, `UsageError` if the spider cannot read it: nothing of it is saved.
    """
    given: Mapping[str, Any] = {"spider": spider, "arguments": arguments or {}, "ignore": sorted(ignore)}
    async with open_pages(config, registry, spider, arguments) as pages:
        for request in requests:
            response = await pages.fetch(request)
            retry = pages.ready.for_request(request).retry
            if unread := policy.judge(response, retry.retry_times, retry, chance=0.0, now=time.time()):
                raise UsageError(f"{response.url}: {_why(unread)}, so a crawl would not call {request.callback}")
            its = {"callback": request.callback, "meta": request.meta, "cb_kwargs": request.cb_kwargs}
            its_name = name or name_for(response.url)
            saved = saved_from(response, its_name, **given, **its)
            made = await made_now(pages.ready.spider, saved, response.body)
            if made.error:
                raise UsageError(f"{response.url}: {made.error}; nothing is saved")
            file = folder / spider / f"{its_name}.json"
            await asyncio.to_thread(write, file, made, response.body)
            yield Recorded(file, made)


def _why(unread: Outcome) -> str:
    return unread.failure.message if isinstance(unread, Dead | Retry) else f"skipped ({unread})"


class Checks:
    """Checks saved pages with the spiders of one project, without any network."""

    def __init__(self, config: Config) -> None:
        """Raise `ConfigError` for settings that the spiders do not go with."""
        self._registry = spiders_of(config)

    async def check(self, file: Path, *, ignore: Collection[str] = (), update: bool = False) -> Checked:
        """Run the callback of a saved page and compare. `update`: save what differs. `ignore`: more fields whose values
        may differ. Raise `UsageError` and `ConfigError` for a page or a spider that cannot be used."""
        saved = read(file)
        body = body_of(file, saved)
        with kept_from_users():
            made = self._registry.make(saved.spider, saved.arguments)
            now = await made_now(made, saved, body)
        fields = sorted({*saved.ignore, *ignore})
        diff = difference(file, replace(saved, ignore=fields), replace(now, ignore=fields))
        is_updated = bool(diff) and update and not now.error
        if is_updated:
            write(file, now)
        return Checked(file, diff, now.losses, is_updated)


def check_one(config: Config, file: Path) -> Checked:
    """Check one saved page, for the pytest plugin. The diff of one that cannot be checked says why."""
    try:
        return asyncio.run(Checks(config).check(file))
    except CrawlerError as error:
        return Checked(file, str(error))
