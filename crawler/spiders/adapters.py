"""Lets `ItemAdapter` of the package itemadapter handle `Item`s with their declared fields, and msgspec structs."""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from itemadapter import ItemAdapter
from itemadapter.adapter import AdapterInterface

from crawler.spiders.item import Item


class DeclaredItems(AdapterInterface):
    """Adapts an `Item`."""

    @classmethod
    def is_item_class(cls, item_class: type) -> bool:
        """Return whether the class is an `Item`."""
        return issubclass(item_class, Item)

    @classmethod
    def get_field_meta_from_class(cls, item_class: type[Item], field_name: str) -> MappingProxyType[str, Any]:
        """Return what the `Field` holds. Raise `KeyError` if it is not declared."""
        return MappingProxyType(_declared(item_class.fields, item_class, field_name))

    @classmethod
    def get_field_names_from_class(cls, item_class: type[Item]) -> list[str]:
        """Return the names of the declared fields."""
        return list(item_class.fields)

    def field_names(self) -> KeysView[str]:
        """Return the names of the declared fields."""
        return KeysView(self.item.fields)

    def __getitem__(self, name: str) -> Any:
        return self.item[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.item[name] = value

    def __delitem__(self, name: str) -> None:
        del self.item[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.item)

    def __len__(self) -> int:
        return len(self.item)


class Structs(AdapterInterface):
    """Adapts a msgspec struct. `Annotated[…, Meta(extra={…})]` has what describes a field."""

    @classmethod
    def is_item_class(cls, item_class: type) -> bool:
        """Return whether the class is a msgspec struct."""
        return issubclass(item_class, msgspec.Struct)

    @classmethod
    def get_field_meta_from_class(cls, item_class: type, field_name: str) -> MappingProxyType[str, Any]:
        """Return the `extra` of the field's `Meta`. Raise `KeyError` if there is no such field."""
        types = {field.name: field.type for field in msgspec.structs.fields(item_class)}
        notes = getattr(_declared(types, item_class, field_name), "__metadata__", ())
        return MappingProxyType(next((note.extra for note in notes if getattr(note, "extra", None)), {}))

    @classmethod
    def get_field_names_from_class(cls, item_class: type) -> list[str]:
        """Return the names of the fields."""
        return list(item_class.__struct_fields__)  # type: ignore[attr-defined]

    def field_names(self) -> KeysView[str]:
        """Return the names of the fields."""
        return KeysView(dict.fromkeys(self.item.__struct_fields__))

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return getattr(self.item, name)

    def __setitem__(self, name: str, value: Any) -> None:
        _declared(dict.fromkeys(self.item.__struct_fields__), type(self.item), name)
        setattr(self.item, name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        setattr(self.item, name, msgspec.UNSET)

    def __contains__(self, name: object) -> bool:
        return name in self.item.__struct_fields__ and getattr(self.item, str(name)) is not msgspec.UNSET

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.item.__struct_fields__ if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _declared(fields: Mapping[str, Any], item_class: type, name: str) -> Any:
    if name not in fields:
        raise KeyError(f"{item_class.__name__} does not support field: {name}")
    return fields[name]


ItemAdapter.ADAPTER_CLASSES = (
    DeclaredItems,
    Structs,
    *(one for one in ItemAdapter.ADAPTER_CLASSES if one.__module__ != __name__),
)
