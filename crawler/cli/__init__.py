"""The command line: parse the arguments, call `app`, print the result."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from inspect import getdoc
from typing import Annotated, Any

import typer

from crawler.cli import (
    control,
    coverage,
    crawl,
    dead,
    embedded,
    extract,
    fetch,
    inspect,
    items,
    migrate,
    parse,
    project,
    repair,
    runspider,
    saved,
    scaffold,
    schedule,
    seed,
    shell,
    status,
    why,
    worker,
)
from crawler.cli.exits import ended_by
from crawler.cli.options import (
    Command,
    Group,
    Invocation,
    Quiet,
    SettingOptions,
    Verbose,
    check_text,
    join,
    with_shared_options,
)
from crawler.errors import Exit
from crawler.program import PROGRAM, VERSION, as_run
from crawler.worker.process import Preforked

__all__ = ["main"]

_COMMANDS: Mapping[str, tuple[Callable[..., int], ...]] = {
    "Crawl": (crawl.crawl, runspider.runspider, seed.seed, worker.worker, worker.export, extract.extract),
    "Write a spider": (
        scaffold.startproject,
        scaffold.genspider,
        shell.shell,
        fetch.fetch,
        parse.parse,
        saved.record,
        saved.check,
    ),
    "Look": (status.status, why.why, status.jobs, coverage.coverage, items.items, dead.dead, inspect.inspect),
    "Control": (control.control, schedule.schedule),
    "Repair": (repair.redrive, repair.drop, repair.reap),
    "This project": (project.list_, project.settings, migrate.migrate, project.version),
    "Embedded queue server": (embedded.up, embedded.down),
}
_BY_NAME = {
    function.__name__.rstrip("_"): (panel, function) for panel, functions in _COMMANDS.items() for function in functions
}


class _Program(Group):
    """The whole program. Makes a command when it is asked for: making them all takes 20 ms, and each run needs one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*_BY_NAME, "help"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name. Where there is none, make all, from which the library suggests one."""
        for name in [cmd_name] if cmd_name in self.list_commands(ctx) else _BY_NAME:
            if name not in self.commands:
                self.commands[name] = _made(name)
        return super().get_command(ctx, cmd_name)


def _made(name: str) -> Any:
    panel, function = _BY_NAME[name]
    alone = typer.Typer(add_completion=False)
    text = as_run(getdoc(function) or "")
    alone.command(name, cls=Command, help=text, rich_help_panel=panel)(with_shared_options(function))
    return typer.main.get_command(alone)


_app = typer.Typer(
    cls=_Program,
    help=f"A distributed web crawler built on reliable queues.\n\nStart here: {PROGRAM} crawl https://example.com",
    epilog=f"Exit codes: {'; '.join(f'{code} {code.meaning}' for code in Exit)}.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"crawler {VERSION}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", metavar="", help="Print the version.", callback=_print_version, is_eager=True)
]


@_app.callback()
def _root(
    ctx: typer.Context,
    settings: SettingOptions = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    version: _Version = False,
) -> None:
    ctx.obj = join(ctx.obj, settings=settings, verbose=verbose, quiet=quiet)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@_app.command("help", cls=Command, rich_help_panel="This project")
def _show_help(command: Annotated[str, typer.Argument(metavar="COMMAND", show_default=False)] = "") -> int:
    """Show the help of a command."""
    return main([command, "--help"] if command else ["--help"])


def main(arguments: Sequence[str] | None = None, *, preforked: Preforked = Preforked()) -> int:  # noqa: B008 - empty
    """Run one command (of `sys.argv` when None) and return its exit code. `preforked`: processes for its workers."""
    try:
        for one in sys.argv[1:] if arguments is None else arguments:
            if not os.path.lexists(one):  # the name of a file may be any bytes
                check_text(one)
        given = Invocation(preforked=preforked)
        code: int | None = _app(arguments, prog_name="crawler", standalone_mode=False, obj=given)
        sys.stdout.flush()  # of the help: a command does this itself
    except Exception as error:  # only errors in the arguments and of the help reach this: a command handles its own
        return ended_by(error)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the library's way to end when nobody reads the help
            return ended_by(end.__context__)
        raise
    return code or 0
