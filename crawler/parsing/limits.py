"""How much of a page is read, and how a bound that cuts something off says so."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

Cut = Callable[[str, str], object]
"""Called when a bound cuts something off: with the word that it is counted under, and a sentence for people."""


def untold(what: str, why: str) -> None:
    """A `Cut` for a page that nobody counts."""


class ParseLimits(msgspec.Struct, frozen=True):
    """The settings PARSE_MAX… and SITEMAP_MAX…

    A page beyond `size` or `nodes` is not parsed. What is beyond the others is cut off.
    """

    size: int = 8 * 1024 * 1024  # bytes of the body
    nodes: int = 400_000  # elements and attributes; each takes up to 300 bytes and 4 µs
    links: int = 100_000  # different URLs
    text: int = 1_000_000  # characters of the visible text
    attributes: int = 500  # of one element of a page longer than 64 KiB
    meta: int = 10_000  # characters of the title, the description, or another value of `PageMeta`
    sitemap_size: int = 50 * 1024 * 1024  # bytes of a sitemap without gzip (sitemaps.org)
    sitemap_urls: int = 50_000  # URLs of a sitemap (sitemaps.org)
    sitemap_levels: int = 3  # of indexes in indexes; sitemaps.org defines one


class Reading(NamedTuple):
    """How a page is read."""

    encoding: str = "utf-8"
    """The page's encoding, which is also that of the queries in its links (URL standard, "percent-encode after
    encoding")."""
    limits: ParseLimits = ParseLimits()
    cut: Cut = untold
