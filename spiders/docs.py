"""A documentation site: headings, sections and code blocks of every page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parsel import Selector

from crawler import Follow, Response, Spider
from crawler.parsing.scope import looks_like_page

# The elements that hold a page's content (Sphinx, MkDocs, Docusaurus, plain HTML 5), narrowest first.
MAIN = ("[role=main]", "main", "article", "div.body", "body")
LEVELS = ("h1", "h2", "h3", "h4", "h5", "h6")
HEADINGS = ", ".join(LEVELS)
# The characters of a heading's link to itself.
PERMALINKS = "¶#🔗 "


class Docs(Spider):
    """A documentation site: headings, sections and code blocks of every page."""

    name = "docs"
    stay_on_seeded_hosts = True
    sitemap_rules = (("", "parse"),)

    def parse(self, response: Response) -> Iterator[dict[str, Any] | Follow]:
        """Yield one item for a page with headings; follow every link that may be a page."""
        if not response.is_html:
            return
        main = next(filter(None, map(response.css, MAIN)), response.css("html"))[:1]
        headings = [heading(found) for found in main.css(HEADINGS)]
        if headings:
            yield {
                "url": response.url,
                "title": headings[0]["title"],
                "headings": headings,
                "sections": [section(found) for found in main.css(HEADINGS)],
                "code": [code(found) for found in main.css("pre")],
            }
        yield Follow(response.links, looks_like_page)


def heading(found: Selector) -> dict[str, Any]:
    """Return level, title and anchor of a heading."""
    return {
        "level": int(found.root.tag[1]),
        "title": title(found),
        "anchor": anchor(found),
    }


def anchor(found: Selector) -> str:
    """Return the heading's id, or that of the section it opens (Sphinx)."""
    own = found.xpath("@id | (.//a/@id)[1] | (.//a/@name)[1]").get()
    return own or found.xpath("parent::*[self::section or contains(@class, 'section')]/@id").get("")


def section(found: Selector) -> dict[str, str]:
    """Return a heading with the text after it, up to the next heading or section, without code."""
    pieces = []
    for part in found.xpath("following-sibling::*"):
        if part.xpath("self::section | self::div[contains(@class, 'section')]") or part.root.tag in LEVELS:
            break
        pieces.append("".join(part.xpath("descendant-or-self::text()[not(ancestor::pre)]").getall()))
    return {"title": title(found), "anchor": anchor(found), "text": " ".join(" ".join(pieces).split())}


def code(found: Selector) -> dict[str, str]:
    """Return a code block and its language, from a class such as `highlight-python` or `language-python`."""
    marks = found.xpath("ancestor-or-self::*[position() <= 3]/@class | code/@class").getall()
    words = " ".join(marks).split()
    languages = [word.partition("-")[2] for word in words if word.startswith(("highlight-", "language-"))]
    return {"language": languages[0] if languages else "", "text": found.xpath("string()").get("").rstrip()}


def title(found: Selector) -> str:
    """Return the heading's text on one line, without its permalink."""
    return " ".join(found.xpath("string()").get("").split()).strip(PERMALINKS)
