"""How a command ends when something goes wrong: one line for a person, one exit code for a script."""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import traceback

from typer import TyperException

from crawler.errors import UNUSABLE_NAME, CrawlerError, Exit, FrontierUnavailable
from crawler.program import PROGRAM
from crawler.runtime.safe_text import printable_lines, without_password
from crawler.runtime.signals import Interrupted

_QUOTED = re.compile(r"'([^']*)'")
_NO_CHOICE = re.compile(rf"{_QUOTED.pattern} is not one of (.*)", re.DOTALL)  # the library's text


def ended_by(error: BaseException, *, verbose: bool = False) -> int:
    """Print the error to stderr and return the exit code."""
    match error:
        case FrontierUnavailable():
            say_error(f"{error}; {error.advice}")
            return error.exit_code
        case CrawlerError():
            say_error(str(error))
            return error.exit_code
        case TyperException():
            say_error(_with_hint(error))
            return error.exit_code
        case BrokenPipeError() | OSError(errno=errno.EIO):
            _drop_output()  # stdout has no reader any more (`| head`, a closed terminal): end quietly
            return Exit.READER_GONE
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            _drop_output()
            say_error(f"cannot write {error.filename or 'the output'}: {error.strerror}")
            return Exit.OUTPUT
        case OSError(filename=str(name), strerror=str(why)) if error.errno in UNUSABLE_NAME:
            say_error(f"{name}: {why}")
            return Exit.USAGE
        case KeyboardInterrupt():
            return code_of(error)
    if verbose:
        lines = "".join(traceback.format_exception(error))
        sys.stderr.write(without_password(printable_lines(lines)))
    hint = "this is a bug" if verbose else "this is a bug; run again with -v for the details"
    say_error(f"{type(error).__name__}: {error} ({hint})")
    return Exit.BROKEN


def _drop_output() -> None:
    """Let Python's last flush of stdout, as it exits, not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def code_of(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of the signal that caused the interrupt."""
    return interrupt.exit_code if isinstance(interrupt, Interrupted) else Exit.INTERRUPTED


def _with_hint(error: TyperException) -> str:
    """Return the message with a similar word that exists, or the help of the command that it is about."""
    message = error.format_message().replace("Value error, ", "").rstrip(".")
    if choice := _NO_CHOICE.search(message):
        near = difflib.get_close_matches(choice[1], _QUOTED.findall(choice[2]), n=1, cutoff=0.5)
        message += f"; did you mean {near[0]}?" if near else ""
    command = getattr(getattr(error, "ctx", None), "command_path", "").removeprefix("crawler")
    return f"{message}{'' if message.endswith('?') else ';'} see {PROGRAM}{command} --help"


def say_error(text: str) -> None:
    """Print a line to stderr, without control characters and passwords."""
    word = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else "error:"
    print(word, without_password(printable_lines(text)), file=sys.stderr)
