"""Leaves out what a page asks us not to keep or not to follow, and counts it: for every spider, whatever it yields."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from crawler.model import Request
from crawler.response import Response
from crawler.robots.page_directives import PageDirectives, names_of, read_directives
from crawler.spiders.callbacks import Found

_NO_DIRECTIVES = PageDirectives()


class DirectivePolicy(Struct, frozen=True):
    """Whom a sign must address, and which directives are obeyed. The settings of the same names."""

    names: frozenset[str] = names_of("*")
    noindex: bool = True
    nofollow: bool = True
    nofollow_links: bool = True


def heed(found: Found, response: Response, obeyed: DirectivePolicy, now: float) -> Found:
    """What is left of `found` on the page: its items unless it is marked noindex, requests unless nofollow.

    Requests for what only links marked nofollow, ugc or sponsored lead to are left out as well. One for the page
    itself is no link of it. Requests have canonical URLs; `now` is Unix seconds.
    """
    matters = (found.items and obeyed.noindex) or (found.requests and obeyed.nofollow)
    directives = directives_of(response, obeyed.names, now) if matters else _NO_DIRECTIVES
    if found.items and obeyed.noindex and (directives.noindex or directives.expired):
        reason = "noindex" if directives.noindex else "unavailable_after"
        found = found._replace(items=[], dropped=found.dropped + Counter({reason: len(found.items)}))
    if found.requests and obeyed.nofollow and directives.nofollow:
        return _without(found, {request.url for request in found.requests}, response, "nofollow")
    if found.requests and obeyed.nofollow_links:
        urls = {request.url for request in found.requests}
        return _without(found, response.links_not_to_follow(urls), response, "rel_nofollow")
    return found


def directives_of(response: Response, names: frozenset[str], now: float) -> PageDirectives:
    """What its header and its metas say, taken together. Pages of other types have the header alone."""
    header = response.headers.get("x-robots-tag")
    directives = read_directives(header.split("\n"), names, now) if header else _NO_DIRECTIVES
    metas = response.robots_metas(names)
    return directives | read_directives(metas, names, now) if metas else directives


def _without(found: Found, urls: set[str] | frozenset[str], response: Response, reason: str) -> Found:
    """`found` without the requests for these, which are counted."""
    unwanted = urls - {response.url, response.request.url}
    kept: list[Request] = [request for request in found.requests if request.url not in unwanted]
    left_out = len(found.requests) - len(kept)
    return found.admitting(kept, {reason: left_out}) if left_out else found
