"""The error for a person who names a job that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from crawler.runtime.safe_text import shown

_SHOWN = 20


def no_job(name: str, names: Iterable[str]) -> str:
    """Say that no job has this name, which existing one may be meant, and which there are."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"; did you mean {shown(near[0])}?" if near else ""
    more = ", …" if len(names) > _SHOWN else ""
    there = f"there are: {', '.join(map(shown, names[:_SHOWN]))}{more}" if names else "there are none yet"
    return f"no job is named {shown(name)!r}{meant or ';'} {there}"
