"""From a source text to its mutants: the same text with one number or one branch changed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<comment>--\[\[.*?\]\]|--[^\n]*)
      | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\[\[.*?\]\])
      | (?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<operator>==|~=|<=|>=|\.\.\.|\.\.|[-+*/%<>#^])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SWAPS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "~=",
    "~=": "==",
    "+": "-",
    "*": "/",
    "/": "*",
    "%": "*",
    "and": "or",
    "or": "and",
    "not": "",
    "true": "false",
    "false": "true",
    "math.max": "math.min",
    "math.min": "math.max",
    "math.floor": "math.ceil",
    "math.ceil": "math.floor",
}
_STATEMENT = re.compile(r"^[ \t]*((?:redis\.call|[A-Za-z_][\w.]*)\([^\n]*\))(?:[ \t]*--[^\n]*)?$", re.MULTILINE)
_CONDITION = re.compile(r"\b(?:if|elseif|while)\s+(?P<test>[^\n]*?)\s+(?:then|do)\b")


class Mutant(NamedTuple):
    """One change to one file. `line` is the changed line as it was, stripped."""

    number: int  # of the line, from 1
    line: str
    before: str
    after: str
    text: str  # the whole file, changed

    @property
    def change(self) -> str:
        """`before → after`, for people and for the list of equivalents."""
        return f"{self.before} → {self.after or '(nothing)'}"


def of_lua(text: str) -> Iterator[Mutant]:
    """Each number, operator, boolean, condition and statement that is a call."""
    previous = ""
    for token in _TOKEN.finditer(text):
        kind, found = str(token.lastgroup), token[0]
        if kind == "number":
            yield _changed(text, token.start(), token.end(), _other(found))
        elif kind in ("operator", "name") and found in _SWAPS:
            yield _changed(text, token.start(), token.end(), _SWAPS[found])
        elif found == "-" and re.fullmatch(r"[\w)\]]", previous):  # of two operands: a sign is part of its number
            yield _changed(text, token.start(), token.end(), "+")
        if not found.isspace():
            previous = found[-1]
    for found_test in _CONDITION.finditer(text):
        if not _is_comment(text, found_test.start()):
            test = found_test["test"]
            yield _changed(text, *found_test.span("test"), f"not ({test})")
    for statement in _STATEMENT.finditer(text):
        if not _is_comment(text, statement.start(1)) and statement[1].count("(") == statement[1].count(")"):
            yield _changed(text, *statement.span(1), "")


def of_python(text: str) -> Iterator[Mutant]:
    """Each number that is not in a docstring."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    raw = text.encode()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            at = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
            yield _changed(text, len(raw[:at].decode()), len(raw[:end].decode()), _other(raw[at:end].decode()))


def _other(number: str) -> str:
    """A number near enough to pass by mistake, far enough to matter."""
    if number.startswith("0x"):
        return hex(int(number, 16) + 1)
    value = float(number.replace("_", ""))
    if value in (0, 1):
        return str(int(value) + 1)
    return repr(value * 2) if "." in number or "e" in number else str(int(value) * 2)


def _changed(text: str, start: int, end: int, after: str) -> Mutant:
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", start)
    line = text[first : last if last >= 0 else len(text)].strip()
    return Mutant(text.count("\n", 0, start) + 1, line, text[start:end], after, text[:start] + after + text[end:])


def _is_comment(text: str, at: int) -> bool:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return "--" in line
