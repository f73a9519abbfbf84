"""`migrate`: what of a Scrapy project works here, and what to change."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crawler.cli.exits import say_error
from crawler.cli.options import Invocation, Json, flag
from crawler.errors import Exit, UsageError
from crawler.runtime.safe_text import printable
from crawler.views.figures import several

if TYPE_CHECKING:
    from crawler.app.migration.findings import Word
    from crawler.app.migration.project import Report

_MAX_TOLD = 20  # files that were not read, by name; the others are counted


def migrate(
    invocation: Invocation,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A project's folder, or one file.")] = ".",
    all_: Annotated[bool, flag("--all", help="Also show what works as it is.")] = False,
    json_: Json = False,
) -> int:
    """Read a Scrapy project without running it: what works here, and what to change.

    crawler migrate ../shop

    Each word is one of: have (it works as it is), different (make the change), missing (there is none here).
    The exit code is 1 if something is missing.
    """
    if invocation.overrides:
        raise UsageError("migrate reads the project's own settings: leave out -s")

    from crawler.app.migration.findings import grouped
    from crawler.app.migration.project import read_project

    report = read_project(Path(path))
    words = grouped(report.findings)
    if json_:
        print(json.dumps(_document(path, report, words)))
    else:
        _show([pair for pair in words if all_ or pair[0].state != "have"])
        _tell_left_out(report.left_out)
        print(_summary(report, [word for word, _ in words]))
    return Exit.FAILED if any(word.state == "missing" for word, _ in words) else Exit.DONE


def _show(words: Sequence[tuple[Word, list[str]]]) -> None:
    rows = [(word.state, word.kind, word.name, _where(places), word.change) for word, places in words]
    if sys.stdout.isatty():
        from rich.text import Text

        from crawler.cli import tables

        cells = ([Text(printable(cell)) for cell in row] for row in rows)  # values in it are masked already
        tables.console().print(tables.table(("", "what", "word", "where", "change to make"), cells))
    else:
        sys.stdout.writelines(f"{printable('  '.join(filter(None, row)))}\n" for row in rows)


def _where(places: Sequence[str]) -> str:
    return f"{places[0]}{f' and {len(places) - 1:,} more' if len(places) > 1 else ''}"


def _summary(report: Report, words: Iterable[Word]) -> str:
    counts = Counter(word.state for word in words)
    read = several(report.files, "file")
    books = f"; {several(report.notebooks, 'notebook')} not read" if report.notebooks else ""
    lost = f"; {several(len(report.left_out), 'path')} not read" if report.left_out else ""
    return f"{read}: {counts['have']} have, {counts['different']} different, {counts['missing']} missing{books}{lost}"


def _tell_left_out(left_out: Sequence[tuple[str, str]]) -> None:
    for file, why in left_out[:_MAX_TOLD]:
        say_error(f"not read: {file}: {why}")
    if len(left_out) > _MAX_TOLD:
        say_error(f"not read: {len(left_out) - _MAX_TOLD:,} files more")


def _document(path: str, report: Report, words: Sequence[tuple[Word, list[str]]]) -> dict[str, object]:
    counts = Counter(word.state for word, _ in words)
    return {
        "path": path,
        "files": report.files,
        "notebooks": report.notebooks,
        "not_read": [{"file": file, "why": why} for file, why in report.left_out],
        **{state: counts[state] for state in ("have", "different", "missing")},
        "words": [
            {"state": word.state, "kind": word.kind, "word": word.name, "change": word.change, "places": places}
            for word, places in words
        ],
    }
