"""What every command has: the shared options, and the `Invocation` made of them."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core
from msgspec import Struct
from msgspec.structs import replace

from crawler.cli.exits import ended_by
from crawler.errors import UsageError
from crawler.export.formats import format_of
from crawler.export.target import Target
from crawler.program import as_run
from crawler.runtime.safe_text import without_password
from crawler.runtime.startup import heed_interrupts, lasting_imports
from crawler.settings import MAX_PROCESSES, load, parse_override
from crawler.worker.process import Preforked

if TYPE_CHECKING:
    from crawler.app.config import Config


class Invocation(Struct, frozen=True):
    """The shared options of one call of a command, and the worker processes that were forked for it."""

    overrides: Mapping[str, str] = {}
    verbose: bool = False
    quiet: bool = False
    preforked: Preforked = Preforked()


def option(*names: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    """Return an option whose default the help does not show."""
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, **more)


def flag(*names: str, help: str) -> Any:
    """Return an option without a value."""
    return option(*names, help=help, metavar="")


_NAMED = "NAME=VALUE"
SettingOptions = Annotated[
    list[str] | None, option("-s", "--set", metavar=_NAMED, help="Set a setting; may be repeated.")
]
Verbose = Annotated[bool, flag("-v", "--verbose", help="Log more, and show tracebacks.")]
Quiet = Annotated[bool, flag("-q", "--quiet", help="Print only warnings and errors.")]

ArgumentOptions = Annotated[
    list[str] | None,
    option("-a", "--argument", metavar=_NAMED, help="Argument for the spider; may be repeated."),
]
SpiderName = Annotated[
    str, option("--spider", metavar="NAME", help="The spider that reads the pages; default: the job's, or site.")
]
Order = Annotated[
    Literal["fifo", "lifo"] | None,
    option("--order", help="Breadth first (fifo, the default) or depth first (lifo); set when the job is created."),
]
SeedUrls = Annotated[list[str] | None, typer.Argument(metavar="URL", help="Seed URL; - is stdin.", show_default=False)]
SeedFiles = Annotated[
    list[str] | None, option("-f", "--file", metavar="FILE", help="File of URLs, one per line; - is stdin.")
]


def check_text(argument: str) -> None:
    """Raise `UsageError` for an argument that is not UTF-8: nothing could store it or send it."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UsageError(f"the argument {os.fsencode(argument)!r} is not UTF-8") from None


def _of_outputs(names: list[str] | None) -> list[str] | None:
    """Return the names of the files, or the URLs, for the items. Raise `UsageError` if there is no output with the
    file's ending or the URL's scheme."""
    for name in names or ():
        check_text(name)
        format_of(name)
    return names


_Items = functools.partial(option, metavar="FILE", callback=_of_outputs)
AppendTo = Annotated[
    list[str] | None,
    _Items(
        "-o",
        "--output",
        help="Append items to FILE (.jsonl, .csv, .parquet, .sqlite …), to stdout (-), a database, an object store, "
        "a queue or a class of yours (docs/items.md); may be repeated.",
    ),
]
Overwrite = Annotated[
    list[str] | None,
    _Items("-O", "--overwrite", help="Write items to a new FILE, which replaces FILE at the end; may be repeated."),
]
Append = Annotated[
    bool, flag("--append", help="With -o: add to FILE although it holds another crawl's items or lacks earlier ones.")
]
Processes = Annotated[
    int, option(min=0, max=MAX_PROCESSES, metavar="N", help="Worker processes; 0: PROCESSES, or one per core.")
]
Concurrency = Annotated[int, option(min=0, metavar="N", help="Requests at once per process; 0: CONCURRENT_REQUESTS.")]
Json = Annotated[bool, flag("--json", help="Print JSON on stdout.")]
Limit = Annotated[
    int | None,
    option(
        "--limit", min=1, metavar="PAGES", help="Close the job once so many pages are read (CLOSESPIDER_PAGECOUNT)."
    ),
]
WarcDir = Annotated[
    str, option("--warc", metavar="DIR", help="Also write the pages themselves into DIR, as WARC files (WARC_DIR).")
]
Strict = Annotated[
    bool, flag("--strict", help="End with exit code 3 if something was lost that nobody asked to leave out (STRICT).")
]

_SHARED = {"settings": SettingOptions, "verbose": Verbose, "quiet": Quiet}
_DEFAULTS: Mapping[str, Any] = {"settings": None, "verbose": False, "quiet": False}


