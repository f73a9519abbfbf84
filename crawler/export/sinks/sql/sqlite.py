"""A SQLite database in a file: `items.sqlite`, or `sqlite:///items.db?table=offers`."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from msgspec import Struct

from crawler.errors import ConfigError, OutputError
from crawler.export.sinks.sql.fields import BadValue, Kind, Row, kind_of, text_of
from crawler.export.sinks.sql.sink import POSITIONS, Refused, quoted
from crawler.runtime import url_words
from crawler.runtime.safe_text import shown

LOCKED_SECONDS: Final = 10.0  # for which a lock of another program is waited out
TABLE: Final = "items"

_TYPES: Final[Mapping[Kind, str]] = {Kind.BOOLEAN: "INTEGER", Kind.INTEGER: "INTEGER", Kind.FLOAT: "REAL"}
"""Type of the values → type of a new column; others are TEXT."""

_NUMERIC: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE).fullmatch
"""Matches what SQLite makes a number of in a column of numbers."""

_AT_COLUMN: Final = re.compile(r"(?:NOT NULL|UNIQUE) constraint failed: [^,]*\.([^,.]+)").fullmatch

_EXACT: Final = 2**53  # the largest integer up to which a float holds each


class Words(Struct, frozen=True):
    """The words of the URL's query."""

    table: str = TABLE
    column: str = ""  # that takes each item as a whole, as JSON; empty: each field has its own


def read(name: str) -> tuple[Path, Words]:
    """Return the file that a path or URL names, and the words of its query. Raise `ConfigError`."""
    scheme, is_url, rest = name.partition("://")
    if not is_url:
        return Path(name).absolute(), Words()
    path, _, query = rest.partition("?")
    words = url_words.read(query, f"{scheme}://{path}", Words)
    if len(path) < 2 or path[0] != "/":
        raise ConfigError(f"{shown(name)}: write sqlite:///items.db (from this folder) or sqlite:////data/items.db")
    if not words.table or words.table.lower().startswith((POSITIONS, "sqlite_")):
        raise ConfigError(f"{shown(name)}: ?table= is the name of a table, none of the crawler's or SQLite's own")
    return Path(unquote(path[1:])).absolute(), words


