"""Read the URLs of sitemaps: XML, indexes, feeds and plain text, gzipped or not (sitemaps.org), within bounds.

XML is read as a stream, without a tree, entities, network or DTD; a document that declares a DTD is not read.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from lxml import etree

from crawler.parsing.charset import decode
from crawler.parsing.url import join_links

MAX_URLS = 50_000
"""The most URLs taken from one sitemap (sitemaps.org)."""

MAX_BYTES = 50 * 1024 * 1024
"""How many bytes of a sitemap are read, counted after gunzip (sitemaps.org)."""

# How many "<" and "&" are read: they determine what parsing costs. A real sitemap has far fewer.
_MAX_MARKS = 60 * MAX_URLS
_MARKS_BEFORE_URLS = 20_000
_MARKS_PER_URL = 500
_MAX_LENGTH = 10_000  # characters; a longer text is not a URL
_MAX_DEPTH = 200  # of nested elements; a real sitemap has four
_MAX_FIELDS = 20  # kept beside one URL
_MAX_MEMBERS = 20  # gzip streams in a row; each costs a copy of the rest
_PIECE = 65_536  # bytes parsed between two checks of the bounds


Entry = dict[str, Any]
"""A URL in a sitemap, in Scrapy's form: `loc` as written; `lastmod` and its other siblings, each text under the name of
its element; `alternate`, the URLs of the same page in other languages."""

Choose = Callable[[Iterable[Entry]], Iterable[Entry]]


class Sitemap(NamedTuple):
    """What a sitemap lists: canonical URLs in order, each once."""

    pages: list[str]
    sitemaps: list[str]  # of an index
    left_out: int  # entries that are invalid, repeated, or beyond MAX_URLS
    unchosen: int = 0  # entries that `choose` left out
    is_cut: bool = False  # a bound cut it: how many entries follow is unknown


def parse(body: bytes, url: str, choose: Choose | None = None, *, alternates: bool = False) -> Sitemap:
    """The sitemap at `url`. Never raises for a bad body: it takes what is readable, which may be nothing.

    `choose` gets the entries and returns those to take; its exceptions propagate. With `alternates`, the alternate URLs
    are taken as well. Without both, only the URLs are read, which takes half the time.
    """
    body = _inflated(body)[:MAX_BYTES]
    reader = _Reader() if choose is None and not alternates else _EntryReader()
    if _is_xml(body):
        found = _read(_from_xml(body, reader), url, choose, alternates)
    else:
        lines = _from_text(body)
        given: list[Any] = [{"loc": line} for line in lines] if isinstance(reader, _EntryReader) else lines
        found = _read((given, []), url, choose, alternates)
    return found._replace(is_cut=reader.is_cut or len(body) == MAX_BYTES)


def _read(entries: tuple[list[Any], list[Any]], url: str, choose: Choose | None, alternates: bool) -> Sitemap:
    """The `Sitemap` made of the pages and the sitemaps that were found: URLs, or entries to choose from."""
    if choose is None and not alternates:
        return _joined(url, *entries)
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
    """`body` without gzip, cut at `MAX_BYTES`. The first bytes decide, because servers name gzip files in many ways."""
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
    # In UTF-16 the document begins with ff fe or fe ff and has zero bytes.
    return body[:1024].lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").startswith(b"<")


def _from_text(body: bytes) -> list[str]:
    """One URL per line, in UTF-8. Only absolute URLs: otherwise any text would pass as a list of relative ones."""
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"\n")
    lowered = body.lower()
    urls: list[str] = []
    end = 0
    for _ in range(2 * MAX_URLS):  # some may be repeated or invalid
        at = lowered.find(b"http", end)
        if at < 0:
            break
        end = lowered.find(b"\n", at) % (len(body) + 1)  # -1 becomes the end of the last line
        line = body[body.rfind(b"\n", 0, at) + 1 : end].strip(b" \t")
        if len(line) <= _MAX_LENGTH and line[:8].lower().startswith((b"http://", b"https://")):
            urls.append(line.decode("utf-8", "replace").strip())
    return urls


# ---------------------------------------------------------------------------------------------------------
# XML


def _from_xml(body: bytes, reader: "_Reader") -> tuple[list[Any], list[Any]]:
    """The pages and the sitemaps that `reader` collects: URLs as written, or entries."""
    parser = etree.XMLParser(
        target=reader,
        encoding="utf-8",
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
    )
    marks = 0
    try:
        for piece in _pieces(_in_utf8(body)):
            marks += piece.count(b"<") + piece.count(b"&")
            if reader.is_full or marks > min(_MAX_MARKS, _MARKS_BEFORE_URLS + _MARKS_PER_URL * reader.count):
                reader.is_cut = not reader.has_doctype  # a document with a DTD is refused, not cut
                break
            parser.feed(_mended(piece))
        parser.close()
    except etree.LxmlError:
        pass  # keep what was read before the fault
    return ([], []) if reader.has_doctype else (reader.pages, reader.sitemaps)


def _in_utf8(body: bytes) -> bytes:
    """The document in UTF-8. Its first bytes tell its encoding: .NET declares UTF-16 in documents that are UTF-8."""
    kind = "application/xml"
    return body if decode(body[:_PIECE], kind)[1] == "utf-8" else decode(body, kind)[0].encode()[:MAX_BYTES]


def _pieces(body: bytes) -> Iterator[bytes]:
    """Cut the document after tags and outside CDATA sections. A section longer than a piece holds no URL."""
    at = 0
    while at < len(body):
        piece = body[at : at + _PIECE]
        end = piece.rfind(b">") + 1 or len(piece)
        section = piece.rfind(b"<![CDATA[", 0, end)
        if section > 0 and piece.find(b"]]>", section, end) < 0:
            end = section
        at += end
        yield piece[:end]


# Each of these stops the parser, and careless writers leave them in text: control characters, the ampersand of
# `?a=1&b=2`, a stray "<", a reference to an invalid character. The last three are legal in a CDATA section.
_CONTROLS: Final = bytes({*range(0x20)} - {*b"\t\n\r"})
_STRAY: Final = rb"<(?![A-Za-z_:/!?\x80-\xff])"
_UNESCAPED: Final = re.compile(
    rb"<!\[CDATA\[(?:.*?\]\]>|.*)|%b|&(?!(?:amp|lt|gt|quot|apos|#[1-9][0-9]{2,3});)"
    rb"(?:#(?:(?P<decimal>[0-9]{1,9})|x(?P<hex>[0-9a-fA-F]{1,9}));)?" % _STRAY,
    re.DOTALL,
)
_has_stray: Final = re.compile(_STRAY).search


def _mended(piece: bytes) -> bytes:
    piece = piece.translate(None, _CONTROLS)
    return _UNESCAPED.sub(_escaped, piece) if b"&" in piece or _has_stray(piece) else piece


def _escaped(found: re.Match[bytes]) -> bytes:
    decimal, number = found.groups()
    if not decimal and not number:
        return {b"&": b"&amp;", b"<": b"&lt;"}.get(found[0], found[0])
    code = int(decimal) if decimal else int(number, 16)
    is_character = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return found[0] if is_character else "\ufffd".encode()


# (parent, element) → what its text names; images and videos have a `loc` under another parent
_PLACES: Final = {("url", "loc"): "page", ("sitemap", "loc"): "sitemap", ("item", "link"): "page"}


class _Reader:
    """Receives the parser's events (`etree.XMLParser(target=…)`) and collects URLs."""

    def __init__(self) -> None:
        self.pages: list[Any] = []
        self.sitemaps: list[Any] = []
        self.has_doctype = False
        self.is_cut = False  # the document was not read to its end
        self._path: list[str] = []  # names from the root to the open element
        self._text: list[str] | None = None  # of the element that is being read
        self._length = 0

    @property
    def count(self) -> int:
        """How many URLs were found."""
        return len(self.pages) + len(self.sitemaps)

    @property
    def is_full(self) -> bool:
        """Whether to stop: the document has a DTD, nests too deep, or has given enough URLs."""
        return self.has_doctype or len(self._path) > _MAX_DEPTH or self.count >= 2 * MAX_URLS  # some may be repeated

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        self.has_doctype = True

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        parent = self._path[-1] if self._path else ""
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
        """Called by the parser at the end of the document."""

    def _take(self, kind: str, url: str) -> None:
        url = url.strip()
        if 0 < len(url) <= _MAX_LENGTH:
            (self.pages if kind == "page" else self.sitemaps).append(url)


class _EntryReader(_Reader):
    """Collects each URL together with the elements beside it."""

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
            # Not at the end of the element: a broken document may lack it.
            self._entry = {**self._entry, "loc": url}
            (self.pages if kind == "page" else self.sitemaps).append(self._entry)


_ENTRIES: Final = frozenset({"url", "sitemap", "item", "entry"})
