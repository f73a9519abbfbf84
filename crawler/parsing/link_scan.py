"""The links of a well-formed page without building its tree: one regular expression, or the answer "parse it".

Most pages are written by programs, and use a small part of HTML: lower-case tags, quotes right behind the equals
sign, scripts and comments without tricks. For these all parsers agree where a tag begins and ends, so `scan` finds
the links that the tree has, at a fraction of the cost. What it does not know for certain it leaves to the parser.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final, NamedTuple

MAX_PAGE = 2 * 1024 * 1024
"""Longest page that is scanned, in characters."""

MAX_TAG = 1_000
"""Longest tag of a link: in a longer one there may be more attributes than the parser reads."""

META_SIGNS: Final = ("nofollow", "noindex", "none", "unavailable_after")
"""Directives by which a page asks not to be kept, or its links not to be followed."""

LINK_SIGNS: Final = ("nofollow", "ugc", "sponsored")
"""Values of `rel` by which it asks the same for one link."""


class Hrefs(NamedTuple):
    """The `href` of each ``a`` and ``area`` in order, as written, and of the first ``base`` that has one."""

    links: list[str]
    base: str | None
    marked: bool
    """Whether a ``meta`` holds a word of `META_SIGNS` or a link one of `LINK_SIGNS`, perhaps to other ends.

    False: the page has no sign of that kind, unless it spells one with character references.
    """


def scan(text: str) -> Hrefs | None:
    """The links in the page `text`; None: it has to be parsed.

    The time is linear in the length of the page, so nesting needs no bound: links below the depth at which the
    parser gives up are found, too.
    """
    if len(text) > MAX_PAGE or "\0" in text:
        return None
    links: list[str] = []
    rests: list[str] = []  # what else stands in the tags of links
    metas: list[str] = []
    base = None
    at = 0
    while (found := _STEP(text, at)) is not None:
        at = found.end()
        kind, before, double, single, bare, behind, meta = found.groups()
        if kind is None:
            if meta is None:
                # the end of the page
                return Hrefs(links, base, _any_of(META_SIGNS, metas) or _any_of(LINK_SIGNS, rests))
            metas.append(meta)
            continue
        if behind is None:
            continue  # no href at all
        if before:
            rests.append(before)
        if behind:
            rests.append(behind)
        href = double or single or bare or ""
        if "&" in href:
            if "&" in _PLAIN_REFERENCE.sub("", href):
                return None
            href = unescape(href)
        if at - found.start(1) > MAX_TAG:
            return None
        if kind != "base":
            links.append(href)
        elif base is None:
            base = href
    return None


def _any_of(words: tuple[str, ...], pieces: list[str]) -> bool:
    text = " ".join(pieces).lower()
    return any(map(text.__contains__, words))


# ---------------------------------------------------------------------------------------------------------
# Tokens (HTML standard §13.2.5), all without backtracking. White space is what HTML calls so, not what Unicode does.

_S: Final = r"[ \t\n\r\f]"
_BARE: Final = r"""[^ \t\n\r\f"'=<>`]++"""
_VALUE: Final = rf"""(?:"[^"]*+"|'[^']*+'|{_BARE})"""
_IS: Final = r"""(?<![ \t\n\r\f/"'])="""  # right behind a name: elsewhere it may begin one
_ATTRIBUTES: Final = rf"""(?:[^<>"'=]*+{_IS}{_VALUE})*+[^<>"'=]*+"""
_NO_HREF: Final = rf"""(?:{_S}++(?![hH][rR][eE][fF][ \t\n\r\f=/>])[^ \t\n\r\f"'<>/=]++(?:={_VALUE})?+)*+"""
_HREF: Final = rf"""{_S}++href=(?:"([^"]*+)"|'([^']*+)'|({_BARE}))"""

# Others have many rules: with and without a semicolon, by what follows them, numbers that mean other characters.
_PLAIN_REFERENCE: Final = re.compile("&(?:amp|lt|gt|quot|apos|#x27|#(?:3[3-9]|[4-9][0-9]|1[01][0-9]|12[0-6]));")

# Elements whose content is text up to their own end. The rarer ones of the kind are left to the parser, as is what
# stands behind </html>.
_TEXT_ONLY: Final = ("script", "style", "title", "textarea")
_WITH_TEXT: Final = "|".join(
    rf"<{name}(?=[ \t\n\r\f>]){_ATTRIBUTES}(?<!/)>(?:[^<]++|<(?!!--|/(?i:{name})))*+</{name}{_S}*+>"
    for name in _TEXT_ONLY
)
_NOT_PLAIN: Final = "|".join((*_TEXT_ONLY, "a|area|base|meta|xmp|iframe|noembed|noframes|plaintext"))
# Short cuts: what most tags of most pages are.
_COMMON: Final = (
    "</[a-gi-z][a-z0-9-]*+>|"
    "<(?:span|code|li|p|div|em|strong|dd|dt|dl|ul|pre|td|tr|h[1-6]|section|b|i|br|cite|table)"
    '(?:[ ]class="[^"]*+")?+>'
)
_TOKEN: Final = rf"""(?:
    {_COMMON}
  | </(?!html[ \t\n\r\f>])[a-z][a-z0-9-]*+{_S}*+>
  | <(?!(?:{_NOT_PLAIN})[ \t\n\r\f/>])[a-z][a-z0-9-]*+(?=[ \t\n\r\f/>]){_ATTRIBUTES}>
  | {_WITH_TEXT}
  | <!--(?!-?>)(?:[^-]++|-(?!-))*+-->
  | <!(?:doctype|DOCTYPE){_S}(?:[^<>"']++|"[^<>"]*+"|'[^<>']*+')*+>
  | <\?[^<>]*+>
)"""

# Everything up to the next link or meta and that one, or all that is left. No group inside the possessive loop: there
# Python's `re` loses its place.
_STEP: Final = re.compile(
    rf"""(?:[^<]*+{_TOKEN})*+[^<]*+
    (?:<(a|area|base)({_NO_HREF})(?:{_HREF}({_ATTRIBUTES})|{_S}*+/?+)>
      |<meta(?=[ \t\n\r\f/>])({_ATTRIBUTES})>
      |(?:</html{_S}*+>{_S}*+)?\Z)""",
    re.VERBOSE,
).match
