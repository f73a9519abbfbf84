"""Errors of the library and of servers, told to a person: what passes by itself, and what somebody must change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from crawler.errors import ConfigError, FrontierDiskFull, FrontierError, FrontierFull, FrontierUnavailable
from crawler.frontier.redis import acl

# Errors that pass by themselves: a long script, a full disk under the append-only file, a fail-over, and a script that
# a person killed, which is possible only before its first write. For some codes the library has classes; the texts of
# those errors lack the code.
_PASSING = ("BUSY", "NOREPLICAS")
_REFUSED_IN_SCRIPTS = ("ACL failure in script", "The user executing the script")  # of Redis 7 and later; 6.2
_PASSING_CLASSES = (ReadOnlyError, ClusterDownError, TryAgainError)


class JobGone(FrontierError):
    """A script found that the server does not know the job with this epoch."""


@contextmanager
def errors(shown: str) -> Iterator[None]:
    """Convert the library's errors to `FrontierError`s and `ConfigError`s; no other code does."""
    try:
        yield
    except (MovedError, AskError, ClusterCrossSlotError):
        raise cluster_error(shown) from None
    except AuthenticationError:
        raise _password_error(shown) from None
    except (ConnectionError, TimeoutError, OSError) as error:
        text = str(error) or type(error).__name__
        if "Invalid Database" in text:  # the library's text for a server that refuses SELECT
            raise _database_error(shown) from None
        if any(word in text for word in ("WRONGPASS", "NOAUTH", "invalid username-password")):
            raise _password_error(shown) from None
        hint = " (rediss:// uses TLS: does that port?)" if shown.startswith("rediss:") else ""
        raise FrontierUnavailable(f"no answer from the queue server {shown}: {text}{hint}") from None
    except ResponseError as error:
        text = str(error)
        if isinstance(error, NoPermissionError) or any(words in text for words in _REFUSED_IN_SCRIPTS):
            raise acl.refusal(shown, text) from None
        if text.startswith("DB index is out of range"):
            raise _database_error(shown) from None
        if text.startswith("GONE"):
            raise JobGone(f"{shown}: the server does not know this job") from None
        if isinstance(error, OutOfMemoryError) or "OOM command" in text:
            raise FrontierFull(f"the queue server {shown} is out of memory (maxmemory); waiting for room") from None
        if text.startswith(("NOAUTH", "WRONGPASS")):
            raise _password_error(shown) from None
        if text.startswith("MISCONF"):
            raise FrontierDiskFull(
                f"the queue server {shown} cannot write to its disk{_disk_of(shown)}: {text}"
            ) from None
        if isinstance(error, _PASSING_CLASSES) or text.startswith(_PASSING) or "SCRIPT KILL" in text:
            raise FrontierUnavailable(f"the queue server {shown} is not ready: {text}") from None
        raise FrontierError(f"the queue server {shown} refused: {text}") from None
    except RedisError as error:
        raise FrontierUnavailable(f"queue server {shown}: {type(error).__name__}: {error}") from None


def _database_error(shown: str) -> ConfigError:
    return ConfigError(f"{shown}: the server has no database of this number; end REDIS_URL with /0")


def cluster_error(shown: str) -> ConfigError:
    return ConfigError(
        f"{shown}: this server is one node of a cluster, and no crawl can be spread over several; "
        "give the crawler a server of its own (cluster-enabled no)"
    )


def _disk_of(shown: str) -> str:
    """Name the folder of a server on this machine and the space on its disk; empty for a server elsewhere."""
    folder = Path(shown.removeprefix("unix://")).parent
    if not shown.startswith("unix:") or not folder.is_dir():
        return ""
    disk = next(path for path in (folder, *folder.parents) if path.is_mount())
    return f" ({folder} on the disk {disk}, {shutil.disk_usage(folder).free / 1e6:,.1f} MB free)"


def _password_error(shown: str) -> ConfigError:
    if ":***@" not in shown:  # the texts of servers differ
        return ConfigError(f"{shown}: the server requires a password: REDIS_URL=redis://:PASSWORD@HOST:PORT/0")
    return ConfigError(f"{shown}: the server rejected the user name or password; check REDIS_URL")
