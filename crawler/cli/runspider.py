"""`runspider`: crawl with the spider of one file, without a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from crawler.cli.crawl import crawl
from crawler.cli.options import (
    Append,
    AppendTo,
    ArgumentOptions,
    Concurrency,
    Invocation,
    Overwrite,
    Strict,
    config_of,
    flag,
    option,
)
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.app.config import Config

_MEMORY = "memory://"


def runspider(
    invocation: Invocation,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file with a spider.", show_default=False)],
    spider: Annotated[str, option("--spider", metavar="NAME", help="Which spider, if the file has several.")] = "",
    arguments: ArgumentOptions = None,
    output: AppendTo = None,
    overwrite: Overwrite = None,
    append: Append = False,
    concurrency: Concurrency = 0,
    strict: Strict = False,
    json_: Annotated[bool, flag("--json", help="Print the final figures as JSON on stdout.")] = False,
) -> int:
    """Crawl with the spider of one file, in any folder. The items go to a file, by default as JSON lines.

    It runs in this process and keeps nothing in a queue server, so each call begins anew; `crawl` resumes, and uses all
    cores. With REDIS_URL it is a `crawl`.

    crawler runspider quotes.py -O quotes.jsonl
    """
    path = _checked(Path(file))
    overrides = {**invocation.overrides, "SPIDER_MODULES": json.dumps([str(path)])}
    config = config_of(replace(invocation, overrides=overrides))
    if not config.settings.REDIS_URL:
        overrides["REDIS_URL"] = _MEMORY
    return crawl(
        replace(invocation, overrides=overrides),
        spider=_spider(config, path, spider),
        arguments=arguments,
        output=output,
        overwrite=overwrite,
        append=append,
        fresh=overrides.get("REDIS_URL") == _MEMORY,
        concurrency=concurrency,
        strict=strict,
        json_=json_,
    )


def _checked(file: Path) -> Path:
    if file.suffix != ".py":
        raise UsageError(f"{file}: not a Python file; its name must end in .py")
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file")
    return file.resolve()


def _spider(config: Config, file: Path, wanted: str) -> str:
    """Return the name of the spider. Raise `UsageError` if it is not clear which, `ConfigError` if it is broken."""
    from crawler.app.spiders import spiders_of

    registry = spiders_of(config)
    if error := registry.broken.get(str(file)):
        raise error
    names = [one.name for one in registry.describe() if one.file == str(file)]
    if not names:
        raise UsageError(f"{file}: there is no spider in it; a spider is a subclass of crawler.Spider with a name")
    if (wanted and wanted not in names) or (not wanted and len(names) > 1):
        raise UsageError(f"{file} has {' and '.join(names)}: --spider {' or --spider '.join(names)}")
    return wanted or names[0]
