"""Finds and checks spiders at start, not at page 10,000.

Searches `spiders/` in the working directory, the `SPIDER_MODULES`, installed packages with entry points of the
group `crawler.spiders`, and the spiders included in the crawler.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from crawler.errors import ConfigError, UsageError
from crawler.runtime.credentials import hidden, is_secret
from crawler.runtime.standard_output import kept_from_users
from crawler.settings import Settings, override, own_settings, problems_for_one
from crawler.spiders.base import Spider
from crawler.spiders.checks import attribute_problems, check_arguments, misspelt, problems, unknown_callbacks
from crawler.spiders.context import Crawler, SettingsView, SpidersOwn, view_of
from crawler.spiders.failures import config_error
from crawler.spiders.files import Broken, announced, from_package, is_file, make_importable, modules_of, scrapys
from crawler.spiders.items import shown_value

GROUP = "crawler.spiders"
_BUILT_IN = "crawler.spiders.builtin"


class Description(Struct, frozen=True):
    """One line of `crawler list`."""

    name: str
    file: str
    summary: str  # first line of the class's docstring
    included: bool = False  # it comes with the crawler


class Registry:
    """The usable spiders, by name. `broken` holds the files that cannot be used, and why."""

    def __init__(self, settings: Settings | None = None, explicit: Collection[str] = ()) -> None:
        """`settings` is what the spiders read; `explicit` names those that win over a spider's own."""
        self.broken: Broken = {}
        self._settings = settings or Settings()
        self._explicit = explicit
        self._spiders: dict[str, type[Spider]] = {}
        self._refused: dict[str, ConfigError] = {}  # name → why no spider of that name can be used

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._spiders)

    def describe(self) -> list[Description]:
        """All spiders, sorted by name."""
        spiders = (self._spiders[name] for name in self.names())
        return [Description(cls.name, _file(cls), _summary(cls), _is_included(cls)) for cls in spiders]

    def get(self, name: str) -> type[Spider]:
        """Return the class. Raise `UsageError` with similar names and broken files, `ConfigError` if it is broken."""
        if name in self._refused:
            raise self._refused[name]
        if name not in self._spiders:
            raise UsageError(self._unknown(name))
        return self._spiders[name]

    def unknown(self, names: Iterable[str]) -> Iterator[str]:
        """Yield one sentence for each of the names that no spider has. Yield nothing while a file is broken, because
        the spider may be in there."""
        if not self.broken:
            yield from (self._unknown(name) for name in names if name not in self._spiders)

    @kept_from_users()
    def make(self, name: str, arguments: Mapping[str, str] | None = None) -> Spider:
        """Return a spider with its `-a` arguments. Raise like `get`, and `ConfigError` for wrong arguments."""
        cls = self.get(name)
        arguments = arguments or {}
        check_arguments(cls, arguments)
        own = self._own(cls)
        crawler = Crawler(cls, self._view(name, own))
        try:
            made = cls.from_crawler(crawler, **arguments)
            if not isinstance(made, Spider):
                raise TypeError(f"from_crawler gave {shown_value(made)}; return the spider")
            wrong = list(attribute_problems(made))
        except (Exception, SystemExit) as error:  # the spider author's code may raise anything
            shown = {key: hidden(value) if is_secret(key) else value for key, value in arguments.items()}
            given = " ".join(f"-a {key}={value}" for key, value in shown.items()) or "any argument"
            raise config_error(f"spider {name} with {given}", cls, "__init__", error) from error
        _check(cls, wrong)
        if made.custom_settings is not cls.custom_settings:  # it set them itself
            crawler.settings = self._view(name, made.custom_settings)
        elif own != made.custom_settings:
            vars(made)["custom_settings"] = own
        made._set_crawler(crawler)
        crawler.spider = made
        return made

    def _own(self, cls: type[Spider]) -> dict[str, Any]:
        """Return what `update_settings` of the class sets: its `custom_settings`, in most."""
        own = SpidersOwn(view_of(self._settings))
        try:
            cls.update_settings(own)
        except (Exception, SystemExit) as error:  # as above
            raise config_error(f"spider {cls.name}", cls, "update_settings", error) from error
        _check(cls, problems_for_one(own.changes, "update_settings"))
        return own.changes

    def _view(self, name: str, custom_settings: Mapping[str, Any] | None) -> SettingsView:
        own = own_settings(self._settings, name, custom_settings)
        return SettingsView(view_of(override(self._settings, own, f"spider {name}", keep=self._explicit)))

    def add(self, cls: type[Spider]) -> None:
        """Check the class and take it in; when it may not be used, note why not."""
        source = _source(cls)
        wrong = [*problems(cls), *misspelt(cls, source), *unknown_callbacks(cls, source)]
        if wrong:
            self._refuse(cls, ConfigError(f"{_file(cls)}: spider {cls.__name__}: {'; '.join(wrong)}"))
        elif cls.name in self._refused:
            self._refuse(cls, self._refused[cls.name])
        elif self._spiders.setdefault(cls.name, cls) is not cls:
            # neither is used: crawling with the wrong one is worse than not crawling
            self._refuse(cls, _clash(self._spiders.pop(cls.name), cls))

    def add_built_in(self, cls: type[Spider]) -> None:
        """Take it in, unless a spider of one's own has its name, be it a broken one."""
        if cls.name not in self._spiders and cls.name not in self._refused:
            self.add(cls)

    def _refuse(self, cls: type[Spider], why: ConfigError) -> None:
        self.broken.setdefault(_file(cls), why)
        if isinstance(cls.name, str):  # by another name nobody can ask for it
            self._refused.setdefault(cls.name, why)

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._spiders, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(self.names()) or 'none'}"
        broken = "".join(f"\n  not loaded: {error}" for error in self.broken.values())
        return f"no spider is named {name!r}; {hint}{broken}"


