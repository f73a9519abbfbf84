"""Finds Scrapy's words in a Python file, by its syntax tree alone: nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from crawler.app.migration import vocabulary
from crawler.app.migration.findings import Word
from crawler.app.migration.texts import commands
from crawler.app.migration.vocabulary import UNKNOWN

_MAKERS = frozenset({"Request", "FormRequest", "JsonRequest", "JSONRequest", "SplashRequest", "SeleniumRequest"})
_FOLLOW = frozenset({"follow", "follow_all"})
_SETTINGS_FILE = frozenset({"BOT_NAME", "SPIDER_MODULES", "NEWSPIDER_MODULE"})


_BLOCKS = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match)


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for such an expression; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def bases(node: ast.ClassDef) -> list[str]:
    """Return the last names of the base classes."""
    return [dotted(base).rpartition(".")[2] for base in node.bases]


def named_in(node: ast.AST) -> Iterator[str]:
    """Yield the classes that settings may name here: the last part of an import path, or the key of a table."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
        yield node.value.rpartition(".")[2]
    elif isinstance(node, ast.Dict):
        yield from (key.id for key in node.keys if isinstance(key, ast.Name))


def is_settings_file(tree: ast.Module) -> bool:
    """Whether a file is a settings file of Scrapy, by the names that it sets."""
    return not _SETTINGS_FILE.isdisjoint(name for name, _, _ in assigned(tree.body))


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Yield name, value and line of what these statements assign."""
    for statement in body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from ((name, value, statement.lineno) for name, value in _named(target, statement.value))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value, statement.lineno
        elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            yield name, ast.BinOp(ast.Name(name), statement.op, statement.value), statement.lineno
        elif isinstance(statement, _BLOCKS):
            yield from assigned([*_statements(statement)])


def _named(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield each name in the target of an assignment, with what it gets; None if that cannot be told apart."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Starred):
        yield from _named(target.value, None)
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts: list[ast.expr | None] = [None] * len(target.elts)
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(parts):
            parts = [*value.elts]
        for one, part in zip(target.elts, parts, strict=True):
            yield from _named(one, part)


def _statements(block: ast.AST) -> Iterator[ast.stmt]:
    for one in ast.iter_child_nodes(block):
        if isinstance(one, ast.stmt):
            yield one
        elif isinstance(one, (ast.ExceptHandler, ast.match_case)):
            yield from _statements(one)


def value_of(node: ast.expr | None, known: dict[str, Any]) -> Any:
    """Return the value of an expression that can be read without running it; `UNKNOWN` for another."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return known.get(name, UNKNOWN)
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            values = [value_of(part, known) for part in parts]
            return UNKNOWN if UNKNOWN in values else values
        case ast.Dict(keys=keys, values=parts):
            pairs = [(value_of(key, known), value_of(part, known)) for key, part in zip(keys, parts, strict=True)]
            fits = all(isinstance(key, (str, int)) and part is not UNKNOWN for key, part in pairs)
            return dict(pairs) if fits else UNKNOWN
        case ast.UnaryOp(op=ast.USub(), operand=part) if isinstance(number := value_of(part, known), (int, float)):
            return -number
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            first, second = value_of(left, known), value_of(right, known)
            return first * second if type(first) is type(second) is int else UNKNOWN
        case ast.BinOp(op=ast.Add() | ast.BitOr(), left=left, right=right):
            match value_of(left, known), value_of(right, known):
                case list(first), list(second):
                    return [*first, *second]
                case dict(first), dict(second):
                    return first | second
    return UNKNOWN


def settings_in(tree: ast.Module, file: str) -> Iterator[tuple[int, Word]]:
    """Yield what becomes of each setting of a settings file; the last value of a name counts."""
    known: dict[str, Any] = {}
    last: dict[str, tuple[Any, int]] = {}
    for name, node, line in assigned(tree.body):
        known[name] = value_of(node, known)
        if name.isupper() and name[0] != "_":
            last[name] = (known[name], line)
    for name, (value, line) in last.items():
        for word in vocabulary.setting(name, value, f"{file}:{line}"):
            yield line, word


