"""Assembles the scripts in `lua/`: each transition with the libraries it needs and what it uses of `rules.py`.

A script or library that uses others begins with their names: `-- needs: message, ledger`; further lines begin below the
first name. Each library (`lua/lib/`) appears once, before the script or library that needs it and after the libraries
that it needs itself.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from crawler.frontier import rules

NAMES = (
    *("add", "claim", "join", "commit", "reap", "redrive", "drop", "pause", "forget", "beat", "exporter", "seeding"),
    *("take", "known", "control", "schedule", "permitted", "turn", "end_turns", "now", "generation", "reconcile"),
    *("close", "limit", "draw", "coverage", "redo", "redrive_items"),
)
_FOLDER = Path(__file__).parent / "lua"
_NEEDS = re.compile(r"-- needs: ([a-z_]+(?:,(?: |\n-- {8})[a-z_]+)*)\n")
_WORD = re.compile(r"[A-Z](?<!\w[A-Z])[A-Z_]+\b").findall  # with `\b` in front it takes twice as long
RULES = {name: value for name, value in vars(rules).items() if name.isupper()}


@cache
def source(name: str) -> bytes:
    """A transition as it is sent to the server. Raises `LookupError` if it needs a library that does not exist."""
    return assemble((_FOLDER / f"{name}.lua").read_text()).encode()


def forget() -> None:
    """Read all files again from now on: `scripts/mutate` has changed one of them."""
    source.cache_clear()
    _library.cache_clear()


def assemble(script: str) -> str:
    """Do the same for the text of a script."""
    libraries: dict[str, str] = {}
    _collect(script, libraries)
    parts = [*libraries.values(), script]
    words = frozenset().union(*map(_words, parts))
    used = [f"local {name} = {_in_lua(value)}\n" for name, value in RULES.items() if name in words]
    return "".join(used) + "\n".join(parts)


def _in_lua(value: float | frozenset[str]) -> str:
    if isinstance(value, frozenset):
        return "{ " + ", ".join(f"{word} = true" for word in sorted(value)) + " }"
    return repr(value)


@cache
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD(text))


def _collect(script: str, libraries: dict[str, str]) -> None:
    """Add the libraries that a script needs, each after those that it needs itself."""
    needs = _NEEDS.match(script)
    for name in re.findall("[a-z_]+", needs[1]) if needs else ():
        if name in libraries:
            continue
        library = _library(name)
        _collect(library, libraries)
        libraries[name] = library


@cache
def _library(name: str) -> str:
    path = _FOLDER / "lib" / f"{name}.lua"
    if not path.is_file():
        raise LookupError(f"no library {name!r} in lua/lib")
    return path.read_text()
