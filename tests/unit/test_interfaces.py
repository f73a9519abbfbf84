"""A user takes the interface that it needs, never the backend. The code is read, not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import crawler

PACKAGE = Path(crawler.__file__).parent
MAKERS = ("frontier", "testing", "interfaces.py")  # they make and check backends
HOLDERS = ("app", "cli", "celery")


def needless(tree: ast.AST) -> Iterator[str]:
    """The functions that take a backend, pass it nowhere, and read one part of it."""
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for argument in (*function.args.args, *function.args.kwonlyargs):
            if argument.annotation and ast.unparse(argument.annotation) == "Backend":
                nodes = list(ast.walk(function))
                uses = [node for node in nodes if isinstance(node, ast.Name) and node.id == argument.arg]
                parts = [node for node in nodes if isinstance(node, ast.Attribute) and node.value in uses]
                if len(parts) == len(uses) and len({part.attr for part in parts}) == 1:
                    yield function.name


def test_no_function_takes_a_backend_for_one_part() -> None:
    (found,) = needless(ast.parse("def one(a: Backend): a.jobs\ndef two(a: Backend): a.jobs, a.reading\n"))
    assert found == "one"
    files = (path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in MAKERS)
    assert [f"{path.name}: {name}" for path in files for name in needless(ast.parse(path.read_text()))] == []


def test_the_parts_below_app_do_not_know_the_backend() -> None:
    knowing = set()
    for path in PACKAGE.rglob("*.py"):
        names = [
            one.name
            for node in ast.walk(ast.parse(path.read_text()))
            for one in getattr(node, "names", ())
            if isinstance(node, ast.ImportFrom) and node.module == "crawler.interfaces"
        ]
        if "Backend" in names:
            knowing.add(path.relative_to(PACKAGE).parts[0])
    assert knowing == {*HOLDERS, "frontier", "testing"}
