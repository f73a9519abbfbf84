"""How the scripts are assembled, and that none contains a rule of its own."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

import crawler
from crawler.frontier.redis import scripts

FOLDER = Path(str(files(scripts.__package__) / "lua"))
LIBRARIES = {path.stem: path.read_text() for path in (FOLDER / "lib").glob("*.lua")}
TRANSITIONS = {path.stem: path.read_text() for path in FOLDER.glob("*.lua")}
FILES = {**{f"lib/{name}": text for name, text in LIBRARIES.items()}, **TRANSITIONS}

LONGEST = 150  # lines: a script is read in a sitting
WIDEST = 120  # characters of a line, as in .editorconfig

NO_RULES = {
    ("lib/clock", "1000"): "ms in a second, µs in a ms",
    ("lib/health", "1000"): "a share from µs",
    ("lib/seen", "2048"): "2^11: the bits of a fingerprint that a double does not keep",
    ("lib/booking", "16807"): "of the generator",
    ("lib/booking", "2147483647"): "of the generator",
    ("commit", "3"): "byte strings of a lease",
    ("drop", "3"): "its first id among the arguments",
    ("redrive", "3"): "its first letter among the arguments",
    ("generation", "8"): "hexadecimal digits of the server's name, which fit into a number",
    ("generation", "16"): "their base",
    ("add", "* 2"): "linear hashing doubles its buckets",
    ("lib/seen", "* 2"): "the same",
    ("lib/seen", "% 2"): "the last bit",
}
"""Numerals, and factors, that are encodings, by file."""

SHORT = {"P", "J", "H", "G", "W", "KEYS", "ARGV"}
"""Names in capitals that are no rules: prefixes of keys, and what the server gives a script."""


def code(script: str) -> str:
    """Without comments and strings."""
    return re.sub(r"'(?:[^'\\\n]|\\.)*'", "''", re.sub(r"--.*", "", re.sub(r"'[^'\n]*--[^'\n]*'", "''", script)))


def needs(script: str) -> list[str]:
    """The libraries that it names."""
    named = re.match(r"-- needs: ((?:.*,\n-- )*.*)\n", script)
    return re.findall(r"\w+", named[1]) if named else []


def gives(library: str) -> set[str]:
    """Functions that a library defines for others, or for itself."""
    return set(re.findall(r"^local function (\w+)", code(library), re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_no_script_has_a_number_of_its_own(name: str) -> None:
    """A number that is a rule belongs in `rules.py`. Places in a table (`ledger[3]`) are no rules. Neither are 0, 1 and
    2, but a factor of 2 is: something halves or doubles."""
    numerals = re.findall(r"(?<![\w.\[])(?:0x[\da-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)", code(FILES[name]))
    factors = re.findall(r"[*/%^] *2\b|\b2 *[*/%^]", code(FILES[name]))
    own = {one for one in numerals if one not in ("0", "1", "2")} | set(factors)
    assert {one for one in own if (name, one) not in NO_RULES} == set()


@pytest.mark.parametrize("name", FILES)
def test_no_script_has_a_number_in_its_words(name: str) -> None:
    """Such as a status in the kind of a failure. One digit alone is a part of the syntax: `0-0`, `[1-9]`."""
    words = re.findall(r"--.*|'((?:[^'\\\n]|\\.)*)'", FILES[name])
    assert [word for word in words if re.search(r"\d\d", word)] == []


def test_every_exception_is_needed() -> None:
    assert [place for place in NO_RULES if place[1] not in code(FILES[place[0]])] == []


@pytest.mark.parametrize("name", FILES)
def test_every_name_in_capitals_is_a_rule(name: str) -> None:
    """A name in capitals that is not a rule would be an undefined global: an error while the crawl runs."""
    assert set(re.findall(r"\b[A-Z][A-Z_]*\b", code(FILES[name]))) - SHORT - scripts.RULES.keys() == set()


def test_every_rule_is_used() -> None:
    """In a script or in Python, beside the place where it is defined."""
    python = [path.read_text() for path in Path(crawler.__path__[0]).rglob("*.py")]
    words = Counter(re.findall(r"\b[A-Z][A-Z_]+\b", " ".join([*python, *map(code, FILES.values())])))
    assert [name for name in scripts.RULES if words[name] < 2] == []


def test_a_script_has_the_rules_that_it_mentions_and_no_others() -> None:
    made = scripts.assemble("return { BREAKER, BREAKER_BACKOFF }")
    assert made == "local BREAKER = 5\nlocal BREAKER_BACKOFF = 0.5\nreturn { BREAKER, BREAKER_BACKOFF }"
    made = scripts.assemble("return ROUTE_REFUSALS['http_404']")
    assert made == "local ROUTE_REFUSALS = { http_401 = true, http_403 = true }\nreturn ROUTE_REFUSALS['http_404']"


@pytest.mark.parametrize("name", scripts.NAMES)
def test_each_library_stands_once_behind_those_that_it_needs(name: str) -> None:
    made = scripts.source(name).decode()
    order = sorted((text for text in LIBRARIES.values() if text in made), key=made.index)
    for place, library in enumerate(order):
        assert made.count(library) == 1
        assert {LIBRARIES[other] for other in needs(library)} <= set(order[:place])


@pytest.mark.parametrize("name", FILES)
def test_a_script_names_just_the_libraries_that_it_uses(name: str) -> None:
    words = set(re.findall(r"\b[a-z]\w+\b(?!\s*=)", code(FILES[name])))
    used = {other for other, text in LIBRARIES.items() if gives(text) & words and f"lib/{other}" != name}
    assert set(needs(FILES[name])) == used


def test_every_file_is_a_transition_that_is_known_or_a_library_that_is_needed() -> None:
    assert set(TRANSITIONS) == set(scripts.NAMES)
    assert set(LIBRARIES) == {other for text in FILES.values() for other in needs(text)}


def test_an_unknown_library_is_an_error_when_the_script_is_loaded() -> None:
    with pytest.raises(LookupError, match="no library 'clocks'"):
        scripts.assemble("-- needs: clocks\nreturn 1")


@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_transition_has_its_header(name: str) -> None:
    header = TRANSITIONS[name].partition("\n\n")[0]
    assert [word for word in ("-- KEYS ", "-- ARGV ", "-- Returns ", "-- Stays true: ") if word not in header] == []


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_has_its_header(name: str) -> None:
    assert re.match(r"(-- needs: .*\n)?-- .*\n(-- .*\n)*--\n-- Gives  (.*\n-- )+Stays true: ", LIBRARIES[name])


@pytest.mark.parametrize("name", FILES)
def test_a_script_can_be_read_in_a_sitting(name: str) -> None:
    lines = FILES[name].splitlines()
    assert len(lines) <= LONGEST
    assert [line for line in lines if len(line) > WIDEST] == []
