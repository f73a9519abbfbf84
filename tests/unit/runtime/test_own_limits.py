"""What this machine has no more of is never taken for a host's fault, and what is a host's fault never for ours."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from crawler.errors import OwnLimit
from crawler.runtime.own_limits import OWN, connect_limit, own_limit
from crawler.worker.concurrency import FIRST_PAUSE, LONGEST_PAUSE, Concurrency


def failed(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("number", OWN, ids=lambda number: errno.errorcode[number])
def test_these_errors_are_ours(number: int) -> None:
    for error in (failed(number), caused(ValueError("of a library"), failed(number))):
        assert isinstance(own_limit(error), OwnLimit)


def test_the_limit_and_what_can_be_done_are_named() -> None:
    assert str(own_limit(failed(errno.EMFILE))).endswith("(RLIMIT_NOFILE): ulimit -n, LimitNOFILE= of systemd")
    assert "ulimit -u" in str(own_limit(RuntimeError("can't start new thread")))


NOT_OURS = (
    *map(failed, (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)),
    *map(failed, (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPERM, errno.EACCES, errno.ENOENT, errno.EAGAIN)),
    *(OSError("[Errno 24] said a host"), MemoryError(), RuntimeError("24"), TimeoutError(), KeyError(errno.EMFILE)),
)


@pytest.mark.parametrize("error", NOT_OURS, ids=repr)
def test_these_are_not(error: BaseException) -> None:
    assert own_limit(error) is None


IPV4, IPV6 = True, False
CONNECTING: Mapping[str, tuple[OSError, bool, bool]] = {
    "no file descriptor": (failed(errno.EMFILE), IPV4, True),
    "of several, the first": (OSError("Multiple exceptions: [Errno 24] no, [Errno 111] refused"), IPV4, True),
    "of several, the last": (OSError("Multiple exceptions: [Errno 111] refused, [Errno 24] no"), IPV4, True),
    "of several, none": (OSError("Multiple exceptions: [Errno 111] refused, [Errno 113] no route"), IPV4, False),
    "no port left": (failed(errno.EADDRNOTAVAIL), IPV4, True),
    "no IPv6 here": (failed(errno.EADDRNOTAVAIL), IPV6, False),
    "no IPv6 here, refused by IPv4": (OSError("Multiple exceptions: [Errno 99] no, [Errno 111] refused"), IPV4, False),
    "no route by IPv6": (failed(errno.ENETUNREACH), IPV6, False),
}


@pytest.mark.parametrize(("error", "to_ipv4", "is_ours"), CONNECTING.values(), ids=CONNECTING.keys())
def test_a_failure_to_connect(error: OSError, to_ipv4: bool, is_ours: bool) -> None:
    assert bool(connect_limit(error, to_ipv4=to_ipv4)) == is_ours


@pytest.mark.parametrize(("soft", "hard", "at_least"), [(100, 300, 200), (64, 64, 25), (20, 20, 2), (512, 512, 430)])
def test_a_process_takes_the_file_descriptors_it_may_have(soft: int, hard: int, at_least: int) -> None:
    program = "from crawler.runtime.own_limits import *; raise_file_limit(); print(sockets_left())"
    command = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$0" -c "$1"'
    ran = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, program], capture_output=True, text=True, check=True
    )
    assert at_least <= int(ran.stdout) < hard


def test_those_claimed_together_count_once_and_the_pause_grows() -> None:
    concurrency = Concurrency(64)
    now, allowed, pauses = 100.0, [], []
    with capture_logs() as logs:
        for _ in range(10):
            claimed_at = now
            for _ in range(5):
                concurrency.met("no file descriptor", claimed_at, now + 1)
            now += 1
            allowed.append(concurrency.allowed)
            pauses.append(concurrency.pause(now))
            now += pauses[-1]
            assert concurrency.pause(now) == 0
    assert allowed == [32, 16, 8, 4, 2, 1, 1, 1, 1, 1]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    assert [line["event"] for line in logs] == ["own_limit"]


def test_each_page_that_goes_well_allows_one_more_until_it_is_over() -> None:
    concurrency = Concurrency(4)
    with capture_logs() as logs:
        concurrency.met("no file descriptor", 10.0, 11.0)
        concurrency.went_well(10.5)  # claimed before
        assert concurrency.allowed == 2
        concurrency.went_well(12.0)
        assert (concurrency.allowed, concurrency.why) == (3, "no file descriptor")
        concurrency.met("no file descriptor", 12.0, 13.0)
        assert concurrency.pause(13.0) == 2 * FIRST_PAUSE, "a page that meets it again does not go round as fast"
        for _ in range(10):
            concurrency.went_well(14.0)
        assert (concurrency.allowed, concurrency.why, concurrency.pause(13.0)) == (4, "", 0)
    assert [line["event"] for line in logs] == ["own_limit", "own_limit_over"]