@kept_from_users()
def find_spiders(
    folder: Path,
    modules: Sequence[str] = ("spiders",),
    settings: Settings | None = None,
    explicit: Collection[str] = (),
) -> Registry:
    """Return all spiders for a crawl in `folder`; `modules` are packages, modules, or folders relative to it; or
    one file, and then the folder spiders/ is not searched.

    `settings` and `explicit` are those of `Registry`. Never raises for a broken file: see `Registry.broken`. A user's
    spider may replace a built-in one.
    """
    registry = Registry(settings, explicit)
    folder = folder.resolve()
    make_importable(folder)
    default = ("spiders",) if (folder / "spiders").is_dir() and not any(map(is_file, modules)) else ()
    sources = dict.fromkeys((*default, *(source for source in modules if source != "spiders")))
    found = [module for source in sources for module in modules_of(folder, source, registry.broken)]
    # After all imports, because a class without a name is a base class if another file has a subclass of it.
    for module in found:
        _add_all(registry, _classes(module))
        registry.broken |= dict(scrapys(module))
    for point in entry_points(group=GROUP):
        thing = announced(point, registry.broken)
        _add_all(registry, _classes(thing) if isinstance(thing, ModuleType) else [thing])
    for module in from_package(_BUILT_IN, registry.broken):
        for cls in _classes(module):
            registry.add_built_in(cls)
    return registry


def _add_all(registry: Registry, classes: Iterable[object]) -> None:
    for cls in classes:
        if isinstance(cls, type) and issubclass(cls, Spider):
            registry.add(cls)


def _classes(module: ModuleType) -> list[type[Spider]]:
    """Return the spiders that the module defines, without imported ones and base classes."""
    found = dict.fromkeys(value for value in vars(module).values() if isinstance(value, type))
    spiders = [cls for cls in found if issubclass(cls, Spider) and cls.__module__ == module.__name__]
    return [cls for cls in spiders if not _is_base(cls)]


def _is_base(cls: type[Spider]) -> bool:
    return not cls.name and (cls.__name__.startswith("_") or bool(cls.__subclasses__()))


def _check(cls: type[Spider], problems: Iterable[str]) -> None:
    """Raise `ConfigError` if there are any."""
    if wrong := "; ".join(problems):
        raise ConfigError(f"{_file(cls)}: spider {cls.name}: {wrong}")


def _clash(first: type[Spider], second: type[Spider]) -> ConfigError:
    return ConfigError(
        f"two spiders are named {first.name}: {first.__name__} in {_file(first)} "
        f"and {second.__name__} in {_file(second)}; rename one of them"
    )


def _file(cls: type[Spider]) -> str:
    return str(getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__)


def _source(cls: type[Spider]) -> str:
    try:
        return inspect.getsource(sys.modules[cls.__module__])
    except (OSError, TypeError, KeyError):
        return ""  # installed without source: nothing to check


def _is_included(cls: type[Spider]) -> bool:
    return cls.__module__.startswith(f"{_BUILT_IN}.")


def _summary(cls: type[Spider]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
