"""`Item` and `Field`: items whose fields are declared, so that a misspelt one is an error on the line that sets it."""

from __future__ import annotations

import copy
from pprint import pformat
from typing import Any, ClassVar, NoReturn, Self


class Field(dict[str, Any]):
    """A declared field. What it holds describes the field, such as `Field(output_processor=TakeFirst())`."""


class Item(dict[str, Any]):
    """An item with declared fields. Subclass it, and set the fields by name:

        class Quote(Item):
            text = Field()
            author = Field(output_processor=TakeFirst())

        quote = Quote(text="…")
        quote["author"] = "…"

    Setting another field raises `KeyError`, reading a field as an attribute `AttributeError`. A field that was never
    set is missing, as a key of a dict is. `fields` has the declared ones, also those of base classes.
    """

    fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Collect the declared fields, those of base classes first, in the order of their declaration."""
        super().__init_subclass__(**keywords)
        cls._declared = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        for name in cls._declared:
            delattr(cls, name)  # `item.text` must not give the declaration
        cls.fields = {}
        for base in reversed(cls.__mro__):
            cls.fields |= vars(base).get("_declared") or {
                name: value for name, value in vars(base).items() if isinstance(value, Field)
            }

    _declared: ClassVar[dict[str, Field]] = {}

    def __init__(self, *args: Any, **fields: Any) -> None:
        """Set the fields. Raise `KeyError` for one that is not declared."""
        super().__init__()
        self.update(*args, **fields)

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise KeyError(f"{type(self).__name__} does not support field: {name}")
        super().__setitem__(name, value)

    def __getattr__(self, name: str) -> NoReturn:
        if name in type(self).fields:
            raise AttributeError(f"Use item[{name!r}] to get field value")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"Use item[{name!r}] = {value!r} to set field value")
        super().__setattr__(name, value)

    def __hash__(self) -> int:  # type: ignore[override]  # by identity, as in Scrapy: sets and weak maps may hold items
        return id(self)

    def __repr__(self) -> str:
        return pformat(dict(self))

    def update(self, *args: Any, **fields: Any) -> None:
        """Set several fields. Raise `KeyError` for one that is not declared."""
        for name, value in dict(*args, **fields).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the field; set it first if it is missing."""
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self

    def copy(self) -> Self:
        """Return a copy that shares its values."""
        return type(self)(self)

    def deepcopy(self) -> Self:
        """Return a copy with copies of its values."""
        return copy.deepcopy(self)
