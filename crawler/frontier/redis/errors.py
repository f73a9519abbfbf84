"""Turns errors of the library and of servers into the crawler's: those that pass by themselves, and those that a person
must fix."""

from __future__ import annotations

import re
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
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from crawler.errors import ConfigError, CrawlerError, FrontierDiskFull, FrontierError, FrontierFull, FrontierUnavailable
from crawler.frontier.redis import acl

# Errors that pass by themselves: a long script, a full disk under the append-only file, a fail-over, and a script that
# a person killed, which is possible only before its first write. For some codes the library has classes; the texts of
# those errors lack the code.
_PASSING = ("BUSY", "NOREPLICAS", "UNBLOCKED", "WAIT cannot be used", "WAITAOF cannot be used")
_REFUSED_IN_SCRIPTS = ("ACL failure in script", "The user executing the script")  # of Redis 7 and later; 6.2
_PASSING_CLASSES = (ClusterDownError, TryAgainError)

_TLS = re.compile(r"(rediss|valkeys|\w+\+ssl)\b").match
# A server that asks for our certificate cuts the connection, and what it says is mostly lost.
_CERTIFICATE_HINT = " (does it ask for our certificate? ?ssl_certfile=FILE&ssl_keyfile=FILE shows one)"


class JobGone(FrontierError):
    """A script found that the server does not know the job with this epoch."""


@contextmanager
def errors(shown: str) -> Iterator[None]:
    """Convert the library's errors to `FrontierError`s and `ConfigError`s; no other code does."""
    try:
        yield
    except (RedisError, OSError) as error:
        node = getattr(error, "node", "")  # of several servers, the one that failed (see `nodes.py`)
        raise _converted(error, f"{shown} (node {node})" if node else shown) from None
    except RuntimeError as error:
        if "handler is closed" not in str(error):  # uvloop says that of a connection that was reset just now
            raise
        raise FrontierUnavailable(f"no answer from the queue server {shown}: the connection was reset") from None


def _converted(error: RedisError | OSError, shown: str) -> CrawlerError:
    text = str(error) or type(error).__name__
    if isinstance(error, (AskError, ClusterCrossSlotError)) and "+cluster://" not in shown:
        return cluster_error(shown)
    if isinstance(error, AskError):
        return FrontierUnavailable(f"the queue server {shown} is giving a slot to another node: waiting for it")
    if isinstance(error, AuthenticationError):
        return _password_error(shown)
    if isinstance(error, (ConnectionError, TimeoutError, OSError)):
        if "Invalid Database" in text:  # the library's text for a server that refuses SELECT
            return _database_error(shown)
        if any(word in text for word in ("WRONGPASS", "NOAUTH", "invalid username-password")):
            return _password_error(shown)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            return _certificate_error(shown, text)
        is_cut = "reset by peer" in text or "closed by server" in text
        hint = _CERTIFICATE_HINT if is_cut and _TLS(shown) and "ssl_certfile" not in shown else ""
        return FrontierUnavailable(f"no answer from the queue server {shown}: {text}{hint}")
    if isinstance(error, ResponseError):
        return _refused(error, text, shown)
    return FrontierUnavailable(f"queue server {shown}: {type(error).__name__}: {text}")


def _refused(error: ResponseError, text: str, shown: str) -> CrawlerError:
    if isinstance(error, NoPermissionError) or any(words in text for words in _REFUSED_IN_SCRIPTS):
        return acl.refusal(shown, text)
    if text.startswith("DB index is out of range"):
        return _database_error(shown)
    if text.startswith("unknown command"):
        return _no_command_error(shown, text.partition(",")[0])
    if text.startswith("GONE"):
        return JobGone(f"{shown}: the server does not know this job")
    if isinstance(error, OutOfMemoryError) or "OOM command" in text:
        return FrontierFull(f"the queue server {shown} is out of memory (maxmemory); waiting for room")
    if text.startswith(("NOAUTH", "WRONGPASS")):
        return _password_error(shown)
    if text.startswith("MISCONF"):
        return FrontierDiskFull(f"the queue server {shown} cannot write to its disk{_disk_of(shown)}: {text}")
    if isinstance(error, ReadOnlyError):
        return FrontierUnavailable(
            f"the queue server {shown} is a replica, which takes no writes: waiting until it is promoted; "
            "if nothing promotes it, REDIS_URL must name its master"
        )
    if isinstance(error, _PASSING_CLASSES) or text.startswith(_PASSING) or "SCRIPT KILL" in text:
        return FrontierUnavailable(f"the queue server {shown} is not ready: {text}")
    return FrontierError(f"the queue server {shown} refused: {text}")


def _no_command_error(shown: str, text: str) -> ConfigError:
    instead = "; leave REDIS_REPLICAS at 0" if "WAIT" in text else ""
    return ConfigError(f"{shown}: the server lacks or forbids a command that the crawler needs: {text}{instead}")


def _database_error(shown: str) -> ConfigError:
    return ConfigError(f"{shown}: the server has no database of this number; end REDIS_URL with /0")


def cluster_error(shown: str) -> ConfigError:
    """The error for a URL of one server that is a node of a cluster."""
    url = re.sub(r"^(redis|rediss|valkey|valkeys)://([^/?]*).*", r"\1+cluster://\2", shown)
    instead = f"write {url}" if url != shown else "write redis+cluster://HOST:PORT"
    return ConfigError(f"{shown}: this server is one node of a cluster; {instead}")


def sentinel_error(shown: str, names: list[str]) -> ConfigError:
    """The error for a URL of one server that is a sentinel; `names` are those of its masters."""
    host = re.sub(r"^\w+://([^/?]*).*", r"\1", shown)
    instead = " or ".join(f"redis+sentinel://{host}/{name}/0" for name in names or ["NAME"])
    return ConfigError(f"{shown}: this server is a sentinel; write {instead}")


def _disk_of(shown: str) -> str:
    """Name the folder of a server on this machine and the space on its disk; empty for a server elsewhere."""
    folder = Path(shown.removeprefix("unix://")).parent
    if not shown.startswith("unix:") or not folder.is_dir():
        return ""
    disk = next(path for path in (folder, *folder.parents) if path.is_mount())
    return f" ({folder} on the disk {disk}, {shutil.disk_usage(folder).free / 1e6:,.1f} MB free)"


def _certificate_error(shown: str, text: str) -> ConfigError:
    return ConfigError(
        f"{shown}: the server's certificate is not accepted: {text}; TLS_CA_FILE adds its authority, and "
        "?ssl_server_hostname=NAME gives the name in it if that is not the host"
    )


def _password_error(shown: str) -> ConfigError:
    if ":***@" not in shown:  # the texts of servers differ
        url = re.sub(r"://(\*\*\*@)?", "://:PASSWORD@", shown.partition(" ")[0], count=1)
        return ConfigError(f"{shown}: the server requires a password: REDIS_URL={url}")
    return ConfigError(f"{shown}: the server rejected the user name or password; check REDIS_URL")
