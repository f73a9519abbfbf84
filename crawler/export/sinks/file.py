"""Items in a file, exactly once. How far the crawl had come is in a sidecar, `FILE.position` (see `sidecar.py`), which
is on the disk before the rows that it announces.

Opening the file cuts a torn block. The exporter then continues after the last block in it. Other programs may rotate,
truncate and append to the file meanwhile: each write looks at what they did, and touches none of their bytes.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from msgspec import Struct

from crawler.errors import OutputError, UnstorableItems
from crawler.export.sinks import marks, position, sidecar
from crawler.export.sinks.declared import Lookup, nothing
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.encodings import Encoding, JsonLines, is_json
from crawler.export.sinks.sidecar import Block, Record
from crawler.model import BadItem, Exported, OutboxEntry
from crawler.runtime.disk import sync_folder

log = structlog.get_logger()

_Bytes = mmap.mmap | bytes

_HEAD = 1 << 20  # bytes at the start of a file from which its encoding learns


class _Survey(Struct, frozen=True):
    """What is in the open file."""

    positions: Mapping[int, str] = {}  # of this job
    other: str = ""  # the epoch of another job with items in it
    keep: int = 0  # bytes that are whole
    again: bytes = b""  # lines of others behind them, between parts of a torn block
    jobs: tuple[str, ...] = ()  # positions of all jobs, as text
    items: int = 0  # rows of this job
    values_left_out: int = 0  # by this job
    why: str = ""  # why the job must not write to it; empty: it may


class FileSink:
    """Implements `BlockingSink` on a file.

    `append`: also add to a file with items of another job, or without the earlier items of this one. `rotated`: the
    second is no error for the file that had them, because it may have been rotated. `overwrite`: leave a file with
    other content as it is, write to a new one beside it, and replace the old one at the end (`finish`). `declared`: the
    columns that the classes of items declare.
    """

    def __init__(
        self,
        path: Path,
        epoch: str,
        encoding: Encoding | None = None,
        declared: Lookup = nothing,
        *,
        append: bool = False,
        rotated: bool = False,
        overwrite: bool = False,
    ) -> None:
        self._declared = declared
        self._target = path.absolute()
        self._epoch = epoch
        self._encoding = encoding or JsonLines()
        self._append = append
        self._rotated = rotated
        self._overwrite = overwrite
        self._path = self._target  # the file that is written: the target, or a new one beside it
        self._file = -1
        self._old = -1  # the target, locked, while a new file is written beside it
        self._is_made = False  # by this sink
        self._is_whole = True  # nobody has taken items away
        self._is_told = False  # that a new file is written beside the target
        self._is_torn = False  # a failed write may have left a part of its rows
        self._is_announced = False  # the sidecar announces a block, which is there
        self._is_complete = False  # what stands behind the last row of a whole file is there
        self._left_out: Counter[str] = Counter()  # field → values that have no column
        self._size = 0  # of the file after the last write
        self._jobs: tuple[str, ...] = ()  # positions of other crawls in the file, as text
        self._positions: dict[int, str] = {}
        self.items = 0  # rows of this job in the file
        self.values_left_out = 0  # by this job, also in earlier files of this name

    @property
    def location(self) -> str:
        """The file that is written."""
        return str(self._path)

    @property
    def inode(self) -> int:
        """The inode of the file."""
        return os.fstat(self._file).st_ino

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    @property
    def positions(self) -> Mapping[int, str]:
        """How far the crawl is written."""
        return self._positions

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to the file. Change nothing."""
        try:
            self._check(self._open_target(""))
            if not os.access(self._path.resolve().parent, os.W_OK):
                raise OutputError(f"cannot write {sidecar.path_of(self._path)}: no permission to write to its folder")
        finally:
            self.close()

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Lock and repair the file; return the positions of the last whole pages in it. Raise `OutputError`."""
        try:
            self._start(self._open_target(exported.location))
            self._check_gap(exported)
            self.values_left_out = max(self.values_left_out, exported.values_left_out)
            sidecar.tidy(sidecar.path_of(self._path))
        except OSError as error:
            self._discard()
            raise OutputError(_why(self._path, error)) from None
        except OutputError:
            self._discard()
            raise
        return position.whole(self._positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Append the items, wait for the disk, return their number. On failure, restore the file and raise."""
        try:
            while True:
                self._heed_changes()
                positions = dict(self._positions)
                rows = self._rows(entries, positions)
                self._write(rows, positions)
                if os.fstat(self._file).st_nlink:  # otherwise the file was deleted, with these items
                    break
        except OSError as error:
            raise OutputError(f"cannot write items to {self._path}: {error.strerror}; nothing is lost") from None
        self._positions = positions
        self.items += len(rows)
        self.values_left_out += self._encoding.left_out.total()
        self._tell_left_out()
        if self._old >= 0 and not self._is_told:
            self._is_told = True
            log.info("output_aside", file=self.location, why=f"it replaces {self._target} at the end")
        return len(rows)

    def finish(self) -> None:
        """Complete the file, and put a new one in the place of the old one. Raise `OutputError` if its items are no
        longer there, or if that fails."""
        if not os.fstat(self._file).st_nlink:
            raise OutputError(f"{self._path} was deleted with the items in it; --fresh crawls them again")
        self._complete()
        if self._old >= 0:
            self._replace()

    def close(self) -> None:
        """Close the file, which unlocks it. Leave no empty file behind that was not there before."""
        self._tell_all_left_out()
        self._discard()
        self._settle()
        for file in (self._file, self._old):
            if file >= 0:
                os.close(file)
        self._file = self._old = -1

    # -----------------------------------------------------------------------------------------------------
    # opening

    def _open_target(self, before: str) -> _Survey:
        """Open the target, or a new file beside it, and survey it; `before` is where earlier items of the job went."""
        self._open(self._target)
        target = self._target.resolve()
        beside = target.with_name(f"{target.name}.{self._epoch}.part")
        self._adopt(beside)
        found = self._survey()
        if not found.positions and os.fstat(self._file).st_size and (self._overwrite or before == str(beside)):
            self._old, self._file = self._file, -1
            self._open(beside)
            found = self._survey()
            if self._is_made:
                os.fchmod(self._file, stat.S_IMODE(os.fstat(self._old).st_mode))
        return found

    def _open(self, path: Path) -> None:
        """Open and lock the file, and make it if need be."""
        file = -1
        try:
            is_new = not path.exists()
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is not a file")
            if is_new:
                sync_folder(path.resolve().parent)
        except OSError as error:
            if file >= 0:
                os.close(file)
            raise OutputError(_why(path, error)) from None
        self._path, self._file, self._is_made = path, file, is_new

    def _adopt(self, beside: Path) -> None:
        """Rename the sidecar of a new file that took the target's place just before a crash."""
        left = sidecar.path_of(beside)
        record = None if beside.exists() else sidecar.read(left)
        if record and record.inode == self.inode and record.vouches_for(self._file):
            os.replace(left, sidecar.path_of(self._path))

    def _survey(self) -> _Survey:
        """Return what is in the open file."""
        place = sidecar.path_of(self._path)
        with _mapped(self._file) as data:
            try:
                record = sidecar.read(place)
            except OutputError as error:
                return _Survey(keep=len(data), why=str(error))
            if record and record.vouches_for(self._file):
                return self._vouched(record, data)
            if record and record.of(self._epoch) and data and not self._may_differ:
                changed = f"{self._path} is not the file that {place} describes, because another program changed it"
                return _Survey(why=f"{changed}: put it back, or write only later items with -o FILE --append")
            return self._unvouched(data)

    @property
    def _may_differ(self) -> bool:
        """Whether the file may lack what was written before."""
        return self._append or self._rotated or bool(self._positions)

    def _vouched(self, record: Record, data: _Bytes) -> _Survey:
        """Return what is in a file that its sidecar describes."""
        behind, jobs, items, keep, again = data[record.size :], record.jobs, record.items, len(data), b""
        left_out = record.values_left_out
        if record.block and sidecar.is_whole(record.block, behind):
            behind = behind[record.block.length :]
            jobs, items = _replaced(jobs, record.block.positions), items + record.block.items
            left_out = record.block.values_left_out
        elif record.block:
            foreign = sidecar.foreign_lines(record.block, behind) if self._encoding.is_shared else ()
            again = b"".join(line for line in foreign if self._encoding.is_foreign(line))
            keep, behind = record.size, b""
        if behind and self._encoding.end.startswith(behind):
            keep -= len(behind)
        found = sidecar.positions_of(jobs, self._epoch)
        left_out = left_out if found and position.read(jobs[-1])[0] == self._epoch else 0
        other = position.read(jobs[-1])[0] if jobs and keep and not found else ""
        return _Survey(found, other, keep, again, jobs if keep else (), items if found else 0, left_out)

    def _unvouched(self, data: _Bytes) -> _Survey:
        """Return what is in a file without a sidecar: rows with marks, or somebody's lines."""
        if self._encoding.is_marked:
            found, other = marks.last_marks(data, self._epoch)
            keep = _ending(data, is_ours=bool(found))
            why = (
                "" if keep is not None else "ends with a line that is no JSON, so no export wrote it; name another file"
            )
            return _Survey(found, other, keep or 0, why=why and f"{self._path} {why}")
        may_add = self._may_differ or not data
        why = (
            f"{self._path} is there already, and no export wrote it: name another file; -O FILE replaces it at the end"
        )
        return _Survey(keep=len(data), why="" if may_add else why)

    def _check(self, found: _Survey) -> None:
        """Raise `OutputError` if the job must not write to the open file."""
        if found.why:
            raise OutputError(found.why)
        if found.other and not found.positions and not self._append:
            raise OutputError(
                f"{self._path} holds items of another crawl (epoch {found.other}): -O FILE replaces it at the end, "
                "another -o FILE keeps it, --append adds to it"
            )
        try:
            self._encoding.begin(os.pread(self._file, min(found.keep, _HEAD), 0))
        except ValueError as error:
            raise OutputError(f"{self._path} {error}") from None

    def _start(self, found: _Survey) -> None:
        """Take over the file that was opened: repair its end."""
        self._check(found)
        os.ftruncate(self._file, found.keep)
        self._size = found.keep
        self._add(found.again)
        self._end_line()
        self._jobs = tuple(text for text in found.jobs if position.read(text)[0] != self._epoch)
        self._positions = position.merged(self._positions, found.positions)
        self.items, self._is_announced = found.items, False
        self.values_left_out = max(self.values_left_out, found.values_left_out)

    def _check_gap(self, exported: Exported) -> None:
        """Take over the positions of the job's earlier items. Raise `OutputError` if the file lacks some of them."""
        earlier = position.merged(exported.positions, self._in_moved_file(exported))
        if not self._append and not position.reaches(self._positions, earlier):
            if not (self._rotated and exported.location == self.location):
                what = f"the file and {sidecar.path_of(self._path)}"
                raise OutputError(gone_to(exported.location, self.location, what))
            log.warning("output_begins_anew", file=self.location, why="earlier items of this job are no longer in it")
        self._positions = position.merged(self._positions, earlier)

    def _in_moved_file(self, exported: Exported) -> Mapping[int, str]:
        """Return the positions in the file that had the items before, if it has another name in this folder now.

        It may hold a batch that did not leave the outbox, because the exporter was killed before.
        """
        if exported.location != self.location or exported.inode in (0, self.inode):
            return {}
        with os.scandir(self._path.resolve().parent) as entries:
            moved = [entry.path for entry in entries if entry.inode() == exported.inode and entry.is_file()]
        for path in moved:
            with open(path, "rb") as file, _mapped(file.fileno()) as data:
                for place in (sidecar.path_of(Path(path)), sidecar.path_of(self._path)):
                    record = sidecar.read(place)
                    if record and record.vouches_for(file.fileno()):
                        return self._vouched(record, data).positions
                return marks.last_marks(data, self._epoch)[0]
        return {}

    def _discard(self) -> None:
        """Delete the file if this sink made it and it is still empty."""
        with suppress(OSError):
            if self._file >= 0 and self._is_made and not os.fstat(self._file).st_size and self._has_name():
                self._path.resolve().unlink()  # not a link to it
                if self._is_announced and not self._positions:
                    sidecar.path_of(self._path).unlink()

    # -----------------------------------------------------------------------------------------------------
    # writing

    def _heed_changes(self) -> None:
        """Notice what others did to the file since the last write."""
        if self._is_complete:
            os.ftruncate(self._file, self._size)
            self._is_complete = False
        if not self._has_name():
            self._reopen()
        if self._is_torn:
            self._start(self._survey())
            self._is_torn = False
        size, before = os.fstat(self._file).st_size, self._size
        if size != before and size and not self._encoding.is_shared:
            raise OutputError(
                f"another program changed {self._path} while it was written: put it back, or move it away, and later "
                "items go to a new file of that name"
            )
        self._size = size
        if size < before:
            self._is_whole = False
            log.warning(
                "output_truncated", file=self.location, why="items written before are gone; writing goes on at its end"
            )
        if size != before:
            self._end_line()

    def _has_name(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        """Go on in the file that has the name now. What was written stays in the old one, if it was not deleted."""
        old, was_made, before = self._file, self._is_made, self._positions
        self._open(self._path)
        try:
            found = self._survey()
            self._start(found)
        except OutputError:
            self._discard()
            os.close(self._file)
            self._file, self._is_made = old, was_made
            raise
        is_deleted = not os.fstat(old).st_nlink
        os.close(old)
        if not position.reaches(found.positions, before):  # otherwise an editor saved it
            self._is_whole = False
            word, where = ("deleted", "are gone") if is_deleted else ("moved", "stay in the moved file")
            why = f"the items written before {where}; later ones go to a new file of that name"
            log.warning(f"output_{word}", file=self.location, why=why)

    def _rows(self, entries: Sequence[OutboxEntry], positions: dict[int, str]) -> list[bytes]:
        """Return the rows that are not written yet, and update `positions`. Raise `UnstorableItems`."""
        self._encoding.left_out.clear()
        rows, bad = [], []
        for entry, number, item in position.rows(entries, positions):
            if self._encoding.lacks_columns:
                self._encoding.name_columns(tuple(self._declared(entry.spider, entry.kind(number))))
            try:
                rows.append(self._encoding.row(item))
            except ValueError as error:
                bad.append(BadItem(entry.shard, entry.position, number, f"{error}, for {self._path}"))
        if bad:
            raise UnstorableItems(bad)
        return rows

    def _write(self, rows: Sequence[bytes], positions: Mapping[int, str]) -> None:
        """Announce the rows, append them and wait for the disk; on failure leave nothing of them."""
        if not rows:
            if positions != self._positions:  # the outbox forgets these pages, though none of their items is for us
                self._tell(None, positions)
            return
        data = self._encoding.block(rows, is_first=not self._size)
        left_out = self.values_left_out + self._encoding.left_out.total()
        self._tell(sidecar.block_of(data, position.mark(self._epoch, positions), len(rows), left_out), self._positions)
        before = self._size
        try:
            self._add(data)
            os.fdatasync(self._file)
        except OSError:
            written, self._size = self._size - before, before
            self._is_torn = not self._take_back(written)
            raise
        self._size = os.fstat(self._file).st_size

    def _tell(self, block: Block | None, positions: Mapping[int, str]) -> None:
        """Write to the sidecar what is in the file, and what comes next."""
        ours = (position.mark(self._epoch, positions),) if positions else ()
        what = (*self._jobs, *ours), self.items, self.values_left_out
        record = sidecar.record_of(self._file, self._size, *what, block)
        sidecar.write(sidecar.path_of(self._path), record)
        self._is_announced = block is not None

    def _add(self, data: bytes) -> None:
        """Append the bytes, and count those that were written."""
        while data:
            written = os.write(self._file, data)
            self._size += written
            data = data[written:]

    def _take_back(self, written: int) -> bool:
        """Cut what was written. Return False if that failed or something stands behind it."""
        with suppress(OSError):
            if os.fstat(self._file).st_size == self._size + written:
                os.ftruncate(self._file, self._size)
                return True
        return False

    def _end_line(self) -> None:
        """Add the line break that somebody's last line lacks."""
        if self._encoding.is_shared and self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._add(b"\n")

    def _complete(self) -> None:
        """Write what stands behind the last row of a whole file. Raise `OutputError`."""
        self._settle()
        if self._is_complete or not self._size:
            return
        whole = self._size
        try:
            self._add(self._encoding.end)
            os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, whole)
            raise OutputError(f"cannot write items to {self._path}: {error.strerror}; nothing is lost") from None
        finally:
            self._size = whole
        self._is_complete = True

    def _tell_left_out(self) -> None:
        """Log each field without a column once, and count its values."""
        new = self._encoding.left_out.keys() - self._left_out.keys()
        self._left_out.update(self._encoding.left_out)
        if new:
            why = f"{self._path.name} has no column for it; name the columns with `fields`, or write JSON lines"
            log.warning("field_left_out", file=self.location, fields=", ".join(sorted(new)), why=why)

    def _tell_all_left_out(self) -> None:
        if self._left_out:
            fields = ", ".join(f"{field} ({values})" for field, values in self._left_out.most_common(20))
            log.warning("values_left_out", file=self.location, fields=fields, values=self._left_out.total())
            self._left_out.clear()

    def _settle(self) -> None:
        """Write to the sidecar what is in the file. A failure does no harm: the sidecar has announced the last
        block."""
        with suppress(OSError, OutputError):
            if self._is_announced and self._has_name() and os.fstat(self._file).st_size >= self._size:
                self._tell(None, self._positions)

    def _replace(self) -> None:
        """Put the new file in the place of the old one; leave the old one if there is no item."""
        target, new = self._target.resolve(), self._path
        if not self._is_whole:
            raise OutputError(f"{new} lost items while it was written; {target} is left as it was")
        try:
            if not self._size:
                self._discard()
                log.warning("output_kept", file=str(target), why="no item was found, so it is left as it was")
            elif os.path.samestat(os.stat(target), os.fstat(self._old)):
                os.replace(new, target)
                sidecar.move(new, target)
                sync_folder(target.parent)
            else:
                raise OutputError(f"{target} was replaced by another program; the new items are in {new}")
        except OSError as error:
            raise OutputError(f"cannot replace {target} by {new}: {error.strerror}") from None
        self._path = self._target


