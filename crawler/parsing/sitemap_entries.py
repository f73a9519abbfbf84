"""Collect the entries of a sitemap or a feed from the events of an XML parser."""

from typing import Any, Final

from crawler.parsing.url import BadUrl, canonical

MAX_LENGTH = 10_000
"""Characters; a longer text is not a URL."""

END = "end-of-document"
"""The element that tells the reader that the parser has not stopped before."""

_MAX_FIELDS = 20  # kept beside one URL

Entry = dict[str, Any]
"""A URL in a sitemap, in Scrapy's form: `loc` as written; `lastmod` and its other siblings, each text under the name of
its element; `alternate`, the URLs of the same page in other languages."""

# (parent, element) → what its text names; images and videos have a `loc` under another parent. "instead": the page, if
# the entry names it in no other way (RSS 2.0: `guid`; Atom: `id`).
_PLACES: Final = {
    ("url", "loc"): "page",
    ("sitemap", "loc"): "sitemap",
    ("item", "link"): "page",
    ("item", "guid"): "instead",
    ("entry", "id"): "instead",
}
_ITEMS: Final = frozenset({"item", "entry"})
_ENTRIES: Final = frozenset({"url", "sitemap", *_ITEMS})
_LISTS: Final = frozenset({"urlset", "sitemapindex", "channel", "rss", "feed", "RDF"})  # a channel's image has a `url`
_XML_BASE: Final = "{http://www.w3.org/XML/1998/namespace}base"
_RDF_ABOUT: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about"


class Reader:
    """Receives the parser's events (`etree.XMLParser(target=…)`) and collects URLs."""

    def __init__(self, url: str) -> None:
        self.pages: list[Any] = []
        self.sitemaps: list[Any] = []
        self.without_url = 0  # entries that name no URL
        self.has_ended = False
        self._path: list[str] = []  # names from the root to the open element
        self._bases = [(0, url)]  # each with the depth of the element that sets it (XML Base)
        self._text: list[str] | None = None  # of the element that is being read
        self._length = 0
        self._instead = ""  # the URL of this item, if it has no link
        self._is_permalink = False  # what `guid` says of itself
        self._before = 0  # URLs before this entry

    @property
    def count(self) -> int:
        """How many URLs were found."""
        return len(self.pages) + len(self.sitemaps)

    @property
    def depth(self) -> int:
        """How many elements are open."""
        return len(self._path)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        self.has_ended = name == END
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if attributes and _XML_BASE in attributes:
            self._bases.append((len(self._path), self._joined(attributes[_XML_BASE])))
        if name in _ENTRIES:
            self._before, self._instead = self.count, attributes.get(_RDF_ABOUT, "")
        if name == "link" and parent in _ITEMS and "href" in attributes:
            if attributes.get("rel", "alternate") == "alternate":
                self.take("page", attributes["href"])  # Atom, also inside RSS
        elif (parent, name) in _PLACES:
            self._text, self._length = [], 0
            self._is_permalink = attributes.get("isPermaLink", "").lower() == "true"

    def data(self, text: str) -> None:
        if self._text is not None and self._length <= MAX_LENGTH:
            self._text.append(text)
            self._length += len(text)

    def end(self, tag: str) -> None:
        if not self._path:
            return
        if self._bases[-1][0] == len(self._path):
            self._bases.pop()
        name = self._path.pop()
        parent = self._path[-1] if self._path else ""
        kind = _PLACES.get((parent, name))
        if kind and self._text is not None:
            text, self._text = "".join(self._text).strip(), None
            if kind != "instead":
                self.take(kind, text)
            elif self._is_permalink or text.startswith(("http://", "https://")):
                self._instead = text
        elif name in _ENTRIES and self.count == self._before:
            self._end_without_url(parent)

    def _end_without_url(self, parent: str) -> None:
        if self._instead:
            self.take("page", self._instead)
        elif parent in _LISTS:
            self.without_url += 1

    def close(self) -> None:
        """Called by the parser for its result, which is None."""

    def take(self, kind: str, url: str) -> None:
        """Collect a URL of a page or of a sitemap (`kind`)."""
        url = url.strip()
        if url:
            # Without an `xml:base` the URL stays as it is written: it is joined later, with all others.
            url = self._joined(url) if len(self._bases) > 1 else url
            self._keep(self.pages if kind == "page" else self.sitemaps, url)

    def _keep(self, found: list[Any], url: str) -> None:
        found.append(url)

    def _joined(self, url: str) -> str:
        try:
            return canonical(url, self._bases[-1][1])
        except BadUrl:
            return url


class EntryReader(Reader):
    """Collects each URL together with its sibling elements."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._entry: Entry = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if _local(tag) in _ENTRIES:
            self._entry = {}
        super().start(tag, attributes)
        parent, name = self._path[-2:] if len(self._path) > 1 else ("", "")
        if parent == "url" and name == "link" and attributes.get("rel", "alternate") == "alternate":
            self._entry.setdefault("alternate", []).append(attributes.get("href", ""))
        elif parent in _ENTRIES and self._text is None:
            self._text, self._length = [], 0

    def end(self, tag: str) -> None:
        parent, name = self._path[-2:] if len(self._path) > 1 else ("", "")
        if parent in _ENTRIES and self._text is not None and _PLACES.get((parent, name), "instead") == "instead":
            if len(self._entry) < _MAX_FIELDS:
                self._entry.setdefault(name, "".join(self._text).strip())
            if (parent, name) not in _PLACES:
                self._text = None
        super().end(tag)

    def _keep(self, found: list[Any], url: str) -> None:
        # Now, not at the end of the element, because a broken document may lack that end. Each URL has its own entry.
        self._entry = {**self._entry, "loc": url}
        found.append(self._entry)


def _local(tag: str) -> str:
    """The name without its namespace, or without a prefix that the document does not declare."""
    return tag.rpartition("}")[2].rpartition(":")[2]
