"""Which files are mutated, and which of their mutants are known to change nothing."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scripts.mutation.mutants import Mutant, of_lua, of_python

ROOT = Path(__file__).resolve().parents[2]
Key = tuple[str, str, str, int]  # path, line, change, and which of the equal changes of such lines of the file, from 1
SCRIPTS = "crawler/frontier/redis/lua"
NUMBERS = "crawler/frontier/rules.py"


class Case(NamedTuple):
    """One mutant of one file."""

    number: int
    path: str
    mutant: Mutant
    key: Key

    def __str__(self) -> str:
        return f"{self.path}:{self.mutant.number}: {self.mutant.change}    in: {self.mutant.line}"


def cases() -> Iterator[Case]:
    """All of them, numbered; those of the numbers first."""
    equal = Counter[tuple[str, str, str]]()
    for number, (path, mutant) in enumerate(_mutants()):
        change = path, mutant.line, mutant.change
        equal[change] += 1
        yield Case(number, path, mutant, (*change, equal[change]))


def _mutants() -> Iterator[tuple[str, Mutant]]:
    """Each with the path of its file."""
    numbers = (ROOT / NUMBERS).read_text()
    yield from ((NUMBERS, mutant) for mutant in of_python(numbers))
    for path, names in _imported(numbers):
        mutants = of_python((ROOT / path).read_text())
        yield from ((path, mutant) for mutant in mutants if mutant.line.partition(" = ")[0] in names)
    for file in sorted((ROOT / SCRIPTS).rglob("*.lua")):
        yield from ((str(file.relative_to(ROOT)), mutant) for mutant in of_lua(file.read_text()))


def _imported(numbers: str) -> Iterator[tuple[str, set[str]]]:
    """The files in which numbers of that module stand, and their names: it passes them on."""
    for node in ast.parse(numbers).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crawler."):
            yield f"{str(node.module).replace('.', '/')}.py", {name.name for name in node.names}


def equivalent() -> set[Key]:
    """The keys of those that `equivalent.toml` lists, each with its reason there."""
    listed = tomllib.loads(Path(__file__).with_name("equivalent.toml").read_text())["mutant"]
    return {(one["file"], one["line"], one["change"], one.get("nth", 1)) for one in listed}
