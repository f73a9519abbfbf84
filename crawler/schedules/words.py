"""The words of a command that a schedule may run.

They come back from the queue server, so they are checked against a list each time they are used: no word may name a
setting that leads to a program or to code, or another job.
"""

from __future__ import annotations

from collections.abc import Sequence

COMMAND = "crawl"
WITH_VALUE = frozenset(
    {
        *("--spider", "-a", "--argument", "-f", "--file", "-o", "--output", "-O", "--overwrite", "--order"),
        *("--processes", "--concurrency", "-s", "--set"),
    }
)
FLAGS = frozenset({"--append", "--strict"})


def wrong_words(words: Sequence[str], settable: frozenset[str]) -> list[str]:
    """Return all that is wrong with the words of a command; it may set the settings in `settable`."""
    if not words or words[0] != COMMAND:
        return [f"a schedule runs `{COMMAND}`: write  -- {COMMAND} URL…"]
    wrong = []
    rest = iter(words[1:])
    for word in rest:
        name, sign, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in WITH_VALUE:
            value = value if sign else next(rest, "")
            if value == "-" or (value.startswith("-") and name not in ("-a", "--argument")):
                wrong.append(f"{name} {value}: give a value that begins with another character than -")
            if name in ("-s", "--set") and value.partition("=")[0] not in settable:
                wrong.append(f"{name} {value}: a schedule may set {', '.join(sorted(settable))}; others: settings.py")
        elif name.startswith("-") and word not in FLAGS:
            wrong.append(f"{word}: a scheduled crawl takes {', '.join(sorted(WITH_VALUE | FLAGS))}")
    return wrong
