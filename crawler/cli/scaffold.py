"""`startproject` and `genspider`: a project and spiders that run at once."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.options import Invocation, advise, config_of, flag, option
from crawler.errors import Exit, UsageError
from crawler.program import PROGRAM

if TYPE_CHECKING:
    from crawler.app.config import Config


def startproject(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the project.", show_default=False)],
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Default: NAME.", show_default=False)] = "",
) -> int:
    """Write a new project into an empty folder: settings, a place for spiders, a README.

    crawler startproject shop
    """
    from crawler.app.scaffold import start_project

    place = Path(folder or name)
    for file in start_project(name, place):
        print(file)
    advise(f"next: cd {shlex.quote(str(place))}; {PROGRAM} genspider NAME DOMAIN", quiet=invocation.quiet)
    return Exit.DONE


def genspider(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the spider.", show_default=False)] = "",
    site: Annotated[str, typer.Argument(metavar="DOMAIN|URL", help="Where it starts.", show_default=False)] = "",
    template: Annotated[
        str, option("-t", "--template", metavar="TEMPLATE", help="basic (default), or one of --list.")
    ] = "basic",
    list_: Annotated[bool, flag("-l", "--list", help="List the templates.")] = False,
    dump: Annotated[str, option("-d", "--dump", metavar="TEMPLATE", help="Print a template.")] = "",
    edit: Annotated[bool, flag("-e", "--edit", help="Open the new file with EDITOR.")] = False,
    force: Annotated[bool, flag("--force", help="Overwrite the file if it exists.")] = False,
) -> int:
    """Write a new spider into the folder spiders/ of this project.

    crawler genspider quotes quotes.example

    crawler genspider -t sitemap news https://news.example/sitemap.xml
    """
    from crawler.app import scaffold

    if list_ or dump:
        sys.stdout.write(
            scaffold.template(dump).read_text("utf-8") if dump else "".join(f"{one}\n" for one in scaffold.templates())
        )
        return Exit.DONE
    if not name or not site:
        raise UsageError(f"which spider? {PROGRAM} genspider NAME DOMAIN")
    editor = _editor() if edit else []
    config = config_of(invocation)
    file = scaffold.spider_file(name, _folder(config))
    _check_new(config, name, file, force=force)
    scaffold.new_spider(name, site, template, file, overwrite=force)
    print(file.relative_to(config.folder))
    return subprocess.call([*editor, str(file)]) if editor else Exit.DONE


def _editor() -> list[str]:
    given = os.environ.get("EDITOR", "")
    try:
        words = shlex.split(given)
    except ValueError as error:
        raise UsageError(f"EDITOR={given}: {error}") from None
    if not words:
        raise UsageError("--edit: set EDITOR to the program that edits files, as in EDITOR=vi")
    if not shutil.which(words[0]):
        raise UsageError(f"EDITOR={given}: {words[0]} is not a program that can be run")
    return words


def _folder(config: Config) -> Path:
    """Return where new spiders belong: the first folder of SPIDER_MODULES, or spiders/."""
    places = (config.folder / name.replace(".", "/") for name in config.settings.SPIDER_MODULES)
    inside = (place for place in places if place.is_dir() and place.is_relative_to(config.folder))
    return next(inside, config.folder / "spiders")


def _check_new(config: Config, name: str, file: Path, *, force: bool) -> None:
    """Raise `UsageError` if the project has a spider of that name, unless `force` overwrites that one's file."""
    from crawler.spiders.registry import find_spiders

    others = [one for one in find_spiders(config.folder, config.settings.SPIDER_MODULES).describe() if not one.included]
    for other in others:
        if other.name == name and not (force and Path(other.file) == file):
            overwrites = "; --force overwrites it" if Path(other.file) == file else ""
            raise UsageError(f"spider {name} exists in {other.file}{overwrites}")
