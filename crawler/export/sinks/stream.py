"""Items as JSON lines on standard output, a named pipe or a device. None of these keeps a position."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from crawler.errors import OutputClosed, OutputError
from crawler.export.sinks import position
from crawler.export.sinks.elsewhere import check_here
from crawler.export.sinks.encodings import lines
from crawler.model import Exported, OutboxEntry
from crawler.runtime.standard_output import descriptor

STDOUT = "-"


def is_stream(path: Path) -> bool:
    """Return whether there is something at the path that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


class StreamSink:
    """Implements `Sink`. After a crash a batch may be printed twice."""

    inode = 0

    def __init__(self, location: str, *, append: bool = False) -> None:
        self.location = location
        self._append = append
        self._stream = -1
        self._positions: dict[int, str] = {}
        self._unprinted = b""  # lines of entries whose positions are already recorded
        self._items = 0  # items in `_unprinted`, or partly printed

    def check(self) -> None:
        """Do nothing: to open a pipe and close it again would end its reader."""

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Open the stream. Return no positions: it keeps none. Raise `OutputError` if earlier items are in a file."""
        if not self._append:
            check_here(exported, self.location, self._name)
        self._stream = descriptor() if self.location == STDOUT else self._opened()
        return {}

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Print the items. Keep the bytes that a full disk refuses, and print them first at the next call."""
        rows = [item for _, _, item in position.rows(entries, self._positions)]
        self._unprinted += lines(rows)
        self._items += len(rows)
        try:
            while self._unprinted:
                written = os.write(self._stream, self._unprinted)
                self._unprinted = self._unprinted[written:]
        except BrokenPipeError:
            raise OutputClosed(f"{self._name} was closed; what was not printed stays in the outbox") from None
        except OSError as error:
            raise OutputError(f"cannot write items to {self._name}: {error.strerror}") from None
        printed, self._items = self._items, 0
        return printed

    def finish(self) -> None:
        """Do nothing: what is printed is in its place."""

    def close(self) -> None:
        """Close a pipe or device; standard output stays open."""
        if self._stream >= 0 and self.location != STDOUT:
            os.close(self._stream)
        self._stream = -1

    @property
    def _name(self) -> str:
        return "standard output" if self.location == STDOUT else self.location

    def _opened(self) -> int:
        try:
            stream = os.open(self.location, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OutputError(f"nobody reads the pipe {self.location}; start its reader first") from None
            raise OutputError(f"cannot write items to {self.location}: {error.strerror}") from None
        os.set_blocking(stream, True)
        return stream
