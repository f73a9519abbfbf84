"""What a spider's own code raised, with the line of that code."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

from crawler.errors import ConfigError
from crawler.model import Failure
from crawler.runtime.safe_text import without_password
from crawler.runtime.tracebacks import told, user_line
from crawler.spiders.base import Spider, method_of, own_classes

MAX_MESSAGE = 2_000  # characters of an exception's text that are kept
_MAX_TRACEBACK = 8_000  # characters of its last lines


def failure_of(cls: type, method: str, error: BaseException) -> Failure:
    """Return the failure for an exception of a spider's or pipeline's method, without credentials, which its text may
    quote.

    Its line is that of the user's code in which the error arose. An error in what a method gave arises nowhere in that
    code, and gets the line that gave it, or that of the method.
    """
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = "(cannot be shown: its __str__ fails)"
    line, whole = told(error, files_of(cls))
    return Failure(
        "callback",
        without_password(f"{name}: {text}"[: 2 * MAX_MESSAGE])[:MAX_MESSAGE],
        traceback=without_password(whole[-2 * _MAX_TRACEBACK :])[-_MAX_TRACEBACK:],
        error=name,
        line=line or getattr(error, "line", "") or definition(cls, getattr(error, "method", "") or method),
    )


def config_error(what: str, spider: type[Spider], method: str, error: BaseException) -> ConfigError:
    """Return the error of a command that the spider's method has ended: with the line and the traceback."""
    failure = failure_of(spider, method, error)
    where = f" ({failure.line})" if failure.line else ""
    return ConfigError(f"{what}: {failure.message}{where}\n{failure.traceback.rstrip()}")


def definition(cls: type, method: str) -> str:
    """Return the line on which the method begins; empty if there is none."""
    found: Any = getattr(cls, method_of(method), None)
    code = getattr(inspect.unwrap(found), "__code__", None) if found else None
    return user_line([(code.co_filename, code.co_firstlineno)], files_of(cls)) if code else ""


def files_of(cls: type) -> set[str]:
    """Return the source files of the class and its base classes, without those of the crawler."""
    files = set()
    for one in own_classes(cls) if issubclass(cls, Spider) else cls.__mro__[:-1]:
        with suppress(OSError, TypeError):  # no source file, such as in a Python shell
            files.add(inspect.getfile(one))
    return files
