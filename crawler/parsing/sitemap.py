"""Read the URLs of sitemaps: XML, indexes, feeds and plain text, gzipped or not (sitemaps.org), within bounds.

XML is read as a stream, without a tree, entities, network or DTD: what stands before the root element, a DTD among it,
never reaches the parser.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from lxml import etree

from crawler.parsing.charset import decode
from crawler.parsing.limits import ParseLimits, Reading
from crawler.parsing.sitemap_entries import END, MAX_LENGTH, Entry, EntryReader, Reader
from crawler.parsing.url import join_links

# How many "<" and "&" are read: they determine what parsing costs. A real sitemap has far fewer.
_MARKS_BEFORE_URLS = 20_000
_MARKS_PER_URL = 500
_MARKS_PER_POSSIBLE_URL = 60
_MAX_DEPTH = 200  # of nested elements; a real sitemap has four
_MAX_LAYERS = 2  # of gzip; some servers compress a compressed file
_MAX_MEMBERS = 20  # gzip streams in a row; each costs a copy of the rest
_PIECE = 65_536  # bytes parsed between two checks of the bounds

Choose = Callable[[Iterable[Entry]], Iterable[Entry]]


class Sitemap(NamedTuple):
    """What a sitemap lists: canonical URLs in order, each once."""

    pages: list[str]
    sitemaps: list[str]  # of an index
    left_out: int  # entries without a valid URL
    unchosen: int = 0  # entries that `choose` left out


def parse(
    body: bytes,
    url: str,
    choose: Choose | None = None,
    *,
    alternates: bool = False,
    how: Reading = Reading(),  # noqa: B008 - a constant
) -> Sitemap:
    """The sitemap at `url`. Never raises for a bad body: it takes what is readable, which may be nothing.

    `choose` gets the entries and returns those to take; its exceptions propagate. With `alternates`, the alternate URLs
    are taken as well. Without both, only the URLs are read, which takes half the time. `how.cut` is called with what is
    beyond the limits.
    """
    reader = Reader(url) if choose is None and not alternates else EntryReader(url)
    _read(_inflated(body, how), reader, how)
    found: tuple[list[Any], list[Any]] = reader.pages, reader.sitemaps
    if choose is None and not alternates:
        return _joined(url, *found, reader.without_url, how)
    chosen = [list(choose(some)) if choose and some else some for some in found]
    pages, sitemaps = (_urls(some, alternates=alternates) for some in chosen)
    joined = _joined(url, pages, sitemaps, reader.without_url, how)
    return joined._replace(unchosen=max(0, sum(map(len, found)) - sum(map(len, chosen))))


def is_sitemap(body: bytes) -> bool:
    """Whether a document, gzipped or not, has the root element of a sitemap or a feed near its beginning."""
    head = _inflated(body[:_PIECE], Reading(limits=ParseLimits(sitemap_size=_PIECE)))
    return _root(_in_utf8(head)) is not None


def _joined(url: str, pages: list[str], sitemaps: list[str], without_url: int, how: Reading) -> Sitemap:
    most = how.limits.sitemap_urls
    found = Sitemap(join_links(url, pages, limit=most + 1), join_links(url, sitemaps, limit=most + 1), without_url)
    if max(len(found.pages), len(found.sitemaps)) > most:
        how.cut("sitemap", f"more than {most:,} URLs; the others were not taken (SITEMAP_MAXURLS)")
        return Sitemap(found.pages[:most], found.sitemaps[:most], without_url)
    different = {*pages, *sitemaps}
    if len(different) == len(found.pages) + len(found.sitemaps):
        return found
    return found._replace(left_out=without_url + sum(not join_links(url, [one]) for one in different))


def _urls(entries: Iterable[Entry], *, alternates: bool) -> list[str]:
    return [url for entry in entries for url in (entry["loc"], *(entry.get("alternate", ()) if alternates else ()))]


def _read(body: bytes, reader: Reader, how: Reading) -> None:
    document = _in_utf8(body)[: how.limits.sitemap_size]
    if (root := _root(document)) is not None:
        _read_xml(document, root, reader, how)
    elif document[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        _read_xml(document, 0, reader, how)
    elif document.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        _read_json(document, reader)
    else:
        _read_text(document, reader, how)


def _root(document: bytes) -> int | None:
    """The place of the root element of a sitemap or a feed; before it there may be a declaration, a DTD, comments, or
    the warning of a program. None if there is no such element near the beginning."""
    return next((found.start() for found in _ROOT(document, 0, _PIECE) if found["root"]), None)


_ROOT: Final = re.compile(
    rb"<!--.*?-->|(?P<root><(?:[\w.-]++:)?(?:urlset|sitemapindex|rss|feed|RDF)(?=[\s/>]))", re.DOTALL
).finditer


# ---------------------------------------------------------------------------------------------------------
# Bytes


def _inflated(body: bytes, how: Reading) -> bytes:
    """`body` without gzip, cut at the limit. The first bytes decide, because servers name gzip files in many ways."""
    most = how.limits.sitemap_size
    for _ in range(_MAX_LAYERS):
        if not body.startswith(GZIP):
            break
        body, is_whole = gunzipped(body, most + 1)
        if not is_whole and body:
            how.cut("sitemap_end", "its gzip breaks off; what comes before was read")
    if len(body) > most:
        how.cut("sitemap", f"larger than {most:,} bytes; the rest was not read (SITEMAP_MAXSIZE)")
    return body[:most]


GZIP: Final = b"\x1f\x8b"


def gunzipped(body: bytes, room: int) -> tuple[bytes, bool]:
    """What several gzip streams in a row hold, at most `room` bytes; and whether they end as they should."""
    found: list[bytes] = []
    for _ in range(_MAX_MEMBERS):
        member = zlib.decompressobj(31)
        end = 0
        while not member.eof and room > 0:
            if end >= len(body):
                return b"".join(found), False
            try:
                found.append(member.decompress(body[end : end + _PIECE], room))
            except zlib.error:
                return b"".join(found), False
            end += _PIECE
            room -= len(found[-1])
        body = member.unused_data + body[end:]
        if room <= 0 or not body.startswith(GZIP):
            return b"".join(found), True
    return b"".join(found), False


def _in_utf8(body: bytes) -> bytes:
    """The document in UTF-8. Its first bytes tell its encoding: .NET declares UTF-16 in documents that are UTF-8."""
    kind = "application/xml"
    return body if decode(body[:_PIECE], kind)[1] == "utf-8" else decode(body, kind)[0].encode()


# ---------------------------------------------------------------------------------------------------------
# Lists of lines, and JSON


def _read_text(body: bytes, reader: Reader, how: Reading) -> None:
    """One URL per line, in UTF-8. Only absolute URLs: otherwise any text would pass as a list of relative ones."""
    lines = _LINES(body.removeprefix(b"\xef\xbb\xbf"))
    others = 0
    for found in islice(lines, 2 * how.limits.sitemap_urls):  # some may be repeated or invalid
        line = found[0].strip(b" \t")
        if line[:8].lower().startswith((b"http://", b"https://")):
            reader.take("page", line[:MAX_LENGTH].decode("utf-8", "replace"))
        elif line and not line.startswith(b"#"):
            others += 1
    if reader.count:
        reader.without_url = others
        if next(lines, None):
            how.cut("sitemap", _TOO_MUCH)


_LINES: Final = re.compile(rb"[^\r\n]+").finditer


class _FeedItem(msgspec.Struct):
    url: Any = ""  # often null
    external_url: Any = ""


class _JsonFeed(msgspec.Struct):
    items: list[_FeedItem] = []
    next_url: Any = ""


def _read_json(body: bytes, reader: Reader) -> None:
    """A JSON Feed (jsonfeed.org, version 1.1); its next page is one more sitemap."""
    try:
        feed = msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"), type=_JsonFeed)
    except msgspec.DecodeError:
        return
    for item in feed.items:
        link = _text(item.url) or _text(item.external_url)
        reader.take("page", link)
        reader.without_url += not link.strip()
    reader.take("sitemap", _text(feed.next_url))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


# ---------------------------------------------------------------------------------------------------------
# XML


def _read_xml(body: bytes, start: int, reader: Reader, how: Reading) -> None:
    """Read a document as the content of other elements: so it may have several roots, end tags without a start, and no
    DTD that counts."""
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
    most, marks = how.limits.sitemap_urls, 0
    try:
        parser.feed(b"<x>" * _AROUND)
        for piece in _pieces(body, start):
            marks += piece.count(b"<") + piece.count(b"&")
            enough = min(_MARKS_PER_POSSIBLE_URL * most, _MARKS_BEFORE_URLS + _MARKS_PER_URL * reader.count)
            if reader.depth > _MAX_DEPTH or reader.count >= 2 * most or marks > enough:
                how.cut("sitemap", _TOO_MUCH)  # of 2 * most URLs some may be repeated
                return
            parser.feed(_mended(piece))
        is_open = reader.depth > _AROUND
        parser.feed(b"<%b/>" % END.encode())
        parser.close()
    except etree.LxmlError:
        is_open = True
    if reader.count and (is_open or not reader.has_ended):
        how.cut("sitemap_end", "its XML breaks off; what comes before was read")


_AROUND: Final = 20  # elements around the document
_TOO_MUCH: Final = "more than a sitemap may hold; the rest was not read (SITEMAP_MAXURLS)"


def _pieces(body: bytes, at: int) -> Iterator[bytes]:
    """Cut the document after tags and outside CDATA sections. A section longer than a piece holds no URL."""
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
_DECLARATION: Final = re.compile(rb"<\?xml\s[^<>]*>")
_has_stray: Final = re.compile(_STRAY).search


def _mended(piece: bytes) -> bytes:
    piece = piece.translate(None, _CONTROLS)
    if b"<?xml" in piece:
        piece = _DECLARATION.sub(b"", piece)  # may stand at the beginning of a document alone
    return _UNESCAPED.sub(_escaped, piece) if b"&" in piece or _has_stray(piece) else piece


def _escaped(found: re.Match[bytes]) -> bytes:
    decimal, number = found.groups()
    if not decimal and not number:
        return {b"&": b"&amp;", b"<": b"&lt;"}.get(found[0], found[0])
    code = int(decimal) if decimal else int(number, 16)
    is_character = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
    return found[0] if is_character else "\ufffd".encode()
