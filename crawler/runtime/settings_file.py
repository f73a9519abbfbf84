"""Finds and runs a project's settings file, be it written for the crawler or for Scrapy."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from crawler.errors import ConfigError
from crawler.runtime.standard_output import kept_from_users
from crawler.runtime.tracebacks import error_in_words

SCRAPY_CFG = "scrapy.cfg"


def settings_file(folder: Path) -> Path:
    """Return the settings file of a folder: its settings.py, which may be missing, or the one that scrapy.cfg names.

    Raise `ConfigError` if the scrapy.cfg leads nowhere.
    """
    own = folder / "settings.py"
    _check_not_inside(folder)
    if own.is_file() or not (folder / SCRAPY_CFG).is_file():
        return own
    module, found = _named(folder)
    package = found.with_suffix("") / "__init__.py"
    if not module or not (found.is_file() or package.is_file()):
        raise ConfigError(f"{folder / SCRAPY_CFG}: {_leads_nowhere(module, found)}")
    return found if found.is_file() else package


def _named(folder: Path) -> tuple[str, Path]:
    """Return the module of settings that the folder's scrapy.cfg names, and its file."""
    module = settings_module(folder / SCRAPY_CFG)
    return module, folder.joinpath(*module.split(".")).with_suffix(".py")


def _check_not_inside(folder: Path) -> None:
    """Raise `ConfigError` in a folder of a Scrapy project's package: its imports work in the project's folder only."""
    root = next((one for one in folder.parents if (one / SCRAPY_CFG).is_file()), None)
    if root and not (folder / SCRAPY_CFG).is_file():
        module, file = _named(root)
        if module and file.is_file() and folder.is_relative_to(file.parent) and file.parent != root:
            raise ConfigError(f"{folder} is inside the Scrapy project {root}: run the command there")


def settings_module(file: Path) -> str:
    """Return the module that a scrapy.cfg names as the default settings; empty without one.

    Raise `ConfigError` if the file cannot be read.
    """
    import configparser  # most projects have no such file, and every command would pay for it

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8", errors="replace"))
    except configparser.Error:
        return ""
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    return parser.get("settings", "default", fallback="").strip()


def _leads_nowhere(module: str, file: Path) -> str:
    if not module:
        return "it names no settings; write [settings] and, below it, default = PROJECT.settings"
    return f"it names the settings {module}, but there is no {file}; mend the line default =, or write settings.py here"


def run(file: Path, folder: Path) -> dict[str, Any]:
    """Return what the file defines; nothing if it is missing. A class in it becomes its import path.

    A file below `folder` runs as a module of its package, so that it may import its neighbours. Raise `ConfigError`
    with the line if the file fails.
    """
    if not file.is_file():
        return {}
    try:
        with kept_from_users():
            names = _run(file, folder)
    except (Exception, SystemExit) as error:
        # the user's file may fail in any way; the user needs its name and line, not our traceback
        raise ConfigError(f"{file}: {error_in_words(error, {str(file)})}") from error
    return {name: _with_paths(value) for name, value in names.items() if not isinstance(value, ModuleType)}


def _run(file: Path, folder: Path) -> dict[str, Any]:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: a file there must not shadow an installed module
    if file.parent == folder or not file.is_relative_to(folder):
        return runpy.run_path(str(file))
    parts = file.relative_to(folder).with_suffix("").parts
    names = runpy.run_module(".".join(part for part in parts if part != "__init__"))
    if (taken := Path(str(names["__file__"])).resolve()) != file.resolve():
        raise ImportError(f"the name {parts[0]} is taken by {taken}; rename the folder")
    return names


def _with_paths(value: Any) -> Any:
    """Return the value with the import path for each class in it, as settings of Scrapy may name a class either way."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value) is dict:
        return {_with_paths(key): _with_paths(one) for key, one in value.items()}
    return type(value)(map(_with_paths, value)) if type(value) in (list, tuple) else value


def lines_of(file: Path) -> Mapping[str, int]:
    """Return name → the line that sets it last, for all that the file itself sets at its top level."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    found: dict[str, int] = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = node.lineno
    return found
