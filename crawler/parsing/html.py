"""A page's tree to values: its links and its metadata. All of it bounded."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from operator import methodcaller
from typing import Final, NamedTuple, TypeAlias

import msgspec
from lxml import etree

from crawler.parsing.limits import Reading
from crawler.parsing.link_scan import LINK_DIRECTIVES, Hrefs, attributes_in, attributes_of
from crawler.parsing.url import BadUrl, canonical, join_links
from crawler.parsing.visible import Elements, links_of, title_of

_PLAIN: Final = Reading()

_LINK_CHARACTERS = 80_000_000
"""Most characters that the base alone may contribute to a page's links: a long one repeats in each."""


class Refresh(NamedTuple):
    """Where a page sends its reader, and after how many seconds: a meta element or the header of that name."""

    seconds: int
    url: str


class PageMeta(msgspec.Struct, frozen=True):
    """What a page declares about itself. A text that it does not declare is empty."""

    title: str
    description: str
    language: str
    """As written in ``<html lang>``, else in ``Content-Language``: ``en``, ``pt-BR``."""
    base: str
    """The URL that its links are relative to: the first ``<base href>``, else the page's URL; canonical."""
    canonical: str | None
    """Target of ``<link rel=canonical>``."""
    robots: frozenset[str]
    """Directives of ``<meta name=robots>`` in lower case: ``noindex``, ``nofollow``."""
    refresh: Refresh | None
    """What the first meta refresh outside ``<noscript>`` says."""


# ---------------------------------------------------------------------------------------------------------
# Links

_NOT_FOLLOWED: Final = frozenset(LINK_DIRECTIVES)
_HREF: Final[Callable[[etree._Element], str | None]] = methodcaller("get", "href")
_REL: Final[Callable[[etree._Element], str | None]] = methodcaller("get", "rel")


def links(root: etree._Element, url: str, how: Reading = _PLAIN, *, follow_nofollow: bool = True) -> list[str]:
    """The canonical URLs that ``a``, ``area`` and frames of the page at `url` lead to: first-seen order, each once.

    Without `follow_nofollow`, links marked nofollow, ugc or sponsored are left out. Raises `BadUrl` when `url` is none.
    """
    return _joined(_base(root, url, how), _hrefs(root, follow_nofollow), how)


def scanned_links(found: Hrefs, url: str, how: Reading = _PLAIN) -> list[str]:
    """The same result as `links`, computed from a scan of the page instead of its tree."""
    base = None if found.base is None else _target(found.base, url, how)
    return _joined(base or url, found.links, how)


