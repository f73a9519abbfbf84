"""Items as JSON lines in a file. Position and items are the same bytes, so neither can exist without the other.

Opening the file cuts a torn last line. The exporter then continues after the last item in it. Other programs may
rotate, truncate and append to the file meanwhile: each write looks at what they did, and touches none of their bytes.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from crawler.errors import OutputError
from crawler.export.sinks import position
from crawler.export.sinks.elsewhere import gone_to
from crawler.model import Exported, OutboxEntry

log = structlog.get_logger()

_Bytes = mmap.mmap | bytes


class JsonlSink:
    """Implements `Sink` on a file.

    `append`: also add to a file with items of another job, or without the earlier items of this one. `rotated`: the
    second is no error for the file that had them, because it may have been rotated. `overwrite`: leave a file with
    other content as it is, write to a new one beside it, and replace the old one at the end (`finish`).
    """

    def __init__(
        self, path: Path, epoch: str, *, append: bool = False, rotated: bool = False, overwrite: bool = False
    ) -> None:
        self._target = path.absolute()
        self._epoch = epoch
        self._append = append
        self._rotated = rotated
        self._overwrite = overwrite
        self._path = self._target  # the file that is written: the target, or a new one beside it
        self._file = -1
        self._old = -1  # the target, locked, while a new file is written beside it
        self._is_made = False  # by this sink
        self._is_whole = True  # nobody has taken items away
        self._is_told = False  # that a new file is written beside the target
        self._is_torn = False  # a failed write may have left a part of its lines
        self._size = 0  # of the file after the last write
        self._positions: dict[int, str] = {}

    @property
    def location(self) -> str:
        """The file that is written."""
        return str(self._path)

    @property
    def inode(self) -> int:
        """The inode of the file."""
        return os.fstat(self._file).st_ino

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to the file. Change nothing."""
        try:
            self._checked(*self._open_target(""))
        finally:
            self.close()

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Lock and repair the file; return the positions of the last whole pages in it. Raise `OutputError`."""
        try:
            self._start(*self._open_target(exported.location))
            self._check_gap(exported)
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
                block = list(position.lines(entries, self._epoch, positions))
                self._write(b"".join(block))
                if os.fstat(self._file).st_nlink:  # otherwise the file was deleted, with these items
                    break
        except OSError as error:
            raise OutputError(f"cannot write items to {self._path}: {error.strerror}; nothing is lost") from None
        self._positions = positions
        if self._old >= 0 and not self._is_told:
            self._is_told = True
            log.info("output_aside", file=self.location, why=f"it replaces {self._target} at the end")
        return len(block)

    def finish(self) -> None:
        """Put a new file in the place of the old one. Raise `OutputError` if its items are no longer there."""
        if not os.fstat(self._file).st_nlink:
            raise OutputError(f"{self._path} was deleted with the items in it; --fresh crawls them again")
        if self._old >= 0:
            self._replace()

    def close(self) -> None:
        """Close the file, which unlocks it. Leave no empty file behind that was not there before."""
        self._discard()
        for file in (self._file, self._old):
            if file >= 0:
                os.close(file)
        self._file = self._old = -1

    # -----------------------------------------------------------------------------------------------------
    # opening

    def _open_target(self, before: str) -> tuple[dict[int, str], str]:
        """Open the target, or a new file beside it, and return its survey; `before` is where earlier items of the job
        went."""
        self._open(self._target)
        found, other = self._survey()
        target = self._target.resolve()
        beside = target.with_name(f"{target.name}.{self._epoch}.part")
        if not found and os.fstat(self._file).st_size and (self._overwrite or before == str(beside)):
            self._old, self._file = self._file, -1
            self._open(beside)
            found, other = self._survey()
            if self._is_made:
                os.fchmod(self._file, stat.S_IMODE(os.fstat(self._old).st_mode))
        return found, other

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
                _sync_folder(path)
        except OSError as error:
            if file >= 0:
                os.close(file)
            raise OutputError(_why(path, error)) from None
        self._path, self._file, self._is_made = path, file, is_new

    def _survey(self) -> tuple[dict[int, str], str]:
        """Return the positions of this job's last item in the file, and the epoch of another job with items in it."""
        return _survey(self._file, self._epoch)

    def _checked(self, found: Mapping[int, str], other: str) -> int:
        """Return how many bytes of the open file are whole. Raise `OutputError` if the job must not write to it."""
        if other and not found and not self._append:
            raise OutputError(
                f"{self._path} holds items of another crawl (epoch {other}): -O FILE replaces it at the end, "
                "another -o FILE keeps it, --append adds to it"
            )
        with _mapped(self._file) as data:
            return _ending(data, is_ours=bool(found), path=self._path)

    def _start(self, found: Mapping[int, str], other: str) -> None:
        """Take over the file that was opened: repair its end."""
        keep = self._checked(found, other)
        os.ftruncate(self._file, keep)
        self._size = keep
        self._end_line()
        self._positions = position.merged(self._positions, found)

    def _check_gap(self, exported: Exported) -> None:
        """Take over the positions of the job's earlier items. Raise `OutputError` if the file lacks some of them."""
        earlier = position.merged(exported.positions, self._in_moved_file(exported))
        if not self._append and not position.reaches(self._positions, earlier):
            if not (self._rotated and exported.location == self.location):
                raise OutputError(gone_to(exported.location, self.location))
            log.warning("output_begins_anew", file=self.location, why="earlier items of this job are no longer in it")
        self._positions = position.merged(self._positions, earlier)

    def _in_moved_file(self, exported: Exported) -> Mapping[int, str]:
        """Return the positions in the file that had the items before, if it has another name in this folder now.

        It may hold a batch that did not leave the outbox, because the exporter was killed before.
        """
        if exported.location != self.location or exported.inode in (0, self.inode):
            return {}
        with os.scandir(self._path.parent) as entries:
            moved = [entry.path for entry in entries if entry.inode() == exported.inode and entry.is_file()]
        for path in moved:
            with open(path, "rb") as file:
                return _survey(file.fileno(), self._epoch)[0]
        return {}

    def _discard(self) -> None:
        """Delete the file if this sink made it and it is still empty."""
        with suppress(OSError):
            if self._file >= 0 and self._is_made and not os.fstat(self._file).st_size and self._has_name():
                self._path.resolve().unlink()  # not a link to it

    # -----------------------------------------------------------------------------------------------------
    # writing

    def _heed_changes(self) -> None:
        """Notice what others did to the file since the last write."""
        if not self._has_name():
            self._reopen()
        if self._is_torn:
            self._start(*self._survey())
            self._is_torn = False
        size, before = os.fstat(self._file).st_size, self._size
        self._size = size
        if size < before:
            self._is_whole = False
            log.warning(
                "output_truncated", file=self.location, why="items written before are gone; going on at its end"
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
            found, other = self._survey()
            self._start(found, other)
        except OutputError:
            self._discard()
            os.close(self._file)
            self._file, self._is_made = old, was_made
            raise
        is_deleted = not os.fstat(old).st_nlink
        os.close(old)
        if not position.reaches(found, before):  # otherwise an editor saved it
            self._is_whole = False
            word, where = ("deleted", "are gone") if is_deleted else ("moved", "stay in the moved file")
            why = f"the items written before {where}; later ones go to a new file of that name"
            log.warning(f"output_{word}", file=self.location, why=why)

    def _write(self, block: bytes) -> None:
        """Append the block and wait for the disk; on failure leave nothing of it."""
        written = 0
        try:
            while written < len(block):
                written += os.write(self._file, memoryview(block)[written:])
            os.fdatasync(self._file)
        except OSError:
            self._is_torn = not self._take_back(written)
            raise
        self._size = os.fstat(self._file).st_size

    def _take_back(self, written: int) -> bool:
        """Cut what was written. Return False if that failed or something stands behind it."""
        with suppress(OSError):
            if os.fstat(self._file).st_size == self._size + written:
                os.ftruncate(self._file, self._size)
                return True
        return False

    def _end_line(self) -> None:
        """Add the line break that somebody's last line lacks."""
        if self._size and os.pread(self._file, 1, self._size - 1) != b"\n":
            self._size += os.write(self._file, b"\n")

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
                _sync_folder(target)
            else:
                raise OutputError(f"{target} was replaced by another program; the new items are in {new}")
        except OSError as error:
            raise OutputError(f"cannot replace {target} by {new}: {error.strerror}") from None
        self._path = self._target


# ---------------------------------------------------------------------------------------------------------


def _survey(file: int, epoch: str) -> tuple[dict[int, str], str]:
    """Return the positions of this job's last item, and the epoch of another job with items (empty: none)."""
    with _mapped(file) as data:
        return _last_marks(data, epoch)


def _last_marks(data: _Bytes, epoch: str) -> tuple[dict[int, str], str]:
    mark = position.KEY + epoch.encode() + b" "
    end = len(data)
    while (at := data.rfind(mark, 0, end)) >= 0:
        start, line = _line(data, at)
        if found := position.read(line):
            return found[1], ""
        end = start
    last = data.rfind(position.KEY)
    other = position.read(_line(data, last)[1]) if last >= 0 else None
    return {}, other[0] if other else ""


def _line(data: _Bytes, at: int) -> tuple[int, bytes]:
    """Return the line around a place, and where it starts."""
    start, stop = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
    return start, data[start : stop if stop >= 0 else len(data)]


def _ending(data: _Bytes, *, is_ours: bool, path: Path) -> int:
    """Return how many bytes of the file to keep: all but a torn last line. Raise `OutputError` for other files."""
    end = len(data) - 1 if data[-1:] == b"\n" else len(data)
    start, last = _line(data, end - 1) if end > 0 else (0, b"")
    if not last.strip() or _is_json(last):
        return len(data)
    if end == len(data) and last[:1] == b"{":
        return start  # torn by a crash
    if not is_ours:
        raise OutputError(f"{path} ends with a line that is no JSON, so no export wrote it; name another file")
    return len(data)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except ValueError:  # bad JSON (msgspec), or bad UTF-8
        return False
    return True


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return f"another exporter is writing to {path}; stop it, or name another file"
    if error.errno == errno.ENOENT:
        return f"cannot write items to {path}: its folder does not exist; make it: mkdir -p {path.parent}"
    return f"cannot write items to {path}: {error.strerror}"


def _sync_folder(path: Path) -> None:
    """Make the file's name durable."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _mapped(file: int) -> Iterator[_Bytes]:
    """Map the file for reading."""
    size = os.fstat(file).st_size
    if not size:
        yield b""
        return
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as data:
        yield data
