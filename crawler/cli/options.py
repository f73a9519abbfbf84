"""What every command has: the shared options, and the call they become."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from msgspec import Struct
from msgspec.structs import replace

from crawler.cli.exits import ended_by
from crawler.errors import UsageError
from crawler.runtime.startup import heed_interrupts, lasting_imports
from crawler.settings import load, parse_override

if TYPE_CHECKING:
    from crawler.app.config import Config


class Invocation(Struct, frozen=True):
    """How a command was called, apart from its own arguments."""

    overrides: Mapping[str, str] = {}
    verbose: bool = False
    quiet: bool = False


def option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    """An option whose default is not worth showing."""
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, **more)


def flag(*names: str, help: str) -> Any:
    """An option without a value."""
    return option(*names, help=help, metavar="")


_NAMED = "NAME=VALUE"
SettingOptions = Annotated[
    list[str] | None, option("-s", "--set", metavar=_NAMED, help="Set a setting; may be repeated.")
]
Verbose = Annotated[bool, flag("-v", "--verbose", help="Log more, and show tracebacks.")]
Quiet = Annotated[bool, flag("-q", "--quiet", help="Only warnings and errors.")]

ArgumentOptions = Annotated[
    list[str] | None,
    option("-a", "--argument", metavar=_NAMED, help="Argument for the spider; may be repeated."),
]
SpiderName = Annotated[str, typer.Option("--spider", metavar="NAME", help="Who reads the pages.")]
SeedUrls = Annotated[
    list[str] | None, typer.Argument(metavar="URL", help="Where to begin; - is stdin.", show_default=False)
]
SeedFiles = Annotated[list[str] | None, option("-f", "--file", metavar="FILE", help="URLs, one a line; - is stdin.")]
AppendTo = Annotated[str, option("-o", "--output", metavar="FILE", help="Append items to FILE; - is stdout.")]
Overwrite = Annotated[str, option("-O", "--overwrite", metavar="FILE", help="Write items to a new FILE.")]
Processes = Annotated[int, option(min=0, metavar="N", help="Worker processes; 0: PROCESSES, or one a core.")]
Concurrency = Annotated[int, option(min=0, metavar="N", help="Requests at once in a process; 0: CONCURRENT_REQUESTS.")]
Json = Annotated[bool, flag("--json", help="Print JSON on stdout.")]

_SHARED = {"settings": SettingOptions, "verbose": Verbose, "quiet": Quiet}
_DEFAULTS: Mapping[str, Any] = {"settings": None, "verbose": False, "quiet": False}


def with_shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function(invocation, …)` a command that also takes `-s`, `-v`, `-q`, and whose errors end as one line.

    The three may also stand before the command's name; where both are given, those behind it win.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def command(ctx: typer.Context, **arguments: Any) -> int:
        shared = {name: arguments.pop(name) for name in _SHARED}
        try:
            ctx.obj = join(ctx.obj, **shared)
            code = function(ctx.obj, **arguments)
            sys.stdout.flush()  # a reader that went away is noticed here, not after we have ended
        except (Exception, KeyboardInterrupt) as error:  # whatever it is, a person gets one line at most
            code = ended_by(error, verbose=shared["verbose"] or bool(ctx.obj and ctx.obj.verbose))
        return code or 0

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=keyword) for parameter in own),
        *(
            inspect.Parameter(name, keyword, default=_DEFAULTS[name], annotation=annotation)
            for name, annotation in _SHARED.items()
        ),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def join(invocation: Invocation | None, *, settings: list[str] | None, verbose: bool, quiet: bool) -> Invocation:
    """`call` with more options on top. Raises `ConfigError` for a setting that does not exist."""
    invocation = invocation or Invocation()
    overrides = {**invocation.overrides, **dict(map(parse_override, settings or []))}
    return replace(
        invocation, overrides=overrides, verbose=invocation.verbose or verbose, quiet=invocation.quiet or quiet
    )


def config_of(invocation: Invocation, **defaults: str) -> Config:
    """The settings in force in the working directory, with logging set up. Raises `ConfigError`.

    `defaults` count as `-s`, but for settings that the user has set on this command line.
    """
    with lasting_imports():
        from crawler.app.config import Config
        from crawler.runtime import logs
    heed_interrupts()

    if invocation.verbose or invocation.quiet:
        defaults["LOG_LEVEL"] = "DEBUG" if invocation.verbose else "WARNING"
    folder = Path.cwd()
    settings, origins = load(folder, overrides={**defaults, **invocation.overrides})
    logs.configure(settings.LOG_LEVEL, settings.LOG_FORMAT)
    return Config(settings, origins, folder)


def spider_arguments(texts: list[str] | None) -> dict[str, str]:
    """`-a NAME=VALUE` options as a mapping. Raises `UsageError`."""
    arguments = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip().isidentifier():
            raise UsageError(f"-a {text}: expected NAME=VALUE, for example -a category=books")
        arguments[name.strip()] = value
    return arguments
