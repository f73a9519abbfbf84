"""One line for each visit, so that the life of one URL can be grepped: in a file, and in the log at DEBUG."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from crawler.errors import ConfigError
from crawler.model import Dead, Lease, Release, Retry, Skip, Visit
from crawler.runtime.incident import Incident
from crawler.runtime.safe_text import shown

log = structlog.get_logger()

POLL_SECONDS = 1.0  # between two checks whether the file was rotated
MAX_WHY = 300  # characters

_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Appends JSON lines to a file that any number of processes share.

    Each line is one write at the end of the file. A file that was moved or deleted, as by a log rotation, is opened
    anew. A write that fails, as on a full disk, loses its line and stops nothing.
    """

    def __init__(self, path: str, worker: str) -> None:
        """An empty path writes no file. Raise `ConfigError` if the file cannot be opened."""
        self._path = path
        self._worker = worker
        self._file = -1
        self._torn = False  # the file ends within a line
        self._looked = time.monotonic()
        self._trouble = Incident("access_log_loses_lines")
        try:
            self._open()
        except OSError as error:
            raise ConfigError(f"ACCESS_LOG={path}: {error.strerror}") from None

    def note(self, lease: Lease, visit: Visit) -> None:
        """Write how the visit ended."""
        debug = logging.getLogger().isEnabledFor(logging.DEBUG)
        if not self._path and not debug:
            return
        fields = _fields(self._worker, lease, visit)
        if debug:
            log.debug("visited", **fields)
        if self._path:
            self._append({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields})

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        if self._path:
            self.close()
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._torn = False

    def _append(self, fields: dict[str, Any]) -> None:
        line = (b"\n" if self._torn else b"") + _encode(fields) + b"\n"
        try:
            if time.monotonic() - self._looked >= POLL_SECONDS:
                self._looked = time.monotonic()
                if self._was_moved():
                    self._open()
            written = os.write(self._file, line)
        except OSError as error:
            self._trouble.met(f"{self._path}: {error.strerror}")
            return
        self._torn = written < len(line)
        if self._torn:
            self._trouble.met(f"{self._path}: the disk is full")
        else:
            self._trouble.over()

    def _was_moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return self._file < 0 or not os.path.samestat(there, os.fstat(self._file))


def _fields(worker: str, lease: Lease, visit: Visit) -> dict[str, Any]:
    return {
        "status": visit.status,
        "bytes": visit.size,
        "seconds": round(visit.seconds, 3),
        "items": len(visit.items),
        "links": len(visit.links),
        "outcome": type(visit.outcome).__name__.lower(),
        "why": shown(_why(visit))[:MAX_WHY],
        "job": lease.job,
        "worker": worker,
        "attempt": lease.attempt + 1,
        "url": shown(lease.request.url),
    }


def _why(visit: Visit) -> str:
    match visit.outcome:
        case Retry(failure=failure) | Dead(failure=failure):
            return f"{failure.message} ({failure.line})" if failure.line else failure.message
        case Skip(reason=reason, detail=detail):
            return f"{reason}: {detail}" if detail else reason
        case Release(reason=reason):
            return reason
    return ""
