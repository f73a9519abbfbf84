"""Find the links of a well-formed page with one regular expression, without building its tree.

Most pages are written by programs and use a small part of HTML: quotes directly after the equals sign, scripts and
comments without tricks. In such pages all parsers agree where a tag begins and ends, so `scan` finds the same links as
the tree, at a fraction of the cost. `scan` returns None for any page that it cannot read with certainty, and the caller
parses it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from html import unescape
from html.entities import html5
from typing import Final, NamedTuple

MAX_PAGE = 2 * 1024 * 1024
"""Longest page that is scanned, in characters."""

MAX_TAG = 1_000
"""Most characters of a link's attributes besides `href`: longer ones may be more than the parser keeps."""

META_SIGNS: Final = ("nofollow", "noindex", "none", "unavailable_after")
"""Page directives that forbid keeping the page or following its links."""

LINK_DIRECTIVES: Final = ("nofollow", "ugc", "sponsored")
"""Values of `rel` that ask robots not to follow one link."""


class Hrefs(NamedTuple):
    """The `href` of each ``a`` and ``area`` in order, as written, and of the first ``base`` that has one."""

    links: list[str]
    base: str | None
    indexes: Sequence[int] = ()  # where in `links` those stand whose tags have other attributes
    rests: Sequence[str] = ()  # the other attributes, one text for each of `indexes`
    metas: Sequence[str] = ()  # the attributes of each ``meta``
    any_case: bool = False  # whether tags (but ``META``) or the ``href`` of links are written in upper case

    def marked(self) -> frozenset[int] | None:
        """The indexes in `links` of links marked with one of `LINK_DIRECTIVES`; None if only a parser can tell."""
        telling = _telling(self.rests, LINK_DIRECTIVES)
        if not telling:  # as on most pages
            return frozenset()
        tags = {self.indexes[at]: rest for at, rest in telling}
        rels = {place: _attributes(rest).get("rel", "") for place, rest in tags.items()}
        if any("&" in rel for rel in rels.values()):
            return None
        return frozenset(place for place, rel in rels.items() if not _SIGNS.isdisjoint(rel.lower().split()))

    def telling_metas(self) -> list[tuple[str, str]] | None:
        """Name and content of each ``meta`` with a word of `META_SIGNS` in its tag, directive or not.

        None if only a parser can tell.
        """
        tags = [meta for _, meta in _telling(self.metas, META_SIGNS)]
        if any("&" in tag or len(tag) > MAX_TAG for tag in tags):
            return None
        return [(tag.get("name", ""), tag.get("content", "")) for tag in map(_attributes, tags)]

    def may_refresh(self) -> bool:
        """Whether a ``meta`` may send the reader on; only a parser tells for certain."""
        return bool(self.metas) and _has(("refresh",), " ".join(set(self.metas)))


def scan(text: str) -> Hrefs | None:
    """The links in the page `text`; None if it has to be parsed.

    Takes time linear in the length of the page, so nesting needs no bound: `scan` also finds the links below the depth
    at which the parser stops.
    """
    if len(text) > MAX_PAGE or "\0" in text:
        return None
    steps = _STEPS(text)
    rest = _left_over(steps)
    if not rest:
        return _hrefs(steps)
    if not _UPPER(rest):
        return None
    steps = _steps_of_any_case()(text)  # read again, so that usual pages need not ask for the case
    found = None if _left_over(steps) else _hrefs(steps)
    return found and found._replace(any_case=True)


def _left_over(steps: Sequence[tuple[str, ...]]) -> str:
    """What the last match took because nothing else matched; after it there is one more, at the end of the page."""
    return steps[-2:][0][-1]


def _hrefs(steps: Sequence[tuple[str, ...]]) -> Hrefs | None:
    links: list[str] = []
    rests: list[str] = []  # the other attributes in the tags of links
    indexes: list[int] = []  # of those links
    metas: list[str] = []
    base = None
    for kind, before, has_href, double, single, bare, behind, meta, _ in steps:
        if not has_href:
            if meta:
                metas.append(meta)
            continue
        href = double or single or bare
        if "&" in href:
            if _UNSURE_REFERENCE(href):
                return None
            href = _PLAIN_REFERENCE(_unescaped, href)
        rest = f"{before} {behind}" if before and behind else before or behind  # a page may leave out the space
        if len(rest) > MAX_TAG:
            return None
        if kind[0] in "bB":  # the others are `a` and `area`
            base = href if base is None else base
            continue
        if rest:
            rests.append(rest)
            indexes.append(len(links))
        links.append(href)
    return Hrefs(links, base, indexes, rests, metas)


