"""The visible text of a page: the characters that a reader sees, in the order of the page.

- **Visible** is the text inside any element but those of `_UNSEEN`, and never a comment, a processing instruction or
  an attribute. Styles are not looked at: text that a style sheet hides is visible here. Character references are
  decoded.
- **Lines:** the start and the end of each element of `_BLOCKS` (a paragraph, a list item, a table cell, ``br`` …) end
  the line. Other elements end none: ``a<b>b</b>`` is one word.
- **White space:** each run of it (as `str.split` knows it: line feeds and no-break spaces too, ``pre`` or not) is one
  space; lines have none at their ends; empty lines are left out.

`visible_text` reads a tree, and `scanned` reads the page itself, in a few passes of regular expressions. Where the
elements of a page are not properly nested, the two agree on all characters but not on all line ends: the tree closes a
block where the page does not (``<b><p>x</b>y``), and leaves out an end tag without a start (``x</div>y``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from html import unescape
from itertools import chain
from typing import Final, NamedTuple

from lxml import etree

from crawler.parsing.limits import Reading
from crawler.parsing.link_scan import is_character

_PLAIN: Final = Reading()

_UNSEEN: Final = frozenset(("head", "script", "style", "template", "noscript", "noframes", "iframe", "object", "svg"))
_BLOCK_NAMES: Final = """
address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption
figure footer form frame frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup
option p pre search section summary table tbody td tfoot th thead title tr ul
"""
_BLOCKS: Final = frozenset(_BLOCK_NAMES.split())
_BREAK: Final = "\0"  # never occurs in a tree, nor in a page that is scanned
_SPACES: Final = (  # what `str.split` takes for white space, besides the space itself
    "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_PIECES_AT_ONCE: Final = 65_536  # about 50 ms of walking


def visible_text(root: etree._Element, how: Reading = _PLAIN) -> str:
    """The text a reader sees: white space collapsed, blocks on lines of their own."""
    return text_of(chain.from_iterable(text_pieces(root)), how)


def text_of(pieces: Iterable[str], how: Reading = _PLAIN) -> str:
    """The visible text of a page, from the pieces that `text_pieces` yields."""
    text = "".join(pieces)
    for space in _SPACES:
        text = text.replace(space, " ")
    text = " ".join(filter(None, map(str.strip, text.split("  "))))  # quicker than word by word
    text = "\n".join(filter(None, map(str.strip, text.split(_BREAK))))
    most = how.limits.text
    if len(text) > most:
        how.cut("text", f"{len(text):,} characters of text; {most:,} were kept (PARSE_MAXTEXT)")
    return text[:most]


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


# ---------------------------------------------------------------------------------------------------------
# Without a tree


class Elements(NamedTuple):
    """A page that `link_scan.scan` takes, without what holds no element that counts: comments, scripts, drawings …"""

    head: str
    """Up to the end of the head."""
    body: str
    """All that follows, without `noscript` and `object`; names of tags but `META` are in lower case."""
    root: str
    """What is written in the ``html`` tag besides its name."""
    counts: Counter[str]
    """How many there are of some elements, such as `title` and `link`."""


def elements_of(text: str, *, any_case: bool = False) -> Elements | None:
    """The elements of a page that `link_scan.scan` takes; None if only a tree can tell.

    `any_case`: some names of tags are in upper case.
    """
    if _CUT_REFERENCE(text):  # without the tag, more would belong to it
        return None
    if any_case:
        text = _TAG_NAME(_lowered, text)
    names: list[str] = []
    page = _without_unseen(text, names)
    if page is None:
        return None
    head = next(_HEAD(page))  # matches the empty text too
    at = head.end()
    if head["is_open"].strip() and head["is_closed"] is None and not _ENDS_HEAD(page, at):
        return None
    body = page[at:]
    if "select" in names:
        body = _LAST_OPTION(r"\g<0></option>", body)  # its end, which may be left out, ends a line
    texts = names.count("textarea") + names.count("title") - page.count("<title", 0, at)
    if names.count("html") > 1 or (texts and _TAGS_AS_TEXT(body)):
        return None
    return Elements(page[:at], body, head["root"] or "", Counter(names))


def scanned(body: str) -> str | None:
    """Text and breaks for `text_of`, computed from `Elements.body`; None if only a tree can tell."""
    text = _OTHER_TAG.sub("", _BLOCK_TAGS.sub(_BREAK, body))
    if "<" in text:  # a value of an attribute holds what looks like the tag of a block: read a tag at a time
        parts = _TAG_OF_BLOCK.split(body)
        parts[1::2] = [_BREAK if name else "" for name in parts[1::2]]
        text = "".join(parts)
    return None if "<" in text else decoded(text)


def decoded(text: str) -> str | None:
    """`text` with its character references decoded; None if parsers may disagree about one of them."""
    if "&" not in text:
        return text
    return unescape(text) if all(map(is_character, _NUMBER(text))) else None


def title_of(page: Elements) -> str | None:
    """The page's first title as written, "" without one; None if only a tree can tell."""
    if not page.counts["title"]:
        return ""
    found = _TITLE(page.head) or _TITLE(page.body)
    return decoded(found[1]) if found else None


