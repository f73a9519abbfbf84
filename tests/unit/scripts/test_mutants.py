"""What `scripts/mutate` changes, and that it changes nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.frontier.memory import lua
from crawler.frontier.redis import scripts
from crawler.model import Job, Request
from scripts.mutation.cases import NUMBERS, ROOT, SCRIPTS, cases, equivalent
from scripts.mutation.loop import mutate
from scripts.mutation.mutants import of_lua, of_python
from scripts.mutation.reach import Reach, origin
from tests.memory import MemoryFrontier

LUA = {str(file.relative_to(ROOT)) for file in (ROOT / SCRIPTS).rglob("*.lua")}


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


def test_numbers_are_changed_where_they_stand() -> None:
    """Of another module than `rules.py` only those that it passes on."""
    elsewhere = {case.mutant.line.partition(" = ")[0] for case in cases() if case.path not in (NUMBERS, *LUA)}
    assert elsewhere == {"COVERED_FIELDS", "LOG_KEPT", "MAX_COUNT", "MAX_PRIORITY", "MAX_SHARDS", "SKIPS_KEPT"}


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


@pytest.mark.parametrize("name", scripts.NAMES)
def test_each_line_of_an_assembled_script_is_found_in_its_file(name: str) -> None:
    lines = scripts.source(name).decode().split("\n")
    for (path, number), line in zip(origin(name), lines, strict=True):
        assert not path or (ROOT / path).read_text().split("\n")[number - 1] == line


async def test_a_test_may_notice_mutants_of_the_lines_that_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lua, "_SANDBOX", lua._SANDBOX)  # `begin` replaces both; put back at the end
    monkeypatch.setattr(lua.Scripts, "__init__", lua.Scripts.__init__)
    noting, reach, file = Reach(), Reach(), tmp_path / "reach"
    noting.begin(os.open(file, os.O_CREAT | os.O_WRONLY))
    frontier = MemoryFrontier()
    await frontier.add(await frontier.create_job(Job("news")), [Request("http://a.example/")])
    noting.pytest_runtest_logreport(pytest.TestReport("test_a[memory]", ("", None, ""), {}, "passed", None, "call"))
    noting.pytest_sessionfinish()
    reach.load(file)
    text = (ROOT / SCRIPTS / "add.lua").read_text().split("\n")
    runs = next(number for number, line in enumerate(text, 1) if line.startswith("local "))
    assert reach.may_notice("test_a[memory]", f"{SCRIPTS}/add.lua", runs)
    assert not reach.may_notice("test_a[memory]", f"{SCRIPTS}/reap.lua", 30)
    assert not reach.may_notice("test_b[memory]", f"{SCRIPTS}/add.lua", runs)
    assert reach.may_notice("test_c[redis]", f"{SCRIPTS}/reap.lua", 30), "tests on a server are not followed"
