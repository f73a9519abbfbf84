"""Finds the links of a page that a spider wants: Scrapy's `LinkExtractor`, with its arguments and its results."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any
from urllib.parse import urljoin, urlsplit

from cssselect import SelectorError
from lxml import etree
from parsel.csstranslator import HTMLTranslator
from w3lib.html import strip_html5_whitespace
from w3lib.url import canonicalize_url, safe_url_string

from crawler.parsing.url import query_in
from crawler.response import Response

_Some = str | Iterable[str] | None
_Regexes = str | re.Pattern[str] | Iterable[str | re.Pattern[str]] | None

_EXTENSIONS = """
    7z 7zip bz2 rar tar tar.gz xz zip
    mng pct bmp gif jpg jpeg png pst psp tif tiff ai drw dxf eps ps svg cdr ico webp
    mp3 wma ogg wav ra aac mid au aiff
    3gp asf asx avi mov mp4 mpg qt rm swf wmv m4a m4v flv webm
    xls xlsm xlsx xltm xltx potm potx ppt pptm pptx pps doc docb docm docx dotm dotx odt ods odg odp
    css pdf exe bin rss dmg iso apk jar sh rb js hta bat cpl msi msp py
"""
IGNORED_EXTENSIONS: tuple[str, ...] = tuple(_EXTENSIONS.split())
"""Extensions of files that are rarely pages: archives, images, audio, video, office documents, and others."""

_text_of = etree.XPath("string()")


@dataclass(slots=True, unsafe_hash=True)
class Link:
    """One link of a page: its absolute URL, with the fragment, and the text of its element.

    `nofollow` says that its `rel` has this word. `fragment` is empty, as in Scrapy, unless the spider sets it.
    """

    url: str
    text: str = ""
    fragment: str = ""
    nofollow: bool = False


class LinkExtractor:
    """Finds links of the elements `tags`, in their attributes `attrs`; `"*"` means any.

    - `allow`, `deny`: regexes that are searched in the absolute URL. `allow_domains`, `deny_domains`: with subdomains.
      `deny_extensions`: of the URL's path; None means `IGNORED_EXTENSIONS`. `restrict_text`: regexes for the text.
    - `restrict_xpaths`, `restrict_css`: the parts of the page that are searched.
    - `process_value`: gets each absolute URL, and returns another, or None for no link.
    - `unique`: each URL once. `canonicalize`: with sorted queries and without fragments. `strip`: without white space
      around the attribute.

    Raise `ValueError` for an expression that is malformed.
    """

    def __init__(
        self,
        allow: _Regexes = (),
        deny: _Regexes = (),
        allow_domains: _Some = (),
        deny_domains: _Some = (),
        restrict_xpaths: _Some = (),
        tags: _Some = ("a", "area"),
        attrs: _Some = ("href",),
        canonicalize: bool = False,
        unique: bool = True,
        process_value: Callable[[str], Any] | None = None,
        deny_extensions: _Some = None,
        restrict_css: _Some = (),
        strip: bool = True,
        restrict_text: _Regexes = None,
        deny_tags: _Some = (),
        deny_attrs: _Some = (),
    ) -> None:
        self.allow_res = _compiled("allow", allow)
        self.deny_res = _compiled("deny", deny)
        self.allow_domains = _domains(allow_domains)
        self.deny_domains = _domains(deny_domains)
        css = (_xpath_of(query) for query in _several(restrict_css))
        self.restrict_xpaths = (*map(_checked_xpath, _several(restrict_xpaths)), *css)
        self.restrict_text = _compiled("restrict_text", restrict_text)
        self.deny_extensions = tuple(
            f".{one}" for one in (IGNORED_EXTENSIONS if deny_extensions is None else _several(deny_extensions))
        )
        self.canonicalize = canonicalize
        self.unique = unique
        self._process_value = process_value
        self._strip = strip
        self._tags, self._deny_tags = frozenset(_several(tags)), frozenset(_several(deny_tags))
        self._attrs, self._deny_attrs = frozenset(_several(attrs)), frozenset(_several(deny_attrs))

    def extract_links(self, response: Response) -> list[Link]:
        """Return the links of an HTML page in their order: at most PARSE_MAXLINKS; a page with more is counted
        (`cut/links`)."""
        found = self._unique(chain.from_iterable(self._found(area, response) for area in self._areas(response)))
        most = response.parse_limits.links
        links = list(islice(found, most))
        if next(found, None) is not None:
            response.cut.setdefault("links", f"it has more than {most:,} links (PARSE_MAXLINKS)")
        return links

    def matches(self, url: str) -> bool:
        """Return whether a URL fits `allow`, `deny` and the domains."""
        return self._is_allowed(url, urlsplit(url).netloc)

    def _areas(self, response: Response) -> Iterator[Any]:
        if not self.restrict_xpaths:
            yield response.root
        for query in self.restrict_xpaths:
            for selected in response.xpath(query):
                if isinstance(selected.root, str):
                    raise ValueError(f"restrict_xpaths: {query!r} selects text; select the elements around the links")
                yield selected.root

    def _found(self, area: Any, response: Response) -> Iterator[Link]:
        """Yield the wanted links of one part. The first link to a URL stands for all of them, wanted or not."""
        links = filter(self._is_wanted, self._unique(self._links(area, response)))
        return self._unique(map(_canonical, links)) if self.canonicalize else links

    def _links(self, area: Any, response: Response) -> Iterator[Link]:
        base = response.page.base if response.is_html else response.url
        for element in area.iter(etree.Element):
            if not _is_among(element.tag, self._tags, self._deny_tags):
                continue
            for name, value in element.items():
                if _is_among(name, self._attrs, self._deny_attrs) and (url := self._url(value, base, response)):
                    yield Link(url, str(_text_of(element)), nofollow=_has_nofollow(element.get("rel")))

    def _url(self, value: str, base: str, response: Response) -> str:
        """Return the absolute URL of an attribute's value; empty if it is no link."""
        try:
            url = urljoin(base, strip_html5_whitespace(value) if self._strip else value)
            if self._process_value and (url := self._process_value(url)) is None:
                return ""
            return urljoin(response.url, safe_url_string(query_in(response.encoding, url)))
        except ValueError:
            return ""

    def _is_wanted(self, link: Link) -> bool:
        parts = urlsplit(link.url)
        return (
            parts.scheme in ("http", "https")
            and self._is_allowed(link.url, parts.netloc)
            and not parts.path.lower().endswith(self.deny_extensions)
            and (not self.restrict_text or any(regex.search(link.text) for regex in self.restrict_text))
        )

    def _is_allowed(self, url: str, netloc: str) -> bool:
        return (
            (not self.allow_domains or _is_within(netloc, self.allow_domains))
            and not (self.deny_domains and _is_within(netloc, self.deny_domains))
            and (not self.allow_res or any(regex.search(url) for regex in self.allow_res))
            and not any(regex.search(url) for regex in self.deny_res)
        )

    def _unique(self, links: Iterable[Link]) -> Iterator[Link]:
        seen: set[str] = set()
        for link in links:
            if not self.unique or link.url not in seen:
                seen.add(link.url)
                yield link


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, (str, bytes, re.Pattern)) else tuple(value)


