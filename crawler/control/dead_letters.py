"""Selects and groups dead letters, so that a person reads three lines instead of a thousand. Pure."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from crawler.errors import UsageError
from crawler.model import Failure
from crawler.status import DeadLetter

LETTERS_READ = 1_000
"""Dead letters of a job, at most, among which the most frequent causes are looked for."""


def error_of(failure: Failure) -> str:
    """Return the reason in a word: `http_503`, `timeout`, or `callback/KeyError` for an exception of a spider."""
    return f"{failure.kind}/{failure.error}" if failure.error else failure.kind


def said_by(letter: DeadLetter) -> str:
    """Return what the error said, without the letter's URL and the name of the exception."""
    failure = letter.failure
    return failure.message.removeprefix(f"{letter.url}: ").removeprefix(f"{failure.error}: ")


FIELDS: Mapping[str, Callable[[DeadLetter], str]] = {
    "error": lambda letter: error_of(letter.failure),
    "host": lambda letter: letter.host,
    "spider": lambda letter: letter.spider,
    "callback": lambda letter: letter.callback,
    "line": lambda letter: letter.failure.line,
    "url": lambda letter: letter.url,
    "status": lambda letter: str(letter.failure.status or ""),
    "worker": lambda letter: letter.worker,
}
"""The fields by which dead letters can be selected and grouped."""


class Condition(Struct, frozen=True):
    """A field and the shell pattern its value must match."""

    field: str
    pattern: str

    def holds(self, letter: DeadLetter) -> bool:
        """Return whether the field of the dead letter matches the pattern; case matters."""
        return fnmatchcase(FIELDS[self.field](letter), self.pattern)


def parse_condition(text: str) -> Condition:
    """Parse the text of a `--where`, such as `host=*.example.com`. Raise `UsageError` if it is malformed."""
    field, sign, pattern = text.partition("=")
    if not sign:
        raise UsageError(f"--where {text}: expected FIELD=PATTERN, for example --where 'error=http_5*'")
    return Condition(known_field(field.strip(), "--where"), pattern)


def known_field(name: str, option: str) -> str:
    """Return `name` if it is one of `FIELDS`. Raise `UsageError` otherwise."""
    if name in FIELDS:
        return name
    near = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FIELDS)}"
    raise UsageError(f"{option}: a dead letter has no field {name!r}; {hint}")


def meets(letter: DeadLetter, conditions: Iterable[Condition]) -> bool:
    """Return whether the dead letter meets all conditions."""
    return all(condition.holds(letter) for condition in conditions)


class Group(Struct):
    """Dead letters with equal values in some fields. `newest` (Unix seconds), `id`, `url`, `message` and `failure` are
    of the newest one."""

    values: tuple[str, ...]
    count: int = 0
    newest: float = 0.0
    id: str = ""
    url: str = ""
    message: str = ""
    failure: Failure = Failure("", "")


class Groups:
    """Groups dead letters one by one without keeping them."""

    def __init__(self, by: Sequence[str]) -> None:
        self.by = tuple(by)
        self._groups: dict[tuple[str, ...], Group] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count the dead letter in its group."""
        values = tuple(FIELDS[field](letter) for field in self.by)
        group = self._groups.setdefault(values, Group(values))
        group.count += 1
        if letter.died >= group.newest:
            group.newest, group.id, group.url = letter.died, letter.id, letter.url
            group.message, group.failure = said_by(letter), letter.failure

    def largest(self, limit: int) -> list[Group]:
        """Return the `limit` largest groups; among equal ones, those with the newest dead letter first."""
        return heapq.nlargest(limit, self._groups.values(), key=lambda group: (group.count, group.newest))


async def newest(letters: AsyncIterable[DeadLetter], limit: int) -> list[DeadLetter]:
    """Return the `limit` dead letters that died last, newest first; keeps at most `limit` in memory."""
    kept: list[tuple[float, str, DeadLetter]] = []  # a heap, the oldest first
    async for letter in letters:
        entry = (letter.died, letter.id, letter)
        if len(kept) < limit:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
    return [letter for _, _, letter in sorted(kept, key=lambda entry: entry[:2], reverse=True)]