def attributes_of(tags: Sequence[str], words: tuple[str, ...]) -> list[dict[str, str]] | None:
    """The attributes of each tag that has one of the words; None if only a parser can tell."""
    found = []
    for _, tag in _telling(tags, words):
        if (attributes := attributes_in(tag)) is None:
            return None
        found.append(attributes)
    return found


def attributes_in(tag: str) -> dict[str, str] | None:
    """The attributes in the text between a tag's name and its end; None if only a parser can tell."""
    if len(tag) > MAX_TAG:
        return None
    if "&" not in tag:
        return _attributes(tag)
    if any(map(_may_differ, _REFERENCE(tag))):
        return None
    return {name: unescape(value) for name, value in _attributes(tag).items()}


def _may_differ(reference: tuple[str, str]) -> bool:
    """Whether parsers may disagree about what follows "&"; None does about a word with its semicolon."""
    name, end = reference
    return bool(name) and not (end and (is_character(name) if name[1:] and name[0] == "#" else f"{name};" in html5))


def is_character(number: str) -> bool:
    """Whether a numeric reference, such as ``#65`` and ``#x41``, stands for the character of that number, and all
    parsers keep it."""
    code = int(number[2:], 16) if number[1] in "xX" else int(number[1:])
    return code in (9, 10, 13) or 32 <= code < 127 or 160 <= code < 0xD800 or 0xE000 <= code < 0xFDD0


def _unescaped(reference: re.Match[str]) -> str:
    return unescape(reference[0])


def _telling(tags: Sequence[str], words: tuple[str, ...]) -> list[tuple[int, str]]:
    """The tags with one of the words, and their indexes. Most pages have none, and repeat a few tags."""
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
    """The attributes in the text between a tag's name and its end. Of equal names, the first counts."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE(tag):
        found.setdefault(name.lower(), double or single or bare)
    return found


_SIGNS: Final = frozenset(LINK_DIRECTIVES)

# ---------------------------------------------------------------------------------------------------------
# Tokens (HTML standard §13.2.5), all without backtracking. White space is HTML's, not Unicode's.

_S: Final = r"[ \t\n\r\f]"
_BARE: Final = r"""[^ \t\n\r\f"'<>]++"""  # may contain "=" and "`"; if a quote or "<" follows, no pattern below matches
_VALUE: Final = rf"""(?:"[^"]*+"|'[^']*+'|{_BARE})"""
_IS: Final = r"""(?<![ \t\n\r\f/"'])="""  # directly after a name: elsewhere "=" may begin a name
_ATTRIBUTES: Final = rf"""(?:[^<>"'=]*+{_IS}{_VALUE})*+[^<>"'=]*+"""
_GAP: Final = rf"""(?:{_S}++|(?<=["']))"""  # before an attribute; behind a quoted value it may lack its white space
_OTHERS: Final = rf"""[ \t\n\r\f=/>])[^ \t\n\r\f"'<>/=]++(?:={_VALUE})?+)*+"""
_NO_HREF: Final = rf"(?:{_GAP}(?![hH][rR][eE][fF]{_OTHERS}"
_NO_SRC: Final = rf"(?:{_GAP}(?![sS][rR][cC]{_OTHERS}"
_ATTRIBUTE: Final = re.compile(rf"""([^ \t\n\r\f"'<>/=]++)(?:=(?:"([^"]*+)"|'([^']*+)'|({_BARE})))?+""").findall
_HREF: Final = rf"""({_GAP}href=)(?:"([^"]*+)"|'([^']*+)'|({_BARE}))"""

# Other references have many rules: the semicolon may be missing, the next character matters, some numbers stand for
# other characters. None begins at "&" before a name and "=", as in a query (HTML standard §13.2.5.73).
_PLAIN: Final = "&(?:amp|lt|gt|quot|apos|#x27|#(?:3[3-9]|[4-9][0-9]|1[01][0-9]|12[0-6]));"
_PLAIN_REFERENCE: Final = re.compile(_PLAIN).sub
_REFERENCE: Final = re.compile("&(#[xX][0-9a-fA-F]+|#[0-9]+|[#a-zA-Z][a-zA-Z0-9]*+|)(;?)").findall
_UNSURE_REFERENCE: Final = re.compile(rf"(?!{_PLAIN})&(?:#|[a-zA-Z][a-zA-Z0-9]*+(?!=))").search

# Elements whose content is text up to their end tag. The rarer ones (_OPAQUE) are left to the parser. In a script,
# "<!--" may hide the end tag, but only if another "<script" follows (HTML standard, "script data double escaped").
_TEXTS: Final = {
    "script": "(?:[^<]++|<(?!!--|/(?i:script)))*+(?:<!--(?:[^<]++|<(?!/?(?i:script)))*+)?+",
    "style": "(?:[^<]++|<(?!/(?i:style)))*+",
    "title": "(?:[^<]++|<(?!!--|/(?i:title)))*+",
    "textarea": "(?:[^<]++|<(?!!--|/(?i:textarea)))*+",
}
_WITH_TEXT: Final = "|".join(
    rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}(?<!/)>{text}</{name}{_S}*+>" for name, text in _TEXTS.items()
)
_OPAQUE: Final = "xmp|iframe|noembed|noframes|plaintext|frameset|frame"
# A frame that leads to no other page.
_EMPTY_FRAME: Final = rf"""<iframe{_NO_SRC}
  (?:{_GAP}src=(?:"(?:javascript|about):[^"]*+"|'(?:javascript|about):[^']*+'){_ATTRIBUTES}|{_S}*+)(?<!/)>
  [^<]*+</iframe{_S}*+>"""
