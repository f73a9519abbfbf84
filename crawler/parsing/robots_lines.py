"""Split a robots.txt into its lines (RFC 9309 §2.2): the name and the value of each."""

from collections.abc import Iterator
from typing import Final

MAX_BYTES = 500 * 1024
"""How much of a robots.txt is read (RFC 9309 §2.5), cut at the end of a line."""

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


def lines(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield name and value of each line with a known name; each character stands for one octet."""
    # Not as UTF-8: robots rules are compared octet by octet, and old servers have URLs in other encodings.
    text = _head(body.removeprefix(b"\xef\xbb\xbf")).decode("latin-1")
    for line in filter(None, text.replace("\r", "\n").split("\n")):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon:  # no colon: the first word is the name
            name, value = (*name.split(None, 1), "", "")[:2]
        known = _NAMES.get(name.strip(_SPACE).lower())
        if known:
            yield known, value.strip(_SPACE)


def _head(body: bytes) -> bytes:
    if len(body) <= MAX_BYTES:
        return body
    end = max(body.rfind(b"\n", 0, MAX_BYTES), body.rfind(b"\r", 0, MAX_BYTES))
    return body[: end + 1]


def as_utf8(value: str) -> str:
    """A value of `lines` decoded as UTF-8; invalid octets become U+FFFD."""
    return value.encode("latin-1").decode("utf-8", "replace")


def sitemaps_in(body: bytes) -> list[str]:
    """The values of the Sitemap lines as written, each once. They are relative to the URL of the robots.txt."""
    return list(dict.fromkeys(as_utf8(value) for name, value in lines(body) if name == "sitemap" and value))
