"""The links of a well-formed page without building its tree: one regular expression, or the answer "parse it".

Most pages are written by programs, and use a small part of HTML: lower-case tags, quotes right behind the equals
sign, scripts and comments without tricks. For these all parsers agree where a tag begins and ends, so `scan` finds
the links that the tree has, at a fraction of the cost. What it does not know for certain it leaves to the parser.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from typing import Final, NamedTuple

MAX_PAGE = 2 * 1024 * 1024
"""Longest page that is scanned, in characters."""

MAX_TAG = 1_000
"""Longest tag of a link: in a longer one there may be more attributes than the parser reads."""

META_SIGNS: Final = ("nofollow", "noindex", "none", "unavailable_after")
"""Directives by which a page asks not to be kept, or its links not to be followed."""

LINK_DIRECTIVES: Final = ("nofollow", "ugc", "sponsored")
"""Values of `rel` by which it asks the same for one link."""


class Hrefs(NamedTuple):
    """The `href` of each ``a`` and ``area`` in order, as written, and of the first ``base`` that has one."""

    links: list[str]
    base: str | None
    indexes: Sequence[int] = ()  # in `links` …
    rests: Sequence[str] = ()  # … of tags with other attributes, and these
    metas: Sequence[str] = ()  # the attributes of each ``meta``

    def marked(self) -> frozenset[int] | None:
        """The indexes in `links` of those whose `rel` has one of `LINK_DIRECTIVES`; None: that takes a parser."""
        tags = {self.indexes[at]: rest for at, rest in _telling(self.rests, LINK_DIRECTIVES)}
        rels = {place: _attributes(rest).get("rel", "") for place, rest in tags.items()}
        if any("&" in rel for rel in rels.values()):
            return None
        return frozenset(place for place, rel in rels.items() if not _SIGNS.isdisjoint(rel.lower().split()))

    def telling_metas(self) -> list[tuple[str, str]] | None:
        """Name and content of each ``meta`` with a word of `META_SIGNS` in its tag, perhaps to other ends.

        None: that takes a parser.
        """
        tags = [meta for _, meta in _telling(self.metas, META_SIGNS)]
        if any("&" in tag or len(tag) > MAX_TAG for tag in tags):
            return None
        return [(tag.get("name", ""), tag.get("content", "")) for tag in map(_attributes, tags)]


def scan(text: str) -> Hrefs | None:
    """The links in the page `text`; None: it has to be parsed.

    The time is linear in the length of the page, so nesting needs no bound: links below the depth at which the
    parser gives up are found, too.
    """
    if len(text) > MAX_PAGE or "\0" in text:
        return None
    links: list[str] = []
    rests: list[str] = []  # what else stands in the tags of links
    indexes: list[int] = []  # of those links
    metas: list[str] = []
    base = None
    for kind, before, has_href, double, single, bare, behind, meta, odd in _STEPS(text):
        if odd:
            return None
        if not has_href:
            if meta:
                metas.append(meta)
            continue
        href = double or single or bare
        if len(before) + len(has_href) + len(href) + len(behind) > MAX_TAG:
            return None
        if "&" in href:
            if "&" in _PLAIN_REFERENCE.sub("", href):
                return None
            href = unescape(href)
        if kind == "base":
            base = href if base is None else base
            continue
        if before or behind:  # between them a space, which may be missing behind a quote
            rests.append(f"{before} {behind}" if before and behind else before or behind)
            indexes.append(len(links))
        links.append(href)
    return Hrefs(links, base, indexes, rests, metas)


def _telling(tags: Sequence[str], words: tuple[str, ...]) -> list[tuple[int, str]]:
    """The tags with one of the words, and their indexes. Most pages have none, and repeat the few tags they have."""
    different = set(tags)
    if not _has(words, " ".join(different)):
        return []
    telling = {tag for tag in different if _has(words, tag)}
    return [(place, tag) for place, tag in enumerate(tags) if tag in telling]


def _has(words: tuple[str, ...], text: str) -> bool:
    if "&" in text:
        text = f"{text} {unescape(text)}"  # a word may be spelled with character references
    return any(map(text.lower().__contains__, words))


def _attributes(tag: str) -> dict[str, str]:
    """The attributes in what a tag has between its name and its end, of equal names the first."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE(tag):
        found.setdefault(name.lower(), double or single or bare)
    return found


_SIGNS: Final = frozenset(LINK_DIRECTIVES)

# ---------------------------------------------------------------------------------------------------------
# Tokens (HTML standard §13.2.5), all without backtracking. White space is what HTML calls so, not what Unicode does.