def _joined(base: str, hrefs: Iterable[str], how: Reading) -> list[str]:
    limit = min(how.limits.links, _LINK_CHARACTERS // len(base))
    found = join_links(base, hrefs, limit=limit + 1, encoding=how.encoding, cut=how.cut)
    if len(found) > limit:
        how.cut("links", f"more than {limit:,} links; the others were not taken (PARSE_MAXLINKS)")
        found.pop()
    return found


def links_not_to_follow(root: etree._Element, url: str, how: Reading = _PLAIN) -> frozenset[str]:
    """The canonical URLs that only links marked nofollow, ugc or sponsored lead to.

    One link without such a mark is enough for a URL to be followed. Raises `BadUrl` if `url` is invalid.
    """
    rels = filter(None, map(_REL, root.iter("a", "area")))
    if all(map(_is_followed, rels)):
        return frozenset()
    return frozenset(links(root, url, how)).difference(links(root, url, how, follow_nofollow=False))


def scanned_links_not_to_follow(
    found: Hrefs, url: str, among: Collection[str], how: Reading = _PLAIN
) -> frozenset[str] | None:
    """The URLs of `among` that `links_not_to_follow` returns, computed from a scan; None if only a tree can tell."""
    marked = found.marked()
    if not marked:
        return None if marked is None else frozenset()
    asked_not = [found.links[place] for place in sorted(marked)]
    suspects = frozenset(scanned_links(found._replace(links=asked_not), url, how)).intersection(among)
    if not suspects:  # usual: marked links lead to other sites
        return suspects
    followed = [href for place, href in enumerate(found.links) if place not in marked]
    return suspects.difference(scanned_links(found._replace(links=followed), url, how))


def _hrefs(root: etree._Element, follow_nofollow: bool) -> Iterator[str]:
    if next(root.iter("frame", "iframe", "svg"), None) is None:
        links, href_of = root.iter("a", "area"), _HREF
    else:
        links, href_of = root.iter("a", "area", "frame", "iframe"), _any_href
    if not follow_nofollow:
        links = (link for link in links if _is_followed(link.get("rel", "")))
    return (href for href in map(href_of, links) if href is not None)


def _any_href(link: etree._Element) -> str | None:
    found: str | None = link.get("src" if link.tag in ("frame", "iframe") else "href")
    if found is None and next(link.iterancestors("svg"), None) is not None:
        found = link.get("xlink:href")  # SVG 1.1
    return found


def _is_followed(rel: str) -> bool:
    return _NOT_FOLLOWED.isdisjoint(rel.lower().split())


def _base(root: etree._Element, url: str, how: Reading) -> str:
    for element in root.iter("base"):
        href = element.get("href")
        if href is not None:  # the first counts, even if it is invalid (HTML standard §2.4.3)
            return _target(href, url, how) or canonical(url)
    return canonical(url)


def _target(href: str, base: str, how: Reading) -> str | None:
    try:
        return canonical(href, base, how.encoding)
    except BadUrl:
        return None


# ---------------------------------------------------------------------------------------------------------
# Metadata


_Attributes: TypeAlias = etree._Element | dict[str, str]


def page_meta(root: etree._Element, url: str, how: Reading = _PLAIN) -> PageMeta:
    """What the page at `url` declares about itself. Raises `BadUrl` if `url` is invalid."""
    refresh = _shown_content(_refreshes(root))
    return _declared(_title(root), root, root.iter("meta"), root.iter("link"), refresh, _base(root, url, how), how)


def scanned_page_meta(found: Hrefs, page: Elements, url: str, how: Reading = _PLAIN) -> PageMeta | None:
    """The same from a scan and from the page's elements; None if only a tree can tell."""
    title, root = title_of(page), attributes_in(page.root)
    metas, links = attributes_of(found.metas, _DECLARING), attributes_of(links_of(page), ("canonical",))
    if title is None or root is None or metas is None or links is None or found.may_refresh():
        return None
    base = (found.base is not None and _target(found.base, url, how)) or canonical(url)
    return _declared(title, root, metas, links, "", base, how)


def _declared(
    title: str,
    root: _Attributes,
    metas: Iterable[_Attributes],
    links: Iterable[_Attributes],
    refresh: str,
    base: str,
    how: Reading,
) -> PageMeta:
    named, pragmas = _metas(metas, how)
    return PageMeta(
        title=_line(title, how),
        description=_line(next(iter(named.get("description", ())), ""), how),
        language=_language(root, pragmas, how),
        base=base,
        canonical=_canonical(links, base, how),
        robots=frozenset(filter(None, map(str.strip, ",".join(named.get("robots", ())).lower().split(",")))),
        refresh=refresh_of(refresh, base, how),
    )


_NAMED: Final = ("description", "robots")
_DECLARING: Final = (*_NAMED, "content-language")


def _title(root: etree._Element) -> str:
    for title in root.iter("title"):
        if next(title.iterancestors("svg", "template"), None) is None:  # those have titles of their own
            return str(title.xpath("string()", smart_strings=False))
    return ""


def refresh(root: etree._Element, url: str, how: Reading = _PLAIN) -> Refresh | None:
    """The `refresh` of `page_meta` alone; of a page without links, also the one for readers without scripts.

    Not of others, because there each page may lead to a second copy of itself.
    """
    metas = list(_refreshes(root))
    content = _shown_content(metas)
    if metas and not content and next(_hrefs(root, follow_nofollow=True), None) is None:
        content = str(metas[0].get("content", ""))
    return refresh_of(content, _base(root, url, how), how) if content else None


def refresh_of(value: str, base: str, how: Reading = _PLAIN) -> Refresh | None:
    """What a meta refresh or a ``Refresh`` header says; None if it names no URL to go to."""
    found = _REFRESH.match(value)
    if not found:
        return None
    seconds, *targets = found.groups("")
    target = _target("".join(targets).strip(), base, how) if any(map(str.strip, targets)) else None
    return Refresh(int(seconds[:_MAX_DIGITS] or 0), target) if target else None


_MAX_DIGITS: Final = 9  # of the seconds; digits may go on for ever
# HTML standard, "shared declarative refresh steps": "5", "0;url=/x", "0, '/x'".
_REFRESH: Final = re.compile(
    r"""\s*([0-9]*)[0-9.]*+(?:\s*[;,]\s*|\s+)(?:url\s*=\s*)?(?:'([^']*)|"([^"]*)|(.*))""",
    re.IGNORECASE | re.DOTALL,
)


def robots_metas(root: etree._Element, names: Collection[str], how: Reading = _PLAIN) -> list[str]:
    """The contents of the ``meta`` elements whose name, in lower case, is one of `names`."""
    ours = (meta for meta in root.iter("meta") if meta.get("name", "").strip().lower() in names)
    return [_bounded(meta.get("content", ""), how) for meta in ours]


def scanned_robots_metas(found: Hrefs, names: Collection[str], how: Reading = _PLAIN) -> list[str] | None:
    """The same from a scan, without contents that hold no directive; None if only a tree can tell."""
    metas = found.telling_metas()
    if metas is None:
        return None
    return [_bounded(content, how) for name, content in metas if name.strip().lower() in names]


def _metas(metas: Iterable[_Attributes], how: Reading) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The contents of ``meta`` elements: all for each name, the first for each ``http-equiv``."""
    named: dict[str, list[str]] = {}
    pragmas: dict[str, str] = {}
    for meta in metas:
        name = meta.get("name", "").lower()
        if name in _NAMED:
            named.setdefault(name, []).append(_bounded(meta.get("content", ""), how))
        pragma = meta.get("http-equiv", "").lower()
        if pragma == "content-language":
            pragmas.setdefault(pragma, meta.get("content", ""))
    return named, pragmas


def _shown_content(metas: Iterable[etree._Element]) -> str:
    """The content of the first that is not inside `noscript`."""
    for meta in metas:
        if next(meta.iterancestors("noscript"), None) is None:
            return str(meta.get("content", ""))
    return ""


def _refreshes(root: etree._Element) -> Iterator[etree._Element]:
    metas = (meta for meta in root.iter("meta") if meta.get("http-equiv", "").lower() == "refresh")
    return islice(metas, _MAX_REFRESHES)


_MAX_REFRESHES: Final = 100  # looked at in one page; each costs a walk up the tree


def _language(root: _Attributes, pragmas: dict[str, str], how: Reading) -> str:
    value = root.get("lang") or root.get("xml:lang") or pragmas.get("content-language", "").partition(",")[0]
    return _line(value, how)


def _canonical(links: Iterable[_Attributes], base: str, how: Reading) -> str | None:
    for link in links:
        if "canonical" in link.get("rel", "").lower().split():
            return _target(link.get("href", ""), base, how) if link.get("href", "").strip() else None
    return None


def _bounded(text: str, how: Reading) -> str:
    most = how.limits.meta
    if len(text) > most:
        how.cut("meta", f"its title or another text of its head is longer than {most:,} characters (PARSE_MAXMETA)")
    return text[:most]


def _line(text: str, how: Reading) -> str:
    """`text` on one line, cut at `MAX_META_LENGTH`."""
    return " ".join(_bounded(text, how).split())
