"""Writes the pages of one worker process into an archive, each before its commit (WARC_DIR)."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from crawler.archive.files import ENDING, GrowingFile, repair
from crawler.archive.index import line_of
from crawler.archive.records import Original, Page, now, packed, page_of, warcinfo
from crawler.errors import ConfigError, OutputError
from crawler.model import Lease
from crawler.response import Response

log = structlog.get_logger()

_LARGE = 100_000  # bytes of a body that another thread compresses, so that other pages do not wait
_ORIGINALS = 10_000  # bodies that a process knows, so that it writes each once


class ArchiveWriter:
    """Implements `Archive` in a folder. Each job has its own files, and no other process writes to them."""

    def __init__(
        self, folder: Path, worker: str, *, most_bytes: int, about: Callable[[str], Iterable[tuple[str, str]]]
    ) -> None:
        """`about(job)`: the fields of the first record of a file. A file with `most_bytes` is followed by another."""
        self._folder = folder
        self._worker = worker.replace(":", "~")
        self._most = most_bytes
        self._about = about
        self._files: dict[str, GrowingFile] = {}  # by job
        self._full: list[GrowingFile] = []
        self._serial = 0
        self._originals: OrderedDict[tuple[str, str], Original] = OrderedDict()  # (job, digest), last used last

    async def open(self) -> None:
        """Make the folder, and repair what killed workers have left. Raise `ConfigError` if it cannot be used."""
        try:
            await asyncio.to_thread(_prepare, self._folder)
        except OSError as error:
            raise ConfigError(f"WARC_DIR {self._folder}: pages cannot be written there: {error.strerror}") from None

    async def add(self, lease: Lease, response: Response) -> str:
        """Take a page for the next `sync`. Return its line for the index."""
        page = page_of(lease, response, self._originals)
        is_large = len(response.body) > _LARGE
        records, others = await asyncio.to_thread(packed, page) if is_large else packed(page)
        self._remember(page)
        file = self._file(lease.job)
        offset = file.add(records + others)
        return line_of(page, file.path.name, offset, len(records))

    async def sync(self) -> None:
        """Make all pages durable that were added. Raise `OutputError` if the disk refuses: call again then."""
        await asyncio.to_thread(self._sync, [*self._full, *self._files.values()])

    async def close(self) -> None:
        """End all files. Pages that were added and not committed are also written, which does no harm."""
        self._full += self._files.values()
        self._files.clear()
        for file in self._full:
            file.is_full = True
        try:
            await self.sync()
        except OutputError as error:
            log.warning("archive_not_ended", why=f"{error}; the next worker that starts repairs the file")

    def _sync(self, files: Iterable[GrowingFile]) -> None:
        for file in files:
            if file.sync():
                self._full.remove(file)

    def _file(self, job: str) -> GrowingFile:
        file = self._files.get(job)
        if file is not None and file.size >= self._most:
            file.is_full = True
            self._full.append(file)
            file = None
        if file is None:
            file = self._files[job] = self._next(job)
        return file

    def _next(self, job: str) -> GrowingFile:
        stamp = "".join(character for character in now() if character.isdigit())[:17]
        name = f"{job}-{stamp}-{self._serial:05}-{self._worker}{ENDING}"
        self._serial += 1
        return GrowingFile(self._folder / name, warcinfo(name, self._about(job)))

    def _remember(self, page: Page) -> None:
        key = page.lease.job, page.digest
        self._originals[key] = page.original or Original(page.id, page.response.url, page.date)
        self._originals.move_to_end(key)
        if len(self._originals) > _ORIGINALS:
            self._originals.popitem(last=False)


def _prepare(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # pages of a login are as private as the login
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(0, "this user may not write there")
    repair(folder)
