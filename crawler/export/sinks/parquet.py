"""Items as a folder of Parquet files: `items.parquet/part-000001-EPOCH.parquet`.

A Parquet file can be read only when it is whole, so the folder grows by whole files, the segments. Items that are in no
segment yet wait in a journal in the folder, so that a segment may have any size whatever waits in the outbox. Readers
do not see the journal: its name begins with a dot. Both say how far the outbox was exported.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from crawler.errors import OutputError
from crawler.export.sinks import parquet_file, position
from crawler.export.sinks.columns import Columns, Kind
from crawler.export.sinks.declared import Declared, Lookup, nothing
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.journal import Journal
from crawler.model import Exported, OutboxEntry
from crawler.runtime import disk
from crawler.runtime.disk import sync_folder

log = structlog.get_logger()

SEGMENT_ITEMS = 250_000
SEGMENT_BYTES = 64 << 20  # of JSON; the file has a third to a tenth of that
SEGMENT_SECONDS = 900.0  # after which waiting items become a segment with the next that come

_SEGMENT: Final = re.compile(r"part-(\d{6,})-(\w+)\.parquet")
_UNFINISHED: Final = ".unfinished"


class _Segment(Struct, frozen=True, order=True):
    number: int
    epoch: str
    path: Path


class _Survey(Struct, frozen=True):
    """What stands at a path."""

    segments: tuple[_Segment, ...] = ()  # in their order
    foreign: str = ""  # a file that no crawl wrote
    is_file: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.segments or self.foreign or self.is_file)

    def of(self, epoch: str) -> tuple[_Segment, ...]:
        """Return the segments of one job."""
        return tuple(segment for segment in self.segments if segment.epoch == epoch)


class ParquetSink:
    """Implements `BlockingSink` on a folder.

    `append`: also add to a folder with other files, or without the job's earlier items. `overwrite`: leave a folder or
    file that is there as it is, write to a new folder beside it, and replace the old one at the end (`finish`).
    `declared`: the columns that the classes of items declare.
    """

    inode = 0

    def __init__(
        self,
        path: Path,
        epoch: str,
        declared: Lookup = nothing,
        *,
        append: bool = False,
        overwrite: bool = False,
        most_items: int = SEGMENT_ITEMS,
        most_bytes: int = SEGMENT_BYTES,
        most_seconds: float = SEGMENT_SECONDS,
    ) -> None:
        """A segment is written when one of these limits is reached, and at the end."""
        self._target = path.absolute()
        self._folder = self._target  # what is written: the target, or a new folder beside it
        self._epoch = epoch
        self._append = append
        self._overwrite = overwrite
        self._limits = (most_items, most_bytes, most_seconds)
        self._declared = Declared(declared)
        self._lock = -1
        self._is_made = False  # the folder, by this sink
        self._journal = self._journal_there()
        self._began = 0.0  # when the first of the waiting items came
        self._columns = Columns()  # of all segments, and of the items that wait
        self._segments = 0  # number of the last one
        self._positions: dict[int, str] = {}

    @property
    def location(self) -> str:
        """The folder that is written."""
        return str(self._folder)

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to the folder. Change nothing."""
        try:
            self._choose("")
            folder = self._folder if self._folder.exists() else self._folder.parent
            if not folder.is_dir():
                raise OutputError(
                    f"cannot write items to {self._folder}: its folder does not exist; make it: mkdir -p {folder}"
                )
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._cannot(error) from None

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Lock and repair the folder; return the position behind its items. Raise `OutputError`."""
        try:
            self._choose(exported.location)
            self._take()
            self._resume()
            if not self._append and not position.reaches(self._positions, exported.positions):
                raise OutputError(gone_to(exported.location, self.location))
        except OSError as error:
            self._release()
            raise self._cannot(error) from None
        except OutputError:
            self._release()
            raise
        self._positions = position.merged(self._positions, exported.positions)
        return dict(self._positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Add the items to the journal, wait for the disk, return their number. First, if it is time, make a segment of
        those that wait. On failure, change nothing and raise `OutputError`."""
        new = [entry for entry in entries if not position.reaches(self._positions, {entry.shard: entry.position})]
        items = [item for entry in new for _, item in entry.numbered()]
        try:
            if self._is_due():
                self._make_segment()
            if not new:
                return 0
            positions = position.merged(self._positions, {entry.shard: entry.position for entry in new})
            self._declare(new)
            self._columns.widen(items)
            self._began = self._began if self._journal.items else time.monotonic()
            self._check_there()
            self._journal.append(items, position.mark(self._epoch, positions))
            self._check_there()
        except OSError as error:
            raise self._cannot(error) from None
        self._positions = positions
        return len(items)

    def finish(self) -> None:
        """Make a segment of the items that wait, and put a new folder in the place of the old one."""
        try:
            self._make_segment()
            if self._folder != self._target:
                self._replace()
        except OSError as error:
            raise self._cannot(error) from None

    def close(self) -> None:
        """Make a segment of the items that wait, and unlock the folder."""
        try:
            self._make_segment()
        except OSError as error:
            log.warning("output_waits", folder=self.location, why=f"{self._cannot(error)}; the next export continues")
        self._release()

    # -----------------------------------------------------------------------------------------------------
    # opening

    def _choose(self, before: str) -> None:
        """Choose the folder: the target, or a new one beside it; `before` is where earlier items of the job went. Raise
        `OutputError` if the job must not write there."""
        found = _survey(self._target)
        target = self._target.resolve()
        beside = target.with_name(f"{target.name}.{self._epoch}.part")
        is_aside = before == str(beside) or (self._overwrite and not found.is_empty)
        if beside.exists() or (is_aside and not found.of(self._epoch)):
            _check_replaceable(target, found)
            self._folder = beside
        else:
            self._check(found)

    def _check(self, found: _Survey) -> None:
        """Raise `OutputError` if the job must not add to what was found."""
        if found.is_file:
            raise OutputError(
                f"{self._target} is a file, and a crawl writes a folder of Parquet files: -O replaces the file at the "
                "end, another -o keeps it"
            )
        if self._append or found.is_empty or found.of(self._epoch):
            return
        epochs = {segment.epoch for segment in found.segments}
        there = f"items of another crawl (epoch {min(epochs)})" if epochs else f"{found.foreign}, which no crawl wrote"
        replaces = "" if found.foreign else "-O replaces the folder at the end, "
        raise OutputError(f"{self._target} holds {there}: {replaces}another -o keeps it, --append adds to it")

    def _take(self) -> None:
        """Make the folder if need be, and lock it."""
        try:
            self._folder.mkdir()
            sync_folder(self._folder.parent)
            self._is_made = True
        except FileExistsError:
            pass
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"another exporter is writing to {self._folder}; stop it, or name another folder"
            ) from None

    def _resume(self) -> None:
        """Remove what a crash left, and find out what is there."""
        for left in self._folder.glob(f".*{_UNFINISHED}"):
            left.unlink()
        found = _survey(self._folder)
        ours = found.of(self._epoch)
        if found.segments:
            self._segments = found.segments[-1].number
            self._columns = Columns(_footer(found.segments[-1].path).kinds)
        if ours:
            self._positions = position.marked(_footer(ours[-1].path).position)[1]
            _remove(_old(self._target.resolve(), self._epoch))
        self._journal = self._journal_there()
        _, waiting = position.marked(self._journal.open())
        self._began = time.monotonic()
        if position.reaches(self._positions, waiting):  # also if there is none
            self._journal.clear()
        self._columns.declare(self._waiting_columns())
        self._columns.widen(self._journal.read())
        self._positions = position.merged(self._positions, waiting)

    # -----------------------------------------------------------------------------------------------------
    # writing

    def _check_there(self) -> None:
        """Raise `OutputError` if the folder was moved or deleted: what is written now would be with it."""
        with suppress(FileNotFoundError):
            if self._journal.is_there() and os.path.samestat(os.stat(self._folder), os.fstat(self._lock)):
                return
        raise OutputError(
            f"{self._folder} was moved or deleted while items were written: put it back, or end this export and write "
            "only later items with -o FILE --append"
        )

    def _is_due(self) -> bool:
        items, size, seconds = self._limits
        waiting = self._journal
        is_old = waiting.items > 0 and time.monotonic() - self._began >= seconds
        return waiting.items >= items or waiting.size >= size or is_old

    def _declare(self, entries: Sequence[OutboxEntry]) -> None:
        """Make room for the columns that the items' classes declare, and remember them as long as the items wait."""
        before = dict(self._columns.kinds)
        for columns in self._declared.new(entries):
            self._columns.declare(columns)
        if self._columns.kinds != before:
            unfinished = self._folder / f".columns{_UNFINISHED}"
            disk.replace(self._columns_file, msgspec.json.encode(self._columns.kinds), unfinished)

    def _make_segment(self) -> None:
        """Write the items that wait to a file, give it its name when it is durable, and clear the journal."""
        if not self._journal.items:
            return
        number = self._segments + 1
        segment = self._folder / f"part-{number:06}-{self._epoch}.parquet"
        unfinished = self._folder / f".{segment.name}{_UNFINISHED}"
        try:
            with open(unfinished, "wb") as file:
                mark = position.mark(self._epoch, self._positions)
                parquet_file.write(file, self._journal.read(), self._columns, mark)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(segment)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise
        sync_folder(self._folder)
        self._journal.clear()
        self._columns_file.unlink(missing_ok=True)
        self._segments = number  # if one of these fails, the same segment is written again under the same name

    def _replace(self) -> None:
        """Put the new folder in the place of the old one; leave the old one if there is no item."""
        target, new = self._target.resolve(), self._folder
        if not self._segments:
            log.warning("output_kept", file=str(target), why="no item was found, so it is left as it was")
            return
        _check_replaceable(target, _survey(target))
        self._journal.close()
        old = _old(target, self._epoch)
        if target.exists():
            target.rename(old)
        new.rename(target)
        sync_folder(target.parent)
        self._folder = self._target
        _remove(old)

    def _release(self) -> None:
        self._journal.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
            if self._is_made:
                with suppress(OSError):  # there is something in it
                    self._folder.rmdir()

    @property
    def _columns_file(self) -> Path:
        """The columns that classes declared for the items in the journal, of which some may have no value."""
        return self._folder / f".open-{self._epoch}.columns"

    def _waiting_columns(self) -> dict[str, Kind]:
        try:
            return msgspec.json.decode(self._columns_file.read_bytes(), type=dict[str, Kind])
        except FileNotFoundError:
            return {}
        except ValueError:
            raise OutputError(f"{self._columns_file} is damaged: delete it; no item is in it") from None

    def _journal_there(self) -> Journal:
        return Journal(self._folder / f".open-{self._epoch}.jsonl")

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write items to {self._folder}: {error.strerror or error}; nothing is lost")


# ---------------------------------------------------------------------------------------------------------


def _survey(path: Path) -> _Survey:
    if not path.is_dir():
        return _Survey(is_file=path.exists())
    segments, foreign = [], ""
    for name in sorted(os.listdir(path)):
        match = _SEGMENT.fullmatch(name)
        if match is not None:
            segments.append(_Segment(int(match[1]), match[2], path / name))
        elif not name.startswith("."):
            foreign = foreign or name
    return _Survey(tuple(sorted(segments)), foreign)


def _check_replaceable(target: Path, found: _Survey) -> None:
    """Raise `OutputError` for a folder with files that no crawl wrote, because they would be deleted."""
    if found.foreign:
        raise OutputError(
            f"{target} cannot be replaced, because it holds {found.foreign}, which no crawl wrote: move that away, or "
            "name another output"
        )


def _footer(segment: Path) -> parquet_file.Footer:
    try:
        return parquet_file.footer(str(segment))
    except (ValueError, OSError) as error:
        raise OutputError(f"{segment} cannot be read ({error}): put back what the crawl wrote") from None


def _old(target: Path, epoch: str) -> Path:
    """Return the name that a replaced output has until it is deleted."""
    return target.with_name(f"{target.name}.{epoch}.old")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
