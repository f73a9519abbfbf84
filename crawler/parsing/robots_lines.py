"""The lines of a robots.txt (RFC 9309 §2.2): what each is about, and what it says."""

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
    # Misspellings that are common enough that big crawlers honour them.
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
_SPACE: Final = " \t\v\f"  # `strip` alone would take more: the last octet of "à" is a space to it


def lines(body: bytes) -> Iterator[tuple[str, str]]:
    """Name and value of each known line; a character stands for an octet."""
    # Not as UTF-8: rules are compared octet by octet, and old servers have URLs in other encodings.
    text = _head(body.removeprefix(b"\xef\xbb\xbf")).decode("latin-1")
    for line in filter(None, text.replace("\r", "\n").split("\n")):
        name, colon, value = line.partition("#")[0].partition(":")
        if not colon:  # the colon forgotten: two words are still understood
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
    """A value of `lines` as text; what is not UTF-8 becomes U+FFFD."""
    return value.encode("latin-1").decode("utf-8", "replace")


def sitemaps_in(body: bytes) -> list[str]:
    """Values of the Sitemap lines as written, each once; to be joined to the URL of the robots.txt."""
    return list(dict.fromkeys(as_utf8(value) for name, value in lines(body) if name == "sitemap" and value))