class _Readable:
    """Help without the types of Python, such as `<list[str]>`."""

    params: list[Any]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, those without a metavar of their own as the library shows them."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for one in params:
            if isinstance(one, typer.core.TyperArgument):
                one.display_type_rich = lambda ctx: ""  # type: ignore[method-assign]
            elif one.name in ("help", "install_completion", "show_completion"):
                one.metavar = ""
        return list(params)

    def get_usage(self, ctx: Any) -> str:
        """Return the line that begins with "Usage:"."""
        return as_run(super().get_usage(ctx))  # type: ignore[misc]


class Group(_Readable, typer.core.TyperGroup):
    """The whole program."""


class Command(_Readable, typer.core.TyperCommand):
    """A command that refuses an option without a value, and one given twice when it can use only one of the values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raise `UsageError` for a repeated option, and for an empty value."""
        values, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for one in given:
            value = values.get(one.name)
            if one.opts[0].startswith("-") and (value == "" or (isinstance(value, list) and "" in value)):
                name = one.opts[0]
                raise UsageError(f"{name}: the value is empty, as of an unset variable; give one, or leave {name} out")
            takes_one = not (one.multiple or one.nargs == -1 or getattr(one, "is_flag", False))
            if takes_one and given.count(one) > 1:
                raise UsageError(f"{one.opts[0]} is given {given.count(one)} times; give it once")
        return super().parse_args(ctx, args)


def with_shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make `function(invocation, …)` a command that also takes `-s`, `-v`, `-q`, and prints an error as one line.

    The three options may also precede the command's name; where both are given, those after it win.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def command(ctx: typer.Context, **arguments: Any) -> int:
        shared = {name: arguments.pop(name) for name in _SHARED}
        try:
            ctx.obj = join(ctx.obj, **shared)
            code = function(ctx.obj, **arguments)
            sys.stdout.flush()  # notice a closed pipe here, not when the interpreter exits
        except (Exception, KeyboardInterrupt) as error:  # whatever it is, the user sees one line
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
    """Return `invocation` with more options on top. Raise `ConfigError` for an unknown setting."""
    invocation = invocation or Invocation()
    overrides = {**invocation.overrides, **dict(map(parse_override, settings or []))}
    return replace(
        invocation, overrides=overrides, verbose=invocation.verbose or verbose, quiet=invocation.quiet or quiet
    )


def config_of(invocation: Invocation, *, strict: bool = False, **defaults: str) -> Config:
    """Return the settings in force in the working directory, and configure logging. Raise `ConfigError`.

    `defaults` count as `-s`, except for settings that the user has set on this command line; `strict` sets STRICT.
    """
    with lasting_imports():
        from crawler.app.config import Config
        from crawler.runtime import logs
    heed_interrupts()

    if invocation.verbose or invocation.quiet:
        defaults["LOG_LEVEL"] = "DEBUG" if invocation.verbose else "WARNING"
    if strict:
        defaults["STRICT"] = "true"
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the working directory was removed; change into the project's folder") from None
    settings, origins = load(folder, overrides={**defaults, **invocation.overrides})
    logs.configure(settings.LOG_LEVEL, settings.LOG_RENDERER, logs.log_file(settings.LOG_FILE))
    return Config(settings, origins, folder, preforked=invocation.preforked)


def advise(text: str, *, quiet: bool) -> None:
    """Print to stderr what the user may want to know or do next, unless -q is given."""
    if not quiet:
        print(text, file=sys.stderr)


def archiving(warc: str) -> dict[str, str]:
    """Return `--warc` as the setting that it stands for."""
    return {"WARC_DIR": warc} if warc else {}


def targets_of(output: Sequence[str] | None, overwrite: Sequence[str] | None, *, append: bool) -> list[Target]:
    """Return what `-o`, `-O` and `--append` name. Raise `UsageError` for an output that is named twice."""
    if append and overwrite and not output:
        raise UsageError("--append goes with -o: -O replaces the file")
    added = [Target(name, append=append) for name in output or ()]
    found = [*added, *(Target(name, overwrite=True) for name in overwrite or ())]
    for name, times in Counter(target.name for target in found).items():
        if times > 1:
            raise UsageError(f"{without_password(name)} is named {times} times; name each output once")
    return found


def spider_arguments(texts: list[str] | None) -> dict[str, str]:
    """Return the `-a NAME=VALUE` options as a mapping. Raise `UsageError` for a malformed one."""
    arguments = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip().isidentifier():
            raise UsageError(f"-a {text}: expected NAME=VALUE, for example -a category=books")
        if name.strip() in arguments:
            raise UsageError(f"-a {name.strip()}=… is given twice; give it once")
        arguments[name.strip()] = value
    return arguments
