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
"""File descriptors reserved for everything except connections to hosts: queue server, DNS, logs, files of spiders."""

OWN: Final[Mapping[int, str]] = {
    errno.EMFILE: "no file descriptor is left in this process (RLIMIT_NOFILE): ulimit -n, LimitNOFILE= of systemd",
    errno.ENFILE: "no file descriptor is left on this machine: sysctl fs.file-max",
    errno.ENOMEM: "the kernel has no memory left: more memory, fewer processes, or fewer CONCURRENT_REQUESTS",
    errno.ENOBUFS: "the kernel has no buffers left for connections: sysctl net.ipv4.tcp_mem, fewer CONCURRENT_REQUESTS",
    errno.ENETDOWN: "the network of this machine is down",
    errno.ENOSPC: "a disk of this machine is full",
    errno.EDQUOT: "a disk quota on this machine is used up",
    errno.EROFS: "a file system of this machine is read-only",
    errno.EIO: "a disk of this machine cannot be read or written: see dmesg",
}
"""System errors that are this machine's fault in every call → what is wrong, and what to do about it.

The table leaves out errors that arise here but may concern one host only: no route to it (ENETUNREACH, EHOSTUNREACH),
no IPv6 (EAFNOSUPPORT, EADDRNOTAVAIL), a firewall that forbids it (EPERM, EACCES). Attempts bound those.
"""

NO_PORT: Final = "no local port is left for connections: sysctl net.ipv4.ip_local_port_range, net.ipv4.tcp_tw_reuse"
"""The meaning of EADDRNOTAVAIL on a connection to an IPv4 address."""

_NO_THREAD = "no thread can be started: ulimit -u, TasksMax= of systemd, pids.max of the container"
_CAUSES = 5  # of an error that `own_limit` examines
_ERRNO = re.compile(r"\[Errno (\d+)\]").findall


def own_limit(error: BaseException) -> OwnLimit | None:
    """Return the limit of this machine that the error, or one of its causes, reports; None if neither does."""
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
    """Return the limit that made every connection to a host fail. `to_ipv4`: one of its addresses is an IPv4 address.

    For several different errors Python keeps only their text (`[Errno 24] …, [Errno 111] …`). One error of this machine
    among them is enough, because that address was not tried.
    """
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO(str(error))}
    if ours := numbers & OWN.keys():
        return OwnLimit(OWN[min(ours)])
    return OwnLimit(NO_PORT) if to_ipv4 and numbers == {errno.EADDRNOTAVAIL} else None


def raise_file_limit() -> None:
    """Raise the soft limit of file descriptors to the hard one, for this process and its children.

    The soft limit is 1,024 on nearly every system, for the sake of programs that use `select`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # macOS has a further, lower limit; then the soft limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def sockets_left() -> int:
    """How many sockets this process may still open if it keeps `RESERVE` of the free file descriptors, or half of them
    if that is fewer."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize
    left = soft - len(os.listdir("/dev/fd"))
    return max(2, left - min(RESERVE, left // 2))
