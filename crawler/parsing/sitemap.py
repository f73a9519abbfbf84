"""Sitemaps to URLs: XML, indexes, feeds and plain text, gzipped or not (sitemaps.org). All of it bounded.

XML is read as a stream, without a tree, entities, network or DTD; a document that declares one is not read.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from lxml import etree

from crawler.parsing.url import join_links

MAX_URLS = 50_000
"""Most URLs taken from one sitemap (sitemaps.org)."""

MAX_BYTES = 50 * 1024 * 1024
"""How much of a sitemap is read, once its gzip is undone (sitemaps.org)."""

_MAX_ELEMENTS = 2_000_000  # 40 for each URL: more is no sitemap
_MAX_AMPERSANDS = 20 * MAX_URLS
_MAX_LENGTH = 10_000  # characters of a URL; what is longer is none
_MAX_DEPTH = 200  # of elements; real ones have four
_MAX_FIELDS = 20  # kept beside one URL
_MAX_MEMBERS = 20  # gzip streams in a row; each costs a copy of the rest
_PIECE = 65_536  # bytes parsed before another look at the bounds


Entry = dict[str, Any]
"""A URL in a sitemap, as Scrapy has it: `loc` as it is written, `lastmod` and the other texts beside it by the names of
their elements, and `alternate`: the URLs of the same page in other languages."""

Choose = Callable[[Iterable[Entry]], Iterable[Entry]]


class Sitemap(NamedTuple):
    """What a sitemap lists: canonical URLs in order, each once."""

    pages: list[str]
    sitemaps: list[str]  # of an index
    left_out: int  # entries that are no URLs, repeated, or too many
    unchosen: int = 0  # entries that `choose` left out


def parse(body: bytes, url: str, choose: Choose | None = None, *, alternates: bool = False) -> Sitemap:
    """The sitemap at `url`. Never raises for a bad body: what can be read of it is taken, of garbage nothing.

    `choose` gets the entries and returns those to take; what it raises passes. `alternates`: take their alternate URLs,
    too. Without either only the URLs are read, which takes half the time.
    """
    body = _inflated(body)[:MAX_BYTES]
    if choose is None and not alternates:
        pages, sitemaps = _from_xml(body, _Reader()) if _is_xml(body) else (_from_text(body), [])
        return _joined(url, pages, sitemaps)
    entries = _from_xml(body, _EntryReader()) if _is_xml(body) else ([{"loc": line} for line in _from_text(body)], [])
    chosen = [list(choose(some)) if choose and some else some for some in entries]
    found = _joined(url, *(_urls(some, alternates=alternates) for some in chosen))
    return found._replace(unchosen=max(0, sum(map(len, entries)) - sum(map(len, chosen))))


def _joined(url: str, pages: list[str], sitemaps: list[str]) -> Sitemap:
    found = Sitemap(join_links(url, pages, limit=MAX_URLS), join_links(url, sitemaps, limit=MAX_URLS), 0)
    return found._replace(left_out=len(pages) + len(sitemaps) - len(found.pages) - len(found.sitemaps))


def _urls(entries: Iterable[Entry], *, alternates: bool) -> list[str]:
    return [url for entry in entries for url in (entry["loc"], *(entry.get("alternate", ()) if alternates else ()))]


# ---------------------------------------------------------------------------------------------------------
# Bytes


def _inflated(body: bytes) -> bytes:
    """Without its gzip, told by the first bytes: servers name such files in many ways. Cut at the bound."""
    if not body.startswith(b"\x1f\x8b"):
        return body
    pieces: list[bytes] = []
    room = MAX_BYTES
    for _ in range(_MAX_MEMBERS):
        if room <= 0 or not body.startswith(b"\x1f\x8b"):
            break
        member = zlib.decompressobj(31)
        try:
            pieces.append(member.decompress(body, room))
        except zlib.error:
            break
        room -= len(pieces[-1])
        body = member.unused_data
    return b"".join(pieces)


def _is_xml(body: bytes) -> bool:
    # The zero bytes are those of UTF-16, whose byte order marks are ff fe and fe ff.
    return body[:1024].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")


_LINE: Final = re.compile(rb"(?:^|[\r\n])[ \t]*(https?://[^\r\n]*)", re.IGNORECASE)


def _from_text(body: bytes) -> list[str]:
    """One URL a line, in UTF-8. Only whole URLs: else any text would be a list of relative ones."""
    lines = islice(_LINE.finditer(body.removeprefix(b"\xef\xbb\xbf")), 2 * MAX_URLS)  # some may be repeated
    return [line[1].decode("utf-8", "replace").strip() for line in lines if len(line[1]) <= _MAX_LENGTH]


# ---------------------------------------------------------------------------------------------------------
# XML


# One that begins no entity, in `?a=1&b=2` of a site that writes its sitemap by hand; not in a CDATA section.
_AMPERSAND: Final = re.compile(
    rb"<!\[CDATA\[(?:.*?\]\]>|.*)|&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});)", re.DOTALL
)


def _from_xml(body: bytes, reader: "_Reader") -> tuple[list[Any], list[Any]]:
    """What the reader takes of pages and of sitemaps: URLs as they are written, or entries."""
    if b"&" in body and b"\0" not in body[:4]:  # not UTF-16
        body = _AMPERSAND.sub(lambda found: b"&amp;" if found[0] == b"&" else found[0], body, _MAX_AMPERSANDS)
    parser = etree.XMLParser(
        target=reader,
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
    )
    try:
        for at in range(0, len(body), _PIECE):
            parser.feed(body[at : at + _PIECE])
            if reader.is_full:
                break
        parser.close()
    except etree.LxmlError:
        pass  # what came before the fault is taken
    return ([], []) if reader.has_doctype else (reader.pages, reader.sitemaps)


# parent and element → what its text is; images and videos have a `loc` inside another parent
_PLACES: Final = {("url", "loc"): "page", ("sitemap", "loc"): "sitemap", ("item", "link"): "page"}


class _Reader:
    """Takes the parser's events (`etree.XMLParser(target=…)`)."""

    def __init__(self) -> None:
        self.pages: list[Any] = []
        self.sitemaps: list[Any] = []
        self.has_doctype = False
        self._elements = 0
        self._path: list[str] = []  # names from the root to here
        self._text: list[str] | None = None  # of the URL that is being read
        self._length = 0

    @property
    def is_full(self) -> bool:
        """Whether it makes no sense to go on."""
        if self.has_doctype or self._elements > _MAX_ELEMENTS or len(self._path) > _MAX_DEPTH:
            return True
        return len(self.pages) + len(self.sitemaps) >= 2 * MAX_URLS  # some may be repeated

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        self.has_doctype = True

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        parent = self._path[-1] if self._path else ""
        self._elements += 1
        self._path.append(name)
        if (parent, name) in _PLACES:
            self._text, self._length = [], 0
        elif (parent, name) == ("entry", "link") and attributes.get("rel", "alternate") == "alternate":
            self._take("page", attributes.get("href", ""))  # Atom

    def data(self, text: str) -> None:
        if self._text is not None and self._length <= _MAX_LENGTH:
            self._text.append(text)
            self._length += len(text)

    def end(self, tag: str) -> None:
        if self._path:
            name = self._path.pop()
            kind = _PLACES.get((self._path[-1] if self._path else "", name))
            if kind and self._text is not None:
                self._take(kind, "".join(self._text))
                self._text = None

    def close(self) -> None:
        """The parser wants to be told what it has made: nothing."""

    def _take(self, kind: str, url: str) -> None:
        url = url.strip()
        if 0 < len(url) <= _MAX_LENGTH:
            (self.pages if kind == "page" else self.sitemaps).append(url)


