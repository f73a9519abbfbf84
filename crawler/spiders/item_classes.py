"""The classes of items, found by their name alone, and the fields that they declare."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import msgspec

from crawler.spiders.base import Spider
from crawler.spiders.items import declared, is_item_class


def find_class(spider: type[Spider], name: str, folder: Path) -> type | None:
    """Return the class of that name that the modules of a spider define or import, or else one of any module in
    `folder` that is loaded. None if there is none, or several."""
    own = [sys.modules[cls.__module__] for cls in spider.__mro__ if cls.__module__ in sys.modules]
    return _only(_named(own, name)) or _only(_named(_modules_in(folder), name))


def typed_fields(cls: type) -> dict[str, Any]:
    """Return the fields of an item's class, in their order and as they are called in its JSON, each with its type;
    `Any` where that is not known."""
    if issubclass(cls, Mapping):
        return dict.fromkeys(cls.fields, Any)  # type: ignore[attr-defined]
    types = _hints(cls)
    if not issubclass(cls, msgspec.Struct):
        return {name: types.get(name, Any) for name in declared(cls)}
    tag = cls.__struct_config__
    tagged = {} if tag.tag is None else {str(tag.tag_field): type(tag.tag)}
    names = zip(cls.__struct_encode_fields__, cls.__struct_fields__, strict=True)
    return tagged | {name: types.get(field, Any) for name, field in names}


def _hints(cls: type) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except Exception:
        return {}


def _named(modules: Iterable[ModuleType], name: str) -> Iterator[type]:
    for module in modules:
        found = vars(module).get(name)
        if isinstance(found, type) and found.__name__ == name and is_item_class(found):
            yield found


def _only(found: Iterable[type]) -> type | None:
    several = set(found)
    return several.pop() if len(several) == 1 else None


def _modules_in(folder: Path) -> Iterator[ModuleType]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(folder) and "site-packages" not in file:
            yield module
