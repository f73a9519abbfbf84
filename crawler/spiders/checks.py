"""Finds mistakes in a spider before its first page: in its class and its arguments."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

from crawler.errors import ConfigError
from crawler.parsing import scrapy_words
from crawler.parsing.scope import plain_domain
from crawler.parsing.url import BadUrl, canonical
from crawler.response import Response
from crawler.settings import problems_for_one
from crawler.spiders.base import Spider, callback_name, own_classes
from crawler.spiders.callbacks import CALLBACK, ERRBACK, nearest, wrong_arguments

_METHODS = ("start", "start_requests", "parse", "parse_sitemap", "sitemap_filter", "process_item", "errback", "closed")
_CALLED_WITH: Mapping[str, tuple[str, ...]] = {
    "parse": CALLBACK,
    "parse_sitemap": CALLBACK,
    "sitemap_filter": ("entries",),
    "process_item": ("item",),
    "errback": ERRBACK,
    "closed": ("reason",),
}
_LIKE = 0.9  # `start_url` is that much like `start_urls`, and `parse_item` less like `parse_sitemap`
_parsing = threading.Lock()
# the calls that take a callback; the first ones also by place
_MAKERS = ("Request", "FormRequest", "JsonRequest", "follow", "follow_all")
_BY_NAME = ("from_response", "from_curl", "replace")


_FOR_START = "which reads the start pages of a CrawlSpider; give your method another name, such as parse_item"


def problems(cls: type[Spider]) -> Iterator[str]:
    """Yield one sentence for each mistake in the class; nothing if it may be used."""
    yield from _name(cls.name)
    yield from attribute_problems(cls)
    for method in _METHODS:
        if not callable(getattr(cls, method, None)):
            yield f"{method} must be a method"
    has_own_seeds = cls.start_requests is not Spider.start_requests or cls.start is not Spider.start
    for method, arguments in _CALLED_WITH.items():
        keywords = None if method == "parse" and has_own_seeds else ()  # its own seeds may bring cb_kwargs
        yield from filter(None, [wrong_arguments(cls, method, arguments, keywords)])
    if inspect.iscoroutinefunction(cls.closed):
        yield "closed is async, and nothing awaits it; write def closed(self, reason)"
    for name, advice in scrapy_words.ATTRIBUTES.items():
        if hasattr(cls, name) and not (name == "rules" and _obeys_rules(cls)):
            yield f"{name}: {advice}"
    if cls.parse is Spider.parse and not has_own_seeds and not (cls.sitemap_urls and not cls.start_urls):
        yield "has no parse(self, response), which reads the seeded pages"


def _tree(source: str) -> ast.Module:
    """Parse a spider's file. One thread at a time: Python 3.11 fails when several parse at once (`SystemError`)."""
    with _parsing:
        return ast.parse(source)


def attribute_problems(of: type[Spider] | Spider) -> Iterator[str]:
    """Yield the mistakes in the attributes of a class, or of a spider that set them in its constructor."""
    yield from _settings(of.custom_settings)
    yield from _texts("allowed_domains", of.allowed_domains, _domain)
    yield from _texts("start_urls", of.start_urls, partial(_url, "start_urls"))
    yield from _texts("handle_httpstatus_list", of.handle_httpstatus_list, _status)
    yield from _texts("read_ahead", of.read_ahead, _part)
    yield from _texts("ITEM_KEY", of.ITEM_KEY, lambda field: ())
    yield from _sitemap_problems(of)
    if _obeys_rules(of):
        yield from of.rule_problems(of)  # type: ignore[union-attr]


def _sitemap_problems(of: type[Spider] | Spider) -> Iterator[str]:
    yield from _texts("sitemap_urls", of.sitemap_urls, partial(_url, "sitemap_urls"))
    if of.sitemap_follow is not None:
        yield from _texts("sitemap_follow", of.sitemap_follow, partial(_regex, "sitemap_follow"))
    rules = (("", "parse"),) if of.sitemap_rules is None and of.sitemap_urls else of.sitemap_rules or ()
    if _is_computed(rules):
        return
    if not isinstance(rules, (list, tuple)):
        yield f"sitemap_rules must be a list of (regex, callback), not {rules!r}"
        return
    for rule in rules:
        if not isinstance(rule, (list, tuple)) or len(rule) != 2:
            yield f"sitemap_rules: {rule!r} is not (regex, callback)"
            continue
        yield from _regex("sitemap_rules", rule[0])
        yield from _rule_callback(of, rule[1])


