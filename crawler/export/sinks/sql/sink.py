"""Items as rows of a table. The rows and how far the exporter has come become durable in one transaction.

The position stands in the table `crawler_position` of the same database, one row for each job and table. Each write
reads it first and skips what it covers, so a write whose `COMMIT` got no answer may simply be repeated, and an exporter
that wakes up after a freeze does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any, Final, Protocol

import structlog

from crawler.errors import OutputError, UnstorableItems
from crawler.export.sinks import position
from crawler.export.sinks.elsewhere import gone_to
from crawler.export.sinks.sql.fields import BadValue, Kind, Row, kind_of, new_columns, read_fields
from crawler.model import BadItem, Exported, OutboxEntry
from crawler.runtime.safe_text import shown

log = structlog.get_logger()

POSITIONS: Final = "crawler_position"
"""The table of positions."""


class Refused(Exception):
    """A database refuses a row for what is in it."""

    def __init__(self, why: str, column: str = "") -> None:
        super().__init__(why)
        self.column = column  # empty: not known


class Disconnected(OutputError):
    """The transaction has ended by no fault of its own. Whether it was committed stands in the table of positions."""


class Database(Protocol):
    """One connection to a database. Its methods raise `OutputError`."""

    is_shared: bool  # jobs may write to the same table, without being asked to
    most_columns: int

    def shown(self, table: str) -> str:
        """Return the address of the table, without a password."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""

    def open(self, *, durable: bool = True) -> None:
        """Connect. Without `durable` it is a trial, which stores nothing."""

    def interrupt(self) -> None:
        """Stop the call that another thread waits for: it raises `Disconnected` there."""

    def close(self) -> None:
        """Disconnect."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit at the end, or undo all after an exception; within another one, a savepoint."""

    def prepare(self, table: str) -> None:
        """Make the table of positions if it is missing, and look whether the table may be written."""

    def position(self, epoch: str, table: str) -> str | None:
        """Return what was noted; None if nothing was. Until the end of the transaction nobody else can note."""

    def note(self, epoch: str, table: str, positions: str) -> None:
        """Note how far a job has come."""

    def has_rows(self, table: str) -> bool:
        """Whether the table is there, and not empty."""

    def columns(self, table: str) -> dict[str, str]:
        """Return column → its type; nothing if the table is missing."""

    def column_of(self, field: str) -> str:
        """Return the name of a field's column as the database compares names. Raise `BadValue`: it can have none."""

    def add(self, table: str, columns: Mapping[str, Kind]) -> None:
        """Add columns of types that suit; make the table if it is missing."""

    def widen(self, table: str, rows: Sequence[Row]) -> None:
        """Give columns that the crawler made a wider type where values of the rows need it."""

    def fit(self, value: bytes, column: str) -> Any:
        """Return the value, given as JSON, for a column of that type. Raise `BadValue`."""

    def store(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows. Raise `Refused` if one is refused, without saying which."""

    def replace(self, table: str, new: str, epoch: str) -> None:
        """Put one table in the place of another, with its position; those of the old one go with it."""

    def drop(self, table: str, epoch: str) -> None:
        """Delete the table and the position."""

    def confirm(self) -> None:
        """Raise `OutputError` if what was committed is not where it was asked for."""


class SqlSink:
    """Implements `BlockingSink` on a table.

    `append`: also to a table with the rows of another job, or without the earlier items of this one. `overwrite`: leave
    a table with other rows as it is, write to a new one beside it, and replace the old one at the end (`finish`).
    `document`: the column that takes each item as a whole; empty: each field has its own.
    """

    inode = 0

    def __init__(
        self,
        database: Database,
        table: str,
        epoch: str,
        *,
        append: bool = False,
        overwrite: bool = False,
        document: str = "",
    ) -> None:
        self._database = database
        self._target = self._table = table
        self._beside = f"{table}_{epoch}"
        self._epoch = epoch
        self._append = append
        self._overwrite = overwrite
        self._document = document
        self._stored: dict[int, str] = {}  # positions that the database has noted, as far as is known here
        self._is_closing = False
        self._lock = Lock()  # `close` comes from another thread

    @property
    def location(self) -> str:
        """The address of the table that is written."""
        return self._database.shown(self._table)

    def check(self) -> None:
        """Raise `OutputError` if a new job could not write to the table. Change nothing."""
        try:
            self._database.open(durable=False)
            with self._database.transaction():
                self._choose_table()
                raise _Undo
        except _Undo:
            pass
        finally:
            self.close()

    def open(self, exported: Exported) -> Mapping[int, str]:
        """Connect, and return the position of the last page in the table. Raise `OutputError`."""
        self._is_closing = False
        with self._lock:
            self._database.open()
            with self._database.transaction():
                self._choose_table()
                self._stored = _positions(self._database.position(self._epoch, self._table))
                if not self._append and not position.reaches(self._stored, exported.positions):
                    raise OutputError(gone_to(exported.location, self.location))
                self._note(self._stored)
        return position.merged(self._stored, exported.positions)

    def write(self, entries: Sequence[OutboxEntry]) -> int:
        """Store the items and return their number when they are durable; store nothing on failure, and raise."""
        with self._lock:
            was_open = self._database.is_open
            try:
                self._write(entries)
            except Disconnected:
                if self._is_closing or not was_open:
                    raise
                self._write(entries)  # the connection may have ended long before
        return sum(1 for entry in entries for _ in entry.numbered())

    def finish(self) -> None:
        """Put a new table in the place of the old one."""
        if self._table == self._target:
            return
        database = self._database
        with self._lock, self._transaction():
            is_filled = database.has_rows(self._beside)
            if is_filled:
                database.replace(self._target, self._beside, self._epoch)
            else:
                database.drop(self._beside, self._epoch)
        self._table = self._target
        if not is_filled:
            log.warning("output_kept", table=self.location, why="no item was found, so it is left as it was")

    def close(self) -> None:
        """Disconnect."""
        self._is_closing = True
        self._database.interrupt()
        with self._lock:
            self._database.close()

    def _choose_table(self) -> None:
        """Find out which table is written. Raise `OutputError` if the job must not write to it."""
        database, here = self._database, self._target
        database.prepare(here)
        is_kept = not (self._append or database.is_shared or self._overwrite)
        is_foreign = (
            (is_kept or self._overwrite) and database.position(self._epoch, here) is None and database.has_rows(here)
        )
        if database.position(self._epoch, self._beside) is not None or (is_foreign and self._overwrite):
            self._table = self._beside
            log.info("output_aside", table=self.location, why=f"it replaces {self._target} at the end")
        elif is_foreign and is_kept:
            raise OutputError(
                f"{database.shown(here)} holds rows of another crawl or program: -O replaces them at the end, "
                "another name or ?table= keeps them, --append adds to them"
            )

    def _write(self, entries: Sequence[OutboxEntry]) -> None:
        database = self._database
        with self._transaction():
            stored = _positions(database.position(self._epoch, self._table))
            if not position.reaches(stored, self._stored):
                raise OutputError(gone_to(self.location, self.location))
            new = [entry for entry in entries if not position.reaches(stored, {entry.shard: entry.position})]
            if bad := self._store(new):
                raise UnstorableItems(bad)
            for entry in new:
                stored[entry.shard] = entry.position
            self._note(stored)
        database.confirm()
        self._stored = stored

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self._database.is_open:
            self._database.open()
        with self._database.transaction():
            yield

    def _note(self, positions: Mapping[int, str]) -> None:
        text = " ".join(f"{shard}:{entry_id}" for shard, entry_id in sorted(positions.items()))
        self._database.note(self._epoch, self._table, text)

    def _store(self, entries: Sequence[OutboxEntry]) -> list[BadItem]:
        """Store the items of all entries; return those that cannot be stored."""
        bad: list[BadItem] = []
        spelled: dict[str, str] = {}
        rows = self._named(self._rows(entries, bad), spelled, bad)
        columns = self._database.columns(self._table)
        room = self._database.most_columns - len(columns)
        if new := dict([*new_columns(rows, columns).items()][:room]):
            self._database.add(self._table, {spelled[column]: kind for column, kind in new.items()})
        self._database.widen(self._table, rows)
        columns = self._database.columns(self._table)
        fitting = self._fitting(rows, columns, bad)
        return bad + (self._refused(fitting) if fitting else [])

    def _rows(self, entries: Sequence[OutboxEntry], bad: list[BadItem]) -> list[Row]:
        found = []
        for entry in entries:
            for number, item in entry.numbered():
                row = Row(entry, number, {self._document: item} if self._document else {})
                try:
                    found.append(row if self._document else Row(entry, number, read_fields(item)))
                except BadValue as error:
                    bad.append(row.bad(f"{error}; {self.location}"))
        return found

    def _named(self, rows: Sequence[Row], spelled: dict[str, str], bad: list[BadItem]) -> list[Row]:
        """Return the rows by columns instead of fields. Put into `spelled` the field that a column is named after."""
        names: dict[str, str] = {}
        found = []
        for row in rows:
            fields: dict[str, bytes] = {}
            try:
                for field, value in row.fields.items():
                    if field not in names:
                        names[field] = self._database.column_of(field)
                        spelled.setdefault(names[field], field)
                    fields[names[field]] = value
                if len(fields) < len(row.fields):
                    raise BadValue("another field has the same name but for upper and lower case")
            except BadValue as error:
                bad.append(row.bad(self._why(row, field, str(error))))
            else:
                found.append(Row(row.entry, row.number, fields))
        return found

    def _fitting(self, rows: Sequence[Row], columns: Mapping[str, str], bad: list[BadItem]) -> list[Row]:
        """Return the rows with the values that the database is given."""
        found = []
        for row in rows:
            values = {}
            try:
                for column, value in row.fields.items():
                    if column in columns:
                        values[column] = self._database.fit(value, columns[column])
                    elif value != b"null":
                        raise BadValue(f"the table has as many columns as it can have ({len(columns)})")
            except BadValue as error:
                bad.append(row.bad(self._why(row, column, str(error))))
            else:
                found.append(Row(row.entry, row.number, row.fields, values))
        return found

    def _refused(self, rows: Sequence[Row]) -> list[BadItem]:
        """Store the rows; return those that the database refuses, found by halving."""
        try:
            with self._database.transaction():
                self._database.store(self._table, [row.values for row in rows])
        except Refused as error:
            if len(rows) == 1:
                return [rows[0].bad(self._why(rows[0], error.column, str(error)))]
        else:
            return []
        half = len(rows) // 2
        return self._refused(rows[:half]) + self._refused(rows[half:])

    def _why(self, row: Row, column: str, why: str) -> str:
        kind = kind_of(row.fields[column]) if column in row.fields else "missing"
        field = f"field {shown(column) or repr(column)} ({kind}): " if column or kind != "missing" else ""
        return f"{field}{why}; {self.location}"


class _Undo(Exception):
    """Ends a transaction that was a trial."""


def quoted(name: str) -> str:
    """Return a name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _positions(text: str | None) -> dict[int, str]:
    pairs = (pair.partition(":") for pair in (text or "").split())
    return {int(shard): entry_id for shard, _, entry_id in pairs}
