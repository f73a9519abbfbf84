"""A PostgreSQL database. Rows come by COPY; with a key, through a temporary table that updates rows of the same key.

Importing this module raises `ConfigError` where the extra `postgres` is not installed.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any, Final
from urllib.parse import quote

from crawler.errors import ConfigError, OutputError
from crawler.export.sinks.sql.address import Address, Words
from crawler.export.sinks.sql.copying import NULL, copy_text
from crawler.export.sinks.sql.fields import BadValue, Kind, Row, kind_of
from crawler.export.sinks.sql.sink import POSITIONS, Disconnected, Refused
from crawler.program import extra

try:
    import psycopg
    from psycopg import sql
except ImportError:
    raise ConfigError(f"postgresql:// needs the extra `postgres`: {extra('postgres')}") from None

TRANSACTION_SECONDS: Final = 60.0  # after which a server that does not answer is given up
CONNECT_SECONDS: Final = 10
LONGEST_NAME: Final = 63  # bytes, of a column; PostgreSQL cuts longer ones

_TYPES: Final[Mapping[Kind, str]] = {
    Kind.BOOLEAN: "boolean",
    Kind.INTEGER: "bigint",
    Kind.FLOAT: "double precision",
    Kind.NUMBER: "numeric",
    Kind.LIST: "jsonb",
    Kind.OBJECT: "jsonb",
    Kind.TEXT: "text",
}
"""Type of the values → type of a new column."""

_HOLDS: Final[Mapping[str, set[Kind]]] = {
    "boolean": {Kind.BOOLEAN},
    "bigint": {Kind.INTEGER},
    "double precision": {Kind.INTEGER, Kind.FLOAT},
    "numeric": {Kind.INTEGER, Kind.FLOAT, Kind.NUMBER},
}
"""Type of a column → types of the values that it holds; columns of other types hold all that they ever will."""

COMMENT: Final = "made by crawler, which gives a column a wider type where items need it; without this comment never"

_SYSTEM: Final = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))

_REFUSING: Final = ("21", "22", "23", "54", "P0")
"""Classes of errors that lie in a row: its key (twice in a batch), values, constraints, sizes, a trigger's error."""

_AGAIN: Final = ("40", "57P")
"""Classes of errors after which the same transaction may succeed: deadlocks, and a server that ends connections."""

_AT_COLUMN: Final = re.compile(r", column (.+?)(?::|$)", re.MULTILINE)

_COLUMNS: Final = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.atthasdef OR a.attidentity <> '',
           obj_description(a.attrelid, 'pg_class')
    FROM pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_MAY: Final = "SELECT has_any_column_privilege(%s, 'INSERT')"


