"""Finds commands of Scrapy and names of its plugins in scripts, documents and lists of requirements."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import PurePath

from crawler.app.migration.findings import Word
from crawler.export.formats import ENDINGS
from crawler.parsing.scrapy_plugins import PLUGINS, plugin
from crawler.program import PROGRAM

_COMMAND = re.compile(
    r"(?<![\w./-])scrapy[ \t]+(crawl|runspider|shell|fetch|view|list|startproject|genspider|parse|check|bench|settings"
    r"|version|edit|deploy)\b([^\n`|;&#<>)\]]*)"
)
_SAME = {"shell", "fetch", "parse", "list", "startproject", "genspider", "runspider", "settings", "version"}
_OTHER = {
    "bench": "the page docs/performance.md has the figures",
    "check": f"run `{PROGRAM} check`, which reads saved pages",
    "edit": "open the file in your editor",
    "view": f"run `{PROGRAM} fetch URL`, which shows the page as the crawler gets it",
    "deploy": f"run `{PROGRAM} worker` on each machine",
}
_FLAGS = {"-o": "-o", "--output": "-o", "-O": "-O", "--overwrite-output": "-O"}
_REQUIREMENT = re.compile(r"^[ \t\"']*([A-Za-z][\w.-]*)(?=\s*(?:\[[^\]]*\])?\s*(?:[=<>!~;\"',@#]|$))", re.MULTILINE)


def commands(text: str) -> Iterator[tuple[int, Word]]:
    """Yield the line and what becomes of each command of Scrapy in a text."""
    for match in _COMMAND.finditer(text):
        if match[1] == "crawl" and not match[2].strip():
            continue  # of a sentence
        yield text.count("\n", 0, match.start()) + 1, command(match[1], match[2])


def command(name: str, rest: str) -> Word:
    """Return what becomes of `scrapy NAME …`."""
    shown = f"scrapy {name}"
    if name == "crawl":
        return Word("different", "command", shown, _crawl(_words(rest)))
    if name in _SAME:
        return Word("different", "command", shown, f"run `{PROGRAM} {name} …`")
    return Word("different", "command", shown, _OTHER[name])


def _words(rest: str) -> list[str]:
    try:
        return shlex.split(rest.strip().strip("\"'"))
    except ValueError:
        return rest.split()


def _crawl(words: Sequence[str]) -> str:
    """Return what to write instead of `scrapy crawl` with these words."""
    spider = next((word for word in words if word[0:1] not in ("-", "")), "NAME")
    outputs = [f" {_FLAGS[flag]} {_output(name)}" for flag, name in pairwise(words) if flag in _FLAGS]
    return f"run `{PROGRAM} crawl --spider {spider}{''.join(outputs)}`; -a and -s are the same"


def _output(name: str) -> str:
    """Return the name of an output that exists, for one of Scrapy's, which may end in `:FORMAT`."""
    name, _, word = name.partition(":") if "://" not in name else (name, "", "")
    ending = f".{word}" if word else PurePath(name).suffix
    return name if name == "-" else f"{PurePath(name).with_suffix(ending if ending in ENDINGS else '.jsonl')}"


def requirements(text: str, *, is_list: bool) -> Iterator[tuple[int, Word]]:
    """Yield the line of each plugin of Scrapy that a project requires; `is_list`: the text holds nothing else."""
    for match in _REQUIREMENT.finditer(text):
        known = plugin(match[1])
        if known and (known[0] in PLUGINS or is_list):
            yield text.count("\n", 0, match.start(1)) + 1, Word("missing", "plugin", *known)
