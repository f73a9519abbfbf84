"""What `scripts/mutate` changes, and that it changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.frontier.redis import scripts
from scripts.mutation.cases import SCRIPTS, cases, equivalent
from scripts.mutation.loop import mutate
from scripts.mutation.mutants import of_lua, of_python


def changes(source: str) -> list[str]:
    """The changed lines."""
    return [mutant.text.split("\n")[mutant.number - 1].strip() for mutant in of_lua(source)]


@pytest.mark.parametrize(
    ("source", "mutants"),
    [
        ("local a = 5", ["local a = 10"]),
        ("local a = b - 1", ["local a = b + 1", "local a = b - 2"]),
        ("local a = -1", ["local a = -2"]),
        ("a = x < y", ["a = x <= y"]),
        ("a = x and y or z", ["a = x or y or z", "a = x and y and z"]),
        ("a = math.max(b, c)", ["a = math.min(b, c)"]),
        ("if not a then", ["if  a then", "if not (not a) then"]),
        ("redis.call('DEL', key)", [""]),
        ("-- a rule of 5", []),
        ("a = 'and 5'", []),
        ("a = b -- 5 < 6", []),
    ],
)
def test_lua(source: str, mutants: list[str]) -> None:
    assert changes(source) == mutants


def test_python_numbers_but_no_docstring() -> None:
    source = '"""Up to 5 é."""\nA = 5  # of 6\nB = "ü", 0.5\nC = True\n'
    assert [mutant.text for mutant in of_python(source)] == [
        source.replace("A = 5", "A = 10"),
        source.replace("0.5", "1.0"),
    ]


def test_each_equivalent_mutant_exists() -> None:
    """An entry for a line that has changed would say nothing, and hide the next mutant that looks like it."""
    assert equivalent() <= {case.key for case in cases()}


@pytest.mark.parametrize("path", [f"{SCRIPTS}/claim.lua", f"{SCRIPTS}/lib/turns.lua"])
def test_the_frontier_runs_the_mutant(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the script was assembled before: a run of unchanged scripts would call every mutant a survivor."""
    for method in ("read_bytes", "read_text"):
        monkeypatch.setattr(Path, method, getattr(Path, method))  # `mutate` replaces them; put back at the end
    before = scripts.source("claim")
    mutate(next(case for case in cases() if case.path == path))
    try:
        assert scripts.source("claim") != before
    finally:
        monkeypatch.undo()
        scripts.forget()
    assert scripts.source("claim") == before
