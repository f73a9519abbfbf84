"""Items in one file after another: `items-%(batch_id)d.jsonl`. A file has its name once it is whole.

The file at work is `NAME.EPOCH.part`, with a sidecar of its own. When it is full it gets its name, and then the sidecar
of the whole, `items-batches.jsonl.position`, says how far the crawl is and which file comes next; a missing `.part`
shows a crash between the two.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from crawler.errors import OutputError
from crawler.export import names
from crawler.export.sinks import position, sidecar
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.file import FileSink
from crawler.model import Exported, OutboxEntry
from crawler.runtime.disk import sync_folder


class Limits(Struct, frozen=True):
    """When a file is full. 0: never."""

    items: int = 0
    bytes: int = 0  # looked at between the exporter's batches, as are the seconds
    seconds: float = 0.0


class _State(Struct, frozen=True):
    """How far the files before this one go."""

    positions: str  # of the crawl, behind them
    batch: int = 1
    began: float = 0.0  # Unix seconds
    values_left_out: int = 0


class RollingSink:
    """Implements `BlockingSink` on files that follow one another.

    `build` makes the sink of one file. `overwrite`: replace files that have such names already. `append`: begin with
    the first number that is free.
    """

    inode = 0

    def __init__(
        self,
        name: str,
        epoch: str,
        build: Callable[[Path], FileSink],
        limits: Limits,
        *,
        append: bool = False,
        rotated: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.location = os.path.abspath(name)
        self._epoch = epoch
        self._build = build
        self._limits = limits
        self._may_lack = append or rotated
        self._append = append
        self._overwrite = overwrite
        self._place = sidecar.path_of(Path(names.of_batches(self.location)))
        self._state = _State(epoch, began=time.time())
        self._current: FileSink | None = None
        self._written = 0  # items of a `write` that failed behind them
        self.values_left_out = 0  # by this job, in all files

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write the files. Change nothing."""
        self._state = self._first()
        self._check_name()
        self._build(self._part).check()

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Find the file that is at work. Raise `OutputError` if it cannot be written, or if earlier items are gone."""
        self._state = self._read() or self._first()
        self.values_left_out = max(self._state.values_left_out, exported.values_left_out)
        record = None if self._part.exists() else sidecar.read(sidecar.path_of(self._part))
        if record and self._final.exists() and self._final.stat().st_ino == record.inode:
            self.values_left_out = max(self.values_left_out, (record.block or record).values_left_out)
            self._go_to_next(record.behind(self._epoch))  # killed when the file just had its name
        known = position.read(self._state.positions)[1]
        self._begin(position.merged(known, exported.positions) if self._may_lack else known)
        if not position.reaches(self._file.positions, exported.positions):
            self.close()
            raise OutputError(gone_to(exported.location, self.location, f"the files and {self._place}"))
        return position.whole(self._file.positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Write the items, in as many files as they need. On failure those that are written stay so."""
        if self._is_over():
            self._roll()
        for part in self._parts(entries):
            self._written += self._file.write(part)
            self.values_left_out = self._file.values_left_out
        written, self._written = self._written, 0
        return written

    def finish(self) -> None:
        """Give the last file its name. Raise `OutputError`."""
        self._end()

    def close(self) -> None:
        """Close the file at work."""
        if self._current:
            self._current.close()
        self._current = None

    # -----------------------------------------------------------------------------------------------------

    @property
    def _final(self) -> Path:
        return Path(names.of_batch(self.location, self._state.batch, self._state.began))

    @property
    def _part(self) -> Path:
        return self._final.with_name(f"{self._final.name}.{self._epoch}.part")

    @property
    def _file(self) -> FileSink:
        """The file at work."""
        if self._current is None:
            self._begin(position.read(self._state.positions)[1])
        assert self._current  # noqa: S101 - for the type
        return self._current

    def _read(self) -> _State | None:
        """Return what the sidecar of the whole says of this crawl."""
        try:
            state = _decoder.decode(self._place.read_bytes())
            return state if position.read(state.positions)[0] == self._epoch else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"cannot read {self._place}: {error.strerror}") from None
        except ValueError:
            raise OutputError(
                f"{self._place} is damaged: put a copy back, or delete it and write to other names"
            ) from None

    def _first(self) -> _State:
        """Return where a new crawl begins."""
        state = _State(self._epoch, began=time.time())
        while self._append and Path(names.of_batch(self.location, state.batch, state.began)).exists():
            state = replace(state, batch=state.batch + 1)
        return state

    def _begin(self, positions: Mapping[int, str]) -> None:
        """Open the file that is at work. Raise `OutputError` if somebody has one of that name."""
        self._check_name()
        if not self._place.exists() or self._read() != self._state:
            sidecar.write(self._place, self._state)
        current = self._build(self._part)
        current.open(Exported(positions, values_left_out=self.values_left_out))
        self._current, self.values_left_out = current, current.values_left_out

    def _check_name(self) -> None:
        if self._final.exists() and not self._overwrite:
            raise OutputError(
                f"{self._final} is there already: -O replaces it, --append goes on with the next number, %(time)s "
                "in the name tells crawls apart"
            )

    def _is_over(self) -> bool:
        """Return whether the file at work is full by its size or its age."""
        limits, file = self._limits, self._file
        is_old = limits.seconds and time.time() - self._state.began >= limits.seconds
        return bool(file.items and (is_old or (limits.bytes and file.size >= limits.bytes)))

    def _parts(self, entries: Sequence[OutboxEntry]) -> Iterator[list[OutboxEntry]]:
        """Yield the entries in lists, each for one file; a page may end in the next one."""
        part, limit = list[OutboxEntry](), self._limits.items
        room = limit - self._file.items
        for entry in entries:
            wanted = [number for _, number, _ in position.rows([entry], dict(self._file.positions))]
            while limit and len(wanted) > room:
                if room:
                    last = wanted[room - 1]
                    part.append(replace(entry, position=f"{entry.position}/{last}", items=entry.items[: last + 1]))
                yield part
                self._roll()
                part, wanted, room = [], wanted[room:], limit
            part.append(entry)
            room -= len(wanted)
        yield part

    def _roll(self) -> None:
        """Go on in the next file."""
        self._end()
        self._begin(position.read(self._state.positions)[1])

    def _end(self) -> None:
        """Give the file at work its name, unless it has no item."""
        file, part = self._file, self._part
        if not file.items:
            return
        self._check_name()
        file.finish()
        try:
            os.replace(part, self._final)
            sync_folder(part.parent)
        except OSError as error:
            raise OutputError(f"cannot rename {part} to {self._final}: {error.strerror}") from None
        positions = file.positions
        self.close()
        self._go_to_next(positions)

    def _go_to_next(self, positions: Mapping[int, str]) -> None:
        """Note that the file is whole."""
        left = sidecar.path_of(self._part)
        began = max(time.time(), self._state.began + 1)  # a name may tell files apart by the second
        state = _State(position.mark(self._epoch, positions), self._state.batch + 1, began, self.values_left_out)
        sidecar.write(self._place, state)
        self._state = state
        with suppress(OSError):
            left.unlink()


_decoder = msgspec.json.Decoder(_State)
