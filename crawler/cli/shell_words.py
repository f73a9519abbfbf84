"""The names at the prompt of `shell`: the page, and functions that get and show pages."""

from __future__ import annotations

import html
import mimetypes
import os
import re
import tempfile
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import crawler
from crawler.app.config import Config
from crawler.app.one_page import Pages, open_pages, saved_page
from crawler.cli.exits import say_error
from crawler.cli.pages import local_file, request_for
from crawler.errors import CrawlerError
from crawler.model import Request
from crawler.response import Response
from crawler.runtime.loop_thread import LoopThread
from crawler.runtime.safe_text import shown
from crawler.spiders.registry import Registry

_HEAD = re.compile(rb"<head(?:\s[^<>]*)?>", re.IGNORECASE)
_NO_PAGE: Mapping[str, None] = {"request": None, "response": None}
_NO_SCRIPTS = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'


class Words:
    """The names, which change when a page is fetched."""

    def __init__(self, config: Config, pages: Pages, loop: LoopThread, *, redirects: bool, at_prompt: bool) -> None:
        self._config = config
        self._pages = pages
        self._loop = loop
        self._redirects = redirects
        self._at_prompt = at_prompt
        own = {name: getattr(crawler, name) for name in crawler.__all__}
        self.names: dict[str, Any] = {
            **own,
            "crawler": crawler,
            **_NO_PAGE,
            "sel": _Selector(self),
            "spider": pages.ready.spider,
            "settings": pages.ready.spider.settings,
            "fetch": self.fetch,
            "view": self.view,
            "shelp": self.shelp,
        }

    def load(self, target: Request | Path, *, redirects: bool | None = None) -> None:
        """Make the page of a request or a file the current one. Raise what a fetch raises."""
        self.names |= _NO_PAGE
        if isinstance(target, Path):
            response = saved_page(self._config, target)
        else:
            follow = self._redirects if redirects is None else redirects
            response = self._loop.run(self._pages.fetch(target, redirects=follow))
        self.names |= {"request": response.request, "response": response}

    def fetch(self, target: str | Request, redirect: bool | None = None) -> None:
        """Fetch a page and make it `response`: a URL, a file or a Request. `redirect`: whether to follow redirects.

        For a page that cannot be fetched, it prints an error at the prompt; elsewhere it raises the error, which ends
        the code.
        """
        try:
            self.names |= _NO_PAGE
            page = target if isinstance(target, Request) else local_file(target) or request_for(target, or_file=True)
            self.load(page, redirects=redirect)
        except (CrawlerError, KeyboardInterrupt) as error:
            if not self._at_prompt:
                raise
            say_error(str(error) if isinstance(error, CrawlerError) else "interrupted; there is no response")
        else:
            print(self.names["response"])

    def view(self, response: Response | None = None) -> None:
        """Show a page in the browser, as the crawler got it: without what scripts would add."""
        response = response or self.names["response"]
        if response is None:
            say_error("there is no response to show: fetch(URL) first")
            return
        file = _saved(response)
        if not _open(file):
            print(f"no browser here; the page is in {file}")

    def shelp(self) -> None:
        """Print what there is."""
        names = self.names
        for name, what in (
            ("response", shown(repr(names["response"]))),
            ("request", shown(repr(names["request"] and names["request"].url))),
            ("spider", f"{names['spider'].name}, whose settings count"),
            ("settings", "the settings in force"),
            ("sel", "the page's selector: sel.css(…), sel.xpath(…)"),
            ("fetch(url_or_request)", "get another page; redirect=False: follow no redirect"),
            ("view(response)", "show the page in the browser"),
            ("shelp()", "this list"),
        ):
            print(f"  {name:<22} {what}")


class _Selector:
    """The selector of the page that is current when it is used."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._words.names["response"].selector, name)


@contextmanager
def opened_words(
    config: Config, registry: Registry, spider: str, *, redirects: bool, at_prompt: bool
) -> Iterator[Words]:
    """Yield the names, with what fetches pages behind them; `at_prompt`: a person uses them.

    Raise `UsageError` and `ConfigError`.
    """
    with LoopThread() as loop:
        stack = AsyncExitStack()
        pages = loop.run(stack.enter_async_context(open_pages(config, registry, spider)))
        try:
            yield Words(config, pages, loop, redirects=redirects, at_prompt=at_prompt)
        finally:
            loop.run(stack.aclose())


def _saved(response: Response) -> Path:
    """Write the page to a new file that only this user can read; links and images in it lead to the site."""
    kind = mimetypes.guess_extension(response.content_type) or ".bin"
    descriptor, name = tempfile.mkstemp(".html" if response.is_html else kind, "crawler-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(_with_base(response) if response.is_html else response.body)
    return Path(name)


def _with_base(response: Response) -> bytes:
    base = f'<base href="{html.escape(response.url)}"><meta charset="{response.encoding}">{_NO_SCRIPTS}'.encode()
    head = _HEAD.search(response.body)
    place = head.end() if head else 0
    return response.body[:place] + base + response.body[place:]


def _open(file: Path) -> bool:
    try:
        return webbrowser.open(file.as_uri())
    except webbrowser.Error:
        return False
