"""The schedules that settings.py names, in SCHEDULES:

SCHEDULES = {"news": {"cron": "*/15 * * * *", "tz": "Europe/Berlin", "command": ["crawl", "https://a.example/"]}}
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from crawler.parsing.expected import expected
from crawler.schedules.timetable import Schedule, problems
from crawler.schedules.words import wrong_words

FIELDS = ("cron", "command", "tz", "overlap", "catch_up", "keep")
NEEDED = ("cron", "command")


def from_settings(name: str, fields: Mapping[str, Any], origin: str) -> Schedule:
    """Return the schedule with these fields. Raise `ValueError` if a field has another type."""
    return msgspec.convert({**fields, "name": name, "origin": origin}, Schedule)


def wrong_in_settings(name: str, fields: Mapping[str, Any], settable: Collection[str]) -> Iterator[str]:
    """Yield all that is wrong with the fields of one schedule; `settable` are the settings that it may set."""
    unknown = [field for field in fields if field not in FIELDS]
    for field in unknown:
        near = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.5)
        yield f"unknown field {field!r}; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(FIELDS)}")
    missing = [field for field in NEEDED if field not in fields]
    if missing:
        yield f"give {' and '.join(missing)}"
    if unknown or missing:
        return
    if not isinstance(fields["command"], list | tuple):
        yield 'command: expected a list of words, such as ["crawl", "https://a.example/"]'
        return
    try:
        schedule = from_settings(name, fields, "")
    except msgspec.ValidationError as error:
        yield expected(error)
        return
    yield from problems(schedule)
    yield from wrong_words(schedule.command, settable)