def unknown_callbacks(cls: type[Spider], source: str) -> Iterator[str]:
    """Yield one sentence for each callback that the class names in its source and that is missing, or takes other
    arguments."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            assigned = _assigned(node)
            calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
            for call in filter(_makes_request, calls):
                for given, arguments, keywords in _callback_arguments(call):
                    name = _callback(given)
                    if not name or name in assigned:
                        continue
                    if name == "parse" and _obeys_rules(cls) and _is_own(cls, "parse"):
                        yield f"line {call.lineno} names the callback parse, {_FOR_START}"
                    elif not hasattr(cls, name):
                        hint = nearest(cls, name)
                        yield f"line {call.lineno} names the callback {name}, which is no method of the class{hint}"
                    elif wrong := wrong_arguments(cls, name, arguments, keywords):
                        yield f"line {call.lineno}: {wrong}"


def misspelt(cls: type[Spider], source: str) -> Iterator[str]:
    """Yield one sentence for each attribute that nothing reads, if its name is almost that of one that is read."""
    for name in vars(cls):
        if not name.startswith("_") and not hasattr(Spider, name) and len(re.findall(rf"\b{name}\b", source)) == 1:
            for near in difflib.get_close_matches(name, dir(Spider), n=1, cutoff=_LIKE):
                yield f"{name} is never read; did you mean {near}?"


def check_arguments(cls: type[Spider], arguments: Mapping[str, str]) -> None:
    """Raise `ConfigError` for `-a` arguments that the spider does not take, needs, or must not have replaced."""
    parameters = inspect.signature(cls).parameters.values()
    named = {part.name: part for part in parameters if part.kind not in (part.VAR_KEYWORD, part.VAR_POSITIONAL)}
    if cls.__init__ is Spider.__init__:
        del named["name"]  # nobody may give it
    takes_any = any(part.kind is part.VAR_KEYWORD for part in parameters)
    for name in arguments.keys() - named.keys():
        if not takes_any:
            taken = ", ".join(named) or "none"
            raise ConfigError(f"spider {cls.name} takes no argument {name!r}; it takes: {taken}")
        if not name.isidentifier() or name.startswith("_"):
            raise ConfigError(f"-a {name}=…: an argument is named like a variable, such as category")
        if name in vars(Spider) or callable(getattr(cls, name, None)):
            raise ConfigError(f"-a {name}=… would replace {name} of spider {cls.name}; choose another name")
        if (read := _words(cls)) is not None and name not in read:
            near = difflib.get_close_matches(name, read, n=1, cutoff=0.7)
            hint = f"; did you mean -a {near[0]}=…?" if near else f", as self.{name} or otherwise"
            raise ConfigError(f"-a {name}=…: spider {cls.name} never reads {name}{hint}")
    missing = [name for name, part in named.items() if part.default is part.empty and name not in arguments]
    if missing and not _is_own(cls, "from_crawler"):  # which may give them itself
        raise ConfigError(f"spider {cls.name} needs {' '.join(f'-a {name}=…' for name in missing)}")


def _words(cls: type[Spider]) -> set[str] | None:
    """Return the names and short texts in the files of the class and its base classes: what it reads is among them.

    None if that cannot be told: there is no source, or it goes through all attributes or arguments.
    """
    words: set[str] = set()
    for one in own_classes(cls):
        try:
            nodes = list(ast.walk(_tree(inspect.getsource(sys.modules[one.__module__]))))
        except (OSError, TypeError, KeyError):
            return None
        passed_on = {id(part.value) for part in nodes if isinstance(part, ast.keyword) and part.arg is None}
        collected = {part.args.kwarg.arg for part in nodes if isinstance(part, ast.FunctionDef) and part.args.kwarg}
        for part in nodes:
            if isinstance(part, ast.Name) and part.id in collected and id(part) not in passed_on:
                return None
            words.update(_words_in(part))
    return None if words & {"__dict__", "vars"} else words


def _words_in(part: ast.AST) -> Iterator[str]:
    match part:
        case ast.Attribute(attr=word) | ast.arg(arg=word) | ast.Name(id=word):
            yield word
        case ast.Constant(value=str(word)) if word.isidentifier():
            yield word


def _name(name: Any) -> Iterator[str]:
    if not name:
        yield 'has no name; give it one, such as name = "quotes"'
    elif not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        yield f"name {name!r} may hold only letters, digits and _ . -"


def _obeys_rules(of: type[Spider] | Spider) -> bool:
    """Whether it is a `CrawlSpider`, whose module is not imported for others."""
    return hasattr(of, "rule_problems")


def _is_own(cls: type[Spider], method: str) -> bool:
    """Whether the class or a base class, but none of the crawler, defines the method."""
    return any(method in vars(one) for one in own_classes(cls))


def _is_computed(value: Any) -> bool:
    """Whether a class has a property there, whose value only a spider has."""
    return isinstance(value, property | cached_property)


def _settings(layer: Any) -> Iterator[str]:
    if layer is None or _is_computed(layer):
        return
    if not isinstance(layer, Mapping):
        yield "custom_settings must be a dict"
        return
    if not all(isinstance(name, str) for name in layer):
        yield 'custom_settings must name its settings as text, such as "DOWNLOAD_DELAY"'
        return
    yield from problems_for_one(layer, "custom_settings")


def _texts(attribute: str, values: Any, check: Any) -> Iterator[str]:
    if _is_computed(values):
        return
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        yield f"{attribute} must be a list, such as {attribute} = {[] if values is None else [values]}"
    elif isinstance(values, (list, tuple, set, frozenset)):  # not an iterator, which can be read only once
        for value in values:
            yield from check(value)


def _domain(domain: Any) -> Iterator[str]:
    try:
        plain_domain(str(domain))
    except BadUrl:
        bare = re.sub(r"^\w+://|^[*.]+", "", str(domain)).partition("/")[0]
        yield f"allowed_domains: {domain!r} is no domain; write {bare!r}, which includes its subdomains"


def _status(status: Any) -> Iterator[str]:
    if type(status) is not int or not 100 <= status <= 599:
        yield f"handle_httpstatus_list: {status!r} is no HTTP status, such as 404"


def _url(attribute: str, url: Any) -> Iterator[str]:
    try:
        canonical(str(url))
    except BadUrl as error:
        yield f"{attribute}: {error}"


def _regex(attribute: str, regex: Any) -> Iterator[str]:
    try:
        re.search(regex, "")
    except (re.error, TypeError) as error:
        yield f"{attribute}: {regex!r} is no regular expression: {error}"


def _rule_callback(of: type[Spider] | Spider, callback: Any) -> Iterator[str]:
    name = callback_name(callback)
    method = getattr(of, name, None) if name and not name.startswith("_") else None
    if not callable(method):
        cls = of if isinstance(of, type) else type(of)
        yield f"sitemap_rules: {callback!r} is no public method of the class{nearest(cls, name)}"
    elif name == "parse" and getattr(method, "__func__", method) is Spider.parse:
        yield "sitemap_rules: pages of sitemaps go to parse(self, response), which it does not have"


def _part(name: Any) -> Iterator[str]:
    if not isinstance(getattr(Response, str(name), None), cached_property):
        yield f"read_ahead: {name!r} is nothing that a response keeps, such as root, links or visible_text"


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _makes_request(call: ast.Call) -> bool:
    return _called(call) in _MAKERS + _BY_NAME


def _callback_arguments(
    call: ast.Call,
) -> Iterator[tuple[ast.expr, tuple[str, ...], tuple[str, ...] | None]]:
    """Yield each callback or errback that the call names, and what it will be called with (see `wrong_arguments`)."""
    keywords = _cb_kwargs(call)
    for given in call.args[1:2] if _called(call) in _MAKERS else ():
        yield given, CALLBACK, keywords
    for keyword in call.keywords:
        if keyword.arg == "callback":
            yield keyword.value, CALLBACK, keywords
        elif keyword.arg == "errback":
            yield keyword.value, ERRBACK, ()


def _cb_kwargs(call: ast.Call) -> tuple[str, ...] | None:
    """Return the names of the arguments that the call gives its callback; None if only a run can tell."""
    given = next((one.value for one in call.keywords if one.arg == "cb_kwargs"), None)
    if isinstance(given, ast.Dict) and all(isinstance(key, ast.Constant) for key in given.keys):
        return tuple(str(key.value) for key in given.keys if isinstance(key, ast.Constant))
    if isinstance(given, ast.Call) and getattr(given.func, "id", "") == "dict" and not given.args:
        return tuple(one.arg for one in given.keywords if one.arg) if all(one.arg for one in given.keywords) else None
    is_open = given is not None or any(one.arg is None for one in call.keywords) or _called(call) in _BY_NAME
    return None if is_open else ()


def _callback(given: ast.expr) -> str:
    """Return the name in `"parse_item"` or `self.parse_item`; empty for one known only at run time."""
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value
    if isinstance(given, ast.Attribute) and isinstance(given.value, ast.Name) and given.value.id == "self":
        return given.attr
    return ""


def _assigned(node: ast.ClassDef) -> set[str]:
    """Return the attribute names that methods of the class set."""
    attributes = (part for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return {part.attr for part in attributes if isinstance(part.ctx, ast.Store)}
