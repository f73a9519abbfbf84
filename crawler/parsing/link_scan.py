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


class Hrefs(NamedTuple):
    """The `href` of each ``a`` and ``area`` in order, as written, and of the first ``base`` that has one."""

    links: list[str]
    base: str | None


def scan(text: str) -> Hrefs | None:
    """The links in the page `text`, which holds no lone surrogate; None: it has to be parsed.

    The time is linear in the length of the page, so nesting needs no bound: links below the depth at which the
    parser gives up are found, too.
    """
    if len(text) > MAX_PAGE or "\0" in text:
        return None
    links: list[str] = []
    base = None
    at = 0
    while (found := _STEP(text, at)) is not None:
        at = found.end()
        kind, double, single, bare = found.groups()
        if kind is None:
            return Hrefs(links, base)  # the end of the page
        if found.lastindex == 1:
            continue  # no href at all
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
_NOT_PLAIN: Final = "|".join((*_TEXT_ONLY, "a|area|base|xmp|iframe|noembed|noframes|plaintext"))
# A short cut: what most tags of most pages are.
_COMMON: Final = (
    "</?+(?:span|div|li|p|ul|code|td|tr|em|strong|dd|dt|dl|pre|h[1-6]|section|b|i|br|cite|table)"
    '(?:[ ]class="[^"]*+")?+>|</a>'
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

# Everything up to the next link and that link, or all that is left. No group inside the possessive loop: there
# Python's `re` loses its place.
_STEP: Final = re.compile(
    rf"""(?:[^<]*+{_TOKEN})*+[^<]*+
    (?:<(a|area|base){_NO_HREF}(?:{_HREF}{_ATTRIBUTES}|{_S}*+/?+)>|(?:</html{_S}*+>{_S}*+)?\Z)""",
    re.VERBOSE,
).match
