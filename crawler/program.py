"""The names of the program: its version, its distribution, and the command as the user ran it, for hints that can be
copied into the shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

VERSION = "0.1.0"

DISTRIBUTION = "fleetcrawler"
"""The name on the package index, where `crawler` is another project. Import and command are `crawler`."""

_VARIABLE = "_CRAWLER_PROGRAM"  # from the scripts, and for worker processes, whose own command line is another
_COMMAND = re.compile(r"\bcrawler (?=[a-z\[])")


def _as_run() -> str:
    path = Path(sys.argv[0])
    if path.name == "__main__.py" and path.parent.name == "crawler":
        return f"{shlex.quote(sys.orig_argv[0])} -m crawler"
    if path.name == "crawler" and shutil.which("crawler") != str(path):
        return shlex.quote(str(path))
    return "crawler"


PROGRAM = os.environ.setdefault(_VARIABLE, _as_run())


def as_run(text: str) -> str:
    """`text`, in which commands are written `crawler …`, with the program as the user ran it."""
    return _COMMAND.sub(lambda _: f"{PROGRAM} ", text)


def extra(name: str) -> str:
    """Return the shell command that installs one of the optional packages."""
    return f"pip install '{DISTRIBUTION}[{name}]'"
