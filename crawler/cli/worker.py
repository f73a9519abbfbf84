"""`worker` and `export`: the two halves of a crawl, which may run on any machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from crawler.cli.options import (
    Append,
    AppendTo,
    Concurrency,
    Invocation,
    Overwrite,
    Processes,
    Strict,
    WarcDir,
    archiving,
    config_of,
    flag,
    option,
    targets_of,
)
from crawler.errors import UsageError
from crawler.runtime.safe_text import shown
from crawler.runtime.signals import run
from crawler.runtime.standard_output import kept_from_users
from crawler.views.figures import counted


def worker(
    invocation: Invocation,
    job: Annotated[
        list[str] | None,
        option("--job", metavar="NAME", help="Only this job; may be repeated."),
    ] = None,
    queue: Annotated[
        list[str] | None,
        option("--queue", metavar="NAME", help="Only jobs that ROUTES lead to this queue; repeat, or use commas."),
    ] = None,
    processes: Processes = 0,
    concurrency: Concurrency = 0,
    warc: WarcDir = "",
    until_finished: Annotated[
        bool, flag("--until-finished", help="Exit when the jobs are finished and their items written.")
    ] = False,
    strict: Strict = False,
) -> int:
    """Fetch pages of all jobs until stopped. Start as many as you like, on as many machines as you like.

    Ctrl-C, SIGTERM or SIGHUP drains: requests in flight may finish within GRACE_SECONDS.
    A second Ctrl-C or SIGTERM stops at once.

    Where ROUTES send jobs to queues, a worker without --queue and --job takes those of the queue "default".
    """
    if strict and not until_finished:
        raise UsageError("--strict judges jobs when they are finished: add --until-finished")
    queues = tuple(name.strip() for names in queue or () for name in names.split(","))
    if not all(queues):
        raise UsageError("--queue without a name: write --queue eu, or --queue eu,fast")
    config = config_of(invocation, strict=strict, **archiving(warc))

    from crawler.app.work import work as work_for

    return run(
        work_for(
            config,
            jobs=tuple(job or ()),
            queues=queues,
            processes=processes,
            concurrency=concurrency,
            until_finished=until_finished,
        )
    )


def export(
    invocation: Invocation,
    job: Annotated[str, typer.Option("--job", metavar="NAME")] = "default",
    output: AppendTo = None,
    overwrite: Overwrite = None,
    append: Append = False,
    follow: Annotated[bool, flag("--follow", help="Keep exporting until stopped.")] = False,
    until_finished: Annotated[
        bool, flag("--until-finished", help="Keep exporting until the job is finished and its items are written.")
    ] = False,
    strict: Strict = False,
    ordered: Annotated[
        bool, flag("--ordered", help="Export each job that a task of Celery waits for, until stopped (docs/celery.md).")
    ] = False,
) -> int:
    """Write the items that workers found to files, databases or other outputs. A file or a database gets each item
    exactly once, even after a crash.

    --strict judges what the job has lost when the command ends.

    crawler export --ordered -o 'items/{job}.jsonl'
    """
    targets = targets_of(output, overwrite, append=append)
    if ordered and (job != "default" or follow or until_finished):
        raise UsageError("--ordered exports all jobs that tasks wait for, until stopped: leave out the other options")
    config = config_of(invocation, strict=strict)

    from crawler.app.export import export as export_job
    from crawler.app.export_ordered import export_ordered

    if ordered:
        with kept_from_users():  # the spiders say which rules their items must keep
            items = run(export_ordered(config, targets))
        if not invocation.quiet:
            print(f"{counted(items)} items → {', '.join(shown(one.shown) for one in targets)}", file=sys.stderr)
        return 0
    with kept_from_users():  # a class of the user's may take the items
        report = run(export_job(config, job, targets, follow=follow, until_finished=until_finished))
    if not invocation.quiet:
        left = f", {counted(report.left)} pages still wait" if report.left else ""
        for one in report.outputs:
            print(f"{counted(one.items)} items → {shown(one.where)}{left} (job {shown(report.job)})", file=sys.stderr)
    return report.code
