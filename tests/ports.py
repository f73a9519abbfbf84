"""Ports of 127.0.0.1 for servers that must be told a number, because they cannot choose one themselves.

Between the choice and the server's start, anybody may take a port: most of all an outgoing connection, to which the
kernel gives any port of its own range. So these ports lie below that range, and no two calls of this process return
the same one.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

LOWEST, HIGHEST = 10_000, 32_000  # Linux gives outgoing connections 32768 to 60999
TRIES = 1_000

_given: set[int] = set()


def free_port() -> int:
    """Return a port that nobody listens to now, and that no call before has returned."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Return so many ports, each as `free_port` does. Raises `RuntimeError` if there are none."""
    found: list[int] = []
    with ExitStack() as held:
        for _ in range(TRIES):
            port = random.SystemRandom().randint(LOWEST, HIGHEST)  # tests of other processes choose other ones
            if port not in _given and _is_free(port, held):
                _given.add(port)
                found.append(port)
            if len(found) == number:
                return found
    raise RuntimeError(f"no {number} free ports between {LOWEST} and {HIGHEST}")


def _is_free(port: int, held: ExitStack) -> bool:
    probe = held.enter_context(socket.socket())
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
