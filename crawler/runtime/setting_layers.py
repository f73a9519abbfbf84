"""Reads one layer of settings: the crawler's, Scrapy's, and the user's own, each mistake with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from crawler.errors import ConfigError
from crawler.parsing.feeds import plain_form
from crawler.parsing.scrapy_settings import Verdict, in_our_form, verdict
from crawler.parsing.setting_values import converted, plain
from crawler.runtime.credentials import MASK, is_secret_setting
from crawler.runtime.safe_text import masked, without_password
from crawler.runtime.settings_file import lines_of

Kinds = Mapping[str, Any]  # setting → its type

ENVIRONMENT = "environment"
_TEXTS = (ENVIRONMENT, "-s")  # layers whose values are text
_MAX_SAID = 100  # characters of a value in an error

_MAY_HOLD_LOGINS = frozenset(
    {"REDIS_URL", "EVENTS_URL", "FEEDS", "FEED_URI", "RABBITMQ_PASSWORD", "DEFAULT_REQUEST_HEADERS", "HTTP_AUTH", "OWN"}
)


class Layer(Struct):
    """What one layer sets: settings of the crawler, the user's own, where each comes from, and its mistakes."""

    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    origins: dict[str, str] = {}
    wrong: list[str] = []


def read_layer(layer: Mapping[str, Any], origin: str, kinds: Kinds, known: Collection[str] = ()) -> Layer:
    """Read one layer, name → value. `kinds` has the crawler's settings and their types; `known` are names of the user's
    own, which need no check."""
    read = Layer()
    translated: dict[str, Mapping[str, Any]] = {}
    lines = _lines(origin)
    for name, value in layer.items():
        place = lines.get(name, origin)
        try:
            if name in kinds:
                read.values[name] = _convert(name, _in_our_form(name, value), place, kinds)
            elif found := _of_scrapy(name, value, place):
                translated[name] = found.settings
                with suppress(ValueError):  # what changes nothing need not travel
                    read.own[name] = plain(value)
            else:
                read.own[name] = _own(name, value, place, kinds, known)
            read.origins[name] = origin
        except ConfigError as error:
            read.wrong.append(str(error))
    for name, settings in translated.items():
        _translate(read, settings, f"{origin}, as {name}", kinds)
    return read


def _in_our_form(name: str, value: Any) -> Any:
    return plain_form(name, value) if name.startswith("FEED") else in_our_form(name, value)


def _of_scrapy(name: str, value: Any, place: str) -> Verdict | None:
    """Return what becomes of a setting of Scrapy's; None if it is none. Raise `ConfigError` if it would be missed."""
    found = verdict(name, value)
    if found and found.kind == "unsupported":
        prefix = "CRAWLER_" if place == ENVIRONMENT else ""
        raise ConfigError(f"{prefix}{_said(name, value)} is a setting of Scrapy (from {place}): {found.words}")
    return found


def _translate(read: Layer, settings: Mapping[str, Any], origin: str, kinds: Kinds) -> None:
    """Add our settings that stand for one of Scrapy's. Of two numbers for one setting the smaller counts."""
    for name, value in settings.items():
        try:
            wanted = _convert(name, value, origin, kinds)
        except ConfigError as error:
            read.wrong.append(str(error))
            continue
        both = isinstance(wanted, (int, float)) and name in read.values
        read.values[name] = min(wanted, read.values[name]) if both else wanted
        read.origins[name] = origin


def _own(name: str, value: Any, place: str, kinds: Kinds, known: Collection[str]) -> Any:
    """Return the value of a setting of the user's own. Raise `ConfigError` for a name that must be misspelt."""
    if name not in known:
        _check_name(name, value, place, kinds)
    try:
        return plain(value)
    except ValueError as error:
        raise ConfigError(f"{name} (from {place}): {error}") from None


def _check_name(name: str, value: Any, place: str, kinds: Kinds) -> None:
    """Raise `ConfigError` for an unknown name that looks like a setting's name misspelt, and for any name in lower
    case.

    In a file, a name does not count as misspelt if the similar setting could not have its value, such as USER_AGENTS
    with a list. On the command line and in the environment every value is text, so there less similar names count as
    well.
    """
    is_text = place in _TEXTS
    near = difflib.get_close_matches(name.upper(), kinds, n=1, cutoff=0.75 if is_text else 0.9)
    may_be_own = re.fullmatch(r"[A-Z][A-Z0-9_]*", name) is not None
    if may_be_own and not (near and (is_text or _fits(value, kinds[near[0]]))):
        return
    near = near or difflib.get_close_matches(name.upper(), kinds, n=1, cutoff=0.6)
    prefix = "CRAWLER_" if place == ENVIRONMENT else ""
    hint = f"did you mean {prefix}{near[0]}?" if near else "a name has capitals, digits and _"
    force = f' For a setting of your own write OWN = {{"{name}": …}} in settings.py' if may_be_own else ""
    raise ConfigError(f"unknown setting {prefix}{name} (from {place}); {hint}{force}")


def _fits(value: Any, kind: Any) -> bool:
    try:
        converted(value, kind)
    except ValueError:
        return False
    return True


def _lines(origin: str) -> Mapping[str, str]:
    """Return name → file:line for a layer that is a file."""
    return {name: f"{origin}:{line}" for name, line in lines_of(Path(origin)).items()} if origin[-3:] == ".py" else {}


def _said(name: str, value: Any) -> str:
    """Return `NAME=value` for an error: short, and without credentials."""
    if is_secret_setting(name):
        return f"{name}={MASK}"
    text = without_password(repr(masked(value)))
    return f"{name}={text if len(text) <= _MAX_SAID else f'{text[:_MAX_SAID]}…'}"


def _convert(name: str, value: Any, place: str, kinds: Kinds) -> Any:
    """Convert `value` to the setting's type; text follows the syntax of the command line."""
    try:
        return converted(value, kinds[name])
    except ValueError as error:
        shown = MASK if name in _MAY_HOLD_LOGINS else repr(value)
        raise ConfigError(f"setting {name}={shown} (from {place}): {error}") from None