class Reader(ast.NodeVisitor):
    """Collects the words of one file.

    `spiders` has all spider classes of the project, each with the class of Scrapy's that it derives from; `components`
    has the pipelines and middlewares that its settings name: others, as in templates, are not used.
    """

    def __init__(self, spiders: Mapping[str, str], components: Collection[str]) -> None:
        self.found: list[tuple[int, Word]] = []
        self._spiders = spiders
        self._components = components
        self._in_spider = False
        self._names: dict[str, str] = {}  # name in this file → what it was imported as

    def add(self, line: int, word: Word | None) -> None:
        """Take a word in, unless it is the project's own."""
        if word:
            self.found.append((line, word))

    def visit_Import(self, node: ast.Import) -> None:
        """`import scrapy`, `import scrapy.http as h`."""
        for name in node.names:
            self._names[name.asname or name.name.partition(".")[0]] = (
                name.name if name.asname else name.name.partition(".")[0]
            )
            if name.name == "scrapy":
                change = "write `import crawler as scrapy`, or `from crawler import Spider, Request`"
                self.add(node.lineno, Word("different", "import", "scrapy", change))
            else:
                self.add(node.lineno, vocabulary.imported(name.name, ""))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from scrapy.http import Request`."""
        for name in node.names if not node.level else ():
            self._names[name.asname or name.name] = f"{node.module}.{name.name}"
            if name.name != "signals" or not (node.module or "").startswith("scrapy"):
                self.add(node.lineno, vocabulary.imported(node.module or "", name.name))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A spider, pipeline or middleware; or a class of the project's own."""
        outer, self._in_spider = self._in_spider, node.name in self._spiders
        if self._in_spider:
            self._spider(node)
        elif node.name in self._components:
            self._component(node)
        self.generic_visit(node)
        self._in_spider = outer

    def _spider(self, node: ast.ClassDef) -> None:
        root = self._spiders[node.name]
        for name, value, line in assigned(node.body):
            self.add(line, vocabulary.spider_attribute(name, root))
            if name == "custom_settings" and isinstance(value, ast.Dict):
                self._custom_settings(value)
        for method in _methods(node):
            self.add(method.lineno, vocabulary.spider_attribute(method.name, root))

    def _custom_settings(self, table: ast.Dict) -> None:
        for key, node in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                value = value_of(node, {})
                for word in vocabulary.setting(key.value, value, "custom_settings", of_spider=True):
                    self.add(key.lineno, word)

    def _component(self, node: ast.ClassDef) -> None:
        names = {method.name: method.lineno for method in _methods(node)}
        is_pipeline = "process_item" in names
        if is_pipeline or any(name.startswith("process_") for name in names):
            for name, line in names.items():
                self.add(line, vocabulary.component_method(name, is_pipeline=is_pipeline))

    def visit_Call(self, node: ast.Call) -> None:
        """A request that is made."""
        maker = dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
        if maker in _FOLLOW or (maker in _MAKERS and self._is_scrapys(node.func)):
            for keyword in node.keywords:
                if keyword.arg:
                    self.add(keyword.value.lineno, vocabulary.request_argument(keyword.arg, maker))
                if keyword.arg == "meta" and isinstance(keyword.value, ast.Dict):
                    for key in keyword.value.keys:
                        self._meta(key)
                if keyword.arg in ("callback", "errback") and isinstance(keyword.value, ast.Lambda):
                    change = "write a method of the spider: its name travels with the request"
                    self.add(keyword.value.lineno, Word("different", "request", f"{keyword.arg}=lambda", change))
        if getattr(node.func, "attr", "") == "decode" and _is_header(getattr(node.func, "value", None)):
            change = "delete it: the value of a header is text"
            self.add(node.lineno, Word("different", "response", "headers[…].decode()", change))
        if dotted(node.func).endswith("meta.get") and node.args:
            self._meta(node.args[0])
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """`request.meta["proxy"] = …`."""
        if dotted(node.value).endswith(".meta"):
            self._meta(node.slice)
        self.generic_visit(node)

    def _meta(self, key: ast.expr | None) -> None:
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            self.add(key.lineno, vocabulary.meta_key(key.value))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`scrapy.Request`, `response.body`, `self.crawler.stats`, `signals.spider_closed`."""
        path = dotted(node)
        first, _, rest = path.partition(".")
        if not path:
            self.generic_visit(node)
        elif first == "response":
            self.add(node.lineno, vocabulary.response_attribute(rest.partition(".")[0]))
        elif self._names.get(first) == "scrapy":
            self._of_scrapy(node.lineno, path, rest)
        elif self._names.get(first, "").endswith("scrapy.signals"):
            self.add(node.lineno, vocabulary.signal(rest))
        elif first in ("crawler", "spider") or (first == "self" and rest.startswith(("crawler.", "_crawler."))):
            self._of_crawler(node.lineno, path)
        elif first == "self" and self._in_spider:
            self.add(node.lineno, vocabulary.spider_read(rest.partition(".")[0]))

    def _of_crawler(self, line: int, path: str) -> None:
        _, marked, rest = path.partition("crawler.")
        if marked:
            self.add(line, vocabulary.crawler_attribute(rest))

    def _of_scrapy(self, line: int, path: str, rest: str) -> None:
        """A dotted name below `import scrapy`; what `import crawler as scrapy` gives needs no change."""
        if rest in vocabulary.exported():
            return
        module, _, name = path.rpartition(".")
        if (
            not name[:1].isupper() and module.rpartition(".")[2][:1].isupper()
        ):  # a method of a class, as FormRequest.from_…
            module, _, name = module.rpartition(".")
            if name in vocabulary.exported() and module == "scrapy":
                return
        self.add(line, vocabulary.imported(module, name))

    def visit_Constant(self, node: ast.Constant) -> None:
        """A command in text, as for `cmdline.execute`."""
        if isinstance(node.value, str) and "scrapy " in node.value:
            for line, word in commands(node.value):
                self.add(node.lineno + line - 1, word)

    def _is_scrapys(self, func: ast.expr) -> bool:
        origin = self._names.get(dotted(func).partition(".")[0], "")
        return origin.partition(".")[0] == "scrapy" or origin.startswith(("scrapy_", "crawler"))


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (part for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _is_header(node: ast.expr | None) -> bool:
    """Whether it is the value of a header: `response.headers["Server"]`, `response.headers.get("Server")`."""
    if isinstance(node, ast.Call):
        return dotted(node.func).endswith("response.headers.get")
    return isinstance(node, ast.Subscript) and dotted(node.value).endswith("response.headers")