_LINKING: Final = "a|area|base|meta"
_COMMENT: Final = "<!--(?!-?>)(?:[^-]++|-(?!-)|--(?![->!]))*+-->"  # "--!>" and "--->" end it, too

# Inside these, a text-only element may hold elements: <svg><style><a href=…> is a link. The scan skips such an element
# if nothing in it can be a link, hide its end or be read in two ways; otherwise the page is left to the parser.
_ISLANDS: Final = ("svg", "math", "template")
_WITH_HTML: Final = ("desc", "foreignobject", "mi", "mo", "mn", "ms", "mtext")  # "integration points"
_NOT_IN_ISLAND: Final = "|".join((*_ISLANDS, *_WITH_HTML, "annotation-xml", *_TEXTS, _OPAQUE, _LINKING))
_TEXT_IN_ISLAND: Final = "|".join(
    rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}>[^<]*+</{name}{_S}*+>" for name in (*_TEXTS, *_WITH_HTML)
)
_IN_ISLAND: Final = rf"""(?:[^<]++
  | </(?!(?i:{"|".join(_ISLANDS)})[ \t\n\r\f>])[a-zA-Z][a-zA-Z0-9-]*+{_S}*+>
  | <(?!(?i:{_NOT_IN_ISLAND})[ \t\n\r\f/>])[a-zA-Z][a-zA-Z0-9-]*+(?=[ \t\n\r\f/>]){_ATTRIBUTES}>
  | {_TEXT_IN_ISLAND}
  | {_COMMENT}
)*+"""
_ISLAND: Final = "|".join(rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}>{_IN_ISLAND}</{name}{_S}*+>" for name in _ISLANDS)

_NOT_PLAIN: Final = "|".join((_LINKING, *_TEXTS, _OPAQUE, *_ISLANDS))
# A short cut for the most frequent tags.
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
  | {_EMPTY_FRAME}
  | {_ISLAND}
  | <!(?:doctype|DOCTYPE){_S}(?:[^<>"']++|"[^<>"]*+"|'[^<>']*+')*+>
  | <\?[^<>]*+>
)"""

# One match takes everything up to and including the next link or meta, or all that is left. Where neither matches, the
# last alternative takes all that is left. No group inside the possessive loop: Python's `re` loses
# its position there. XSLT's HTML output writes one META in upper case into pages that are otherwise in lower case.
_PATTERN: Final = rf"""(?:[^<]*+{_TOKEN})*+[^<]*+
    (?:<(a|area|base)({_NO_HREF})(?:{_HREF}({_ATTRIBUTES})|{_S}*+/?+)>
      |<(?:meta|META)(?=[ \t\n\r\f/>])({_ATTRIBUTES})>
      |\Z)
    |(.+)"""
_FLAGS: Final = re.VERBOSE | re.DOTALL
_STEPS: Final = re.compile(_PATTERN, _FLAGS).findall
_UPPER: Final = re.compile("""<[^<>"'A-Z]*+[A-Z]""").search


@cache
def _steps_of_any_case() -> Callable[[str], list[tuple[str, ...]]]:
    """`_STEPS` for upper and lower case. Of ASCII only: for `re`, a long s is an s too."""
    return re.compile(_PATTERN, _FLAGS | re.IGNORECASE | re.ASCII).findall
