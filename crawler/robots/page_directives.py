"""What ``<meta name=robots>`` and ``X-Robots-Tag`` ask of us: not to keep a page, not to follow its links. Pure.

No standard defines the two. This follows what the search engines document ("Robots meta tag, data-nosnippet and
X-Robots-Tag specifications", Google Search Central; "X-Robots-Tag", MDN):

- directives are separated by commas and have no case; `none` is `noindex, nofollow`; those we do not know are ignored,
- `unavailable_after: DATE` is `noindex` from then on; a date that cannot be read is ignored,
- in a header, `NAME:` in front of a directive addresses it, and all that follow in the same line, to that robot,
- what is said to all robots and what is said to one of them add up: the more restrictive holds. `index`, `follow` and
  `all` take nothing back.

White space and semicolons are read as commas: where people mistake them for such, they mean the restriction.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from typing import Final

from msgspec import Struct

MAX_LENGTH = 10_000
"""Most characters that are read of one header line or one ``meta``."""

_EVERYBODY: Final = frozenset(("robots", "*"))
_WITH_VALUE: Final = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))
_NAME: Final = re.compile(r"\s*+([A-Za-z_*][^\s:]*+)\s*+:")
_MAX_COMMAS = 2  # in a date: "Friday, 25-Jun-10 15:00:00 UTC", "Friday, June 25, 2010"


class PageDirectives(Struct, frozen=True):
    """What a page asks of us."""

    noindex: bool = False  # not to keep it
    expired: bool = False  # not to keep it any more: the date of `unavailable_after` has passed
    nofollow: bool = False  # not to follow its links

    def __or__(self, other: PageDirectives) -> PageDirectives:
        """Both: the more restrictive."""
        return PageDirectives(
            self.noindex or other.noindex,
            self.expired or other.expired,
            self.nofollow or other.nofollow,
        )


_WORDS: Final = {
    "noindex": PageDirectives(noindex=True),
    "nofollow": PageDirectives(nofollow=True),
    "none": PageDirectives(noindex=True, nofollow=True),
}


def names_of(agent: str) -> frozenset[str]:
    """The names, in lower case, by which the robot with the product token `agent` is addressed."""
    return _EVERYBODY | {agent.lower()}


def read_directives(lines: Iterable[str], names: frozenset[str], now: float) -> PageDirectives:
    """The sum of what header lines, or the contents of metas, ask of a robot of these names.

    `now` is Unix seconds. Never raises, whatever the lines hold.
    """
    directives = PageDirectives()
    for line in lines:
        directives |= _read_line(line[:MAX_LENGTH], names, now)
    return directives


def _read_line(line: str, names: frozenset[str], now: float) -> PageDirectives:
    directives = PageDirectives()
    parts = deque(re.split("[,;]", line))
    ours = True
    while parts:
        part = parts.popleft()
        while (named := _NAME.match(part)) and named[1].lower() not in _WITH_VALUE:
            ours = named[1].lower().partition("/")[0] in names
            part = part[named.end() :]
        if named is None:
            found = _read_words(part)
        elif named[1].lower() == "unavailable_after":
            moment = _take_moment(part[named.end() :], parts)
            found = PageDirectives(expired=moment is not None and moment <= now)
        else:
            continue  # `max-image-preview: none` is about something else
        if ours:
            directives |= found
    return directives


def _read_words(text: str) -> PageDirectives:
    directives = PageDirectives()
    for word in text.lower().split():
        directives |= _WORDS.get(word, directives)
    return directives


def _take_moment(date: str, parts: deque[str]) -> float | None:
    """The date that begins here, in Unix seconds; what of the following `parts` belongs to it is taken away.

    Its end is not marked, and commas may be in it: it ends where it has become a date. None: it never does.
    """
    for commas in range(min(_MAX_COMMAS, len(parts)) + 1):
        moment = _moment(",".join((date, *islice(parts, commas))))
        if moment is not None:
            for _ in range(commas):
                parts.popleft()
            return moment
    return None


def _moment(text: str) -> float | None:
    """ISO 8601, RFC 850, RFC 822 and what resembles it, with or without a time; UTC when there is no known zone."""
    text = text.strip()
    day = f"{text.replace('-', ' ')} 00:00:00"
    for read, spelled in ((datetime.fromisoformat, text), (parsedate_to_datetime, text), (parsedate_to_datetime, day)):
        try:
            date = read(spelled)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None
