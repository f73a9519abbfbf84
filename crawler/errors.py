"""All errors that the crawler raises on purpose, as one small tree, and all exit codes of its commands.

CrawlerError                  the base; the text says what is wrong and what to do
├── UsageError                a wrong argument, spider name, URL
├── ConfigError               a setting or a spider file that cannot be used
├── OutputError               a sink that cannot be written now
│   └── UnstorableItems       some items of a batch can never be stored; nothing of it is
├── OutputClosed              a sink that can never be written again: its reader closed the pipe
├── FrontierError             the queue server refused a command, or its state cannot be used
│   ├── FrontierUnavailable   the queue server does not answer: the same call may be made again
│   │   └── ReplicasMissing   fewer replicas than REDIS_REPLICAS have what was written
│   ├── FrontierFull          the queue server is out of memory: the same call may be made again
│   └── FrontierReplaced      somebody emptied or replaced the queue server while the crawl ran
├── BrokerUnavailable         a message broker does not answer, or blocks: the same may be asked again
├── PageTooLarge              a page whose tree is not built, because it would take too much memory and time
├── CrawlFailed               what `get()` raises for a crawl that a task of Celery has ordered
├── CrawlRetries              the same while all that is left of the crawl waits for another try
├── OwnLimit                  this machine has run out of a resource; no host is at fault
├── NotConfigured             what a user's pipeline, middleware or extension raises to be left out
├── FetchError                one page could not be fetched; `kind` names the failure, `transient` allows a retry
│   ├── Refused               the crawler does not make the request (address, scheme); never retried
│   ├── Ignored               a user's middleware skips the page
│   └── AskedInstead          a user's middleware wants another request to be made instead
└── PageError                 why a request was given up, as an errback of Scrapy's kind gets it
    └── HttpError …           Scrapy's names for it; a user's middleware may raise IgnoreRequest

The code that calls a library converts its errors to one of these (`frontier/`, `fetch/`, `export/`).
"""

from __future__ import annotations

import builtins
import errno
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from crawler.program import PROGRAM


class Exit(IntEnum):
    """Exit codes of commands: those of sysexits.h where one fits, 128 + the signal's number for a signal."""

    meaning: str

    DONE = 0, "done"
    FAILED = 1, "more given up than fetched, or not found"
    USAGE = 2, "usage"
    LOST = 3, "something was lost that nobody asked to leave out (--strict)"
    UNREACHABLE = 69, "queue server or broker unreachable"  # EX_UNAVAILABLE
    BROKEN = 70, "queue server replaced, or a bug"  # EX_SOFTWARE
    OUTPUT = 73, "output cannot be written"  # EX_CANTCREAT
    TRY_LATER = 75, "try again later (what is left is paused, or no worker can read it)"  # EX_TEMPFAIL
    CONFIG = 78, "bad configuration"  # EX_CONFIG
    HUNG_UP = 129, "SIGHUP"
    INTERRUPTED = 130, "Ctrl-C"
    READER_GONE = 141, "the reader of the output went away"  # as a shell reports SIGPIPE
    TERMINATED = 143, "SIGTERM"

    def __new__(cls, code: int, meaning: str) -> Exit:
        """Make a member from its code; its meaning is an attribute."""
        self = int.__new__(cls, code)
        self._value_ = code
        self.meaning = meaning
        return self


UNUSABLE_NAME = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.ENOEXEC,
    }
)
"""What the system says of a file or folder that the user has named: a mistake of the user, not of ours."""


class CrawlerError(Exception):
    """The base of all errors. The command line ends with `exit_code`."""

    exit_code = Exit.FAILED


class UsageError(CrawlerError):
    """A wrong argument, spider name or URL."""

    exit_code = Exit.USAGE


class ConfigError(CrawlerError):
    """A setting or a spider file that cannot be used."""

    exit_code = Exit.CONFIG


class OutputError(CrawlerError):
    """A sink that cannot be written, such as a full disk or a folder without permission."""

    exit_code = Exit.OUTPUT


class UnstorableItems(OutputError):
    """A sink has stored nothing of a batch, because it can never store some of its items (each a `BadItem` of
    `crawler.model`). The same batch with these left out may be written."""

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__("; ".join(item.why for item in items))
        self.items = tuple(items)


class OutputClosed(CrawlerError):
    """A sink that can never be written again, because its reader closed the pipe. Waiting is useless."""

    exit_code = Exit.READER_GONE


class FrontierError(CrawlerError):
    """The queue server refused a command, or its state cannot be used. The text says why."""

    exit_code = Exit.BROKEN


class FrontierUnavailable(FrontierError):
    """The queue server does not answer. Nothing is lost; the same call may be made again."""

    exit_code = Exit.UNREACHABLE
    advice = f"start the server, or correct REDIS_URL (see: {PROGRAM} settings --show-origin)"


