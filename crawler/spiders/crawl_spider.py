"""Scrapy's `CrawlSpider`: rules say which links of a page are followed, and which method reads the pages behind them.

What a rule wants done with a page travels with the request, in the name of its callback:

- `parse_item:follow`: give the page to `parse_item`, and follow its links by the rules;
- `parse_item:rule`: give it to `parse_item`, and follow none;
- `parse` with the number of the rule in `meta`: follow its links. A link to a start page then has the callback that the
  start page had, and is known.

So a worker of another version, whose rules are in another order, reads the page as it was meant, or leaves it to others
because it lacks the method.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from crawler.model import Request
from crawler.parsing.url import fetchable
from crawler.response import Response
from crawler.spiders.base import Results, Spider, callback_name
from crawler.spiders.callbacks import CALLBACK, ERRBACK, nearest, wrong_arguments
from crawler.spiders.items import shown_value
from crawler.spiders.link_extractor import Link, LinkExtractor
from crawler.spiders.taken import one_by_one

if TYPE_CHECKING:
    from crawler.spiders.context import Crawler

MAX_LINK_TEXT = 1_000
"""Characters of a link's text that travel with its request."""

_FOLLOW, _ALONE = ":follow", ":rule"  # behind the name of a callback
_START = "parse"


class Rule:
    """Which links to follow, and what to do with their pages. Methods may be given by name.

    - `callback`, `cb_kwargs`, `errback`: as of a request. `follow`: whether the rules hold for the links of those pages
      too; None: only if there is no callback. Pages of a rule with neither are not fetched.
    - `process_links`: gets the links of a page that the rule has found, and returns those to follow.
    - `process_request`: gets each request and the response it comes from; returns the request, another one, or None.
    """

    def __init__(
        self,
        link_extractor: Any = None,
        callback: str | Callable[..., Any] | None = None,
        cb_kwargs: Mapping[str, Any] | None = None,
        follow: bool | None = None,
        process_links: str | Callable[..., Any] | None = None,
        process_request: str | Callable[..., Any] | None = None,
        errback: str | Callable[..., Any] | None = None,
    ) -> None:
        self.link_extractor = LinkExtractor() if link_extractor is None else link_extractor
        self.callback = callback
        self.cb_kwargs = dict(cb_kwargs or {})
        self.follow = not callback if follow is None else follow
        self.process_links = process_links
        self.process_request = process_request
        self.errback = errback

    @property
    def travelling(self) -> str:
        """The callback of its requests."""
        name = callback_name(self.callback) if self.callback else ""
        return f"{name}{_FOLLOW if self.follow else _ALONE}" if name else _START


