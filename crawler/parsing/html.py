"""Parse HTML: a page's tree, links, metadata and visible text, each within a bound on time and memory."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, islice
from operator import methodcaller
from typing import Final

import msgspec
from lxml import etree

from crawler.errors import PageTooLarge
from crawler.parsing.charset import clean
from crawler.parsing.link_scan import LINK_DIRECTIVES, Hrefs
from crawler.parsing.url import BadUrl, canonical, join_links

MAX_LINKS = 10_000
"""The most links taken from one page."""

MAX_TEXT = 1_000_000
"""Longest visible text, in characters."""

MAX_ATTRIBUTES = 500
"""The most attributes kept of one element, in a page longer than 64 Ki characters."""

MAX_META_LENGTH = 10_000
"""Longest title, description or other value in `PageMeta`, in characters."""

_MAX_METAS = 1_000  # elements read in one page

MAX_REFRESH_SECONDS = 5
"""A meta refresh after more seconds than this is not treated as a redirect: the page is meant to be read."""

_MAX_HREFS = 10 * MAX_LINKS  # read in one page: many may be repeated or invalid


class ParseLimits(msgspec.Struct, frozen=True):
    """The largest page that is parsed: bytes of its body, and elements plus attributes in its tree."""

    size: int = 8 * 1024 * 1024
    nodes: int = 400_000  # each takes up to 300 bytes and 4 µs


class PageMeta(msgspec.Struct, frozen=True):
    """What a page declares about itself. A text that it does not declare is empty."""

    title: str
    description: str
    language: str
    """As written in ``<html lang>``, else in ``Content-Language``: ``en``, ``pt-BR``."""
    base: str
    """The URL that its links are relative to: the first ``<base href>``, else the page's URL; canonical."""
    canonical: str | None
    """Target of ``<link rel=canonical>``."""
    robots: frozenset[str]
    """Directives of ``<meta name=robots>`` in lower case: ``noindex``, ``nofollow``."""
    refresh: str | None
    """Target of a meta refresh within `MAX_REFRESH_SECONDS`, outside ``<noscript>``."""


# ---------------------------------------------------------------------------------------------------------
# The tree


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


def parse(text: str) -> etree._Element | None:
    """The root element of an HTML page; None if the page has no element. Never raises for bad markup.

    An element nested deeper than 2,048 levels (256 in a page longer than 2 Mi characters) is dropped, with all
    that follows it. In a page longer than 64 Ki characters an element keeps its first `MAX_ATTRIBUTES` attributes.
    """
    text = clean(text).replace("\0", "")
    if len(text) > _SHORT_PAGE:
        text = _TAG.sub(_with_few_attributes, text)
    # `huge_tree` raises the depth limit from 256 to 2,048; without it, old pages with unclosed <font> tags lose
    # their end. Long pages do without, because the parser's time grows with depth times tags: 10 MB took 9 s.
    huge = len(text) <= _LONG_PAGE
    parser = etree.HTMLParser(encoding="utf-8", recover=True, no_network=True, huge_tree=huge)
    # Bytes, because lxml refuses a str that declares an encoding.
    data = text.encode()
    try:
        root = etree.fromstring(data, parser)
    except etree.LxmlError:
        return None
    if root is None or not isinstance(root.tag, str):
        return None
    root.extend([*root.itersiblings("*")])  # elements after </html> (HTML standard, "after after body")
    return root


# The parser's time is quadratic in the attributes of one element: 200,000 of them (2 MB) take minutes.
_SHORT_PAGE: Final = 65_536
_LONG_PAGE: Final = 2 * 1024 * 1024
_SHORT_TAG: Final = 2 * MAX_ATTRIBUTES  # characters; a tag this short cannot have more attributes than MAX_ATTRIBUTES
# Recognises most short tags in one lookahead, so that `_TAG` skips them: at most 92 + 3 * 292 characters.
_SURELY_SHORT: Final = r"""[^<>=]{0,90}+(?:="[^"<>]{0,199}+"[^<>=]{0,90}+){0,3}+>"""
_TAG: Final = re.compile(rf"""<[A-Za-z](?!{_SURELY_SHORT})[^>=]*+(?:=\s*+(?:"[^"]*+"?|'[^']*+'?|)[^>=]*+)*+""")
_ATTRIBUTE: Final = re.compile(r"""[^\s/=]++(?:\s*=\s*(?:"[^"]*"?|'[^']*'?|[^\s"']\S*)?)?""")


