"""Writes new projects and spiders from the templates beside this file. It never overwrites a file unless told to."""

from __future__ import annotations

import json
import keyword
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from crawler.errors import OutputError, UsageError
from crawler.parsing.url import BadUrl, canonical, host_of, origin_of

_TEMPLATES = files(__package__) / "templates"
_ENDING = ".txt"  # so that no tool takes a template for code
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}").fullmatch
_SPIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}").fullmatch
_RESERVED = frozenset({"crawler", "settings", "spiders", "tests"})  # modules that a project has or needs


def start_project(name: str, folder: Path) -> list[Path]:
    """Write a project into a new or empty folder; return the files. Raise `UsageError` and `OutputError`."""
    if not _NAME(name):
        raise UsageError(f"{name!r} is no name for a project: letters, digits, _ and -, a letter first")
    if keyword.iskeyword(name) or name in _RESERVED or name in sys.stdlib_module_names:
        raise UsageError(f"{name} is the name of a Python module or word; choose another one")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; name another one: startproject {name} DIR")
    place = _TEMPLATES / "project"
    return [_write(folder / path, _filled(template, {"name": name})) for path, template in _all(place)]


def templates() -> list[str]:
    """Return the names of the templates of spiders, sorted."""
    return sorted(one.name.partition(".")[0] for one in (_TEMPLATES / "spiders").iterdir())


def template(name: str) -> Traversable:
    """Return the template of that name. Raise `UsageError` if there is none."""
    if name not in templates():
        raise UsageError(f"there is no template {name!r}; there are: {', '.join(templates())}")
    return _TEMPLATES / "spiders" / f"{name}.py{_ENDING}"


def spider_file(name: str, folder: Path) -> Path:
    """Return the file of a new spider of that name. Raise `UsageError` if the name cannot be one."""
    if not _SPIDER_NAME(name):
        raise UsageError(f"{name!r} is no name for a spider: letters, digits, _, - and ., a letter or digit first")
    return folder / f"{_module(name)}.py"


def new_spider(name: str, site: str, template_name: str, file: Path, *, overwrite: bool = False) -> Path:
    """Write the file of a spider for a domain or URL. Raise `UsageError` and `OutputError`."""
    text = _filled(template(template_name), _words(name, site))
    return _write(file, text, mode="w" if overwrite else "x")


def _words(name: str, site: str) -> Mapping[str, str]:
    """Return what a template's words stand for. Text from outside is quoted as Python."""
    try:
        url = canonical(site if "://" in site else f"https://{site}")
    except BadUrl as error:
        raise UsageError(f"{error}; give a domain or a URL") from None
    domain = host_of(url).strip("[]")
    sitemap = url if url.endswith((".xml", ".xml.gz", "/robots.txt")) else f"{origin_of(url)}/sitemap.xml"
    quoted = {"quoted": name, "allowed": domain, "url": url, "sitemap": sitemap}
    plain = {"name": name, "cls": _class(name), "domain": domain, "shown": url}
    return plain | {word: json.dumps(value) for word, value in quoted.items()}


def _module(name: str) -> str:
    module = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"{module}_" if keyword.iskeyword(module) else module


def _class(name: str) -> str:
    words = "".join(word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", name))
    return f"{'' if words[:1].isalpha() else 'The'}{words}Spider"


def _all(place: Traversable, within: str = "") -> list[tuple[str, Traversable]]:
    """Return path and template of each file in the folder, folders included."""
    found = []
    for one in sorted(place.iterdir(), key=lambda one: one.name):
        path = f"{within}{one.name.removesuffix(_ENDING)}"
        found += [(path, one)] if one.is_file() else _all(one, f"{path}/")
    return found


def _filled(template: Traversable, words: Mapping[str, str]) -> str:
    return Template(template.read_text("utf-8")).substitute(words)


def _write(file: Path, text: str, mode: str = "x") -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open(mode, encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists; --force overwrites it") from None
    except OSError as error:
        raise OutputError(f"{file}: {error.strerror}") from None
    return file
