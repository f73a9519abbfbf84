"""What Scrapy gives to a spider and to its components: `crawler.settings`, `crawler.stats`, `crawler.signals`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from crawler.settings import Settings
from crawler.spiders.signals import Signals
from crawler.spiders.stats import Stats

_FLAGS: Mapping[Any, bool] = {"True": True, "true": True, "False": False, "false": False, None: False}


class SettingsView(Mapping[str, Any]):
    """The settings that hold for one spider, read as in Scrapy: a name that nobody has set is None.

    They are those of the project with the spider's own on top, and the project's own names as well.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} settings>"  # the values may hold logins

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value; `default` if the setting is not set, or None."""
        value = self[name]
        return default if value is None else value

    def getbool(self, name: str, default: bool = False) -> bool:
        """Return the value as a bool: 1, "1", "true" and "True" are true. Raise `ValueError` for other words."""
        value = self.get(name, default)
        try:
            return bool(int(value))
        except (ValueError, TypeError):
            if isinstance(value, str | None) and value in _FLAGS:
                return _FLAGS[value]
        raise ValueError(f"setting {name}={value!r}: expected true or false")

    def getint(self, name: str, default: int = 0) -> int:
        """Return the value as an int. Raise `ValueError` if it is none."""
        return int(self.get(name, default))

    def getfloat(self, name: str, default: float = 0.0) -> float:
        """Return the value as a float. Raise `ValueError` if it is none."""
        return float(self.get(name, default))

    def getlist(self, name: str, default: Iterable[Any] | None = None) -> list[Any]:
        """Return the value as a list of its own; text is split at its commas."""
        value = self.get(name, default or ())
        return value.split(",") if isinstance(value, str) else list(value)

    def getdict(self, name: str, default: Mapping[Any, Any] | None = None) -> dict[Any, Any]:
        """Return the value as a dict of its own; text is read as JSON."""
        value = self.get(name, default or {})
        return dict(json.loads(value) if isinstance(value, str) else value)

    def getdictorlist(self, name: str, default: Any = None) -> dict[Any, Any] | list[Any]:
        """Return the value as a dict or a list of its own; text is read as JSON, or split at its commas."""
        value = self.get(name, default or {})
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = value.split(",")
        return dict(value) if isinstance(value, Mapping) else list(value)

    def getwithbase(self, name: str) -> dict[Any, Any]:
        """Return the dict `NAME_BASE` with `NAME` on top."""
        return {**self.getdict(f"{name}_BASE"), **self.getdict(name)}

    def copy_to_dict(self) -> dict[str, Any]:
        """Return all settings as a dict."""
        return dict(self._values)

    def copy(self) -> SettingsView:
        """Return the view itself: it never changes."""
        return self

    frozencopy = copy

    def set(self, name: str, value: Any, priority: Any = "project") -> None:
        """Raise `TypeError`: a crawl that runs on many machines cannot change its settings."""
        raise TypeError(
            f"settings cannot be changed once there is a spider ({name}); write custom_settings or settings.py"
        )

    def setdict(self, values: Mapping[str, Any], priority: Any = "project") -> None:
        """Set all of them, as `set` does."""
        for name, value in values.items():
            self.set(name, value, priority)

    update = setdict

    def setdefault(self, name: str, default: Any = None, priority: Any = "project") -> Any:
        """Set it, as `set` does, if it is not set. Return the value."""
        if self[name] is None:
            self.set(name, default, priority)
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)

    def __delitem__(self, name: str) -> None:
        self.set(name, None)


class SpidersOwn(SettingsView):
    """What `update_settings` of a spider gets: the project's settings, which it may change for this spider.

    `changes` is what it has set. Scrapy's priorities are not read: the command line and the environment always win.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.changes: dict[str, Any] = {}

    def set(self, name: str, value: Any, priority: Any = "project") -> None:
        """Set it for this spider."""
        self._values[name] = self.changes[name] = value

    def add_to_list(self, name: str, item: Any) -> None:
        """Add an item to a list, unless it is there."""
        present = self.getlist(name)
        if item not in present:
            self.set(name, [*present, item])

    def remove_from_list(self, name: str, item: Any) -> None:
        """Remove an item from a list. Raise `ValueError` if it is not there."""
        present = self.getlist(name)
        present.remove(item)
        self.set(name, present)


def view_of(settings: Settings) -> dict[str, Any]:
    """Return name → value of all settings that are in force, the user's own among them, for a `SettingsView`."""
    return {**settings.OWN, **{name: getattr(settings, name) for name in settings.__struct_fields__ if name != "OWN"}}


class Crawler:
    """One for each spider in each process: what the spider, its pipelines and middlewares find as `crawler`."""

    def __init__(self, spidercls: type[Any], settings: SettingsView | Mapping[str, Any] | None = None) -> None:
        """`settings`: in a test, those that the spider reads."""
        self.spidercls = spidercls
        self.settings = settings if isinstance(settings, SettingsView) else SettingsView(settings or {})
        self.stats = Stats()
        self.signals = Signals(self)
        self.spider: Any = None  # once it is made


def crawler_in_test(spidercls: type[Any], settings: Mapping[str, Any]) -> Crawler:
    """Return a `Crawler` with the default settings, the spider's own on top, and these above them."""
    own = SpidersOwn(view_of(Settings()))
    spidercls.update_settings(own)
    own.setdict(settings)
    return Crawler(spidercls, own.copy_to_dict())
