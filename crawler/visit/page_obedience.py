"""Leaves out what a page asks us not to keep or not to follow, and counts it: for every spider, whatever it yields."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from crawler.model import Request
from crawler.response import Response
from crawler.robots.page_directives import PageSigns, names_of, read_signs
from crawler.spiders.callbacks import Found

_NO_SIGNS = PageSigns()


class SignRules(Struct, frozen=True):
    """Whom a sign must address, and which signs are obeyed. The settings of the same names."""

    names: frozenset[str] = names_of("*")
    noindex: bool = True
    nofollow: bool = True
    nofollow_links: bool = True


def heed(found: Found, response: Response, rules: SignRules, now: float) -> Found:
    """What is left of `found` on the page: its items unless it is marked noindex, requests unless nofollow.

    Requests for what only links marked nofollow, ugc or sponsored lead to are left out as well. One for the page
    itself is no link of it. Requests have canonical URLs; `now` is Unix seconds.
    """
    matters = (found.items and rules.noindex) or (found.requests and rules.nofollow)
    signs = signs_of(response, rules.names, now) if matters else _NO_SIGNS
    if found.items and rules.noindex and (signs.noindex or signs.expired):
        reason = "noindex" if signs.noindex else "unavailable_after"
        found = found._replace(items=[], dropped=found.dropped + Counter({reason: len(found.items)}))
    if found.requests and rules.nofollow and signs.nofollow:
        return _without(found, {request.url for request in found.requests}, response, "nofollow")
    if found.requests and rules.nofollow_links:
        urls = {request.url for request in found.requests}
        return _without(found, response.links_not_to_follow(urls), response, "rel_nofollow")
    return found


def signs_of(response: Response, names: frozenset[str], now: float) -> PageSigns:
    """What its header and its metas say, taken together. Pages of other types have the header alone."""
    header = response.headers.get("x-robots-tag")
    signs = read_signs(header.split("\n"), names, now) if header else _NO_SIGNS
    metas = response.robots_metas(names)
    return signs | read_signs(metas, names, now) if metas else signs


def _without(found: Found, urls: set[str] | frozenset[str], response: Response, reason: str) -> Found:
    """`found` without the requests for these, which are counted."""
    unwanted = urls - {response.url, response.request.url}
    kept: list[Request] = [request for request in found.requests if request.url not in unwanted]
    left_out = len(found.requests) - len(kept)
    return found.admitting(kept, {reason: left_out}) if left_out else found
