"""Reads a whole Scrapy project: its settings, code, scripts and lists of requirements."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from crawler.app.migration.files import Files, files_of, name_of, read_bytes
from crawler.app.migration.findings import Finding, Word
from crawler.app.migration.python_code import Reader, bases, is_settings_file, named_in, settings_in
from crawler.app.migration.texts import commands, requirements
from crawler.errors import UsageError
from crawler.runtime.settings_file import SCRAPY_CFG, settings_module

_REQUIREMENTS = ("requirements", "pyproject", "Pipfile", "setup")
_ROOTS = frozenset({"Spider", "CrawlSpider", "SitemapSpider", "XMLFeedSpider", "CSVFeedSpider", "BaseSpider"})


class Report(Struct, frozen=True):
    """What was found, in how many files; `left_out` are files that were not read, each with the reason."""

    findings: list[Finding]
    files: int
    notebooks: int
    left_out: list[tuple[str, str]]


def read_project(path: Path) -> Report:
    """Read a project's folder, or one file. Raise `UsageError` if it is none, or has nothing to do with Scrapy."""
    files = files_of(path)
    trees = dict(_trees(files))
    classes = _classes(trees)
    reader = partial(Reader, _spiders(classes), _components(trees, classes))
    findings = [
        *_in_cfg(files),
        *(one for file, tree in trees.items() for one in _in_python(file, tree, reader(), _settings_files(files))),
        *_in_texts(files),
    ]
    if not findings:
        why = f"; {files.left_out[0][0]}: {files.left_out[0][1]}" if files.left_out else ""
        raise UsageError(f"{path}: no Scrapy project: no file in it names Scrapy{why}")
    return Report(findings, len(trees) + len(files.texts), len(files.notebooks), files.left_out)


def _trees(files: Files) -> Iterator[tuple[str, ast.Module]]:
    for file in files.python:
        if (source := read_bytes(files, file)) is None:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):  # such as those of old escapes in texts
                yield name_of(files, file), ast.parse(source)
        except SyntaxError as error:
            files.left_out.append((f"{name_of(files, file)}:{error.lineno or 1}", f"no Python of today: {error.msg}"))
        except (ValueError, RecursionError, MemoryError) as error:
            files.left_out.append((name_of(files, file), f"no Python: {error or type(error).__name__}"))


def _classes(trees: Mapping[str, ast.Module]) -> list[tuple[str, list[str]]]:
    """Return all classes of the project, each with its base classes."""
    nodes = (node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return [(node.name, bases(node)) for node in nodes]


def _spiders(classes: Sequence[tuple[str, list[str]]]) -> Mapping[str, str]:
    """Return all classes that are spiders, also by a base class in another file, each with its root of Scrapy's."""
    found = {name: name for name in _ROOTS}
    while more := {name: found[base] for name, of in classes if name not in found for base in of if base in found}:
        found |= more
    return {name: "Spider" for name, of in classes if any(one.endswith("Spider") for one in of)} | found


def _components(trees: Mapping[str, ast.Module], classes: Sequence[tuple[str, list[str]]]) -> frozenset[str]:
    """Return the classes that some import path or table of the project names, and their base classes; all of them in
    a single file, whose settings are elsewhere."""
    if len(trees) == 1:
        return frozenset(name for name, _ in classes)
    found = {name for tree in trees.values() for node in ast.walk(tree) for name in named_in(node)}
    while more := {base for name, of in classes if name in found for base in of if base not in found}:
        found |= more
    return frozenset(found)


def _settings_files(files: Files) -> frozenset[str]:
    module = settings_module(files.folder / SCRAPY_CFG) if (files.folder / SCRAPY_CFG).is_file() else ""
    return frozenset({f"{module.replace('.', '/')}.py"} if module else ())


def _in_python(file: str, tree: ast.Module, reader: Reader, settings: frozenset[str]) -> Iterator[Finding]:
    try:
        reader.visit(tree)
        if file in settings or is_settings_file(tree):
            reader.found += settings_in(tree, file)
    except RecursionError:
        reader.add(1, Word("different", "file", file, "its code is nested too deeply to be read: read it yourself"))
    yield from (Finding(word, file, line) for line, word in reader.found)


def _in_cfg(files: Files) -> Iterator[Finding]:
    for file in files.texts:
        if file.name == SCRAPY_CFG and (module := settings_module(file)):
            yield Finding(Word("have", "setting", f"scrapy.cfg: {module}"), name_of(files, file), 1)


def _in_texts(files: Files) -> Iterator[Finding]:
    for file in files.texts:
        text = (read_bytes(files, file) or b"").decode("utf-8", "replace")
        found = [] if file.name == SCRAPY_CFG else [*commands(text)]
        if file.name.startswith(_REQUIREMENTS) or file.parent.name == "requirements":
            found += requirements(text, is_list=file.suffix == ".txt")
        yield from (Finding(word, name_of(files, file), line) for line, word in found)