class FrontierDiskFull(FrontierUnavailable):
    """The queue server cannot write to its disk. The same call may be made again."""

    advice = "free space on that disk; what waits then goes on by itself"


class ReplicasMissing(FrontierUnavailable):
    """Fewer replicas than REDIS_REPLICAS have what was written. The same call may be made again.

    `replies` are those of the commands that wrote it.
    """

    advice = "start the replicas; what waits then goes on by itself"

    def __init__(self, message: str, replies: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.replies = replies


class FrontierFull(FrontierError):
    """The queue server has no memory left for this write. The same call may be made again."""

    exit_code = Exit.TRY_LATER


class FrontierReplaced(FrontierError):
    """The queue server no longer has the job: somebody emptied or replaced the server."""


class BrokerUnavailable(CrawlerError):
    """A message broker (RabbitMQ) does not answer, or blocks those who publish. The same may be asked again."""

    exit_code = Exit.UNREACHABLE


class PageTooLarge(CrawlerError):
    """A page whose tree is not built, because it would take too much memory and time.

    `reason` names its counter: the setting that it exceeds, in lower case.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CrawlFailed(CrawlerError):
    """An ordered crawl has failed. `traceback` is that of the largest group of its dead letters; it may be empty."""

    def __init__(self, reason: str, traceback: str = "") -> None:
        super().__init__(reason, traceback)
        self.reason = reason
        self.traceback = traceback

    def __str__(self) -> str:
        return f"{self.reason}\n{self.traceback}".rstrip()


class CrawlRetries(CrawlerError):
    """All that is left of an ordered crawl waits for another try; the text says why. It is no end."""


class OwnLimit(CrawlerError):
    """This machine has run out of a resource: file descriptors, memory, threads, disk, a resolver that answers.

    No host or page is at fault. The text names the limit and what to do.
    """

    exit_code = Exit.TRY_LATER


class FetchError(CrawlerError):
    """One page could not be fetched.

    `kind` is a short stable word for counters and groups (`dns`, `connect`, `timeout`, `tls`, `reset`, `truncated`,
    `too_large`, `malformed`, `decode`, `refused`, `middleware`); `transient` tells whether a retry may succeed.
    """

    def __init__(self, kind: str, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.transient = transient


class Refused(FetchError):
    """The crawler does not make this request: its address or scheme is not permitted."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message, transient=False)


class Ignored(FetchError):
    """A downloader middleware raised `IgnoreRequest`: the page is skipped."""

    def __init__(self, message: str, *, unasked: bool) -> None:
        """`unasked`: the host was certainly not asked."""
        super().__init__("ignored", message, transient=False)
        self.unasked = unasked


class AskedInstead(FetchError):
    """A downloader middleware returned a request. It joins the queue, as the target of a redirect does."""

    def __init__(self, who: str, request: Any) -> None:
        """`who` names the method of the middleware."""
        super().__init__("middleware", f"{who} returned a request instead of a response", transient=False)
        self.request = request
        self.unasked = False  # the host was certainly not asked


class NotConfigured(CrawlerError):
    """Raised by the `from_crawler` or `__init__` of a pipeline, a middleware or an extension: it is left out. The text
    says why."""


# ---------------------------------------------------------------------------------------------------------
# What `failure.value` is in an errback with one argument


class PageError(CrawlerError):
    """Why a request was given up. `kind` is that of `crawler.model.Failure`."""

    kind = ""


class HttpError(PageError):
    """The host answered with a status that the spider does not handle. `response` is its answer."""

    def __init__(self, response: Any, message: str = "") -> None:
        super().__init__(message or f"{response.status}")
        self.response = response


class IgnoreRequest(PageError):
    """The crawler, or a middleware, did not make the request."""


class DNSLookupError(PageError, OSError):
    """The host's name does not resolve."""


class ConnectionRefusedError(PageError, builtins.ConnectionRefusedError):
    """The crawler cannot connect to the host."""


class TimeoutError(PageError, builtins.TimeoutError):
    """The connection or the answer took too long."""


class ResponseFailed(PageError):
    """The answer broke off, or cannot be used."""


class ConnectionLost(ResponseFailed, OSError):
    """The connection ended before the answer."""


class ResponseDataLossError(ResponseFailed):
    """The body ended too early (DOWNLOAD_FAIL_ON_DATALOSS)."""


class DownloadCancelledError(ResponseFailed):
    """The body is larger than DOWNLOAD_MAXSIZE."""


# names of Twisted and of later versions of Scrapy for the same
TCPTimedOutError = DownloadTimeoutError = TimeoutError
CannotResolveHostError = DNSLookupError
DownloadConnectionRefusedError = ConnectError = ConnectionRefusedError
ResponseNeverReceived = ConnectionDone = ConnectionLost
DownloadFailedError = ResponseFailed
