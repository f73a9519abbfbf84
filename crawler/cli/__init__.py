"""The command line: parse the arguments, call `app`, print the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import typer

from crawler.cli import control, crawl, dead, embedded, inspect, project, repair, seed, status, why, worker
from crawler.cli.exits import ended_by
from crawler.cli.options import Command, Quiet, SettingOptions, Verbose, join, with_shared_options
from crawler.errors import Exit

__all__ = ["main"]

_COMMANDS: Mapping[str, tuple[Callable[..., int], ...]] = {
    "Crawl": (crawl.crawl, seed.seed, worker.worker, worker.export),
    "Look": (status.status, why.why, status.jobs, dead.dead, inspect.inspect),
    "Control": (control.control,),
    "Repair": (repair.redrive, repair.drop, repair.reap),
    "This project": (project.spiders, project.settings, project.version),
    "Embedded queue server": (embedded.up, embedded.down),
}

_app = typer.Typer(
    help="A distributed web crawler built on reliable queues.\n\nStart here: crawler crawl https://example.com",
    epilog=f"Exit codes: {'; '.join(f'{code} {code.meaning}' for code in Exit)}.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@_app.callback()
def _root(ctx: typer.Context, settings: SettingOptions = None, verbose: Verbose = False, quiet: Quiet = False) -> None:
    ctx.obj = join(None, settings=settings, verbose=verbose, quiet=quiet)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


for _panel, _functions in _COMMANDS.items():
    for _function in _functions:
        _app.command(_function.__name__, cls=Command, rich_help_panel=_panel)(with_shared_options(_function))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (of `sys.argv` when None) and return its exit code."""
    try:
        code: int | None = _app(arguments, prog_name="crawler", standalone_mode=False)
    except Exception as error:  # only errors in the arguments reach this: a command handles its own
        return ended_by(error)
    return code or 0