class CrawlSpider(Spider):
    """A spider with `rules`, of which the first that finds a link decides what becomes of it."""

    rules: ClassVar[Sequence[Rule]] = ()
    read_ahead: ClassVar[Iterable[str]] = ("root",)  # the rules search the tree
    _follow_links = True

    def parse_start_url(self, response: Response, **cb_kwargs: Any) -> Any:
        """Read a start page, or the page of a request without a callback. Its links are followed by the rules."""
        return ()

    def process_results(self, response: Response, results: Iterable[Any]) -> Iterable[Any]:
        """Choose among what a callback of a rule has given, or change it."""
        return results

    def parse(self, response: Response, **cb_kwargs: Any) -> Results:
        """Read a start page, and follow the links of pages whose rules name no callback."""
        start = None if "rule" in response.meta else self.parse_start_url
        return self._parse_response(response, start, cb_kwargs)

    def parse_with_rules(
        self, response: Response, callback: Callable[..., Any] | None, cb_kwargs: Mapping[str, Any], follow: bool = True
    ) -> Results:
        """Give the page to the callback, then follow its links by the rules."""
        results = () if callback is None else callback(response, **cb_kwargs) or ()
        if inspect.isawaitable(results) or hasattr(results, "__aiter__"):
            return self._later(response, results, follow=follow)
        return self._now(response, results, follow=follow)

    def _parse_response(self, *arguments: Any, **options: Any) -> Results:
        """Do the same, by the name that it had in Scrapy before."""
        return self.parse_with_rules(*arguments, **options)

    def callback_named(self, name: str) -> Any:
        """Return the method that reads a page, or None."""
        if name == _START:  # also if the class has a method of this name, which a rule may name
            return partial(CrawlSpider.parse, self)
        method, mark, how = name.partition(":")
        found = super().callback_named(method)
        if not callable(found) or mark + how not in (_FOLLOW, _ALONE):
            return None if mark else found
        return partial(self._by_rule, found, mark + how == _FOLLOW)

    def _by_rule(self, callback: Callable[..., Any], follow: bool, response: Response, **cb_kwargs: Any) -> Results:
        return self._parse_response(response, callback, cb_kwargs, follow)

    def _now(self, response: Response, results: Any, *, follow: bool) -> Iterator[Any]:
        yield from one_by_one(self.process_results(response, one_by_one(results)))
        if follow and self._follow_links:
            yield from self._requests_to_follow(response)

    async def _later(self, response: Response, results: Any, *, follow: bool) -> AsyncIterator[Any]:
        if inspect.isawaitable(results):
            results = await results or ()
        if hasattr(results, "__aiter__"):
            results = [one async for one in results]  # as `process_results` takes them
        for one in self._now(response, results, follow=follow):
            yield one

    def _requests_to_follow(self, response: Response) -> Iterator[Any]:
        if not response.is_html:
            return
        seen: set[Link] = set()
        asked: set[str] = set()  # which one page needs to ask for once, though several rules found them
        for number, rule in enumerate(self.rules):
            links = [link for link in rule.link_extractor.extract_links(response) if link not in seen]
            for link in self._method(rule.process_links, _same)(links):
                seen.add(link)
                if not rule.callback and not rule.follow:
                    continue
                url = fetchable(link.url, cut=response.cut.setdefault)
                if url and (request := self._request(number, link, response)):
                    if url not in asked or not isinstance(request, Request) or request.dont_filter:
                        yield request
                    asked.add(url)

    def _request(self, number: int, link: Link, response: Response) -> Any:
        if len(link.text) > MAX_LINK_TEXT:
            response.cut.setdefault("link_text", f"{len(link.text):,} characters of text; {MAX_LINK_TEXT:,} were kept")
        return self._method(self.rules[number].process_request, _same)(self._build_request(number, link), response)

    def _build_request(self, rule_index: int, link: Link) -> Request:
        rule = self.rules[rule_index]
        meta = {"rule": rule_index, "link_text": link.text[:MAX_LINK_TEXT]}
        errback = callback_name(rule.errback) if rule.errback else ""
        return Request(link.url, callback=rule.travelling, errback=errback, cb_kwargs=rule.cb_kwargs, meta=meta)

    def _method(self, given: Any, default: Callable[..., Any]) -> Callable[..., Any]:
        return (getattr(self, given) if isinstance(given, str) else given) or default

    @staticmethod
    def rule_problems(of: type[CrawlSpider] | CrawlSpider) -> Iterator[str]:
        """Yield one sentence for each mistake in the rules."""
        if isinstance(of.rules, property):
            return
        if not isinstance(of.rules, (list, tuple)):
            yield f"rules must be a list of Rule, not {shown_value(of.rules)}; for a single one write (Rule(…),)"
            return
        for number, rule in enumerate(of.rules):
            if isinstance(rule, Rule):
                yield from (f"rules[{number}]: {wrong}" for wrong in _wrong(of, rule))
            else:
                yield f"rules[{number}] is no Rule: {shown_value(rule)}"

    def _compile_rules(self) -> None:
        """Do nothing: the rules are read when a page is. Scrapy's spiders call this when they have changed them."""

    def _set_crawler(self, crawler: Crawler) -> None:
        super()._set_crawler(crawler)
        self._follow_links = crawler.settings.getbool("CRAWLSPIDER_FOLLOW_LINKS", self._follow_links)


def _same(given: Any, *_: Any) -> Any:
    return given


def _wrong(of: type[CrawlSpider] | CrawlSpider, rule: Rule) -> Iterator[str]:
    cls = of if isinstance(of, type) else type(of)
    if not callable(getattr(rule.link_extractor, "extract_links", None)):
        yield f"{shown_value(rule.link_extractor)} is no LinkExtractor"
    if rule.callback:
        yield from _wrong_callback(cls, rule.callback, CALLBACK, tuple(rule.cb_kwargs))
        if callback_name(rule.callback) == _START and cls.parse is CrawlSpider.parse:
            yield "the class has no parse of its own; name its callback, such as parse_item"
    if rule.errback:
        yield from _wrong_callback(cls, rule.errback, ERRBACK)
    for what, given, arguments in (
        ("process_links", rule.process_links, ("links",)),
        ("process_request", rule.process_request, ("request", "response")),
    ):
        if isinstance(given, str):
            if not callable(getattr(of, given, None)):
                yield f"{what}={given!r} is no method of the class{nearest(cls, given)}"
            elif wrong := wrong_arguments(cls, given, arguments):
                yield f"{what}: {wrong}"
        elif given is not None and not callable(given):
            yield f"{what}={shown_value(given)} is neither a method nor its name"


def _wrong_callback(
    cls: type[CrawlSpider], given: Any, arguments: tuple[str, ...], keywords: Any = ()
) -> Iterator[str]:
    name = callback_name(given)
    method = getattr(cls, name, None) if name else None
    if name.startswith("_"):
        yield f"{name} is private; rename it without the underscore"
    elif not callable(method) or (callable(given) and getattr(given, "__func__", given) is not method):
        yield f"{shown_value(given)} is no method of the class, by whose name it would travel{nearest(cls, name)}"
    elif wrong := wrong_arguments(cls, name, arguments, keywords):
        yield wrong
