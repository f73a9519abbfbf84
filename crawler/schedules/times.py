"""The ticks of a cron line in a time zone, also where the clocks change.

As in Debian's cron, a line that names an hour and a minute ticks once on each of its days. If the clocks skip that
time, it ticks as soon as they have changed; if they repeat it, the first time counts. A line whose minute or hour
begins with `*` follows the time that passes: nothing is skipped or repeated for it.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""The names that cron has for some lines."""

FIELDS = "minute hour day month weekday"
MAX_CRON = 200
"""Characters of a cron line."""

# What the library raises for some lines that it should refuse, such as a step behind `MON#1`.
_REFUSED = (CronSimError, AssertionError, TypeError, ValueError)


class Times:
    """The ticks of one cron line. Raises `ValueError`, with all that is wrong, for a line or a zone that is none."""

    def __init__(self, cron: str, zone: str = "UTC") -> None:
        wrong = []
        try:
            self._line = _line(cron)
        except ValueError as error:
            wrong.append(str(error))
        try:
            self._zone = _zone(zone)
        except ValueError as error:
            wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))

    def after(self, moment: float) -> int:
        """Return the first tick after `moment`; both are seconds since 1970. Raises `ValueError` if there is none."""
        for tick in CronSim(self._line, datetime.fromtimestamp(moment, self._zone)):
            # In the hour that the clocks repeat, the library begins with the first of the two.
            if tick.timestamp() > moment:
                return int(tick.timestamp())
        raise ValueError(f"cron line {self._line!r}: such a day never comes")

    def next(self, moment: float, count: int) -> list[int]:
        """Return the next `count` ticks after `moment`."""
        found: list[int] = []
        while len(found) < count:
            found.append(self.after(found[-1] if found else moment))
        return found

    def shown(self, tick: float) -> str:
        """Return the tick as local time with its offset from UTC, for people: `2026-11-29 12:15 +0100`."""
        return f"{datetime.fromtimestamp(tick, self._zone):%Y-%m-%d %H:%M %z}"


@lru_cache(maxsize=4096)  # a scheduler reads all schedules every second
def _line(cron: str) -> str:
    """Return the line with its five fields. Raise `ValueError` unless it is one that ticks some day."""
    line = SHORT.get(cron.strip().lower(), cron)
    if len(line) > MAX_CRON:
        raise ValueError(f"cron line of {len(line)} characters: at most {MAX_CRON}")
    if line.startswith("@"):
        raise ValueError(f"cron line {cron!r}: the names are {', '.join(SHORT)}")
    if len(line.split()) != len(FIELDS.split()):
        raise ValueError(
            f"cron line {cron!r} has {len(line.split())} fields, not the five of cron ({FIELDS}); "
            "write it in quotes, such as '*/15 * * * *'"
        )
    try:
        next(CronSim(line, datetime(2000, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise ValueError(f"cron line {cron!r}: such a day never comes") from None
    except _REFUSED as error:
        raise ValueError(f"cron line {cron!r}: {str(error).lower() or 'cannot be read'} ({FIELDS})") from None
    return line


@lru_cache(maxsize=4096)
def _zone(name: str) -> tzinfo:
    """Return the time zone of that name. Raise `ValueError` if this machine does not know it."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder of names
        if not zoneinfo.available_timezones():
            raise ValueError(
                f"time zone {name!r}: this machine has no time zones; install them: pip install tzdata"
            ) from None
        raise ValueError(f"time zone {name!r} is unknown; write it like Europe/Berlin, or UTC") from None