# ---------------------------------------------------------------------------------------------------------


def _replaced(jobs: Sequence[str], text: str) -> tuple[str, ...]:
    """Return the positions of all jobs, with those of one as a text says."""
    epoch = position.read(text)[0]
    return (*(job for job in jobs if position.read(job)[0] != epoch), text)


def _ending(data: _Bytes, *, is_ours: bool) -> int | None:
    """Return how many bytes of JSON lines to keep: all but a torn last line. None: they are no such lines."""
    end = len(data) - 1 if data[-1:] == b"\n" else len(data)
    start, last = marks.line_at(data, end - 1) if end > 0 else (0, b"")
    if not last.strip() or is_json(last):
        return len(data)
    if end == len(data) and last[:1] == b"{":
        return start  # torn by a crash
    return len(data) if is_ours else None


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return f"another exporter is writing to {path}; stop it, or name another file"
    if error.errno == errno.ENOENT:
        return f"cannot write items to {path}: its folder does not exist; make it: mkdir -p {path.parent}"
    return f"cannot write items to {path}: {error.strerror}"


@contextmanager
def _mapped(file: int) -> Iterator[_Bytes]:
    """Map the file for reading."""
    size = os.fstat(file).st_size
    if not size:
        yield b""
        return
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as data:
        yield data
