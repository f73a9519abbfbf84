"""A network of this process alone: a loopback interface with all of 127.0.0.0/8, and a resolver that is ours.

Crawlers find names there as they do anywhere, by the system's settings, and nothing in them is replaced. Any port can
be listened on, and nothing reaches the outside.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

_INSIDE = "_BENCH_IN_ITS_OWN_NETWORK"  # set in the environment of the process that runs in it
_SIOCSIFFLAGS = 0x8914  # from linux/sockios.h: sets an interface's flags
_IFF_UP = 0x1

_FILES = {"/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/nsswitch.conf": "hosts: files dns\n"}
"""What the system's resolvers read. The second keeps glibc from asking systemd-resolved, which knows no such names."""


class NoNetwork(SystemExit):
    """The system does not let us make a network; the text says why."""


def is_possible() -> bool:
    """Whether this process may make a network."""
    return subprocess.run([*_unshare(), "true"], capture_output=True, check=False).returncode == 0


def enter() -> None:
    """Start this program again in a network of its own; return once it runs there. Raises `NoNetwork`."""
    if _INSIDE in os.environ:
        _prepare()
        return
    if not is_possible():
        raise NoNetwork("scripts/bench broad makes a network of its own by unshare(1), which this system forbids")
    words = [*_unshare(), sys.executable, "-m", "scripts.benchmark", *sys.argv[1:]]
    os.execvpe(words[0], words, {**os.environ, _INSIDE: "1"})  # noqa: S606


def _unshare() -> list[str]:
    """Return the prefix that runs a command in its own network, with its own view of the files."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", "--mount"]


def _prepare() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _FILES.items():
            ours = Path(folder, Path(name).name)
            ours.write_text(text)
            subprocess.run(["mount", "--bind", str(ours), name], check=True)  # noqa: S607 - stays when the folder is gone
