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
    """Word → where names may contain it; nowhere: not all kinds of names are meant (see `MEANT`)."""
    text = (ROOT / "docs/glossary.md").read_text().partition("## Words that are easily used twice")[2]
    rows = re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    return {word: tuple(re.findall(r"`([^`]+)`", where)) for word, where in rows if word != "word"}


WORDS = table()
# Word → the kinds of names that are looked at; of other words: all.
MEANT = {
    "place": {"class", "function", "alias"},
    "known": {"class", "alias", "constant"},
    "call": {"class", "alias", "constant"},
    "rules": {"class", "alias"},
}


def words_in(name: str) -> set[str]:
    """`_freeSlots` and `FREE_SLOTS` → free, slot, slots."""
    parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return parts | {part.removesuffix("s") for part in parts}


def names(path: Path) -> Iterator[tuple[str, str]]:
    """Each name that a file gives to something, and its kind: class, function, alias, constant or value. Aliases and
    constants are those of whole modules; they appear as values, too."""
    if path.suffix == ".lua":
        code = re.sub(r"--[^\n]*|'[^'\n]*'", "", path.read_text())
        for name in re.findall(r"\bfunction\s+(\w+)", code):
            yield name, "function"
        for name in re.findall(r"\blocal\s+(?!function)([\w, ]+?)\s*=", code):
            yield from ((one, "value") for one in name.split(", "))
        return
    module = ast.parse(path.read_text())
    for name in of_module(module):
        if name.lstrip("_")[:1].isupper():
            yield name, "constant" if name.isupper() else "alias"
    for node in ast.walk(module):
        match node:
            case ast.ClassDef(name=name):
                yield name, "class"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not name.startswith("__"):
                yield name, "function"
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, "value"


def of_module(module: ast.Module) -> Iterator[str]:
    """The names to which a module itself assigns something."""
    for node in module.body:
        match node:
            case ast.Assign(targets=targets):
                yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def misused(path: Path) -> list[str]:
    """Names in a file that give a word of the table another meaning."""
    where = path.relative_to(CODE).as_posix()
    return [
        f"{where}: {name} ({word})"
        for name, kind in names(path)
        for word in words_in(name) & WORDS.keys()
        if name != "__slots__" and kind in MEANT.get(word, {kind}) and not where.startswith(WORDS[word] or ("nowhere",))
    ]


def test_the_table_is_read() -> None:
    assert {"slot", "held", "place", "known", "rules", "gate", "call", "busy"} <= WORDS.keys()
    assert WORDS["gate"] == ("robots/", "visit/", "app/")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(CODE).as_posix())
def test_no_second_meaning(path: Path) -> None:
    assert misused(path) == []


def test_aliases_and_constants_of_modules_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("Known = set[str]\n_Call: Any = str\nA_CALL, b = 1, 2\nif b:\n    Rules = 1\ndef f(B): Place = 1")
    named = {(name, kind) for name, kind in names(path) if kind != "value"}
    assert named == {("Known", "alias"), ("_Call", "alias"), ("A_CALL", "constant"), ("f", "function")}


@pytest.mark.parametrize(
    ("name", "words"),
    [("free_slots", {"free", "slots", "slot"}), ("JobGate", {"job", "gate"}), ("HELD_AT", {"held", "at"})],
)
def test_words_of_a_name(name: str, words: set[str]) -> None:
    assert words <= words_in(name)


def test_each_word_has_one_row() -> None:
    rows = re.findall(r"^\| \*\*([^*]+)\*\* \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert rows == sorted(set(rows), key=str.lower)
