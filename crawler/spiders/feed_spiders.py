"""Scrapy's `XMLFeedSpider` and `CSVFeedSpider`: a callback for each node or row of a feed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any, ClassVar

from lxml import etree
from lxml.html import defs

from crawler.parsing.limits import Cut, untold
from crawler.parsing.selector import PageSelector
from crawler.response import Response
from crawler.runtime.safe_text import shown
from crawler.spiders.base import Spider
from crawler.spiders.taken import one_by_one

_SAFELY: Mapping[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False}


class _FeedSpider(Spider):
    def adapt_response(self, response: Response) -> Response:
        """Return the feed to read, in place of the response."""
        return response

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        """Choose among the items and requests of one node or row, or change them."""
        return results

    def _adapted(self, response: Response) -> Response:
        adapted = self.adapt_response(response)
        adapted.cut = response.cut  # of which alone the job hears
        return adapted

    def _chosen(self, response: Response, results: Any) -> Iterator[Any]:
        yield from one_by_one(self.process_results(response, one_by_one(() if results is None else results)))


class XMLFeedSpider(_FeedSpider):
    """Calls `parse_node(response, node)` with a selector for each element `itertag` of a feed.

    `iterator`: "iternodes" reads the feed bit by bit; "xml" and "html" build a whole tree, in which namespaces of
    other elements are known. `namespaces`: (prefix, URI) for the selectors. A feed that is malformed is counted
    (`cut/feed_end`): "iternodes" reads it up to the fault, the others without what is malformed.
    """

    iterator: ClassVar[str] = "iternodes"
    itertag: ClassVar[str] = "item"
    namespaces: ClassVar[Sequence[tuple[str, str]]] = ()

    def parse_node(self, response: Response, selector: Any) -> Any:
        """Read one node."""
        raise NotImplementedError(f"spider {self.name!r} has no parse_node(self, response, node)")

    def parse_nodes(self, response: Response, nodes: Iterable[Any]) -> Iterator[Any]:
        """Read all nodes."""
        for node in nodes:
            yield from self._chosen(response, self.parse_node(response, node))

    def parse(self, response: Response, **cb_kwargs: Any) -> Iterator[Any]:
        """Read a feed."""
        response = self._adapted(response)
        nodes = self._streamed(response) if self.iterator == "iternodes" else self._selected(response)
        return self.parse_nodes(response, map(self._named, nodes))

    def _named(self, node: Any) -> Any:
        for prefix, uri in self.namespaces:
            node.register_namespace(prefix, uri)
        return node

    def _selected(self, response: Response) -> Iterator[Any]:
        if self.iterator not in ("xml", "html"):
            raise ValueError(f"iterator is {self.iterator!r}; write iternodes, xml or html")
        if self.iterator == "xml":
            whole = _xml(response.text.strip(), response.cut.setdefault)
        else:
            whole = response.selector
            if root := _open_root(response.text):
                response.cut.setdefault("feed_end", f"it breaks off: its root {shown(root)} has no end tag")
        yield from self._named(whole).xpath(f"//{self.itertag}")

    def _streamed(self, response: Response) -> Iterator[Any]:
        feed = BytesIO(response.text.lstrip().encode())
        try:
            for _, node in etree.iterparse(feed, events=("end",), encoding="utf-8", **_SAFELY):
                if _is_named(node, self.itertag):
                    yield _xml(etree.tostring(node, encoding="unicode", with_tail=False))
                    node.clear()
        except etree.XMLSyntaxError as error:
            response.cut.setdefault("feed_end", f"it is malformed, and was read up to there: {error}")


def _xml(text: str, cut: Cut = untold) -> Any:
    parser = etree.XMLParser(encoding="utf-8", recover=True, **_SAFELY)
    root = etree.fromstring(text.encode(), parser)
    for fault in parser.error_log.filter_from_fatals():
        cut("feed_end", f"it is malformed, and was read without what is: {fault.message}, line {fault.line}")
        break
    return PageSelector(root=root, type="xml")


def _open_root(text: str) -> str:
    """The root of a feed that lacks its end tag; empty for a page, because elements of HTML may lack theirs."""
    root = _ROOT(text)
    if root is None or root["name"].lower() in defs.tags or f"</{root['name']}".lower() in text.lower():
        return ""
    return root["name"]


_ROOT = re.compile(
    r"(?:\s++|<!--.*?-->|<(?:\?|!(?!--))[^>]*+>)*+<(?P<name>[a-z][^\s/>]*+)[^>]*+(?<!/)>", re.IGNORECASE | re.DOTALL
).match


def _is_named(node: Any, name: str) -> bool:
    prefix, mark, local = name.rpartition(":")
    return bool(node.tag == name if not mark else node.prefix == prefix and etree.QName(node).localname == local)


class CSVFeedSpider(_FeedSpider):
    """Calls `parse_row(response, row)` with a dict for each row of a CSV file.

    `headers`: the names of the columns; None: the first row has them. `delimiter` and `quotechar`: None: "," and '"'.
    Rows with more or fewer fields are left out and counted (`cut/csv_rows`). Of columns to which the first row gives
    one name, the last is kept; rows with values in the others are counted (`cut/csv_columns`).
    """

    delimiter: ClassVar[str | None] = None
    quotechar: ClassVar[str | None] = None
    headers: ClassVar[Sequence[str] | None] = None

    def parse_row(self, response: Response, row: dict[str, str]) -> Any:
        """Read one row."""
        raise NotImplementedError(f"spider {self.name!r} has no parse_row(self, response, row)")

    def parse_rows(self, response: Response) -> Iterator[Any]:
        """Read all rows."""
        style: dict[str, Any] = {"delimiter": self.delimiter, "quotechar": self.quotechar}
        lines = csv.reader(StringIO(response.text), **{name: given for name, given in style.items() if given})
        headers = list(self.headers or next(lines, ()))
        last = {name: at for at, name in enumerate(headers)}
        hidden = [] if self.headers else [at for at, name in enumerate(headers) if at != last[name]]
        odd = double = 0
        for fields in lines:
            if len(fields) == len(headers):
                row = dict(zip(headers, fields, strict=True))
                double += any(fields[at] not in ("", row[headers[at]]) for at in hidden)
                yield from self._chosen(response, self.parse_row(response, row))
            elif any(map(str.strip, fields)):  # otherwise it is a blank line
                odd += 1
        if odd:
            response.cut.setdefault("csv_rows", f"{odd:,} rows without a field for each of the {len(headers)} columns")
        if double:
            names = shown(", ".join(dict.fromkeys(headers[at] for at in hidden)))[:200]
            why = f"{double:,} rows with several values in columns of one name, of which the last was kept: {names}"
            response.cut.setdefault("csv_columns", why)

    def parse(self, response: Response, **cb_kwargs: Any) -> Iterator[Any]:
        """Read a CSV file."""
        return self.parse_rows(self._adapted(response))