class Postgres:
    """Implements `Database`."""

    is_shared = True
    most_columns = 1600

    def __init__(self, address: Address, words: Words, name: str) -> None:
        """`name` is that of the connection, in the server's list."""
        self._address = address
        self._words = words
        self._schema = words.names[:-1]
        self._name = name
        self._connection: psycopg.Connection[Any] | None = None
        self._with_default: frozenset[str] = frozenset()  # columns that have a value of their own

        self._filler: tuple[str, ...] = ()  # a column for rows without any

    def shown(self, table: str) -> str:
        """The URL, without password and without what says how to connect."""
        joint = "&" if "?" in self._address.shown else "?"
        return f"{self._address.shown}{joint}table={quote('.'.join((*self._schema, table)))}"

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.closed

    def open(self, *, durable: bool = True) -> None:
        """Connect. Raises `ConfigError` for a URL that libpq cannot read."""
        try:
            given = psycopg.conninfo.conninfo_to_dict(self._address.url)
        except psycopg.ProgrammingError as error:
            raise ConfigError(f"{self._address.shown}: {self._said(error)}") from None
        usual: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": self._name,
            "client_encoding": "utf8",
        }
        conninfo = psycopg.conninfo.make_conninfo("", **{**usual, **given})
        with self._translated():
            self._connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)

    def interrupt(self) -> None:
        """End the connection under another thread that waits for the server."""
        with suppress(psycopg.Error, OSError, AttributeError):
            _shut(self._connection.fileno())  # type: ignore[union-attr]

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end, or undo all after an exception; within another one, a savepoint."""
        with self._translated(), self._watched(), self._connected.transaction():
            yield

    def prepare(self, table: str) -> None:
        """Make the table of positions if it is missing, and look whether the table may be written."""
        here, positions = self._named(table), self._named(POSITIONS)
        if not self._is_there(positions):
            columns = "epoch text, table_name text, positions text NOT NULL, PRIMARY KEY (epoch, table_name)"
            self._make(positions, sql.SQL(columns))
        if not self._is_there(here):
            return
        if not self._run(_MAY, self._text(here))[0][0]:
            raise OutputError(f"{self.shown(table)}: this user may not INSERT into it")
        if self._words.keys:
            self._look_for_key(here)

    def position(self, epoch: str, table: str) -> str | None:
        """Return what was noted."""
        ask = sql.SQL("SELECT positions FROM {} WHERE epoch = %s AND table_name = %s FOR UPDATE")
        found = self._run(ask.format(self._named(POSITIONS)), epoch, table)
        return next((positions for (positions,) in found), None)

    def note(self, epoch: str, table: str, positions: str) -> None:
        """Note how far a job has come."""
        change = "ON CONFLICT (epoch, table_name) DO UPDATE SET positions = EXCLUDED.positions"
        note = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s) " + change)
        self._run(note.format(self._named(POSITIONS)), epoch, table, positions)

    def has_rows(self, table: str) -> bool:
        """Whether the table is there, and not empty."""
        here = self._named(table)
        return self._is_there(here) and bool(self._run(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(here)))

    def columns(self, table: str) -> dict[str, str]:
        """Return column → its type."""
        found = self._run(_COLUMNS, self._text(self._named(table)))
        self._with_default = frozenset(name for name, _, has_default, _ in found if has_default)
        self._filler = tuple(name for name, _, has_default, _ in found if not has_default)[:1]
        return {name: declared for name, declared, *_ in found}

    def column_of(self, field: str) -> str:
        """Return the field, which names its column."""
        if not field or "\0" in field:
            raise BadValue("a column must have a name, without NUL")
        if len(field.encode()) > LONGEST_NAME:
            raise BadValue(f"the name of a column has at most {LONGEST_NAME} bytes")
        if field in _SYSTEM:
            raise BadValue("PostgreSQL itself has a column of that name in each table")
        return field

    def add(self, table: str, columns: Mapping[str, Kind]) -> None:
        """Add columns; make the table if it is missing."""
        here = self._named(table)
        declared = [sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_TYPES[columns[name]])) for name in columns]
        if not self._is_there(here):
            like = self._like_target(table)
            self._make(here, like or sql.SQL(", ").join([*declared, *self._primary_key()]))
            if like is None:
                self._run(sql.SQL("COMMENT ON TABLE {} IS {}").format(here, COMMENT))
        for one in declared:
            self._run(sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}").format(here, one))

    def widen(self, table: str, rows: Sequence[Row]) -> None:
        """Make columns of a table with our comment `numeric`, or `text`, where values of the rows need it."""
        here = self._named(table)
        found = self._run(_COLUMNS, self._text(here))
        for name, declared in [(name, declared) for name, declared, _, comment in found if comment == COMMENT]:
            kinds = {kind_of(row.fields[name]) for row in rows if name in row.fields} - {Kind.NULL}
            if not kinds <= _HOLDS.get(declared, kinds):
                wider = "numeric" if declared != "boolean" and kinds <= _HOLDS["numeric"] else "text"
                alter = sql.SQL("ALTER TABLE {0} ALTER {1} TYPE {2} USING {1}::{2}")
                with suppress(psycopg.errors.FeatureNotSupported), self._connected.transaction():  # for one, in a view
                    self._run(alter.format(here, sql.Identifier(name), sql.SQL(wider)))

    def fit(self, value: bytes, column: str) -> bytes:
        """Return the value as COPY writes it for a column of that type."""
        return copy_text(value, column)

    def store(self, table: str, rows: Sequence[Mapping[str, bytes]]) -> None:
        """Add the rows, or update those of the same keys."""
        groups: dict[frozenset[str], list[Mapping[str, bytes]]] = {}
        if self._words.keys:
            for row in self._merged(rows):
                groups.setdefault(frozenset(row), []).append(row)
        else:  # a column that a row lacks has its default, as in an INSERT of that row
            for row in rows:
                groups.setdefault(self._with_default.intersection(row), []).append(row)
        with self._refusals():
            self._run("SET CONSTRAINTS ALL IMMEDIATE")  # at COMMIT it would be too late to tell the rows apart
            for group in groups.values():
                names = tuple(dict.fromkeys(name for row in group for name in row)) or self._filler
                (self._upsert if self._words.keys else self._copy)(self._named(table), names, group)

    def replace(self, table: str, new: str, epoch: str) -> None:
        """Put the rows of one table in the place of another's, which keeps its types, rights and views."""
        here, positions, source = self._named(table), self._named(POSITIONS), self._named(new)
        old, columns = self.columns(table), self.columns(new)
        for name in columns.keys() - old.keys():
            added = sql.SQL("ALTER TABLE {} ADD COLUMN {} " + columns[name])
            self._run(added.format(here, sql.Identifier(name)))
        self._run(sql.SQL("DELETE FROM {}").format(here))
        into = "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}"
        self._run(sql.SQL(into).format(here, _names(columns), _names(columns), source))
        self._run(sql.SQL("DROP TABLE {}").format(source))
        self._run(sql.SQL("DELETE FROM {} WHERE table_name = %s").format(positions), table)
        move = sql.SQL("UPDATE {} SET table_name = %s WHERE epoch = %s AND table_name = %s")
        self._run(move.format(positions), table, epoch, new)

    def drop(self, table: str, epoch: str) -> None:
        """Delete the table and the position."""
        self._run(sql.SQL("DROP TABLE IF EXISTS {}").format(self._named(table)))
        forget = sql.SQL("DELETE FROM {} WHERE epoch = %s AND table_name = %s")
        self._run(forget.format(self._named(POSITIONS)), epoch, table)

    def confirm(self) -> None:
        """Do nothing: what is committed is in its place."""

    # -----------------------------------------------------------------------------------------------------

    @property
    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            raise OutputError(f"{self._address.shown} is closed")
        return self._connection

    def _named(self, table: str) -> sql.Identifier:
        return sql.Identifier(*self._schema, table)

    def _text(self, name: sql.Identifier) -> str:
        return name.as_string(self._connected)

    def _run(self, statement: Any, *values: str) -> list[Any]:
        cursor = self._connected.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def _is_there(self, name: sql.Identifier) -> bool:
        return bool(self._run("SELECT to_regclass(%s) IS NOT NULL", self._text(name))[0][0])

    def _look_for_key(self, here: sql.Identifier) -> None:
        """Raise `OutputError` if nothing in the table says that its keys are unique."""
        keys = _names(self._words.keys)
        trial = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE false ON CONFLICT ({}) DO NOTHING")
        try:
            with self._connected.transaction():
                self._run(trial.format(here, keys, keys, here, keys))
        except psycopg.errors.InvalidColumnReference:
            command = self._text(here), keys.as_string(self._connected)
            raise OutputError(
                f"{self.shown(self._words.names[-1])}: ?key= needs a unique index: "
                f"CREATE UNIQUE INDEX ON {command[0]} ({command[1]})"
            ) from None

    def _make(self, name: sql.Identifier, content: sql.Composable) -> None:
        self._run("SELECT pg_advisory_xact_lock(hashtext(%s))", POSITIONS)  # of two at once, one would fail
        self._run(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(name, content))

    def _like_target(self, table: str) -> sql.Composed | None:
        """Return the clause that makes a table beside the target equal to it. None if the table is the target, or if
        there is no target yet."""
        target = self._named(self._words.names[-1])
        if table == self._words.names[-1] or not self._is_there(target):
            return None
        return sql.SQL("LIKE {} INCLUDING ALL").format(target)

    def _primary_key(self) -> list[sql.Composed]:
        return [sql.SQL("PRIMARY KEY ({})").format(_names(self._words.keys))] if self._words.keys else []

    def _merged(self, rows: Sequence[Mapping[str, bytes]]) -> Iterable[Mapping[str, bytes]]:
        """Return one row for each key, in which a later field replaces an earlier one."""
        found: dict[tuple[bytes, ...], Mapping[str, bytes]] = {}
        for row in rows:
            key = tuple(row.get(name, NULL) for name in self._words.keys)
            if NULL in key:
                raise Refused("it is part of the key", self._words.keys[key.index(NULL)])
            found[key] = {**found.get(key, {}), **row}
        return found.values()

    def _upsert(self, here: sql.Identifier, names: Sequence[str], rows: Sequence[Mapping[str, bytes]]) -> None:
        batch, listed, keys = sql.Identifier("crawler_batch"), _names(names), _names(self._words.keys)
        make = sql.SQL("CREATE TEMP TABLE {} AS SELECT {} FROM {} WITH NO DATA")
        self._run(make.format(batch, listed, here))
        self._copy(batch, names, rows)
        others = [sql.Identifier(name) for name in names if name not in self._words.keys]
        change = sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(name) for name in others)
        action = sql.SQL("UPDATE SET {}").format(change) if others else sql.SQL("NOTHING")
        upsert = "INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT ({}) DO {}"  # in order: no deadlock
        self._run(sql.SQL(upsert).format(here, listed, listed, batch, keys, keys, action))
        self._run(sql.SQL("DROP TABLE {}").format(batch))

    def _copy(self, here: sql.Identifier, names: Sequence[str], rows: Sequence[Mapping[str, bytes]]) -> None:
        lines = b"".join(b"\t".join([row.get(name, NULL) for name in names]) + b"\n" for row in rows)
        with self._connected.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN").format(here, _names(names))) as copy:
            copy.write(lines)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(_REFUSING):
                raise
            at = _AT_COLUMN.search(error.diag.context or "")
            column = error.diag.column_name or (at[1] if at else "")
            raise Refused(self._said(error), column) from None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """End the connection if the outermost transaction takes too long."""
        if self._connected.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            yield
            return
        watch = Timer(TRANSACTION_SECONDS, self.interrupt)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            why = f"{self._address.shown}: {self._said(error)}; nothing is lost"
            is_away = self._connection is not None and self._connection.closed
            kind = Disconnected if is_away or (error.sqlstate or "").startswith(_AGAIN) else OutputError
            raise kind(why) from None

    def _said(self, error: psycopg.Error) -> str:
        said = error.diag.message_primary or str(error)
        detail = error.diag.message_detail
        return self._address.without_secrets(f"{said} ({detail})" if detail else said)


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _shut(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as link:
        link.shutdown(socket.SHUT_RDWR)