def _with_few_attributes(tag: re.Match[str]) -> str:
    text = tag[0]
    if len(text) <= _SHORT_TAG:
        return text
    beyond = next(islice(_ATTRIBUTE.finditer(text), MAX_ATTRIBUTES + 1, None), None)
    return text if beyond is None else text[: beyond.start()]


# ---------------------------------------------------------------------------------------------------------
# Links

_NOT_FOLLOWED: Final = frozenset(LINK_DIRECTIVES)
_HREF: Final = methodcaller("get", "href")
_REL: Final = methodcaller("get", "rel")


def links(root: etree._Element, url: str, *, follow_nofollow: bool = True) -> list[str]:
    """The canonical URLs that ``a`` and ``area`` of the page at `url` lead to: first-seen order, each once.

    At most `MAX_LINKS`. Without `follow_nofollow`, links marked nofollow, ugc or sponsored are left out.
    Raises `BadUrl` if `url` is invalid.
    """
    hrefs = islice(_hrefs(root, follow_nofollow), _MAX_HREFS)
    return join_links(_base(root, url), hrefs, limit=MAX_LINKS)


def scanned_links(found: Hrefs, url: str) -> list[str]:
    """The same result as `links`, computed from a scan of the page instead of its tree."""
    base = None if found.base is None else _target(found.base, url)
    return join_links(base or url, islice(found.links, _MAX_HREFS), limit=MAX_LINKS)


def links_not_to_follow(root: etree._Element, url: str) -> frozenset[str]:
    """The canonical URLs that only links marked nofollow, ugc or sponsored lead to.

    One link without such a mark is enough for a URL to be followed. Raises `BadUrl` if `url` is invalid.
    """
    rels = filter(None, map(_REL, root.iter("a", "area")))
    if all(map(_is_followed, rels)):
        return frozenset()
    return frozenset(links(root, url)).difference(links(root, url, follow_nofollow=False))


def scanned_links_not_to_follow(found: Hrefs, url: str, among: Collection[str]) -> frozenset[str] | None:
    """The URLs of `among` that `links_not_to_follow` returns, computed from a scan; None if only a tree can tell."""
    marked = found.marked()
    if not marked:
        return None if marked is None else frozenset()
    asked_not = [found.links[place] for place in sorted(marked) if place < _MAX_HREFS]
    suspects = frozenset(scanned_links(found._replace(links=asked_not), url)).intersection(among)
    if not suspects:  # usual: marked links lead to other sites
        return suspects
    followed = [href for place, href in enumerate(found.links[:_MAX_HREFS]) if place not in marked]
    return suspects.difference(scanned_links(found._replace(links=followed), url))


def _hrefs(root: etree._Element, follow_nofollow: bool) -> Iterator[str]:
    links = root.iter("a", "area")
    if not follow_nofollow:
        links = (link for link in links if _is_followed(link.get("rel", "")))
    return (href for href in map(_HREF, links) if href is not None)


def _is_followed(rel: str) -> bool:
    return _NOT_FOLLOWED.isdisjoint(rel.lower().split())


def _base(root: etree._Element, url: str) -> str:
    for element in root.iter("base"):
        href = element.get("href")
        if href is not None:  # the first counts, even if it is invalid (HTML standard §2.4.3)
            return _target(href, url) or canonical(url)
    return canonical(url)


def _target(href: str, base: str) -> str | None:
    try:
        return canonical(href, base)
    except BadUrl:
        return None


# ---------------------------------------------------------------------------------------------------------
# Metadata


def page_meta(root: etree._Element, url: str) -> PageMeta:
    """What the page at `url` declares about itself. Raises `BadUrl` if `url` is invalid."""
    base = _base(root, url)
    title = next(root.iter("title"), None)
    named, pragmas = _metas(root)
    return PageMeta(
        title="" if title is None else _line(title.xpath("string()", smart_strings=False)),
        description=_line(next(iter(named.get("description", ())), "")),
        language=_language(root, pragmas),
        base=base,
        canonical=_canonical(root, base),
        robots=frozenset(filter(None, map(_line, ",".join(named.get("robots", ())).lower().split(",")))),
        refresh=_refresh(pragmas.get("refresh", ""), base),
    )


def robots_metas(root: etree._Element, names: Collection[str]) -> list[str]:
    """The contents of the ``meta`` elements whose name, in lower case, is one of `names`."""
    metas = islice(root.iter("meta"), _MAX_METAS)
    ours = (meta for meta in metas if meta.get("name", "").strip().lower() in names)
    return [meta.get("content", "")[:MAX_META_LENGTH] for meta in ours]


