"""Real limits on processes: clocks that are wrong, memory and files that may not grow, disks that are full."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Given to the interpreter at its start. Not libfaketime: it also moves the deadlines of the interpreter's own lock,
# so that a thread waits for another one's pleasure, and a heartbeat is late through no fault of the clock.
_WRONG_CLOCK = """
import datetime, time
_now, _now_ns, _offset = time.time, time.time_ns, {seconds}
time.time = lambda: _now() + _offset
time.time_ns = lambda: _now_ns() + _offset * 10**9
class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
datetime.datetime = _Datetime
"""


def clock_off(folder: Path, hours: int, root: Path) -> dict[str, str]:
    """Environment of a process whose clock is wrong by so many hours. Its monotonic clock is right, as after NTP."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_WRONG_CLOCK.format(seconds=hours * 3600))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{root}"}


def small_memory(megabytes: int) -> Sequence[str]:
    """Wrapper: no more address space than that (RLIMIT_AS)."""
    return ("prlimit", f"--as={megabytes * 1024 * 1024}")


def small_files(size: int) -> Sequence[str]:
    """Wrapper: no file may grow beyond so many bytes (soft RLIMIT_FSIZE; `larger_files` lifts it)."""
    return ("prlimit", f"--fsize={size}:")


def larger_files(pid: int) -> Sequence[str]:
    """Command that lifts the limit of a running process."""
    return ("prlimit", f"--pid={pid}", "--fsize=unlimited:")


def small_disk(mount: Path, kilobytes: int) -> Sequence[str]:
    """Wrapper, for root: a disk of that size at `mount`, in a mount namespace of the process's own."""
    script = f'mount -t tmpfs -o size={kilobytes}k none "{mount}" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def own_hosts(file: Path) -> Sequence[str]:
    """Wrapper: `file` for /etc/hosts, in a mount namespace of the process's own."""
    return own_file(file, "/etc/hosts")


def own_file(file: Path, path: str) -> Sequence[str]:
    """Wrapper: `file` for the one at `path`, in a mount namespace of the process's own."""
    script = f'mount --bind "{file}" {path} && exec "$@"'
    who = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *who, "--mount", "sh", "-c", script, "sh")


def larger_disk(pid: int, mount: Path, kilobytes: int) -> Sequence[str]:
    """Command that makes the disk of a process larger."""
    return ("nsenter", f"--mount=/proc/{pid}/ns/mnt", "mount", "-o", f"remount,size={kilobytes}k", str(mount))


def disk_of(pid: int, path: Path) -> Path:
    """The same path, as that process sees it."""
    return Path(f"/proc/{pid}/root{path}")
