"""A host's answer, with the selectors that spiders use (Scrapy's names). Parsed once, on first use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace

from crawler.errors import PageTooLarge
from crawler.model import BLANK, Request
from crawler.parsing import charset, html, tree, visible
from crawler.parsing.headers import Headers, media_type
from crawler.parsing.limits import ParseLimits, Reading
from crawler.parsing.link_scan import Hrefs, scan
from crawler.parsing.url import BadUrl, canonical, join_links

if TYPE_CHECKING:
    from parsel import Selector, SelectorList


class Exchange(NamedTuple):
    """The bytes of an exchange, as they were sent."""

    asked: bytes  # the head of the request
    head: bytes  # of the answer
    body: bytes  # of the answer, with its content encodings, without those of the transfer


class Response:
    """One answer. `body` is without its content encoding; `headers` match names in any case."""

    attributes = (
        *("url", "status", "headers", "body", "request", "seconds", "address", "certificate"),
        *("answered_at", "parse_limits"),
    )
    """The arguments that a copy keeps."""
    attempt = 0
    """Failed tries of its request before this one."""
    cache = ""
    """What the page cache has to do with it: hit, stored, miss; empty: nothing."""
    exchange: Exchange | None = None
    """What was sent; None unless pages go into an archive (WARC_DIR), and for an answer that no host gave."""

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
        certificate: Mapping[str, Any] | None = None,
        answered_at: float | None = None,
        parse_limits: ParseLimits = ParseLimits(),  # noqa: B008 - a constant
    ) -> None:
        self.url = url
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self._media_type = media_type(self.headers.get("content-type", ""))  # with its charset
        self.content_type = self._media_type.partition(";")[0]
        """Media type in lower case without parameters; empty if the host sent none or did not know it."""
        self.body = body
        self.request = request or replace(BLANK, url=url)
        self.seconds = seconds  # from the request to the last byte
        self.address = address  # the IP address that answered
        self.answered_at = answered_at  # monotonic seconds when the first bytes arrived
        self.parse_limits = parse_limits  # for `root` and all that is computed from it
        self.certificate = None if certificate is None else dict(certificate)
        """The host's certificate as a dict (`subject`, `issuer`, `notAfter` …), that of `ssl.SSLSocket.getpeercert`;
        None without TLS."""
        self.cut: dict[str, str] = {}  # what a bound cut off, counted as `cut/REASON`: reason → a sentence

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.url}>"

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The request's `meta`, and what the crawler knows under Scrapy's words: `depth`, `download_latency` (seconds),
        `is_start_request` of a seed, `retry_times` of a page that failed before, and `redirect_times` of one that a
        redirect led to, besides the `redirect_urls` and `redirect_reasons` that the request has."""
        given = self.request.meta
        told: dict[str, Any] = {"depth": self.depth, "download_latency": self.seconds}
        if not self.depth:
            told["is_start_request"] = True
        if self.attempt:
            told["retry_times"] = given.get("retry_times", 0) + self.attempt
        if self.request.redirects:
            told["redirect_times"] = self.request.redirects
        return {**given, **told}

    @property
    def cb_kwargs(self) -> Mapping[str, Any]:
        """The request's `cb_kwargs`, which the callback gets as keyword arguments."""
        return self.request.cb_kwargs

    @cached_property
    def flags(self) -> list[str]:
        """Notes of those who made the response, such as `cached`."""
        return []

    @property
    def protocol(self) -> str | None:
        """The protocol of the exchange; None if a host was not asked."""
        return "HTTP/1.1" if self.address else None

    @property
    def ip_address(self) -> IPv4Address | IPv6Address | None:
        """The address that answered; None if a host was not asked."""
        return ip_address(self.address) if self.address else None

    def replace(self, **changes: Any) -> Response:
        """A copy with these arguments of `Response` changed. Both share `cut`: what is cut off either counts for the
        page."""
        fields = {name: getattr(self, name) for name in self.attributes} | changes
        copy = Response(fields.pop("url"), **fields)
        copy.attempt, copy.flags, copy.cache = self.attempt, list(self.flags), self.cache
        copy.exchange, copy.cut = self.exchange, self.cut
        return copy

    def copy(self) -> Response:
        """A copy, whose page is parsed anew."""
        return self.replace()

    @property
    def depth(self) -> int:
        """Links from a seed."""
        return self.request.depth

    @property
    def is_html(self) -> bool:
        """Whether to parse the body as HTML: its type is HTML, its type is XML but it is XHTML, or it has no type and
        looks like a page."""
        match self.content_type:
            case "text/html" | "application/xhtml+xml":
                return True
            case "application/xml" | "text/xml":
                return _begins_xhtml(self.body[:_SNIFFED]) is not None
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
        """The WHATWG name of the encoding of `text`."""
        return self._decoded[1]

    def json(self) -> Any:
        """Parse the body as JSON. Raises `msgspec.DecodeError`, a `ValueError`, if it is invalid."""
        return msgspec.json.decode(self.body)

    @cached_property
    def _is_parsed(self) -> bool:
        tree.check_size(self.body, self.parse_limits)
        return True

    @cached_property
    def _reading(self) -> Reading:
        return Reading(self.encoding, self.parse_limits, self.cut.setdefault)

    @cached_property
    def root(self) -> Any:
        """The root lxml element of the page; an empty `<html>` if the body has no element.

        This attribute, and all that need it (selectors, `page`, `visible_text` …), raise `PageTooLarge` for a page
        beyond PARSE_MAXSIZE or PARSE_MAXNODES. Do not catch it: the page is then skipped and counted.
        """
        self._is_parsed  # noqa: B018 - raises
        root = tree.parse(self.text, self._reading)
        return tree.parse("<html></html>") if root is None else root

    @cached_property
    def selector(self) -> Selector:
        """The parsel selector over the page."""
        from crawler.parsing.selector import PageSelector  # costs 30 ms; many crawls never use a selector

        return PageSelector(root=self.root, type="html")

    def css(self, query: str) -> SelectorList[Selector]:
        """Select with CSS."""
        return self.selector.css(query)

    def xpath(self, query: str, **variables: Any) -> SelectorList[Selector]:
        """Select with XPath."""
        return self.selector.xpath(query, **variables)

    def jmespath(self, query: str, **options: Any) -> SelectorList[Selector]:
        """Select in a JSON body with JMESPath."""
        return self._json_selector.jmespath(query, **options)

    @cached_property
    def _json_selector(self) -> Selector:
        from parsel import Selector  # as above

        return Selector(text=self.text, type="json")

    @cached_property
    def page(self) -> html.PageMeta:
        """Title, language, robots directives … of an HTML page."""
        scanned = self._scanned
        if not self._has_tree and scanned is not None and self._elements is not None:
            found = html.scanned_page_meta(scanned, self._elements, self.url, self._reading)
            if found is not None:
                return found
        return html.page_meta(self.root, self.url, self._reading)

    @cached_property
    def links(self) -> list[str]:
        """The canonical URLs that all `a`, `area`, `frame` and `iframe` lead to, in order, each once."""
        scanned = None if self._has_tree else self._scanned
        if scanned is None:
            return html.links(self.root, self.url, self._reading)
        return html.scanned_links(scanned, self.url, self._reading)

    @property
    def refresh(self) -> html.Refresh | None:
        """Where a `Refresh` header, or else a meta refresh, sends the reader.

        One inside `noscript` counts on a page without links alone.
        """
        header = self.headers.get("refresh")
        if header and (said := html.refresh_of(header, self.url)):
            return said
        if not self.is_html or not (self._has_tree or self._scanned is None or self._scanned.may_refresh()):
            return None
        try:
            return html.refresh(self.root, self.url, self._reading)
        except PageTooLarge:  # a page that only sends its reader on is small
            return None

    def robots_metas(self, names: Collection[str]) -> list[str]:
        """The contents of the ``meta`` elements with these names (in lower case); those without a directive may be
        missing."""
        if not self.is_html:
            return []
        found = None
        if not self._has_tree and self._scanned is not None:
            found = html.scanned_robots_metas(self._scanned, names, self._reading)
        return html.robots_metas(self.root, names, self._reading) if found is None else found

    def links_not_to_follow(self, among: Collection[str]) -> frozenset[str]:
        """The URLs of `among` that only links marked nofollow, ugc or sponsored lead to."""
        if not self.is_html:
            return frozenset()
        found = None
        if not self._has_tree and self._scanned is not None:
            found = html.scanned_links_not_to_follow(self._scanned, self.url, among, self._reading)
        if found is not None:
            return found
        return html.links_not_to_follow(self.root, self.url, self._reading).intersection(among)

    @property
    def _has_tree(self) -> bool:
        return "root" in self.__dict__

    @cached_property
    def _scanned(self) -> Hrefs | None:
        """The links found without a tree; None if the page needs one."""
        return scan(self.text)

    @cached_property
    def _elements(self) -> visible.Elements | None:
        """Head and body without comments, scripts and the like; None if the page needs a tree."""
        self._is_parsed  # noqa: B018 - raises
        scanned = self._scanned
        return None if scanned is None else visible.elements_of(self.text, any_case=scanned.any_case)

    @cached_property
    def visible_text(self) -> str:
        """The text that a reader sees: each block on a line of its own, white space collapsed, no scripts, no styles.

        `crawler.parsing.visible` has the whole definition.
        """
        scanned = self._scanned_text
        if scanned is None:
            return visible.visible_text(self.root, self._reading)
        return visible.text_of([scanned], self._reading)

    @property
    def _scanned_text(self) -> str | None:
        return None if self._elements is None else visible.scanned(self._elements.body)

    def prepare(self, part: str) -> Iterator[None]:
        """Compute an attribute (`root`, `visible_text`, `links` …) in steps; other tasks may run at each `yield`."""
        self._is_parsed  # noqa: B018 - counts the nodes of the page, which takes half as long as building them
        yield
        if part == "visible_text" and part not in self.__dict__:
            yield from self._prepare_text()
        getattr(self, part)
        yield

    def _prepare_text(self) -> Iterator[None]:
        self._scanned  # noqa: B018 - takes about as long as what follows
        yield
        scanned = self._scanned_text
        pieces = [] if scanned is None else [scanned]
        yield
        if scanned is None:
            for some in visible.text_pieces(self.root):
                pieces += some
                yield
        self.visible_text = visible.text_of(pieces, self._reading)

    def urljoin(self, url: str) -> str:
        """The canonical URL that a link on this page leads to. Raises `BadUrl`."""
        return canonical(url, *self._base)

    @property
    def _base(self) -> tuple[str, str]:
        """The URL that links are relative to, and the encoding of their queries."""
        return (self.page.base, self.encoding) if self.is_html else (self.url, "utf-8")

    def follow(self, url: str | Selector, callback: Any = "parse", **fields: Any) -> Request:
        """A request for a link on this page. `url`: a URL, a selector of an element or attribute that has one, or a
        link of a `LinkExtractor`.

        A link that nobody can fetch, such as `mailto:`, gives a request all the same: when it is yielded, the crawler
        leaves it out, counts it (`links/malformed`), and logs the line.
        """
        href = _href(url)
        base, encoding = self._base
        try:
            joined = canonical(href, base, fields.get("encoding") or encoding)
            return Request(joined, callback=callback, **{"spider": self.request.spider, **fields})
        except BadUrl:
            return replace(Request(self.url, callback=callback, **fields), url=href, spider="")

    def follow_all(
        self,
        urls: Iterable[str | Selector] | None = None,
        callback: Any = "parse",
        *,
        css: str = "",
        xpath: str = "",
        **fields: Any,
    ) -> Iterator[Request]:
        """Yield requests for the given links, those that a CSS or XPath query selects, or all. Skips invalid links."""
        if (urls is not None) + bool(css) + bool(xpath) > 1:
            raise ValueError("follow_all: write one of urls, css= and xpath=")
        if isinstance(urls, str):  # its letters would be the links
            raise TypeError(f"follow_all({urls!r}): expected a list of links; for one link write follow")
        if css or xpath:
            urls = self.css(css) if css else self.xpath(xpath)
        if urls is None:
            found = self.links
        else:
            base, encoding = self._base
            hrefs = filter(None, map(_href, urls))  # an element without a link is none
            encoding = fields.get("encoding") or encoding
            found = join_links(base, hrefs, encoding=encoding, cut=self.cut.setdefault)
        fields.setdefault("spider", self.request.spider)
        made = Request(self.url, callback=callback, **fields)  # checked once for all of them
        for url in found:
            yield replace(made, url=url)


# An `html` element behind nothing but what may stand before the root of an XML document.
_begins_xhtml = re.compile(
    rb"(?:\xef\xbb\xbf)?(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>]*>)*+<html[\s>]", re.IGNORECASE | re.DOTALL
).match
_SNIFFED = 4_096  # bytes in which it is looked for


def _href(url: str | Selector) -> str:
    if isinstance(url, str):
        return url
    if isinstance(given := getattr(url, "url", None), str):
        return given
    if not hasattr(url, "root"):
        found = type(url).__name__
        raise TypeError(f"a link is a URL or one selector, not {found}; a query that finds nothing gives None")
    if isinstance(url.root, str):
        return url.root
    return str(url.attrib.get("href") or url.attrib.get("src") or "")