def scanned_robots_metas(found: Hrefs, names: Collection[str]) -> list[str] | None:
    """The same from a scan, without contents that hold no directive; None if only a tree can tell."""
    metas = found.telling_metas()
    if metas is None or len(found.metas) > _MAX_METAS:
        return None
    return [content[:MAX_META_LENGTH] for name, content in metas if name.strip().lower() in names]


def _metas(root: etree._Element) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The contents of ``meta`` elements: all for each name, the first for each ``http-equiv``."""
    named: dict[str, list[str]] = {}
    pragmas: dict[str, str] = {}
    for meta in islice(root.iter("meta"), _MAX_METAS):
        content = meta.get("content", "")[:MAX_META_LENGTH]
        name = meta.get("name", "").lower()
        if name in ("description", "robots"):
            named.setdefault(name, []).append(content)
        pragma = meta.get("http-equiv", "").lower()
        if pragma == "content-language" or (pragma == "refresh" and not _inside_noscript(meta)):
            pragmas.setdefault(pragma, content)
    return named, pragmas


def _inside_noscript(element: etree._Element) -> bool:
    return next(element.iterancestors("noscript"), None) is not None


def _language(root: etree._Element, pragmas: dict[str, str]) -> str:
    value = root.get("lang") or root.get("xml:lang") or pragmas.get("content-language", "").partition(",")[0]
    return _line(value)


def _canonical(root: etree._Element, base: str) -> str | None:
    for link in root.iter("link"):
        if "canonical" in link.get("rel", "").lower().split():
            return _target(link.get("href", ""), base) if link.get("href", "").strip() else None
    return None


# HTML standard, "shared declarative refresh steps": "5", "0;url=/x", "0, '/x'".
_REFRESH: Final = re.compile(
    r"""\s*([0-9]*)[0-9.]*+(?:\s*[;,]\s*|\s+)(?:url\s*=\s*)?(?:'([^']*)|"([^"]*)|(.*))""",
    re.IGNORECASE | re.DOTALL,
)


def _refresh(content: str, base: str) -> str | None:
    found = _REFRESH.match(content)
    if not found:
        return None
    seconds, *targets = found.groups("")
    target = "".join(targets).strip()
    # The length is checked first: int() of a very long number is slow and may raise.
    if not target or len(seconds) > 4 or int(seconds or 0) > MAX_REFRESH_SECONDS:
        return None
    return _target(target, base)


def _line(text: str) -> str:
    """`text` on one line, cut at `MAX_META_LENGTH`."""
    return " ".join(text[:MAX_META_LENGTH].split())


# ---------------------------------------------------------------------------------------------------------
# Visible text

_UNSEEN: Final = frozenset(("head", "script", "style", "template", "noscript", "noframes", "iframe", "object", "svg"))
_BLOCK_NAMES: Final = """
address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption
figure footer form frame frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup
option p pre search section summary table tbody td tfoot th thead title tr ul
"""
_BLOCKS: Final = frozenset(_BLOCK_NAMES.split())
_BREAK: Final = "\0"  # never occurs in a tree
_PIECES_AT_ONCE: Final = 65_536  # about 50 ms of walking


def visible_text(root: etree._Element) -> str:
    """The text a reader sees: white space collapsed, blocks on lines of their own, at most `MAX_TEXT`."""
    return text_of(chain.from_iterable(text_pieces(root)))


def text_of(pieces: Iterable[str]) -> str:
    """The visible text of a page, from the pieces that `text_pieces` yields."""
    lines = "".join(pieces).split(_BREAK)
    text = "\n".join(filter(None, (" ".join(line.split()) for line in lines)))
    return text[:MAX_TEXT]


def text_pieces(root: etree._Element) -> Iterator[list[str]]:
    """Yield text and breaks in document order, about `_PIECES_AT_ONCE` at a time.

    The caller can do other work in between: a walk of 400,000 elements takes a second. The walk does not recurse,
    because pages nest deeper than Python's stack.
    """
    pieces: list[str] = []
    walk = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    for event, element in walk:
        tag = element.tag
        if event == "start":
            if tag in _UNSEEN:
                walk.skip_subtree()
                continue
            text = element.text
        else:
            text = element.tail if element is not root else None
        if tag in _BLOCKS:
            pieces.append(_BREAK)
        if text:
            pieces.append(text)
        if len(pieces) > _PIECES_AT_ONCE:
            yield pieces
            pieces = []
    yield pieces
