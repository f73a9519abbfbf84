"""A `Fetcher` that answers from an archive, and asks no host."""

from __future__ import annotations

from crawler.archive.reader import Archived, ArchiveReader
from crawler.errors import FetchError
from crawler.interfaces import NOT_CACHED
from crawler.model import Request
from crawler.response import Response


class Replay:
    """Answers with the page that was chosen, or else with the last visit of the URL."""

    def __init__(self, reader: ArchiveReader) -> None:
        self._reader = reader
        self.chosen: Archived | None = None
        """The page that is read now."""

    async def fetch(self, request: Request) -> Response:
        """Return the page. Raises `FetchError` if the archive lacks it."""
        chosen = self.chosen
        if chosen is not None and chosen.request.url == request.url:
            response = self._reader.response(chosen.visited, request)
            response.seconds = chosen.seconds
            return response
        visited = self._reader.of(request.url)
        if visited is None:
            raise FetchError(NOT_CACHED, f"{request.url}: not in the archive", transient=False)
        return self._reader.response(visited, request)

    async def close(self) -> None:
        """Do nothing: whoever opened the archive closes it."""
