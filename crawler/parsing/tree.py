"""The tree of an HTML page, bounded in size and depth."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from lxml import etree

from crawler.errors import PageTooLarge
from crawler.parsing.charset import clean
from crawler.parsing.limits import ParseLimits, Reading

_SHORT_PAGE: Final = 65_536  # characters, up to which all attributes are kept
_LONG_PAGE: Final = 2 * 1024 * 1024
_PART_DEPTH: Final = 250  # elements; browsers stop nesting at 512


def check_size(body: bytes, limits: ParseLimits) -> None:
    """Raise `PageTooLarge` if the page, or the tree made from it, would exceed `limits`."""
    if len(body) > limits.size:
        why = f"{len(body):,} bytes of HTML; at most {limits.size:,} are parsed (PARSE_MAXSIZE)"
        raise PageTooLarge("parse_maxsize", why)
    if _has_more_nodes(body, limits.nodes):
        why = f"more than {limits.nodes:,} elements and attributes; no more are parsed (PARSE_MAXNODES)"
        raise PageTooLarge("parse_maxnodes", why)


def _has_more_nodes(body: bytes, limit: int) -> bool:
    """Whether a tree of the page would have more than about `limit` elements and attributes."""
    if len(body) // 2 <= limit:  # each takes at least two bytes
        return False
    if next(islice(_BEGIN(body), limit, None), None):  # elements first: counting attributes takes longer
        return True
    nodes = 0
    for at in range(0, len(body), _COUNTED_AT_ONCE):
        nodes += len(_NO_NODES.sub(b" ", body[at : at + _COUNTED_AT_ONCE]).replace(b"/", b" ").split())
        if nodes > limit:
            return True
    return False


_BEGIN: Final = re.compile(rb"<[A-Za-z!?]").finditer
_COUNTED_AT_ONCE: Final = 262_144  # bytes; a tag that spans two pieces is counted roughly
# Matches text, end tags and values. Without them, the names of elements and attributes remain.
_NO_NODES: Final = re.compile(rb"""(?:\A|>)[^<]*+(?:(?:</[^>]*+>|<(?![A-Za-z!?/]))[^<]*+)*+|="[^"]*+"|='[^']*+'""")


def parse(text: str, reading: Reading = Reading()) -> etree._Element | None:  # noqa: B008 - a constant
    """The root element of an HTML page; None if the page has no element. Never raises for bad markup.

    Of a page that is nested too deep for the parser, which then drops the rest, the parts are parsed one by one: what
    is nested deeper than `_PART_DEPTH` elements is a child of the root.
    """
    text = clean(text).replace("\0", "")
    if len(text) > _SHORT_PAGE:
        text = _with_few_attributes(text, reading)
    # `huge_tree` stands for depth 2,048 instead of 256. Not for long pages, because the parser's time grows with depth
    # times tags: 10 MB took 9 s.
    root = _all_of(text, reading, huge=len(text) <= _LONG_PAGE)
    if root is not None:
        for element in [*root.iter("noframes")]:  # the parser takes for text what it holds for readers without frames
            _fill(element, reading)
    return root


def _all_of(text: str, reading: Reading, *, huge: bool) -> etree._Element | None:
    root, is_whole = _parsed(text, huge=huge)
    return root if is_whole else _joined(text, reading)


def _parsed(text: str, *, huge: bool) -> tuple[etree._Element | None, bool]:
    """The root element; and whether the parser has read all, which it does not when the page is nested too deep."""
    parser = etree.HTMLParser(encoding="utf-8", recover=True, no_network=True, huge_tree=huge)
    try:
        root = etree.fromstring(text.encode(), parser)  # bytes: lxml refuses text that declares an encoding of its own
    except etree.LxmlError:
        return None, True
    last = parser.error_log.last_error
    is_whole = last is None or last.type != etree.ErrorTypes.ERR_RESOURCE_LIMIT
    if root is None or not isinstance(root.tag, str):
        return None, is_whole
    root.extend([*root.itersiblings("*")])  # elements after </html> (HTML standard, "after after body")
    return root, is_whole


def _joined(text: str, reading: Reading) -> etree._Element | None:
    parts = [_parsed(part, huge=True) for part in _parts(text)]
    if not all(is_whole for _, is_whole in parts):
        reading.cut("nesting", "elements are nested too deep for the parser; what follows them was not read")
    root, *others = [root for root, _ in parts if root is not None] or [None]
    if root is not None:
        root.extend(others)
    return root


def _parts(text: str) -> Iterator[str]:
    """Cut a page before each tag that may open more than `_PART_DEPTH` elements at once."""
    began, depth = 0, 0
    is_open: Counter[str] = Counter()
    for tag in _TAG_NAME(text):
        name = tag["name"].lower() if tag["name"] else ""
        if not name or name in _VOID:
            continue
        if tag["end"]:
            if is_open[name]:
                is_open[name] -= 1
                depth -= 1
            continue
        if depth == _PART_DEPTH:
            yield text[began : tag.start()]
            began, depth = tag.start(), 0
            is_open.clear()
        is_open[name] += 1
        depth += 1
    yield text[began:]


_TAG_NAME: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1|\Z)|<(?P<end>/?)(?P<name>[a-z][^\s/>]*+)",
    re.IGNORECASE | re.DOTALL,
).finditer
_VOID: Final = frozenset(
    ("area", "base", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)


def _fill(element: etree._Element, reading: Reading) -> None:
    inner = _all_of(element.text or "", reading, huge=False)
    if inner is not None:
        element.text = None
        element.append(inner)


# The parser's time is quadratic in the attributes of one element: 200,000 of them (2 MB) take minutes.
# Recognises most short tags in one lookahead, so that `_TAG` skips them: at most 92 + 3 * 292 characters.
_SURELY_SHORT: Final = r"""[^<>=]{0,90}+(?:="[^"<>]{0,199}+"[^<>=]{0,90}+){0,3}+>"""
_TAG: Final = re.compile(rf"""<[A-Za-z](?!{_SURELY_SHORT})[^>=]*+(?:=\s*+(?:"[^"]*+"?|'[^']*+'?|)[^>=]*+)*+""")
_ATTRIBUTE: Final = re.compile(r"""[^\s/=]++(?:\s*=\s*(?:"[^"]*"?|'[^']*'?|[^\s"']\S*)?)?""")


def _with_few_attributes(text: str, reading: Reading) -> str:
    most = reading.limits.attributes
    shorter = _TAG.sub(partial(_cut_off, most), text)
    if len(shorter) < len(text):
        reading.cut("attributes", f"an element has more than {most:,} attributes (PARSE_MAXATTRIBUTES)")
    return shorter


def _cut_off(most: int, tag: re.Match[str]) -> str:
    text = tag[0]
    if len(text) <= 2 * most:  # an attribute takes two characters at least
        return text
    beyond = next(islice(_ATTRIBUTE.finditer(text), most + 1, None), None)
    return text if beyond is None else text[: beyond.start()]