def links_of(page: Elements) -> list[str]:
    """What is written in each ``link`` tag."""
    found = _LINK(page.head)
    return found if len(found) == page.counts["link"] else found + _LINK(page.body)


def _without_unseen(text: str, names: list[str]) -> str | None:
    """`text` without `_LEFT_OUT`; None where it is unclear where that ends. Adds the names of what it meets."""
    kept, at, before = [], 0, 0
    body = text.find("<body")
    for mark in _MARKS(text):
        start, name = mark.start(), mark[0][1:]
        if start < at:  # inside of what is left out
            continue
        if _is_in_value(text, max(at, before), start):
            return None
        before = start
        names.append(name)
        if name not in _LEFT_OUT:
            continue
        if name not in _ENDS and text.endswith("/", mark.end(), text.find(">", mark.end())):
            return None  # parsers disagree whether "<svg/>" is its own end
        stop = text.find(_ENDS.get(name) or f"</{name}", mark.end())
        if stop < 0 or (name in _NESTING and _is_unclear(text, name, start, stop, is_in_body=0 <= body < start)):
            return None
        kept.append(text[at:start])
        at = text.index(">", stop) + 1
    kept.append(text[at:])
    return "".join(kept)


def _is_in_value(text: str, begin: int, at: int) -> bool:
    """Whether a place is inside a value. At `begin` there is none."""
    double, single = text.rfind('"', begin, at), text.rfind("'", begin, at)
    may_be = (double > 0 and text[double - 1] == "=") or (single > 0 and text[single - 1] == "=")  # else none is open
    return may_be and not _TAGS(text, begin, at)


def _is_unclear(text: str, name: str, start: int, stop: int, *, is_in_body: bool) -> bool:
    """Whether such elements are nested, or something in one of the head ends the head."""
    if text.find(f"<{name}", start + 1, stop) >= 0:
        return True
    return not is_in_body and not _STAYS_IN_HEAD(text, start, stop)


def _lowered(tag: re.Match[str]) -> str:
    return tag[0].lower()


def _one_of(words: Iterable[str]) -> str:
    """A pattern for the longest of the words that stands there, letter by letter, because `re` tries alternatives one
    after the other."""
    by_letter: dict[str, list[str]] = {}
    for word in sorted(words, reverse=True):
        by_letter.setdefault(word[:1], []).append(word[1:])
    found = [re.escape(letter) + _one_of(rests) for letter, rests in by_letter.items() if letter]
    return f"(?:{'|'.join(found)}){'?+' * ('' in by_letter)}" if found else ""