class Sqlite:
    """Implements `Database` on a file."""

    is_shared = False
    most_columns = 2000

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)  # device and inode of the open file
        self._is_made = False  # by this object
        self._depth = 0  # of transactions

    def shown(self, table: str) -> str:
        """The path, with the table if it is not the usual one."""
        return str(self._path) if table == TABLE else f"{self._path}?table={quote(table)}"

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._connection is not None

    def open(self, *, durable: bool = True) -> None:
        """Open the file, or make it."""
        if not self._path.parent.is_dir():
            raise OutputError(f"there is no folder {self._path.parent}: mkdir -p {self._path.parent}")
        self._is_made = not self._path.exists()
        with self._translated():
            self._connection = sqlite3.connect(
                self._path, timeout=LOCKED_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._file = _identity(self._path)
            self._run("PRAGMA synchronous=EXTRA")  # FULL, and the folder as well where it is no WAL
            if durable:
                self._run("PRAGMA journal_mode=WAL")

    def interrupt(self) -> None:
        """End the statement that another thread waits for."""
        if self._connection is not None:
            with suppress(sqlite3.ProgrammingError):  # closed meanwhile
                self._connection.interrupt()

    def close(self) -> None:
        """Close the file. Leave none behind that was not there before and has nothing in it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(sqlite3.Error):
            is_empty = self._is_made and not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            connection.close()
            if is_empty and _identity(self._path) == self._file:
                self._path.unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Take the right to write; undo all after an exception."""
        begin, commit, undo = (
            ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part; RELEASE part")
            if self._depth
            else ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
        )
        with self._translated():
            self._run(begin)
            self._depth += 1
            try:
                yield
                self._run(commit)
            except BaseException:
                for statement in undo.split(";"):
                    with suppress(sqlite3.Error):  # a full disk has undone it already
                        self._run(statement)
                raise
            finally:
                self._depth -= 1

    def prepare(self, table: str) -> None:
        """Make the table of positions if it is missing."""
        self._run(
            f"CREATE TABLE IF NOT EXISTS {POSITIONS} (epoch TEXT NOT NULL, table_name TEXT NOT NULL, "
            "positions TEXT NOT NULL, PRIMARY KEY (epoch, table_name))"
        )

    def position(self, epoch: str, table: str) -> str | None:
        """Return what was noted."""
        found = self._run(f"SELECT positions FROM {POSITIONS} WHERE epoch = ? AND table_name = ?", epoch, table)
        return next((positions for (positions,) in found), None)

    def note(self, epoch: str, table: str, positions: str) -> None:
        """Note how far a job has come."""
        self._run(f"INSERT OR REPLACE INTO {POSITIONS} VALUES (?, ?, ?)", epoch, table, positions)

    def has_rows(self, table: str) -> bool:
        """Whether the table is there, and not empty."""
        return bool(self.columns(table)) and bool(self._run(f"SELECT 1 FROM {quoted(table)} LIMIT 1"))

    def columns(self, table: str) -> dict[str, str]:
        """Return column, in lower case → the affinity of its type."""
        return {column_of(name): affinity(declared) for _, name, declared, *_ in self._info(table)}

    def column_of(self, field: str) -> str:
        """Return the name in lower case, because SQLite does not tell cases apart."""
        return column_of(field)

    def add(self, table: str, columns: Mapping[str, Kind]) -> None:
        """Add columns; make the table if it is missing."""
        declared = [f"{quoted(name)} {_TYPES.get(kind, 'TEXT')}" for name, kind in columns.items()]
        if not self._info(table):
            self._run(f"CREATE TABLE {quoted(table)} ({', '.join(declared)})")
            return
        for one in declared:
            self._run(f"ALTER TABLE {quoted(table)} ADD COLUMN {one}")

    def widen(self, table: str, rows: Sequence[Row]) -> None:
        """Do nothing: a column of SQLite holds values of other types."""

    def fit(self, value: bytes, column: str) -> Any:
        """Return the value for a column of that affinity, so that SQLite keeps what it says."""
        kind = kind_of(value)
        if kind is Kind.NULL:
            return None
        if column == "TEXT" or kind in (Kind.LIST, Kind.OBJECT):
            return text_of(value)
        if kind is Kind.TEXT:
            return _text(text_of(value), column)
        if kind is Kind.NUMBER:
            raise BadValue(f"{value.decode():.40} is beyond 64 bits, and the column is {column or 'of no type'}")
        if kind is Kind.FLOAT:
            return float(value)
        number = {b"true": 1, b"false": 0}.get(value)
        return _integer(int(value), column) if number is None else number

    def store(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows in their order."""
        for names, group in groupby(rows, key=tuple):
            columns, places = ", ".join(map(quoted, names)), ", ".join("?" * len(names))
            into = f"INSERT INTO {quoted(table)} "
            into += f"({columns}) VALUES ({places})" if names else "DEFAULT VALUES"
            with _refusals():
                self._connected.executemany(into, [tuple(row.values()) for row in group])

    def replace(self, table: str, new: str, epoch: str) -> None:
        """Put one table in the place of another."""
        self._run(f"DROP TABLE IF EXISTS {quoted(table)}")
        self._run(f"DELETE FROM {POSITIONS} WHERE table_name = ?", table)
        self._run(f"ALTER TABLE {quoted(new)} RENAME TO {quoted(table)}")
        self._run(f"UPDATE {POSITIONS} SET table_name = ? WHERE epoch = ? AND table_name = ?", table, epoch, new)

    def drop(self, table: str, epoch: str) -> None:
        """Delete the table and the position."""
        self._run(f"DROP TABLE IF EXISTS {quoted(table)}")
        self._run(f"DELETE FROM {POSITIONS} WHERE epoch = ? AND table_name = ?", epoch, table)

    def confirm(self) -> None:
        """Raise `OutputError` if the file was deleted, moved or replaced."""
        if _identity(self._path) != self._file:
            raise OutputError(f"{self._path} was deleted, moved or replaced while items were written to it")

    @property
    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise OutputError(f"{self._path} is closed")
        return self._connection

    def _run(self, statement: str, *values: str) -> list[Any]:
        return self._connected.execute(statement, values).fetchall()

    def _info(self, table: str) -> list[Any]:
        return self._run(f"PRAGMA table_xinfo({quoted(table)})")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(_said(self._path, error)) from None


def column_of(field: str) -> str:
    """Return the name of a field's column. Raise `BadValue` for a field that can have none."""
    if not field or "\0" in field:
        raise BadValue("a column must have a name, without NUL")
    try:
        field.encode()
    except UnicodeEncodeError:
        raise BadValue("its name has half of a surrogate pair") from None
    return "".join(letter.lower() if letter.isascii() else letter for letter in field)


def affinity(declared: str) -> str:
    """Return how SQLite treats values in a column of a declared type (its section 3.1 of datatype3)."""
    word = declared.upper()
    if "INT" in word:
        return "INTEGER"
    if any(part in word for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not word or "BLOB" in word:
        return ""
    return "REAL" if any(part in word for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


def _text(text: str, column: str) -> str:
    """Return a text for a column that is not of text. Raise `BadValue` if it would become a number that says less."""
    if column and _NUMERIC(text) and text not in (repr(float(text)), _as_integer(text, column)):
        raise BadValue(f"the text {text!r:.40} would become a number in a column of type {column}")
    return text


def _as_integer(text: str, column: str) -> str:
    """Return how SQLite writes the integer that it makes of a text; empty if it is none, or does not fit."""
    is_one = text.lstrip("-").isdigit() and kind_of(text.encode()) is Kind.INTEGER
    return str(int(text)) if is_one and (column != "REAL" or abs(int(text)) <= _EXACT) else ""


def _integer(number: int, column: str) -> int:
    if column == "REAL" and abs(number) > _EXACT:
        raise BadValue(f"{number} has more digits than a column of type REAL keeps")
    return number


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:
        raise Refused(str(error), _column_in(str(error))) from None


def _column_in(message: str) -> str:
    """Return the column in `NOT NULL constraint failed: items.title`; empty if there is none."""
    found = _AT_COLUMN(message)
    return found[1].lower() if found else ""


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _said(path: Path, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_NOTADB"):
        return f"{path} is no SQLite database; name another file"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another program keeps {path} locked for more than {LOCKED_SECONDS:g} s; nothing is lost"
    if name.startswith("SQLITE_CANTOPEN"):
        return f"cannot open {path}: it is no file, or you may not write there"
    return f"cannot write items to {path}: {error}; nothing is lost"
