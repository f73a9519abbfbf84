"""Help that can be read and copied, and suggestions for what was misspelt."""

from __future__ import annotations

from typing import Any

import pytest
from typer.main import get_command

from crawler.cli import _app, main
from crawler.program import VERSION

COMMANDS = sorted(get_command(_app).list_commands(None))  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_types_of_python_and_breaks_no_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", command]) == 0
    shown = capsys.readouterr().out
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == shown
    assert "<list" not in shown
    assert "<bool" not in shown
    assert "<str" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert not [line for line in lines if line.endswith((" crawler", ": crawler", "crawler jobs delete"))]


def test_help_alone_shows_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


def test_a_run_makes_only_the_command_that_it_needs() -> None:
    program: Any = get_command(_app)
    assert program.get_command(None, "status").name == "status"
    assert set(program.commands) == {"help", "status"}
    assert program.get_command(None, "statuss") is None
    assert sorted(program.commands) == COMMANDS  # to suggest one


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"crawler {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["crawll"], "'crawl'"),
        (["help", "crawll"], "'crawl'"),
        (["control", "pauze", "a.example"], "pause"),
        (["inspect", "hots"], "hosts"),
        (["jobs", "delet", "x"], "delete"),
        (["dead", "shwo"], "show"),
        (["seed", "--order", "fif", "http://a.example/"], "fifo"),
    ],
)
def test_what_was_misspelt_is_answered_with_what_was_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert f"id you mean {meant}?" in error
    assert "Value error" not in error
