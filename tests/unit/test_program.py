"""Hints name the program as the user ran it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from crawler.cli import _app
from crawler.program import DISTRIBUTION, extra

ROOT = Path(__file__).parents[2]


def hint(*command: str, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "_CRAWLER_PROGRAM"}
    ran = subprocess.run(
        [*command, "controll"], env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    return ran.stderr.strip().partition("see ")[2]


COMMANDS: list[str] = get_command(_app).list_commands(None)  # type: ignore[attr-defined]
HINT = re.compile(r"\bcrawler (" + "|".join(COMMANDS) + r")\b")


def test_no_hint_names_another_program() -> None:
    """Docstrings of commands pass `as_run` on their way into the help."""
    found = []
    for path in (ROOT / "crawler").rglob("*.py"):
        tree = ast.parse(path.read_text())
        statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in statements or path.parent.name == "contract":
                continue
            if HINT.search(str(node.value)):
                found.append(f"{path.name}:{node.lineno}: write {{PROGRAM}} for `crawler`")
    assert found == []


def test_the_module_is_named_with_its_python() -> None:
    assert hint(sys.executable, "-m", "crawler") == f"{sys.executable} -m crawler --help"


@pytest.mark.parametrize(("folder", "said"), [("bin", "{}/bin/crawler"), ("my bin", "'{}/my bin/crawler'")])
def test_a_command_that_is_not_on_the_path_is_named_with_its_folder(folder: str, said: str, tmp_path: Path) -> None:
    command = tmp_path / folder / "crawler"
    command.parent.mkdir()
    command.write_text("import sys\nfrom crawler.__main__ import main\nsys.exit(main())\n")
    assert hint(sys.executable, str(command)) == f"{said.format(tmp_path)} --help"


def test_the_script_of_a_checkout_names_itself(tmp_path: Path) -> None:
    """With an installation that is complete, as far as the script can see."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "requirements.lock").write_bytes((ROOT / "requirements.lock").read_bytes())
    (venv / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin/python").chmod(0o755)
    script = str(ROOT / "scripts/crawler")
    assert hint(script, CRAWLER_VENV=str(venv)) == f"{script} --help"


def test_the_name_on_the_index_stands_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    named = [path for path in (ROOT / "crawler").rglob("*.py") if DISTRIBUTION in path.read_text()]
    assert named == [ROOT / "crawler/program.py"]
    extras = "|".join(project["optional-dependencies"])
    texts = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
    for path in texts:
        for wanted in re.findall(r"pip install\s+'?([\w.-]+\[[\w,-]+\])", path.read_text()):
            assert re.fullmatch(rf"(\.|{DISTRIBUTION})\[({extras})\]", wanted), f"{path}: {wanted}"


def test_each_message_that_asks_for_an_extra_names_one_that_there_is() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = set()
    for path in (ROOT / "crawler").rglob("*.py"):
        asked |= set(re.findall(r"\bextra\([\"']([\w-]+)[\"']\)", path.read_text()))
    assert asked == set(extras) - {"shell"}  # without IPython the prompt is Python's own
    assert extra("items") == "pip install 'fleetcrawler[items]'"
