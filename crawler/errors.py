"""Every error the crawler raises on purpose, as one small tree.

CrawlerError                  something a person can act on; its text says what and how
├── UsageError                a wrong argument, spider name, URL                    exit 2
├── ConfigError               a setting or a spider file that cannot be used        exit 78
├── OutputError               a sink that cannot be written                         exit 73
├── OutputClosed              a sink that can never be written again: nobody reads the pipe   exit 73
├── FrontierError             the queue server answered, but not as it must         exit 70
│   ├── FrontierUnavailable   no answer: worth waiting and trying again             exit 69
│   ├── FrontierFull          out of memory: worth waiting and trying again         exit 75
│   └── FrontierReplaced      the server was emptied or exchanged under us          exit 70
├── PageTooLarge          a page whose tree is not built: it would take too much memory and time
├── OwnLimit                  this machine has no more of something: no fault of a host     exit 75
└── FetchError                one page could not be had; `kind` says how, `transient` whether to retry
    └── Refused               we will not ask for it (address, scheme); never retried

Libraries' own errors become one of these once, at the edge (`frontier/`, `fetch/`, `sinks/`).
"""

from __future__ import annotations


class CrawlerError(Exception):
    """Base of all; `exit_code` is what the command line ends with (sysexits.h)."""

    exit_code = 1


class UsageError(CrawlerError):
    """A wrong argument, spider name or URL."""

    exit_code = 2


class ConfigError(CrawlerError):
    """A setting, or a spider file, that cannot be used."""

    exit_code = 78


class OutputError(CrawlerError):
    """A sink that cannot be written, such as a full disk or a folder without permission."""

    exit_code = 73


class OutputClosed(CrawlerError):
    """A sink that can never be written again, because nobody reads the pipe any more. Waiting is useless."""

    exit_code = 73


class FrontierError(CrawlerError):
    """The queue server answered, but not as it must."""

    exit_code = 70


class FrontierUnavailable(FrontierError):
    """No answer from the queue server. Nothing is lost; the same call may be made again."""

    exit_code = 69


class FrontierFull(FrontierError):
    """The queue server has no memory left for this write. The same call may be made again."""

    exit_code = 75


class FrontierReplaced(FrontierError):
    """The queue server does not know our job any more: it was emptied or exchanged."""


class PageTooLarge(CrawlerError):
    """A page whose tree is not built, because it would take too much memory and time.

    `reason` is the word that counts it: the setting that draws the line, in lower case.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OwnLimit(CrawlerError):
    """This machine has no more of something: file descriptors, memory, threads, disk, a resolver that answers.

    It tells nothing of a host or a page. The text names the limit and what can be done.
    """

    exit_code = 75


class FetchError(CrawlerError):
    """One page could not be had.

    `kind` is a short stable word for counters and groups (`dns`, `connect`, `timeout`, `tls`,
    `reset`, `truncated`, `too_large`, `malformed`, `decode`, `refused`); `transient` says whether another try may
    succeed.
    """

    def __init__(self, kind: str, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.transient = transient


class Refused(FetchError):
    """We will not make this request: its address or scheme is not permitted."""

    def __init__(self, message: str) -> None:
        super().__init__("refused", message, transient=False)
