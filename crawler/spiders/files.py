"""Imports the modules of spiders. It records a module that cannot be imported, and imports the others."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from crawler.errors import ConfigError
from crawler.program import PROGRAM
from crawler.runtime.logs import USERS
from crawler.runtime.tracebacks import error_in_words

Broken = dict[str, ConfigError]  # file or place → why it could not be imported

_OURS = "__spider_folder__"  # marks the packages made here


def make_importable(folder: Path) -> None:
    """Let the spiders import the modules in `folder`."""
    importlib.invalidate_caches()  # files may be newer than the importer's cache
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: a file there must not shadow an installed module


def modules_of(folder: Path, place: str, broken: Broken) -> list[ModuleType]:
    """Return the modules of one place: a folder (relative to `folder`, slashes or dots), a file, a package or a
    module."""
    if is_file(place):
        module = _from_file(folder / place, broken)
        return [] if module is None else [module]
    for directory in (folder / place, folder / place.replace(".", "/")):
        if directory.is_dir():
            return list(_from_folder(folder, directory.resolve(), broken))
    return from_package(place, broken)


def is_file(place: str) -> bool:
    """Return whether a place of SPIDER_MODULES is one file, as for `runspider`."""
    return place.endswith(".py")


def from_package(name: str, broken: Broken) -> list[ModuleType]:
    """Return an installed module and, if it is a package, the modules inside it."""
    module = _imported(name, name, broken)
    if module is None:
        return []
    inside = [f"{name}.{part.name}" for part in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    parts = [_imported(part, part, broken) for part in inside if not part.rpartition(".")[2].startswith("_")]
    return [module, *filter(None, parts)]


def announced(point: EntryPoint, broken: Broken) -> object:
    """Return the module or class that an installed package announces; None if it cannot be imported."""
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        file = f"{point.value} (entry point {point.name})"
        broken[file] = _load_error(file, error)
        return None


def _from_folder(folder: Path, directory: Path, broken: Broken) -> Iterator[ModuleType]:
    """Yield the files of a folder as modules of a package with its name, so that they can import each other."""
    parts = directory.relative_to(folder).parts if directory.is_relative_to(folder) else directory.parts[-2:]
    for depth in range(1, len(parts) + 1):
        path = directory.parents[len(parts) - depth - 1] if depth < len(parts) else directory
        if not _make_package(".".join(parts[:depth]), path, broken):
            return
    for file in sorted(directory.glob("*.py")):
        if not file.name.startswith("_"):
            module = _imported(".".join((*parts, file.stem)), str(file), broken)
            if module is not None:
                yield module


def _from_file(file: Path, broken: Broken) -> ModuleType | None:
    """Return one file as a module of a name that no installed module has. It may import the files beside it."""
    make_importable(file.parent)
    name = f"{USERS}.{file.stem}"
    present = sys.modules.get(name)
    if present is not None and present.__file__ == str(file):
        return present
    spec = spec_from_file_location(name, file)
    assert spec is not None  # noqa: S101 - for the type checker: the ending is .py
    assert spec.loader is not None  # noqa: S101
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # as above
        del sys.modules[name]
        broken[str(file)] = _load_error(str(file), error)
        return None
    return module


def _make_package(name: str, directory: Path, broken: Broken) -> bool:
    """Make `name` the package of this folder, whatever else on the import path has that name.

    It replaces a package made here for another folder. Return False if the package cannot be made.
    """
    present = sys.modules.get(name)
    if present is not None and list(getattr(present, "__path__", ())) == [str(directory)]:
        return True
    if present is not None and getattr(present, "__file__", None) and not hasattr(present, _OURS):
        broken[str(directory)] = ConfigError(
            f"{directory}: the name {name} is taken by {present.__file__}; rename the folder"
        )
        return False
    for other in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[other]
    spec = _package_spec(name, directory)
    package = sys.modules[name] = module_from_spec(spec)
    setattr(package, _OURS, True)
    try:
        if spec.origin and spec.loader:
            spec.loader.exec_module(package)
    except (Exception, SystemExit) as error:  # as above
        del sys.modules[name]
        broken[str(spec.origin)] = _load_error(str(spec.origin), error)
        return False
    return True


def _package_spec(name: str, directory: Path) -> ModuleSpec:
    init = directory / "__init__.py"
    if init.is_file():
        spec = spec_from_file_location(name, init, submodule_search_locations=[str(directory)])
        if spec is not None:
            return spec
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(directory)]
    return spec


def _imported(name: str, file: str, broken: Broken) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # as above
        broken[file] = _load_error(file, error)
        return None


def _load_error(file: str, error: BaseException) -> ConfigError:
    wrong = ConfigError(f"{file}: {error_in_words(error, {file})}{_instead(error)}")
    wrong.__cause__ = error
    return wrong


def scrapys(module: ModuleType) -> Iterator[tuple[str, ConfigError]]:
    """Yield file and error for each spider of Scrapy that the module defines, where Scrapy is installed."""
    for cls in vars(module).values():
        if isinstance(cls, type) and cls.__module__ == module.__name__ and _is_scrapys(cls):
            file = str(module.__file__)
            yield file, ConfigError(f"{file}: {cls.__name__} is a spider of Scrapy{_INSTEAD}")


def _is_scrapys(cls: type) -> bool:
    return any(base.__module__.startswith("scrapy.spiders") for base in cls.__mro__)


_INSTEAD = f"; write `from crawler import Spider, Request`: `{PROGRAM} migrate .` says all that is to be changed"


def _instead(error: BaseException) -> str:
    """Say what to write instead of an import of Scrapy, where it is not installed."""
    is_scrapys = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "scrapy"
    return _INSTEAD if is_scrapys else ""
