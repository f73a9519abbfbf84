"""The URL of a PostgreSQL table: `postgresql://user@host/db?table=shop.items&key=sku`, and all that libpq reads."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from msgspec import Struct

from crawler.errors import ConfigError
from crawler.runtime import url_words
from crawler.runtime.safe_text import shown

_NAMES: Final = ("host", "hostaddr", "port", "dbname", "user", "service")
"""Words of libpq that say where, not how: people see them."""


LONGEST_TABLE: Final = 46  # bytes: with the epoch of a job behind it, it is still a name of PostgreSQL


class Words(Struct, frozen=True):
    """Our words of the URL's query. libpq reads all others."""

    table: str  # with its schema, or in the first one of the search path
    key: str = ""  # columns, with commas, of which rows are equal that belong to one item; empty: every item is a row
    column: str = ""  # that takes each item as a whole, as JSON; empty: each field has its own

    def __post_init__(self) -> None:
        if not all(self.names) or len(self.names) > 2 or len(self.names[-1].encode()) > LONGEST_TABLE:
            raise ValueError(f"table must be a NAME or SCHEMA.NAME, the NAME of at most {LONGEST_TABLE} bytes")
        if self.column and self.key:
            raise ValueError("key needs a column for each field, without the word column")

    @property
    def names(self) -> tuple[str, ...]:
        """The schema, if one is given, and the table."""
        return tuple(self.table.split("."))

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return tuple(filter(None, self.key.split(",")))


class Address(Struct, frozen=True):
    """Where the table is."""

    url: str  # for libpq, which may hold a password
    shown: str  # the URL for people, without table and password
    secrets: tuple[str, ...]  # how a password stands in the URL

    def without_secrets(self, text: str) -> str:
        """Return a message of libpq on one line, without the password that it may quote."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return shown(" ".join(text.split()))


def read(url: str) -> tuple[Address, Words]:
    """Read the URL. Raise `ConfigError`, which shows no password."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    given = parse_qsl(parts.query, keep_blank_values=True)
    theirs = [(name, value) for name, value in given if name not in Words.__struct_fields__]
    where = [(name, value) for name, value in theirs if name in _NAMES]
    people = f"{parts.scheme}://{user}{at}{place}{parts.path}" + (f"?{_query(where)}" if where else "")
    ours = _query([pair for pair in given if pair not in theirs])
    words = url_words.read(ours, shown(people), Words)
    passwords = (password, unquote(password), *(value for name, value in theirs if "password" in name))
    if parts.fragment:
        raise ConfigError(f"{shown(people)}: write # as %23")
    libpq = f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{_query(theirs)}" if theirs else "")
    return Address(libpq, shown(people), tuple(filter(None, passwords))), words


def _query(pairs: list[tuple[str, str]]) -> str:
    return urlencode(pairs, quote_via=quote, safe="/,")
