"""Decide which links belong to a crawl, from their URLs alone.

`stay_on_seeded_hosts` depends on shared state, so the visit asks the frontier for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from crawler.parsing.url import BadUrl, canonical, host_of

# Extensions of files that are never HTML, so a link to one leads to no more pages. Extensions that also end
# the names of things people write pages about (Node.js, example.ai, example.so) are not in the lists.
_IMAGES = "avif bmp eps gif heic ico jpeg jpg jxl png psd svg svgz tif tiff webp xcf"
_AUDIO = "aac aiff flac m4a mid midi mp3 oga ogg opus wav weba wma"
_VIDEO = "3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg ogv swf webm wmv"
_OFFICE = "doc docm docx dvi epub mobi odg odp ods odt pdf pot pps ppt pptx ps rtf xls xlsb xlsm xlsx"
_ARCHIVES = "7z apk bz2 cab crx deb dmg exe gz img iso jar lz4 lzma msi rar rpm tar tbz2 tgz whl xz zip zst"
_PARTS = "css dll dylib eot mjs otf ttf wasm woff woff2"

OTHER_KINDS = frozenset(f"{_IMAGES} {_AUDIO} {_VIDEO} {_OFFICE} {_ARCHIVES} {_PARTS}".split())


def looks_like_page(url: str) -> bool:
    """Whether a canonical URL may lead to a page, judged by the extension of its path alone."""
    # If the last dot is in the host or a folder's name, the text after it has a slash and matches no extension.
    return url.partition("?")[0].rpartition(".")[2].lower() not in OTHER_KINDS


def plain_domain(name: str) -> str:
    """A domain as canonical URLs spell it: lower case, punycode, no port, no trailing dot.

    Raises `BadUrl` if `name` is not a domain but, for example, a URL.
    """
    if any(mark in name for mark in "/\\?#@*") or name != name.strip():
        raise BadUrl(name, "not a domain")
    return host_of(canonical(f"http://{name}/")).rstrip(".")


class Scope:
    """One spider's limits on domains and depth, prepared once and applied to each link."""

    def __init__(self, allowed_domains: Iterable[str] = (), depth_limit: int = 0, *, follow: bool = True) -> None:
        """`allowed_domains`: empty allows all. `depth_limit`: links from a seed, 0 for any. `follow`: whether links are
        followed at all. Raises `BadUrl`."""
        self._domains = frozenset(map(plain_domain, allowed_domains))
        self._deepest = (depth_limit or math.inf) if follow else 0

    def reason_out(self, url: str, depth: int = 0) -> str | None:
        """Why a canonical URL is left out (`scheme`, `offsite`, `depth`); None if it belongs to the crawl."""
        if not url.startswith(("http://", "https://")):
            return "scheme"
        if self._domains and not _inside(host_of(url).rstrip("."), self._domains):
            return "offsite"
        if depth > self._deepest:
            return "depth"
        return None

    def reason_too_deep(self, depth: int) -> str | None:
        """Why a page so many links from a seed is left out (`depth`); None if it belongs to the crawl."""
        return "depth" if depth > self._deepest else None


def _inside(host: str, domains: frozenset[str]) -> bool:
    """Whether `host` or one of its parent domains is in `domains`."""
    while host not in domains:
        _, dot, host = host.partition(".")
        if not dot:
            return False
    return True