_S: Final = r"[ \t\n\r\f]"
_BARE: Final = r"""[^ \t\n\r\f"'<>]++"""  # may hold "=" and "`"; where a quote or "<" follows, nothing below matches
_VALUE: Final = rf"""(?:"[^"]*+"|'[^']*+'|{_BARE})"""
_IS: Final = r"""(?<![ \t\n\r\f/"'])="""  # right behind a name: elsewhere it may begin one
_ATTRIBUTES: Final = rf"""(?:[^<>"'=]*+{_IS}{_VALUE})*+[^<>"'=]*+"""
_NO_HREF: Final = rf"""(?:{_S}++(?![hH][rR][eE][fF][ \t\n\r\f=/>])[^ \t\n\r\f"'<>/=]++(?:={_VALUE})?+)*+"""
_ATTRIBUTE: Final = re.compile(rf"""([^ \t\n\r\f"'<>/=]++)(?:=(?:"([^"]*+)"|'([^']*+)'|({_BARE})))?+""").findall
_HREF: Final = rf"""({_S}++href=)(?:"([^"]*+)"|'([^']*+)'|({_BARE}))"""

# Others have many rules: with and without a semicolon, by what follows them, numbers that mean other characters.
_PLAIN_REFERENCE: Final = re.compile("&(?:amp|lt|gt|quot|apos|#x27|#(?:3[3-9]|[4-9][0-9]|1[01][0-9]|12[0-6]));")

# Elements whose content is text up to their own end. The rarer ones of the kind are left to the parser.
_TEXT_ONLY: Final = ("script", "style", "title", "textarea")
_WITH_TEXT: Final = "|".join(
    rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}(?<!/)>(?:[^<]++|<(?!!--|/(?i:{name})))*+</{name}{_S}*+>"
    for name in _TEXT_ONLY
)
_OPAQUE: Final = "xmp|iframe|noembed|noframes|plaintext|frameset"
_LINKING: Final = "a|area|base|meta"
_COMMENT: Final = "<!--(?!-?>)(?:[^-]++|-(?!-))*+-->"

# Inside these a text-only element may be one no longer: <svg><style><a href=…> is a link. So they are passed as a whole
# when nothing in them can be a link, hide their end or be read in two ways, and left to the parser otherwise.
_ISLANDS: Final = ("svg", "math", "template")
_WITH_HTML: Final = ("desc", "foreignobject", "mi", "mo", "mn", "ms", "mtext")  # "integration points"
_NOT_IN_ISLAND: Final = "|".join((*_ISLANDS, *_WITH_HTML, "annotation-xml", *_TEXT_ONLY, _OPAQUE, _LINKING))
_TEXT_IN_ISLAND: Final = "|".join(
    rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}>[^<]*+</{name}{_S}*+>" for name in (*_TEXT_ONLY, *_WITH_HTML)
)
_IN_ISLAND: Final = rf"""(?:[^<]++
  | </(?!(?i:{"|".join(_ISLANDS)})[ \t\n\r\f>])[a-zA-Z][a-zA-Z0-9-]*+{_S}*+>
  | <(?!(?i:{_NOT_IN_ISLAND})[ \t\n\r\f/>])[a-zA-Z][a-zA-Z0-9-]*+(?=[ \t\n\r\f/>]){_ATTRIBUTES}>
  | {_TEXT_IN_ISLAND}
  | {_COMMENT}
)*+"""
_ISLAND: Final = "|".join(rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}>{_IN_ISLAND}</{name}{_S}*+>" for name in _ISLANDS)

_NOT_PLAIN: Final = "|".join((_LINKING, *_TEXT_ONLY, _OPAQUE, *_ISLANDS))
# Short cuts: what most tags of most pages are.
_COMMON: Final = (
    "</[a-z][a-z0-9-]*+>|"
    "<(?:span|code|li|p|div|em|strong|dd|dt|dl|ul|pre|td|tr|h[1-6]|section|b|i|br|cite|table)"
    '(?:[ ]class="[^"]*+")?+>'
)
_TOKEN: Final = rf"""(?:
    {_COMMON}
  | </[a-z][a-z0-9-]*+{_S}*+>
  | <(?!(?:{_NOT_PLAIN})[ \t\n\r\f/>])[a-z][a-z0-9-]*+(?=[ \t\n\r\f/>]){_ATTRIBUTES}>
  | {_WITH_TEXT}
  | {_COMMENT}
  | {_ISLAND}
  | <!(?:doctype|DOCTYPE){_S}(?:[^<>"']++|"[^<>"]*+"|'[^<>']*+')*+>
  | <\?[^<>]*+>
)"""

# Everything up to the next link or meta and that one, or all that is left; or, when neither is as it should be, one
# character and all behind it. No group inside the possessive loop: there Python's `re` loses its place.
_STEPS: Final = re.compile(
    rf"""(?:[^<]*+{_TOKEN})*+[^<]*+
    (?:<(a|area|base)({_NO_HREF})(?:{_HREF}({_ATTRIBUTES})|{_S}*+/?+)>
      |<meta(?=[ \t\n\r\f/>])({_ATTRIBUTES})>
      |\Z)
    |(.)(?s:.*)""",
    re.VERBOSE | re.DOTALL,
).findall
