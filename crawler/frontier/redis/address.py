"""The URL of a queue server: checks it before anything connects, and hides its password."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, parse_qsl, urlsplit

from crawler.errors import ConfigError

FORM = "redis://127.0.0.1:6379/0"
_OPTIONS = frozenset(
    ("db", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_keyfile")
)
_UNIX_OPTIONS = frozenset(("db", "username", "password"))
# Everything up to the last @ is userinfo, even if the password contains a character that should have been escaped.
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://[^:@/?#]*):.*@", re.IGNORECASE | re.DOTALL)
_AFTER_AUTHORITY = re.compile(r"[/?#].*@", re.DOTALL)  # an @ behind the part that may have one
_PASSWORD = re.compile(r"([?&]password=)[^&]*")


def mask(url: str) -> str:
    """The URL without its password, for people; also of a URL that is none."""
    return _PASSWORD.sub(r"\1***", _USERINFO.sub(r"\1:***@", url))


def check(url: str) -> None:
    """Raise `ConfigError` unless it is the URL of one database on one server, without anything that would be ignored.

    The text shows no part of a password.
    """
    shown = mask(url)
    scheme, _, rest = url.partition("://")
    is_socket = scheme == "unix"
    if not is_socket and _AFTER_AUTHORITY.search(rest):  # first: other errors would quote the password
        raise ConfigError(
            f"REDIS_URL {shown}: the user or password contains / ? or #, which must be escaped: "
            "write %2F for /, %3F for ?, %23 for #, and %40 for @"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets that do not match, or a port that is no number
        raise ConfigError(f"REDIS_URL {shown}: cannot read its host and port; expected {FORM}") from None
    if parts.fragment:
        raise ConfigError(f"REDIS_URL {shown}: remove what begins with #; in a password write %23 for it")
    if port == 0 or (is_socket and not parts.path):
        raise ConfigError(f"REDIS_URL {shown}: {'no path of a socket' if is_socket else 'port 0'}; expected {FORM}")
    _check_database(shown, _databases(parts, is_socket))


def _databases(parts: SplitResult, is_socket: bool) -> Iterable[str]:
    """Yield each text that names the database. Raise `ConfigError` for an option that would be ignored."""
    allowed = _UNIX_OPTIONS if is_socket else _OPTIONS
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in allowed:
            raise ConfigError(f"REDIS_URL: unknown option {name!r}; it may have {', '.join(sorted(allowed))}")
        if name == "db":
            yield value
    if not is_socket and parts.path.strip("/"):
        yield parts.path.strip("/")


def _check_database(shown: str, databases: Iterable[str]) -> None:
    for name in databases:
        if not (name.isascii() and name.isdigit()):
            raise ConfigError(
                f"REDIS_URL {shown}: {name!r} is no database; databases are numbers, for example {FORM} "
                "(KEY_PREFIX separates crawls within one)"
            )