# Of a page that `link_scan.scan` takes: each "<" that is not inside a value begins a tag, and no value lacks its quote.
# A try that begins at a "<" inside a value ends at a later one, unless it takes that one for part of a value too. At
# most two tries do so at once (out of values, in one kind of quotes, in the other: each quote swaps two of these and
# never joins two), so that the time stays linear.
_S: Final = r"[ \t\n\r\f]"
_NAME_ENDS: Final = r"(?=[ \t\n\r\f/>])"
_INSIDE: Final = r"""[^<>"']*+(?:(?:"[^"]*+"|'[^']*+')[^<>"']*+)*+"""
_END: Final = rf"""[^<>"']*+(?:"[^"]*+")?+(?:>|{_INSIDE}>)"""  # a short cut for tags with one attribute
_NESTING: Final = frozenset(("noscript", "object"))
_TAGS: Final = re.compile(rf"[^<]*+(?:<{_END}[^<]*+)*+").fullmatch
_LEFT_OUT: Final = frozenset(("!--", "!", "?", "script", "style", "svg", "template", "iframe")) | _NESTING
_ENDS: Final = {"!--": "-->", "!": ">", "?": ">"}
_MARKED: Final = _one_of((*_LEFT_OUT, "title", "textarea", "select", "html", "link"))
_MARKS: Final = re.compile(rf"<{_MARKED}(?:(?<=[!?-])|{_NAME_ENDS})").finditer

_BLOCK: Final = rf"/?+{_one_of(_BLOCKS)}{_NAME_ENDS}"
# The tag of a block and all tags behind it that no text parts from it: together they end one line.
_BLOCK_TAGS: Final = re.compile(rf"<{_BLOCK}{_END}(?:\s*+<{_END})*+")
# After the tags of blocks have become `_BREAK`. A tag around such a break held it in a value, so it does not match.
_OTHER_TAG: Final = re.compile(f"<{_END}".replace("[^", rf"[^{_BREAK}"))
_TAG_OF_BLOCK: Final = re.compile(f"<({_BLOCK})?{_END}")
_TAG_NAME: Final = re.compile("</?[a-zA-Z][a-zA-Z0-9-]*+").sub
_NUMBER: Final = re.compile("&(#[0-9]+|#[xX][0-9a-fA-F]+)").findall
_CUT_REFERENCE: Final = re.compile("&#?[a-zA-Z0-9]*+<").search
_TITLE: Final = re.compile(rf"<title(?={_S}|>){_END}([^<]*+)</title").search
_LINK: Final = re.compile(rf"<link{_NAME_ENDS}({_INSIDE})>").findall
_TAGS_AS_TEXT: Final = re.compile(rf"<(textarea|title)(?={_S}|>){_END}[^<]*+<(?!/\1)").search
# Without a tag for its end, the head ends where the body begins, and before tags that all parsers know.
_HEAD: Final = re.compile(
    rf"""{_S}*+(?:<html(?={_S}|>)(?P<root>{_INSIDE})>)?+{_S}*+
    (?P<is_open>(?:<head(?={_S}|>){_END})?+(?:{_S}++
        |<(?:meta|META|link|base){_NAME_ENDS}{_END}|<title(?={_S}|>){_END}[^<]*+</title{_S}*+>)*+)
    (?:(?<=.)</head{_S}*+>(?P<is_closed>))?+""",
    re.VERBOSE | re.DOTALL,
).finditer
_LAST_OPTION: Final = re.compile(rf"<option(?={_S}|>){_END}[^<]*+(?=</select)").sub
_STAYS_IN_HEAD: Final = re.compile(
    rf"<noscript{_S}*+>(?:{_S}++|<(?:meta|link){_NAME_ENDS}{_END}|<style(?={_S}|>){_END}[^<]*+</style{_S}*+>)*+"
).fullmatch
_ENDS_HEAD: Final = re.compile(rf"<(?:body|h[1-6r]|p|div|table|center|pre|ul|a|b){_NAME_ENDS}").match