class _EntryReader(_Reader):
    """Takes what stands beside each URL, too."""

    def __init__(self) -> None:
        super().__init__()
        self._entry: Entry = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition("}")[2] in _ENTRIES:
            self._entry = {}
        super().start(tag, attributes)
        parent, name = self._path[-2:] if len(self._path) > 1 else ("", "")
        if parent == "url" and name == "link" and attributes.get("rel", "alternate") == "alternate":
            self._entry.setdefault("alternate", []).append(attributes.get("href", ""))
        elif parent in _ENTRIES and self._text is None:
            self._text, self._length = [], 0

    def end(self, tag: str) -> None:
        parent, name = self._path[-2:] if len(self._path) > 1 else ("", "")
        if parent in _ENTRIES and (parent, name) not in _PLACES and self._text is not None:
            if len(self._entry) < _MAX_FIELDS:
                self._entry.setdefault(name, "".join(self._text).strip())
            self._text = None
        super().end(tag)

    def _take(self, kind: str, url: str) -> None:
        url = url.strip()
        if 0 < len(url) <= _MAX_LENGTH:
            # At once, not at the end of the element, which a broken document may lack.
            self._entry = {**self._entry, "loc": url}
            (self.pages if kind == "page" else self.sitemaps).append(self._entry)


_ENTRIES: Final = frozenset({"url", "sitemap", "item", "entry"})
