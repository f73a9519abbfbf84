"""A word of the glossary names one thing: the second table of `docs/glossary.md`, read and applied to the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ROOT / "crawler"
# The contract suite names its tests in sentences.
SOURCES = sorted(path for path in CODE.rglob("*") if path.suffix in (".py", ".lua") and "testing" not in path.parts)


def table() -> dict[str, tuple[str, ...]]:
    """Word → where names may contain it; nowhere: only names of classes and functions are meant."""
    text = (ROOT / "docs/glossary.md").read_text().partition("## Words that are easily used twice")[2]
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    return {word: tuple(re.findall(r"`([^`]+)`", where)) for word, where in rows if word != "word"}


WORDS = table()


def words_in(name: str) -> set[str]:
    """`_freeSlots` and `FREE_SLOTS` → free, slot, slots."""
    parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return parts | {part.removesuffix("s") for part in parts}


def names(path: Path) -> Iterator[tuple[str, bool]]:
    """Each name that a file gives to something, and whether that is a class or function."""
    if path.suffix == ".lua":
        code = re.sub(r"--[^\n]*|'[^'\n]*'", "", path.read_text())
        for name in re.findall(r"\bfunction\s+(\w+)", code):
            yield name, True
        for name in re.findall(r"\blocal\s+(?!function)([\w, ]+?)\s*=", code):
            yield from ((one, False) for one in name.split(", "))
        return
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name):
                yield name, True
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not name.startswith("__"):
                yield name, True
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, False


def misused(path: Path) -> list[str]:
    """Names in a file that give a word of the table another meaning."""
    where = path.relative_to(CODE).as_posix()
    found = []
    for name, is_thing in names(path):
        for word in words_in(name) & WORDS.keys():
            places = WORDS[word]
            is_class = is_thing and name.lstrip("_")[:1].isupper()
            if word in ("slot", "held", "gate"):
                wrong = name != "__slots__" and not where.startswith(places)
            elif word == "place":
                wrong = is_thing
            else:
                wrong = is_class and not where.startswith(places or ("nowhere",))
            if wrong:
                found.append(f"{where}: {name} ({word})")
    return found


def test_the_table_is_read() -> None:
    assert {"slot", "held", "place", "known", "rules", "gate", "call"} <= WORDS.keys()
    assert WORDS["gate"] == ("robots/", "visit/", "app/")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CODE).as_posix())
def test_no_second_meaning(path: Path) -> None:
    assert misused(path) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [("free_slots", {"free", "slots", "slot"}), ("JobGate", {"job", "gate"}), ("HELD_AT", {"held", "at"})],
)
def test_words_of_a_name(name: str, words: set[str]) -> None:
    assert words <= words_in(name)


def test_each_word_has_one_row() -> None:
    rows = re.findall(r"^\| \*\*([^*]+)\*\* \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert rows == sorted(set(rows), key=str.lower)
