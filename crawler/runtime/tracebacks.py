"""Finds the user's own code in a traceback, so that an error names the line that a person can mend."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path

_DUMPED = re.compile(r'\s*File "(?P<file>[^"]*)", line (?P<line>[0-9]{1,9}) in (?P<name>.*)').fullmatch
_CRAWLER = tuple({str(path.parent.parent) for path in (Path(__file__), Path(__file__).resolve())})  # it may be a link
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def user_line(frames: Iterable[tuple[str, int]], own: Collection[str] = ()) -> str:
    """Return the deepest of these (file, line) in the user's code, such as `spiders/shop.py:42`; empty without one.

    The deepest frame comes last. The user's code is `own` and all but the crawler, the standard library and installed
    packages.
    """
    found = [frame for frame in frames if frame[0] in own or _is_users(frame[0])]
    return f"{_short(found[-1][0])}:{found[-1][1]}" if found else ""


def told(error: BaseException, own: Collection[str] = ()) -> tuple[str, str]:
    """Return the user's line in which the error arose, and the traceback without the frames of the crawler."""
    whole = traceback.TracebackException.from_exception(error)
    line = user_line(((frame.filename, frame.lineno or 0) for frame in whole.stack), own)
    _trim(whole, own)
    return line, "".join(whole.format())


def error_in_words(error: BaseException, own: Collection[str] = ()) -> str:
    """Return name, text and line of the error, such as `KeyError: 'price' (spiders/shop.py:42)`."""
    line, _ = told(error, own)
    return f"{type(error).__name__}: {error}{f' ({line})' if line else ''}"


def told_stack(dump: str) -> tuple[str, str]:
    """Do the same for a stack that `faulthandler` has written: where a process was when it was asked, or crashed."""
    frames = [(found["file"], int(found["line"]), found["name"]) for found in map(_DUMPED, dump.splitlines()) if found]
    frames.reverse()  # the deepest comes first in a dump
    first = next((place for place, frame in enumerate(frames) if _is_users(frame[0])), 0)
    kept = [frame for frame in frames[first:] if not frame[0].startswith(_CRAWLER)]
    summary = traceback.StackSummary.from_list([(*frame, None) for frame in kept])
    return user_line((file, line) for file, line, _ in frames), "".join(summary.format())


def _trim(whole: traceback.TracebackException, own: Collection[str]) -> None:
    """Remove the crawler's frames from the traceback and from those of its causes.

    A traceback that has only frames of the crawler stays if it shows a bug: if its last line is not a `raise` of one of
    our checks.
    """
    rest = [whole]
    while rest:
        one = rest.pop()
        kept = [frame for frame in one.stack if frame.filename in own or not frame.filename.startswith(_CRAWLER)]
        if kept or (one.stack and (one.stack[-1].line or "").startswith("raise ")):
            one.stack = traceback.StackSummary.from_list(kept)
        rest += [cause for cause in (one.__cause__, one.__context__, *(one.exceptions or ())) if cause]


def _is_users(file: str) -> bool:
    return Path(file).suffix == ".py" and not file.startswith((*_CRAWLER, *_INSTALLED, *_site_packages()))


def _site_packages() -> tuple[str, ...]:
    """Return the folders of installed packages that are in use, such as the user's own."""
    return tuple(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))


def _short(file: str) -> str:
    """Return the file's path within the working folder, if it is there."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
