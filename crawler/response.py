"""What a host answered, with the selectors spiders use (Scrapy's vocabulary). Parsed when first asked, once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from crawler.model import Request
from crawler.parsing import charset, html
from crawler.parsing.headers import Headers, media_type
from crawler.parsing.link_scan import Hrefs, scan
from crawler.parsing.url import canonical, join_links

if TYPE_CHECKING:
    from parsel import Selector, SelectorList


class Response:
    """One answer. `body` is decoded from its content encoding; `headers` know names in any case."""

    def __init__(
        self,
        url: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        request: Request | None = None,
        seconds: float = 0.0,
        address: str = "",
        answered_at: float | None = None,
        parse_limits: html.ParseLimits = html.ParseLimits(),  # noqa: B008 - a constant
    ) -> None:
        self.url = url
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self.request = request or Request(url)
        self.seconds = seconds  # from asking to the last byte
        self.address = address  # the IP address that answered
        self.answered_at = answered_at  # monotonic seconds at the first bytes of the answer
        self.parse_limits = parse_limits  # of `root` and all that is read from it

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.url}>"

    @property
    def meta(self) -> Mapping[str, Any]:
        """The request's `meta`."""
        return self.request.meta

    @property
    def depth(self) -> int:
        """Links from a seed."""
        return self.request.depth

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; empty when the host named none, or did not know it."""
        return self._media_type.partition(";")[0]

    @property
    def _media_type(self) -> str:
        return media_type(self.headers.get("content-type", ""))

    @property
    def is_html(self) -> bool:
        """Whether it may be read as a page: said to be HTML, XHTML that is said to be XML, or unnamed and looking like
        a page."""
        match self.content_type:
            case "text/html" | "application/xhtml+xml":
                return True
            case "application/xml" | "text/xml":
                return _begins_xhtml(self.body) is not None
            case "":
                return self.body[:512].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"
        return False

    @cached_property
    def _decoded(self) -> tuple[str, str]:
        return charset.decode(self.body, self._media_type)

    @property
    def text(self) -> str:
        """The body as text; undecodable bytes become U+FFFD."""
        return self._decoded[0]

    @property
    def encoding(self) -> str:
        """The WHATWG name of the encoding `text` was decoded with."""
        return self._decoded[1]

    def json(self) -> Any:
        """The body as JSON. Raises `ValueError` when it is none, which `msgspec.DecodeError` is."""
        return msgspec.json.decode(self.body)

    @cached_property
    def _is_parsed(self) -> bool:
        html.check_size(self.body, self.parse_limits)
        return True

    @cached_property
    def root(self) -> Any:
        """The lxml element of the page; an empty `<html>` when there is nothing to parse.

        This and what needs it (selectors, `page`, `visible_text` …) raises `PageTooLarge` for a page beyond
        PARSE_MAXSIZE or PARSE_MAXNODES. Let it pass: the page is then skipped, and counted.
        """
        self._is_parsed  # noqa: B018 - raises
        root = html.parse(self.text)
        return html.parse("<html></html>") if root is None else root

    @cached_property
    def selector(self) -> Selector:
        """The parsel selector over the page."""
        from parsel import Selector  # costs 30 ms; many crawls never ask for a selector

        return Selector(root=self.root, type="html")

    def css(self, query: str) -> SelectorList[Selector]:
        """Select with CSS."""
        return self.selector.css(query)

    def xpath(self, query: str, **variables: Any) -> SelectorList[Selector]:
        """Select with XPath."""
        return self.selector.xpath(query, **variables)

    @cached_property
    def page(self) -> html.PageMeta:
        """Title, language, robots directives … of an HTML page."""
        return html.page_meta(self.root, self.url)

    @cached_property
    def links(self) -> list[str]:
        """The canonical absolute URLs of all `a` and `area` links, in order, each once."""
        scanned = None if self._has_tree else self._scanned
        return html.links(self.root, self.url) if scanned is None else html.scanned_links(scanned, self.url)

    def robots_metas(self, names: Collection[str]) -> list[str]:
        """What the page's ``meta`` elements of these names (in lower case) say, where they ask for something."""
        if not self.is_html:
            return []
        found = None
        if not self._has_tree and self._scanned is not None:
            found = html.scanned_robots_metas(self._scanned, names)
        return html.robots_metas(self.root, names) if found is None else found

    def links_not_to_follow(self, among: Collection[str]) -> frozenset[str]:
        """The canonical URLs of these that only links marked nofollow, ugc or sponsored lead to."""
        if not self.is_html:
            return frozenset()
        found = None
        if not self._has_tree and self._scanned is not None:
            found = html.scanned_links_not_to_follow(self._scanned, self.url, among)
        return html.links_not_to_follow(self.root, self.url).intersection(among) if found is None else found

    @property
    def _has_tree(self) -> bool:
        return "root" in self.__dict__

    @cached_property
    def _scanned(self) -> Hrefs | None:
        """The links without a tree; None: this page takes one."""
        return scan(self.text)

    @cached_property
    def visible_text(self) -> str:
        """The page's text without scripts and styles."""
        return html.visible_text(self.root)

    def prepare(self, part: str) -> Iterator[None]:
        """Make an attribute ready (`root`, `visible_text`, `links` …); others may have a turn wherever this yields."""
        self._is_parsed  # noqa: B018 - counts the nodes of a page, which takes half as long as making them
        yield
        if part == "visible_text" and part not in self.__dict__:
            pieces: list[str] = []
            for some in html.text_pieces(self.root):
                pieces += some
                yield
            self.visible_text = html.text_of(pieces)
        getattr(self, part)
        yield

    def urljoin(self, url: str) -> str:
        """Absolute, canonical form of a link on this page. Raises `BadUrl`."""
        base = self.page.base if self.is_html else self.url
        return canonical(url, base)

    def follow(self, url: str | Selector, callback: Any = "parse", **fields: Any) -> Request:
        """A request for a link on this page: a URL, or a selector of an element or attribute with one."""
        fields.setdefault("spider", self.request.spider)
        return Request(self.urljoin(_href(url)), callback=callback_name(callback), **fields)

    def follow_all(
        self, urls: Iterable[str | Selector] | None = None, callback: Any = "parse", *, css: str = "", **fields: Any
    ) -> Iterator[Request]:
        """Requests for many links: those given, those a CSS query selects, or all of the page, but bad ones."""
        if css:
            urls = self.css(css)
        name = callback_name(callback)
        base = self.page.base if self.is_html else self.url
        found = self.links if urls is None else join_links(base, [_href(url) for url in urls])
        fields.setdefault("spider", self.request.spider)
        for url in found:
            yield Request(url, callback=name, **fields)


# An `html` element behind nothing but what may stand before the root of an XML document.
_begins_xhtml = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|<\?[^>]*>|<![^>]*>){0,100}<html[\s>]", re.IGNORECASE).match


def callback_name(callback: Any) -> str:
    """Callbacks travel through the queue by name: `self.parse_item` is stored as "parse_item"."""
    return callback if isinstance(callback, str) else str(callback.__name__)


def _href(url: str | Selector) -> str:
    if isinstance(url, str):
        return url
    if isinstance(url.root, str):
        return url.root
    return str(url.attrib.get("href") or url.attrib.get("src") or "")
