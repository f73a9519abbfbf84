"""`crawl`: seed, workers, export and wait, in one command on this machine."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from msgspec.structs import replace

from crawler.cli.exits import say_error
from crawler.cli.options import (
    Append,
    AppendTo,
    ArgumentOptions,
    Concurrency,
    Invocation,
    Limit,
    Order,
    Overwrite,
    Processes,
    SeedFiles,
    SeedUrls,
    SpiderName,
    Strict,
    WarcDir,
    archiving,
    config_of,
    flag,
    option,
    spider_arguments,
    targets_of,
)
from crawler.cli.seed import make_spider, own_seeds
from crawler.cli.seeds import Refusals, Seeds, job_name
from crawler.errors import Exit, UsageError
from crawler.export.target import Target
from crawler.model import DEFAULT_SPIDER, Job
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line
from crawler.runtime.signals import run
from crawler.runtime.standard_output import kept_from_users
from crawler.runtime.startup import lasting_imports

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.cli.display import Observer
    from crawler.spiders.base import Spider
    from crawler.spiders.own_seeds import OwnSeeds
    from crawler.views.reports import CrawlReport


def crawl(
    invocation: Invocation,
    urls: SeedUrls = None,
    file: SeedFiles = None,
    spider: SpiderName = "",
    arguments: ArgumentOptions = None,
    output: AppendTo = None,
    overwrite: Overwrite = None,
    append: Append = False,
    job: Annotated[
        str, option("--job", metavar="NAME", help="Job name; default: made from spider, seeds and arguments.")
    ] = "",
    order: Order = None,
    fresh: Annotated[bool, flag("--fresh", help="Delete the state of earlier runs and start again.")] = False,
    force: Annotated[
        bool, flag("--force", help="With --fresh: delete even items that no export has written yet.")
    ] = False,
    processes: Processes = 0,
    concurrency: Concurrency = 0,
    limit: Limit = None,
    warc: WarcDir = "",
    strict: Strict = False,
    json_: Annotated[bool, flag("--json", help="Print the final figures as JSON on stdout.")] = False,
) -> int:
    """Crawl to the end and write the items where -o and FEEDS say (default: JOB.jsonl in this folder).

    After an interruption, the same command resumes the crawl. More machines can help with `worker`.

    crawler crawl https://a.example/
    crawler crawl --spider quotes -O quotes.jsonl --limit 10
    crawler worker
    """
    config = config_of(invocation, strict=strict, **archiving(warc))

    with lasting_imports():
        import crawler.app.spiders
        import crawler.cli.display
        import crawler.cli.tables  # noqa: F401 - all that this command needs
        from crawler.app.crawl import crawl as crawl_here
        from crawler.app.limits import limits_of
        from crawler.app.outputs import with_feeds

    given = spider_arguments(arguments)
    made = make_spider(config, spider or DEFAULT_SPIDER, given)
    config = _for_this_spider(made, config)
    seeds = Seeds(urls or (), file or ()) or own_seeds(made)
    name = job or _name(made.name, seeds, given)
    targets = with_feeds(config.settings, targets_of(output, overwrite, append=append))
    targets = targets or [Target(f"{name}.jsonl", fresh and not append, append)]
    if json_ and any(target.name == "-" for target in targets):
        raise UsageError("--json and items cannot share stdout: write the items to a file with -o FILE")
    if force and not fresh:
        raise UsageError("--force goes with --fresh: it deletes items that no export has written")
    _check_seed_files(file or (), targets)
    refusals = Refusals()
    with _display(invocation, config, f"job {name}", targets) as (config, observe), kept_from_users():
        report = run(
            crawl_here(
                config,
                Job(name, order=order or "", spider=spider, arguments=given),
                seeds,
                targets,
                limits=limits_of(config, made, limit or 0),
                fresh=fresh,
                repeatable=isinstance(seeds, Seeds) and seeds.repeatable,
                force=force,
                processes=processes,
                concurrency=concurrency,
                refused=refusals,
                observe=observe,
            )
        )
    refusals.close(report.seeds.refused)
    if report.reason == "no seeds":
        _print(report, fresh=fresh, as_json=json_, quiet=True)
        if isinstance(seeds, Seeds):
            seeds.check_some(refusals.total > 0)
        _tell_of_spider(config, urls or ())
        return Exit.USAGE  # every seed was refused, and `refusals` has printed the reasons
    _print(report, fresh=fresh, as_json=json_, quiet=invocation.quiet)
    return report.code


def _tell_of_spider(config: Config, urls: Sequence[str]) -> None:
    """Say what to write if a seed is the name of a spider, as in `scrapy crawl NAME`."""
    from crawler.app.spiders import spiders_of

    if named := [url for url in urls if url in spiders_of(config).names()]:
        say_error(f"{named[0]} is a spider: write {PROGRAM} crawl --spider {named[0]}")


def _for_this_spider(spider: Spider, config: Config) -> Config:
    """Return `config` with what the spider sets for the whole process: no other spider runs in this command."""
    from crawler.app.config import for_one_spider

    return for_one_spider(config, spider.custom_settings, spider.name)


def _name(spider: str, seeds: Seeds | OwnSeeds, arguments: dict[str, str]) -> str:
    if not isinstance(seeds, Seeds):
        return job_name(spider, seeds.urls, arguments)
    if not seeds.repeatable:
        raise UsageError("seeds from a pipe can be read only once, so this crawl needs a name: --job NAME")
    return job_name(spider, seeds, arguments)


def _check_seed_files(files: Sequence[str], targets: Sequence[Target]) -> None:
    for file, name in itertools.product(files, (target.name for target in targets)):
        if os.path.exists(file) and os.path.exists(name) and os.path.samefile(file, name):
            raise UsageError(f"{name} is the file of the seeds: write the items to another one")


@contextmanager
def _display(
    invocation: Invocation, config: Config, title: str, targets: Sequence[Target]
) -> Iterator[tuple[Config, Observer]]:
    """Yield the configuration to crawl with and the display: live on a terminal, log lines elsewhere, none with -q."""
    from crawler.cli import display

    if invocation.quiet:
        yield config, lambda progress: None
    elif config.settings.LOG_RENDERER == "json" or not sys.stderr.isatty():
        yield config, display.log_display()
    else:
        with display.live_display(title, ", ".join(target.shown for target in targets)) as observe:
            yield config if config.settings.LOG_FILE else _logging_readably(config), observe


def _logging_readably(config: Config) -> Config:
    """Return `config` with console logs: stderr is now a pipe into the display, and a person reads it."""
    from crawler.runtime import logs

    logs.configure(config.settings.LOG_LEVEL, "console")
    return replace(config, settings=replace(config.settings, LOG_RENDERER="console"))


def _print(report: CrawlReport, *, fresh: bool, as_json: bool, quiet: bool) -> None:
    from msgspec import to_builtins

    from crawler.cli import tables
    from crawler.views import figures, losses

    if as_json:
        print(json_line({**figures.scrapy_stats(report), "losses": to_builtins(losses.told_of(report))}))
    if not quiet:
        tables.console(error=True).print(tables.summary(report, fresh=fresh))
