"""Finds an allocator for a server whose program has none of its own.

With the C library's allocator a request costs the server more the more requests are pending: half as much again beside
ten million (docs/performance.md). jemalloc and mimalloc, loaded in front of it, do not have that cost.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Final

_NAMES: Final = ("libjemalloc.so", "libmimalloc.so")  # the best known first
_FOLDERS = ("/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib")
_PATIENCE = 5.0  # seconds for the program to tell its version
_IS_C_LIBRARYS = "malloc=libc"  # in what `valkey-server --version` and `redis-server --version` print


def allocator_for(program: Path) -> str:
    """The library to load in front of this server's program; empty if it has an allocator of its own, or none is found
    that may be loaded and works. Blocks for some milliseconds."""
    if sys.platform != "linux" or "LD_PRELOAD" in os.environ or _IS_C_LIBRARYS not in _version(program):
        return ""
    libraries = (library for library in _libraries() if is_safe(library))
    return next((str(library) for library in libraries if _version(program, library)), "")


def is_loaded(pid: int) -> bool:
    """Whether the process with this id has loaded such a library."""
    with suppress(OSError):
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
        return any(f"/{name}" in maps for name in _NAMES)
    return False


def is_safe(library: Path) -> bool:
    """Whether nobody but root and this user can change the library, or put another one in its place."""
    real = library.resolve()
    return all(_is_ours(path) for path in (real, *real.parents))


def _is_ours(path: Path) -> bool:
    found = path.stat()
    by_others = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
    by_group = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
    return found.st_uid in (0, os.geteuid()) and not by_others and not by_group


def _libraries() -> Iterator[Path]:
    """The libraries on this machine: the Python package's, then the system's."""
    package = find_spec("cmeel")
    places = [
        Path(place).parent / "cmeel.prefix/lib" for place in (package and package.submodule_search_locations) or ()
    ]
    system = chain.from_iterable(Path("/").glob(folder[1:]) for folder in _FOLDERS)
    for place in (*places, *system):
        for name in _NAMES:
            yield from dict.fromkeys(library.resolve() for library in sorted(place.glob(f"{name}.*")))


def _version(program: Path, library: Path | None = None) -> str:
    """What the program says of itself with the library in front of it; empty if it or the loader complains."""
    environment = {**os.environ, **({"LD_PRELOAD": str(library)} if library else {})}
    command = [str(program), "--version"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        return "" if said.stderr else said.stdout
    return ""
