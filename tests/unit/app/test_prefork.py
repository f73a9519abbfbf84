"""How many worker processes a command forks before it knows its settings, and when it forks none."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from crawler.app import prefork as module
from crawler.app.prefork import prefork
from crawler.worker.process import Preforked

CORES = os.cpu_count() or 1

# of Python 3.12 and later, if another test has left a thread; the processes that are forked here only wait
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no other test had left a thread."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ("crawl http://a.example/", {}, CORES),
        ("crawl --processes 3 http://a.example/", {}, 3),
        ("crawl --processes=3 http://a.example/", {}, 3),
        ("worker --processes", {}, CORES),
        ("worker --processes 0", {}, CORES),
        ("worker --processes many", {}, CORES),
        ("worker --processes 3 --processes 4", {}, 4),
        ("worker --processes 5000", {}, 1024),
        ("worker --processes ²", {}, CORES),
        (f"worker --processes {'9' * 5000}", {}, 1024),
        ("worker -s PROCESSES=3 -s PROCESSES=5 -s PROCESSES=4", {}, 4),
        ("worker -s PROCESSES=3", {}, 3),
        ("-s PROCESSES=3 worker", {"CRAWLER_PROCESSES": "4"}, 3),
        ("worker --set PROCESSES=3 --processes 2", {}, 2),
        ("worker", {"CRAWLER_PROCESSES": "4"}, 4),
        ("worker", {"PROCESSES": "4"}, CORES),
        ("crawl --help", {}, 0),
        ("help crawl", {}, 0),
        ("schedule add news @daily -- crawl http://a.example/", {}, 0),
        ("-s worker status", {}, 0),
        ("-v -s USER_AGENT=crawl worker", {}, CORES),
        ("", {}, 0),
        ("worker -h", {}, 0),
        ("crawl -s REDIS_URL=memory://", {}, 0),
        ("crawl", {"REDIS_URL": "memory://"}, 0),
        ("crawl", {"CRAWLER_REDIS_URL": "memory://", "REDIS_URL": "redis://127.0.0.1"}, 0),
        ("crawl -s REDIS_URL=redis://127.0.0.1", {"REDIS_URL": "memory://"}, CORES),
    ],
)
def test_as_many_as_the_command_line_and_the_environment_say(
    arguments: str, environment: dict[str, str], expected: int
) -> None:
    assert module._wanted(arguments.split(), environment) == expected


def test_none_beside_another_thread() -> None:
    """It might hold a lock, which nobody would ever release in the forked process."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        made, work = prefork(["crawl", "--processes", "2"], {})
    finally:
        done.set()
        other.join()
    assert (len(made), work) == (0, None)


@pytest.mark.usefixtures("alone")
def test_none_where_the_end_of_a_process_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int) -> int:
        raise OSError("not implemented")

    monkeypatch.setattr(os, "pidfd_open", refused)
    made, work = prefork(["crawl", "--processes", "2"], {})
    assert (len(made), work) == (0, None)


@pytest.mark.usefixtures("alone")
def test_none_where_this_python_cannot_watch_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    made, work = prefork(["crawl", "--processes", "2"], {})
    assert (len(made), work) == (0, None)


@pytest.mark.usefixtures("alone")
def test_no_more_than_there_are_descriptors_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command needs three for each, and others for itself."""
    forked = 0

    def count() -> int:
        nonlocal forked
        forked += 1
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", count)
    monkeypatch.setattr(module, "sockets_left", lambda: 2)
    prefork(["crawl", "--processes", "2"], {})
    assert forked == 0
    monkeypatch.setattr(module, "sockets_left", lambda: 3)
    prefork(["crawl", "--processes", "2"], {})
    assert forked == 1


@pytest.mark.usefixtures("alone")
def test_as_many_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    made, work = prefork(["crawl", "--processes", "2"], {})
    assert (len(made), work) == (0, None)


def waiting() -> tuple[int, socket.socket]:
    """A process that ends when its line closes."""
    ours, theirs = socket.socketpair()
    if not (pid := os.fork()):
        theirs.recv(1)
        os._exit(0)
    theirs.close()
    return pid, ours


def kill(pid: int) -> None:
    """Kill it and wait for its end, without reaping it."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def reap(pid: int) -> None:
    """Kill it and reap it, as somebody else may who has the same parent."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def is_child(pid: int) -> bool:
    """Whether it is one of ours: running, or ended and not reaped."""
    return str(pid) in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


async def test_a_process_that_died_while_it_waited_is_passed_over() -> None:
    first, second = waiting(), waiting()
    made = Preforked(first, second)
    kill(second[0])
    process = await made.take(0)
    assert process is not None
    assert process.pid == first[0]
    assert await process.wait() == process.returncode == 0, "it was woken"
    assert await made.take(0) is None
    assert not is_child(second[0]), "nothing is left of it"


def test_those_that_are_too_many_end() -> None:
    processes = [waiting() for _ in range(3)]
    made = Preforked(*processes)
    made.keep(1)
    assert len(made) == 1
    assert [is_child(pid) for pid, _ in processes] == [True, False, False]
    made.keep(0)


async def test_somebody_else_may_reap_them() -> None:
    """As `os.waitpid(-1, 0)` in a user's code does, or a system that was told to ignore SIGCHLD."""
    first, second = waiting(), waiting()
    made = Preforked(first, second)
    process = await made.take(0)
    assert process is not None
    reap(second[0])
    assert await process.wait() == process.returncode == 255
    reap(first[0])
    made.keep(0)


async def test_a_signal_reaches_a_process_until_it_has_ended() -> None:
    ours, theirs = socket.socketpair()
    if not (pid := os.fork()):
        while True:
            theirs.recv(1)
    process = await Preforked((pid, ours)).take(0)
    assert process is not None
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # to nobody
    theirs.close()
