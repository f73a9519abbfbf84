"""Split a robots.txt into its lines (RFC 9309 §2.2): the name and the value of each."""

from collections.abc import Iterator, Sequence
from typing import Final

from crawler.parsing.sitemap import GZIP, gunzipped
from crawler.parsing.url import join_links

MAX_BYTES = 500 * 1024
"""How much of a robots.txt is read (RFC 9309 §2.5), cut at the end of a line."""

KEPT_BYTES = MAX_BYTES + 4
"""How much of it is kept: a byte order mark besides, and one byte that shows that the last line is cut."""

_NAMES: Final = {
    "user-agent": "user-agent",
    "useragent": "user-agent",
    "user agent": "user-agent",
    "allow": "allow",
    "disallow": "disallow",
    # Misspellings so common that the big crawlers honour them.
    "dissallow": "disallow",
    "dissalow": "disallow",
    "disalow": "disallow",
    "diasllow": "disallow",
    "disallaw": "disallow",
    "crawl-delay": "crawl-delay",
    "crawl delay": "crawl-delay",
    "crawldelay": "crawl-delay",
    "request-rate": "request-rate",
    "sitemap": "sitemap",
    "site-map": "sitemap",
}
_SPACE: Final = " \t\v\f"  # not bare `strip`: it would remove the last octet of "à", a no-break space in Latin-1


def as_text(body: bytes) -> bytes:
    """The first `KEPT_BYTES` of a robots.txt in UTF-8, as RFC 9309 has it (§2.2). Some come in UTF-16, with a byte
    order mark, and some as gzip files.

    Raises `ValueError` for what is no text, or breaks off: nobody can tell which pages it forbids.
    """
    if body.startswith(GZIP):
        body, is_whole = gunzipped(body, 2 * KEPT_BYTES)
        if not is_whole:
            raise ValueError("its gzip breaks off or is damaged")
    for mark, encoding in _WIDE:
        if body.startswith(mark):
            body = body[len(mark) : 2 * KEPT_BYTES].decode(encoding, "replace").encode()
    text = body.removeprefix(b"\xef\xbb\xbf")[:KEPT_BYTES]
    if b"\0" in text and next(lines(text), None) is None:
        raise ValueError("it is no text: it has NUL bytes, and no line of robots.txt")
    return text


_WIDE: Final = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def lines(text: bytes) -> Iterator[tuple[str, str]]:
    """Yield name and value of each line with a known name; each character stands for one octet."""
    # Not as UTF-8: robots rules are compared octet by octet, and old servers have URLs in other encodings.
    decoded = _head(text.removeprefix(b"\xef\xbb\xbf")).decode("latin-1")
    for line in filter(None, decoded.replace("\r", "\n").split("\n")):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon:  # no colon: the first word is the name
            name, value = (*name.split(None, 1), "", "")[:2]
        known = _NAMES.get(name.strip(_SPACE).lower())
        if known:
            yield known, value.strip(_SPACE)


def _head(text: bytes) -> bytes:
    if len(text) <= MAX_BYTES:
        return text
    end = max(text.rfind(b"\n", 0, MAX_BYTES), text.rfind(b"\r", 0, MAX_BYTES))
    return text[: end + 1]


def as_utf8(value: str) -> str:
    """A value of `lines` decoded as UTF-8; invalid octets become U+FFFD."""
    return value.encode("latin-1").decode("utf-8", "replace")


def sitemaps_in(body: bytes) -> list[str]:
    """The values of the Sitemap lines as written, each once; none in what is no text."""
    try:
        text = as_text(body)
    except ValueError:
        return []
    return list(dict.fromkeys(as_utf8(value) for name, value in lines(text) if name == "sitemap"))


def usable_sitemaps(values: Sequence[str], url: str) -> tuple[list[str], list[str]]:
    """The canonical URLs of different Sitemap lines of the robots.txt at `url`, and the values without a URL that can
    be fetched."""
    urls = join_links(url, filter(None, values))
    if len(urls) == len(values):
        return urls, []
    return urls, [value for value in values if not (value and join_links(url, [value]))]
