"""`seed`: URLs into a job, from arguments, files and pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from crawler.cli.exits import code_of
from crawler.cli.options import (
    ArgumentOptions,
    Invocation,
    Json,
    Limit,
    Order,
    SeedFiles,
    SeedUrls,
    SpiderName,
    Strict,
    config_of,
    flag,
    option,
    spider_arguments,
)
from crawler.cli.seeds import Refusals, Seeds
from crawler.errors import Exit, UsageError
from crawler.model import DEFAULT_SPIDER, Job, Limits, Request
from crawler.runtime.safe_text import json_line
from crawler.runtime.signals import run
from crawler.runtime.standard_output import kept_from_users
from crawler.views.figures import counted

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.spiders.base import Spider
    from crawler.spiders.own_seeds import OwnSeeds
    from crawler.views.reports import SeedReport


def seed(
    invocation: Invocation,
    urls: SeedUrls = None,
    file: SeedFiles = None,
    spider: SpiderName = "",
    arguments: ArgumentOptions = None,
    from_: Annotated[str, option("--from", metavar="URL", help="Take seeds from a queue: amqp://… or redis://….")] = "",
    follow: Annotated[bool, flag("--follow", help="With --from: wait for more when the queue is empty.")] = False,
    idle: Annotated[
        float | None, option("--idle", metavar="SECONDS", help="With --from: end after SECONDS without a message.")
    ] = None,
    job: Annotated[str, typer.Option("--job", metavar="NAME", help="Job to add to; created if new.")] = "default",
    order: Order = None,
    limit: Limit = None,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Add URLs to a job, for any worker to fetch. Known URLs are counted and ignored, so you may repeat it.

    Blank lines and lines that begin with # are skipped. Without URLs, the spider's own seeds are used.

    crawler seed --from 'amqp://user:password@host/vhost?queue=urls&rejected=urls.rejected' --follow

    crawler seed --from 'redis://host:6379/0?list=news:start_urls' --idle 60
    """
    config = config_of(invocation, strict=strict)
    made = make_spider(config, spider or DEFAULT_SPIDER, spider_arguments(arguments))
    seeds = Seeds(urls or (), file or ())
    _check_source(from_, follow=follow, idle=idle, others=bool(seeds))
    from crawler.app.limits import limits_of

    limits = limits_of(config, made, limit or 0)
    wanted = Job(job, order=order or "", spider=spider, arguments=spider_arguments(arguments))
    added = _Added(show=sys.stderr.isatty() and not invocation.quiet)
    refusals = Refusals(each=bool(from_))  # a message that is rejected leaves its queue
    try:
        with kept_from_users():
            if from_:
                waits = None if follow and idle is None else idle or 0
                report = run(_seed_from(config, wanted, from_, waits, limits, refusals, added))
            else:
                report = run(_seed(config, wanted, seeds or own_seeds(made), limits, refusals, added))
    except KeyboardInterrupt as interrupt:
        added.clear()
        so_far = f"{added}, refused {counted(refusals.total)} so far"
        print(f"interrupted: {so_far}; repeat the command to add the rest", file=sys.stderr)
        has_lost = from_ and refusals.total and config.settings.STRICT  # no repetition tells of them again
        return Exit.LOST if has_lost else code_of(interrupt)
    added.clear()
    refusals.close(report.refused)
    _print(report, refusals.total, as_json=json_)
    if not from_ and not report.new and not report.known:
        seeds.check_some(refusals.total > 0)
        return Exit.USAGE
    return Exit.LOST if refusals.total and config.settings.STRICT else Exit.DONE


async def _seed(
    config: Config, job: Job, urls: Iterable[str | Request], limits: Limits, refusals: Refusals, added: _Added
) -> SeedReport:
    from crawler.app.seed import seed as seed_job

    return await seed_job(config, job, urls, limits=limits, refused=refusals, progress=added)


async def _seed_from(
    config: Config, job: Job, url: str, idle: float | None, limits: Limits, refusals: Refusals, added: _Added
) -> SeedReport:
    from crawler.app.seed import seed_from

    return await seed_from(config, job, url, idle=idle, limits=limits, refused=refusals, progress=added)


def _check_source(url: str, *, follow: bool, idle: float | None, others: bool) -> None:
    if not url and (follow or idle is not None):
        raise UsageError("--follow and --idle need --from URL, the queue to take seeds from")
    if url and others:
        raise UsageError("give either --from or URLs and files; another call of the command can add to the same job")
    if idle is not None and not idle >= 0:
        raise UsageError(f"--idle {idle:g}: give seconds, 0 or more")


def make_spider(config: Config, name: str, arguments: dict[str, str]) -> Spider:
    """Return the spider of that name. Raise `UsageError` with similar names, `ConfigError` for wrong arguments."""
    from crawler.app.spiders import spiders_of

    return spiders_of(config).make(name, arguments)


def own_seeds(spider: Spider) -> OwnSeeds:
    """Return the spider's own seeds. Raise `UsageError` when it has none, `ConfigError` when its code fails."""
    from crawler.spiders.own_seeds import OwnSeeds

    return OwnSeeds(spider)


def _print(report: SeedReport, refused: int, *, as_json: bool) -> None:
    if as_json:
        print(json_line(msgspec.to_builtins(report)))
    else:
        new, known = counted(report.new), counted(report.known)
        print(f"new {new}, known {known}, refused {counted(refused)} (job {report.job})")


class _Added:
    """Counts the seeds added so far and shows the counts on a terminal."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._new = self._known = 0

    def __call__(self, new: int, known: int) -> None:
        self._new, self._known = new, known
        if self._show:
            sys.stderr.write(f"\r\x1b[Kseeding: {self}")
            sys.stderr.flush()

    def __str__(self) -> str:
        return f"new {counted(self._new)}, known {counted(self._known)}"

    def clear(self) -> None:
        """Erase the line."""
        if self._show:
            sys.stderr.write("\r\x1b[K")
