"""A connection to a Redis or Valkey server of the user's, for seeds that come from there and items that go there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, RedisError

from crawler.errors import BrokerUnavailable, ConfigError
from crawler.runtime.safe_text import shown

_REFUSED_IN_SCRIPTS = ("ACL failure in script", "The user executing the script")  # of Redis 7 and later; 6.2


def client_of(url: str, *, name: str, seconds: float, ca_file: str = "") -> Any:
    """Return a client for `redis://`, `rediss://` or `unix://`; what stands behind the `?` is not read. It connects
    later, and never repeats a command. `name` shows in the server's list of clients; `seconds` bounds each answer.

    Raises `ConfigError` for a URL that cannot be used.
    """
    base = url.partition("?")[0]
    more: Any = {"ssl_ca_certs": ca_file} if ca_file and base.startswith("rediss:") else {}
    try:
        if not base.startswith("unix:") and not re.fullmatch(r"/?[0-9]*", urlsplit(base).path):
            raise ValueError("databases are numbers; write /0 before the ?")
        return redis.asyncio.Redis.from_url(
            base,
            client_name=name,
            protocol=2,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),  # a reply that was lost must be noticed by the caller
            **more,
        )
    except ValueError as error:
        raise ConfigError(f"{shown(url)}: {error}") from None


@contextmanager
def server_errors(url: str) -> Iterator[None]:
    """Turn the library's errors into `ConfigError`, for what a person must change, and `BrokerUnavailable`. `url` is
    the server's for people."""
    try:
        yield
    except AuthenticationError as error:
        raise ConfigError(f"{url}: the server refuses the login: {shown(str(error))}") from None
    except (RedisError, OSError) as error:
        text = shown(str(error)) or type(error).__name__
        if isinstance(error, NoPermissionError) or any(words in text for words in _REFUSED_IN_SCRIPTS):
            raise ConfigError(f"{url}: the user lacks a permission: {text}") from None
        if isinstance(error, OutOfMemoryError) or "OOM command" in text:
            text = "the server is out of memory (maxmemory)"
        raise BrokerUnavailable(f"{url}: {text}") from None
