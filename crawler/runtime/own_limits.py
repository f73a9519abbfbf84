"""The resources of this machine, and the errors by which it reports that one has run out.

Such an error says nothing about a host or a page. The page goes back without an attempt, and the worker requests fewer
pages at once until the shortage ends (`OwnLimit`, `Concurrency`).
"""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from crawler.errors import OwnLimit

RESERVE: Final = 64
"""File descriptors that are left for what is no connection to a host: queue server, DNS, logs, files of spiders."""

OWN: Final[Mapping[int, str]] = {
    errno.EMFILE: "no file descriptor is left in this process (RLIMIT_NOFILE): ulimit -n, LimitNOFILE= of systemd",
    errno.ENFILE: "no file descriptor is left on this machine: sysctl fs.file-max",
    errno.ENOMEM: "the kernel has no memory left for it: more memory, fewer processes, or fewer CONCURRENT_REQUESTS",
    errno.ENOBUFS: "the kernel has no buffers left for connections: sysctl net.ipv4.tcp_mem, fewer CONCURRENT_REQUESTS",
    errno.ENETDOWN: "the network of this machine is down",
    errno.ENOSPC: "a disk of this machine is full",
    errno.EDQUOT: "a disk quota on this machine is used up",
    errno.EROFS: "a file system of this machine is read-only",
    errno.EIO: "a disk of this machine cannot be read or written: see dmesg",
}
"""Errors of the system that are this machine's, whatever was asked of it: what is wrong, and what can be done.

Not among them, though they arise here, is what one host may be the reason of: no route to it (ENETUNREACH,
EHOSTUNREACH), no IPv6 (EAFNOSUPPORT, EADDRNOTAVAIL), a firewall that forbids it (EPERM, EACCES). Those end by attempts.
"""

NO_PORT: Final = "no local port is left for connections: sysctl net.ipv4.ip_local_port_range, net.ipv4.tcp_tw_reuse"
"""What EADDRNOTAVAIL means when an IPv4 address was connected to."""

_NO_THREAD = "no thread can be started: ulimit -u, TasksMax= of systemd, pids.max of the container"
_CAUSES = 5  # of an error that are looked at
_ERRNO = re.compile(r"\[Errno (\d+)\]").findall


def own_limit(error: BaseException) -> OwnLimit | None:
    """What an error, or one that caused it, says about this machine; None: nothing."""
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if isinstance(cause, OwnLimit):
            return cause
        if isinstance(cause, OSError) and (why := OWN.get(cause.errno or 0)):
            return OwnLimit(why)
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return OwnLimit(_NO_THREAD)
        cause = cause.__cause__ if cause else None
    return None


def connect_limit(error: OSError, *, to_ipv4: bool) -> OwnLimit | None:
    """Return the limit behind a failure to connect to any address of a host. `to_ipv4`: one of them is an IPv4 address.

    Of several errors that are not alike only the text is left (`[Errno 24] …, [Errno 111] …`). One that is our own is
    enough: that address was not tried.
    """
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO(str(error))}
    if ours := numbers & OWN.keys():
        return OwnLimit(OWN[min(ours)])
    return OwnLimit(NO_PORT) if to_ipv4 and numbers == {errno.EADDRNOTAVAIL} else None


def raise_file_limit() -> None:
    """Let this process and its children have as many file descriptors as they may: the soft limit becomes the hard one.

    The soft one is 1,024 nearly everywhere, for the sake of programs that use `select`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS has a lower one besides; then it stays what it was
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sockets_left() -> int:
    """How many sockets this process may still open when `RESERVE` file descriptors, or half of them, are left."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    left = soft - len(os.listdir("/dev/fd"))
    return max(2, left - min(RESERVE, left // 2))