def _compiled(argument: str, regexes: Any) -> list[re.Pattern[str]]:
    try:
        return [re.compile(regex) for regex in _several(regexes)]
    except (re.error, TypeError) as error:
        raise ValueError(f"{argument}={regexes!r} is no regular expression: {error}") from None


def _domains(given: Any) -> tuple[str, ...]:
    return tuple(str(domain).lower() for domain in _several(given))


def _checked_xpath(query: str) -> str:
    try:
        etree.XPath(query)
    except etree.XPathSyntaxError as error:
        raise ValueError(f"restrict_xpaths: {query!r} is no XPath: {error}") from None
    return query


def _xpath_of(query: str) -> str:
    try:
        return HTMLTranslator().css_to_xpath(query)
    except SelectorError as error:
        raise ValueError(f"restrict_css: {query!r} is no CSS selector: {error}") from None


def _canonical(link: Link) -> Link:
    return replace(link, url=canonicalize_url(link.url))


def _is_among(name: str, allowed: frozenset[str], denied: frozenset[str]) -> bool:
    return name not in denied and (name in allowed or "*" in allowed)


def _is_within(netloc: str, domains: tuple[str, ...]) -> bool:
    netloc = netloc.lower()
    return any(netloc == domain or netloc.endswith(f".{domain}") for domain in domains)


def _has_nofollow(rel: str | None) -> bool:
    return rel is not None and "nofollow" in rel.lower().replace(",", " ").split()
