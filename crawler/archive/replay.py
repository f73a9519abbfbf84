"""A `Fetcher` that answers from pages that were kept, and asks no host."""

from __future__ import annotations

from crawler.archive.pages import Pages, StoredPage
from crawler.errors import FetchError
from crawler.interfaces import NOT_CACHED
from crawler.model import Request
from crawler.response import Response


class Replay:
    """Answers with the page that was chosen, or else with the last visit of the URL."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.chosen: StoredPage | None = None
        """The page that is read now."""

    async def fetch(self, request: Request) -> Response:
        """Return the page. Raises `FetchError` if the archive lacks it."""
        chosen = self.chosen
        if chosen is not None and chosen.request.url == request.url:
            response = chosen.answer(request)
            response.seconds = chosen.seconds
            return response
        return self.last(request)

    def last(self, request: Request) -> Response:
        """Return the answer of the last visit of the URL. Raises `FetchError` if there is none."""
        found = self._pages.of(request.url)
        if found is None:
            raise FetchError(NOT_CACHED, f"{request.url}: not in the archive", transient=False)
        return found.answer(request)

    async def close(self) -> None:
        """Do nothing: whoever opened the archive closes it."""
