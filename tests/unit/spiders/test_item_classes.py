"""The fields that classes of items declare, and how a class is found by its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pydantic
import pytest

from crawler.spiders.base import Spider
from crawler.spiders.item import Field, Item
from crawler.spiders.item_classes import find_class, typed_fields

if TYPE_CHECKING:
    from decimal import Decimal


class Base(Item):
    name = Field()


class Declared(Base):
    price = Field()


@dataclass
class Plain:
    name: str
    price: float | None = None


class Fast(msgspec.Struct, rename={"price": "cost"}, tag="fast"):
    name: str
    price: float | None = None


@attrs.define
class Attrs:
    name: str
    price: float | None = None


class Model(pydantic.BaseModel):
    name: str
    price: float | None = None


@dataclass
class Unknown:
    name: str
    price: Decimal


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (Declared, {"name": Any, "price": Any}),
        (Plain, {"name": str, "price": float | None}),
        (Fast, {"type": str, "name": str, "cost": float | None}),
        (Attrs, {"name": str, "price": float | None}),
        (Model, {"name": str, "price": float | None}),
        (Unknown, {"name": Any, "price": Any}),
    ],
)
def test_declared_fields_in_their_order(cls: type, fields: dict[str, Any]) -> None:
    found = typed_fields(cls)
    assert found == fields
    assert list(found) == list(fields)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Loaded modules of a project: two with a class of one name, one with another."""
    for name, classes in {"some": (Plain, Fast), "other": (type("Fast", (Fast,), {}), Attrs)}.items():
        module = sys.modules[f"project_{name}"] = ModuleType(f"project_{name}")
        module.__file__ = str(tmp_path / f"{name}.py")
        vars(module).update({cls.__name__: cls for cls in classes})
    yield tmp_path
    for name in ("some", "other"):
        del sys.modules[f"project_{name}"]


def test_a_class_is_found_in_the_spiders_modules_and_then_in_the_project(project: Path) -> None:
    here = type("Shop", (Spider,), {"__module__": __name__})
    elsewhere = type("Shop", (Spider,), {"__module__": "project_some"})
    assert find_class(here, "Fast", project) is Fast
    assert find_class(elsewhere, "Fast", project) is Fast
    assert find_class(elsewhere, "Attrs", project) is Attrs
    assert find_class(Spider, "Fast", project) is None, "two have the name"
    assert find_class(elsewhere, "Model", project) is None, "not in the project"
    assert find_class(here, "Path", project) is None, "no class of items"
