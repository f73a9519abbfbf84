"""The words of the command that a schedule runs: which ones there may be, and what is wrong with others.

They come back from the queue server, so they are checked each time they are used. No word may name a setting that leads
to a program or to code, or another job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

COMMAND = "crawl"
WITH_VALUE = frozenset(
    {
        *("--spider", "-a", "--argument", "-f", "--file", "-o", "--output", "-O", "--overwrite", "--order"),
        *("--processes", "--concurrency", "-s", "--set"),
    }
)
FLAGS = frozenset({"--append", "--strict"})


def wrong_words(words: Sequence[str], settable: Collection[str]) -> Iterator[str]:
    """Yield all that is wrong with the words of a command; `settable` are the settings that it may set."""
    if not words or words[0] != COMMAND:
        yield f"a schedule runs `{COMMAND}`: write -- {COMMAND} URL…"
        return
    options = list(_options(words[1:]))
    for name, value in options:
        if name == "":
            if value == "-":
                yield "-: a scheduled crawl has no standard input; name a file that the scheduler can read: -f FILE"
        elif name not in WITH_VALUE | FLAGS:
            yield f"{name}: a scheduled crawl takes {', '.join(sorted(WITH_VALUE | FLAGS))}"
        elif name in ("-f", "--file") and value == "-":
            yield f"{name} -: a scheduled crawl has no standard input"
        elif name in ("-s", "--set") and value.partition("=")[0].strip() not in settable:
            yield f"{name} {value}: a schedule sets {', '.join(sorted(settable))}; the others belong in settings.py"
    given = dict(options)
    output = given.get("-o") or given.get("--output") or ""
    if output not in ("", "-") and "://" not in output and "--append" not in given:
        yield (
            f"-o {output}: each run is a job of its own, and its items would follow those of another; "
            "add --append, or write -O to replace the file; without both, each run has a file of its own"
        )


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option with its value, and each other word with an empty name."""
    rest = iter(words)
    for word in rest:
        name, sign, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not word.startswith("-") or word == "-":
            yield "", word
        else:
            yield name, value if sign or name not in WITH_VALUE else next(rest, "")
