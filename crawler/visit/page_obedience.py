"""Obeys the directives of a page: leaves out and counts its items or links, for every spider, whatever it yields."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from crawler.model import Request
from crawler.response import Response
from crawler.robots.page_directives import PageDirectives, names_of, read_directives
from crawler.spiders.callbacks import Found

_NO_DIRECTIVES = PageDirectives()


class DirectivePolicy(Struct, frozen=True):
    """The robot names that directives must address, and which directives to obey (the settings of the same names)."""

    names: frozenset[str] = names_of("*")
    noindex: bool = True
    nofollow: bool = True
    nofollow_links: bool = True


def heed(found: Found, response: Response, obeyed: DirectivePolicy, now: float) -> Found:
    """`found` without the items of a page marked noindex, and without the requests of a page marked nofollow.

    Also leaves out requests for URLs that only links marked nofollow, ugc or sponsored lead to. A request for the page
    itself does not count as a link. Requests have canonical URLs; `now` is Unix seconds.
    """
    matters = (found.items and obeyed.noindex) or (found.requests and obeyed.nofollow)
    directives = directives_of(response, obeyed.names, now) if matters else _NO_DIRECTIVES
    if found.items and obeyed.noindex and (directives.noindex or directives.expired):
        reason = "noindex" if directives.noindex else "unavailable_after"
        found = replace(found, items=[], kinds=[]).dropping({reason: len(found.items)})
    if found.requests and obeyed.nofollow and directives.nofollow:
        return _without(found, {request.url for request in found.requests}, response, "nofollow")
    if found.requests and obeyed.nofollow_links:
        urls = {request.url for request in found.requests}
        return _without(found, response.links_not_to_follow(urls), response, "rel_nofollow")
    return found


def directives_of(response: Response, names: frozenset[str], now: float) -> PageDirectives:
    """The directives of the page's header and its metas together. Pages that are not HTML have the header alone."""
    header = response.headers.get("x-robots-tag")
    directives = read_directives(header.split("\n"), names, now) if header else _NO_DIRECTIVES
    metas = response.robots_metas(names)
    return directives | read_directives(metas, names, now) if metas else directives


def _without(found: Found, urls: set[str] | frozenset[str], response: Response, reason: str) -> Found:
    """`found` without the requests for these URLs; counts them under `reason`."""
    unwanted = urls - {response.url, response.request.url}
    kept: list[Request] = [request for request in found.requests if request.url not in unwanted]
    left_out = len(found.requests) - len(kept)
    return found.admitting(kept, {reason: left_out}) if left_out else found
