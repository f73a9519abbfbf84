"""Seeds as a person gives them: arguments, files and pipes; and the report of refused ones."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path

from crawler.errors import UsageError
from crawler.parsing.url import BadUrl, canonical, host_of
from crawler.runtime.safe_text import shown
from crawler.views.figures import counted, counts_in_words

STDIN = "-"
_NAMED = 20  # refused seeds


class Seeds:
    """The URLs that a command names. Each iteration reads them again; they are never all in memory.

    The constructor raises `UsageError` for a file that cannot be read, and if files alone are named and hold no URL.
    What a pipe holds is known only after it has been read: see `check_some`.
    """

    def __init__(self, urls: Iterable[str], files: Iterable[str]) -> None:
        self._urls = [url for url in urls if url != STDIN]
        self._files = [*files, *(STDIN for url in urls if url == STDIN)]
        for name in self._files:
            _check_readable(name)
        if self._files and self.repeatable:
            self.check_some(next(iter(self), None) is not None)

    def check_some(self, is_some: bool) -> None:
        """Raise `UsageError` unless some seed was found where the user said."""
        if not is_some:
            names = ", ".join("stdin" if name == STDIN else name for name in self._files)
            raise UsageError(f"no seeds: {names}: no URL, only blank lines or comments; give one URL per line")

    def __bool__(self) -> bool:
        return bool(self._urls or self._files)

    def __iter__(self) -> Iterator[str]:
        yield from self._urls
        for name in self._files:
            yield from _meaningful(_lines(name))

    @property
    def repeatable(self) -> bool:
        """Whether the seeds can be read again; False if some come from a pipe."""
        return all(name != STDIN and Path(name).is_file() for name in self._files)


def _check_readable(name: str) -> None:
    if name == STDIN:
        return
    path = Path(name)  # checked without opening: it may be a named pipe
    if not path.exists():
        raise UsageError(f"-f {name}: no such file; give a file with one URL per line, or - for stdin")
    if path.is_dir():
        raise UsageError(f"-f {name}: is a folder; give a file with one URL per line, or - for stdin")
    if not os.access(path, os.R_OK):
        raise UsageError(f"-f {name}: this user may not read it; check its permissions")


def _lines(name: str) -> Iterator[str]:
    is_pipe = name == STDIN
    with open(sys.stdin.fileno() if is_pipe else name, "rb", closefd=not is_pipe) as file:
        is_wide = file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as PowerShell writes a file
        encoding = "utf-16" if is_wide else "utf-8-sig"
        with io.TextIOWrapper(file, encoding=encoding, errors=_UNREADABLE) as lines:
            yield from lines


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Return a lone surrogate for each byte that is no text, as `surrogateescape` does, but for any encoding: no seed
    with one is admitted."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


_UNREADABLE = "crawler.unreadable"
codecs.register_error(_UNREADABLE, _escaped)


def _meaningful(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines stripped of surrounding white space, without blank lines and `#` comments."""
    for line in lines:
        url = line.strip()
        if url and url[0] != "#":
            yield url


# ---------------------------------------------------------------------------------------------------------
# The name of a crawl


def job_name(spider: str, urls: Iterable[str], arguments: Mapping[str, str]) -> str:
    """Return the name for this spider, seeds and arguments: always the same, so the same command resumes its job.

    `<spider>-<host of the first seed>-<8 hex digits>`, with only letters, digits, `.`, `_` and `-`, so that it
    can be part of a file name.
    """
    digest = blake2b(digest_size=4)
    host = ""
    for url in urls:
        spelled, its_host = _canonical(url)
        digest.update(spelled.encode("utf-8", "replace") + b"\n")
        host = host or its_host
    for name, value in sorted(arguments.items()):
        digest.update(f"-a {name}={value}\n".encode("utf-8", "replace"))
    return "-".join(filter(None, (_word(spider), _word(host), digest.hexdigest())))


def _canonical(url: str) -> tuple[str, str]:
    try:
        spelled = canonical(url)
    except BadUrl:
        return url, ""
    return spelled, host_of(spelled)


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60]


# ---------------------------------------------------------------------------------------------------------
# Refused seeds


class Refusals:
    """Prints to stderr which URLs were refused and why: the first 20 one by one, then the total; or each of them."""

    def __init__(self, *, each: bool = False) -> None:
        """`each`: name all, because they can be read in no other place."""
        self.total = 0
        self._each = each

    def __call__(self, url: str, why: str) -> None:
        """Count one refused URL, and print it if it is among those that are named."""
        self.total += 1
        if self._each or self.total <= _NAMED:
            print(f"refused {shown(url.strip())[:200]}: {shown(why)}", file=sys.stderr)

    def close(self, by_reason: Mapping[str, int]) -> None:
        """Print the total, if not every refusal was printed."""
        if self.total > _NAMED and not self._each:
            print(f"refused {counted(self.total)} in all: {counts_in_words(by_reason)}", file=sys.stderr)
