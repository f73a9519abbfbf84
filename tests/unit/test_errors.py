"""Exit codes are written down once: in `crawler/errors.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import crawler
from crawler.errors import Exit

ROOT = Path(crawler.__file__).parent
# The guardian runs as a file, without the package, so it cannot know the names. The contract suite counts pages.
EXEMPT = {ROOT / "errors.py", ROOT / "embedded" / "guardian.py", *(ROOT / "testing" / "contract").glob("*.py")}
ELSEWHERE = sorted(set(ROOT.rglob("*.py")) - EXEMPT)
COMMANDS = {ROOT / "cli", ROOT / "app"}  # what their functions return as `int` is an exit code, or a count
TELLING = {code for code in Exit if code > Exit.LOST}  # nothing else in the crawler is one of these numbers


def exit_codes(source: str, *, is_command: bool = False) -> Iterator[int]:
    """The lines in which a number other than 0 is used as an exit code."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=int(number)) if number in TELLING:
                yield node.lineno
            case ast.Call(func=ast.Name(id="SystemExit") | ast.Attribute(attr="exit" | "_exit"), args=[number]) if (
                _is_number(number)
            ):
                yield node.lineno
            case ast.Assign(targets=[ast.Name(id="exit_code")], value=number) if _is_number(number):
                yield node.lineno
            case ast.FunctionDef(returns=ast.Name(id="int")) | ast.AsyncFunctionDef(returns=ast.Name(id="int")) if (
                is_command
            ):
                yield from (
                    one.lineno for one in ast.walk(node) if isinstance(one, ast.Return) and _is_number(one.value)
                )


def _is_number(node: ast.expr | None) -> bool:
    """Whether the value is, or may be, such a number."""
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            return _is_number(body) or _is_number(orelse)
        case ast.BoolOp(values=values):
            return any(map(_is_number, values))
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value != Exit.DONE


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_else_writes_the_number(path: Path) -> None:
    assert not list(exit_codes(path.read_text(), is_command=bool(COMMANDS & set(path.parents))))


@pytest.mark.parametrize(
    "source",
    [
        "return_code = 78",
        "sys.exit(1)",
        "raise SystemExit(3)",
        "os._exit(1)",
        "os._exit(code if is_number else 1)",
        "sys.exit(code or (1 if failed else 0))",
        "class E:\n    exit_code = 5",
        "def command() -> int:\n    return 1",
        "async def command() -> int:\n    return 0 if well else 1",
    ],
)
def test_this_test_finds_them(source: str) -> None:
    assert list(exit_codes(source, is_command=True))


def test_every_code_has_a_meaning_of_its_own() -> None:
    assert len({code.meaning for code in Exit}) == len(Exit)
