"""Configures logging for every process: readable lines on a terminal, one JSON object per line elsewhere.

Every event passes through `_safe`, which turns control characters into visible escapes and credentials into `***`, so
that no text from the web can forge a log line or control a terminal. Log records of libraries take the same path.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from crawler.errors import ConfigError
from crawler.runtime.credentials import hidden, is_secret, may_hold_credentials
from crawler.runtime.safe_text import printable_lines, shown, without_password

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Format = Literal["auto", "console", "json"]

USERS = "spiders"
"""The logger of `Spider.logger`, and of `logging.getLogger(__name__)` in a file of the folder spiders/. What is logged
there is the user's own, not a library's."""

# Fields that may span several lines; in all others a line break becomes a visible escape.
_SEVERAL_LINES = frozenset({"exception", "traceback", "stack"})


def configure(level: Level = "INFO", format: Format = "auto", stream: TextIO | None = None) -> None:
    """Send all logging of this process, from `level` up, to `stream` (None: stderr).

    `auto` means `console` on a terminal and `json` elsewhere. Spiders log from `level` up; libraries from WARNING
    up, or everything at DEBUG. May be called again.
    """
    stream = sys.stderr if stream is None else stream
    console = format == "console" or (format == "auto" and stream.isatty())
    renderer: Processor = _console(stream) if console else _json_line
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        structlog.processors.format_exc_info,
        _safe,
    ]
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(_Lossy(stream)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,  # so that `set_level` also reaches loggers already in use
    )
    _route_libraries(_Lossy(stream), common, renderer)
    _set_level(number)


def log_file(name: str) -> TextIO | None:
    """Open the file that the log goes to, at its end; None for an empty name. Raise `ConfigError`."""
    try:
        return open(Path(name).expanduser(), "a", encoding="utf-8", errors="backslashreplace") if name else None
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", "") or str(error)
        raise ConfigError(f"LOG_FILE={name}: {why}; name a file that can be written") from None


def set_level(level: str) -> None:
    """Change the level and keep the format. Raises `KeyError` if there is no level of that name."""
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))
    _set_level(number)


def _set_level(level: int) -> None:
    """Set the level of what is not logged by the crawler itself."""
    logging.getLogger(USERS).setLevel(level)
    logging.getLogger().setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))


class _Lossy:
    """A stream that ignores write errors, because a full disk under the log must not stop a worker."""

    def __init__(self, stream: TextIO) -> None:
        self._write = stream.write
        self._flush = stream.flush

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._flush()


class _Handler(logging.StreamHandler[_Lossy]):
    """Reports in one line a log call that cannot be formatted, such as `info("100%", 5)`. Python would print the
    stack."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        where = f"{record.pathname}:{record.lineno}"
        why = f"{type(error).__name__}: {error}"
        structlog.get_logger().error("log_line_failed", logger=record.name, line=where, why=why, text=repr(record.msg))


def _route_libraries(stream: _Lossy, common: list[Processor], renderer: Processor) -> None:
    """Give the root logger of `logging` a single handler that uses the same processors."""
    handler = _Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(allow=["spider"]),
                *common,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.captureWarnings(True)


# ---------------------------------------------------------------------------------------------------------
# Processors


def _safe(logger: Any, method: str, event: EventDict) -> EventDict:
    """Escape control characters and hide credentials in values of any depth."""
    for key, value in event.items():
        kind = value.__class__
        if kind is str:
            if is_secret(key):
                event[key] = hidden(value)
            elif not value.isprintable() or "://" in value or may_hold_credentials(value):
                event[key] = _shown_lines(value) if key in _SEVERAL_LINES else shown(value)
        elif kind is not int and kind is not float:
            event[key] = _safe_value(hidden(value) if is_secret(key) else value)
    return event


def _shown_lines(value: str) -> str:
    return without_password(printable_lines(value))


def _safe_value(value: Any) -> Any:
    """`value` reduced to JSON types, with every text in it made safe."""
    match value:
        case None | bool() | int() | float():
            return value
        case bytes():
            return shown(value.decode("utf-8", "backslashreplace"))
        case Mapping():
            texts = {str(key): one for key, one in value.items()}
            return {shown(key): _safe_value(hidden(one) if is_secret(key) else one) for key, one in texts.items()}
        case list() | tuple() | set() | frozenset():
            return [_safe_value(one) for one in value]
        case _:
            return shown(str(value))


_encode = msgspec.json.Encoder().encode


def _json_line(logger: Any, method: str, event: EventDict) -> str:
    """Render `{"timestamp":…,"level":…,"event":…,fields…}`, with the same three keys first in every line."""
    head = {name: event.pop(name, None) for name in ("timestamp", "level", "event")}
    return _encode({**head, **event}).decode()


def _console(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
        pad_event_to=0,
    )


# ---------------------------------------------------------------------------------------------------------
# Inside another program


def _as_text(logger: Any, method: str, event: EventDict) -> str:
    """Render `event name=value …`."""
    head, trace = event.pop("event", ""), event.pop("exception", "")
    fields = " ".join(f"{name}={value!r}" for name, value in event.items())
    return "\n".join(filter(None, [f"{head} {fields}".rstrip(), trace]))


_TO_LOGGING: list[Processor] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.processors.format_exc_info,
    _safe,
    _as_text,
]

_users = 0  # of `through_logging`


@contextmanager
def through_logging() -> Iterator[None]:
    """Meanwhile, send the events to `logging`, to the logger of their module (`crawler.…`), where the program that
    crawls decides what becomes of them. Does nothing if structlog is configured: then they go where its events go."""
    global _users
    if not _users and structlog.is_configured():
        yield
        return
    _users += 1
    structlog.configure(
        processors=_TO_LOGGING,
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        _users -= 1
        if not _users and structlog.get_config()["processors"] is _TO_LOGGING:  # the program may have set its own
            structlog.reset_defaults()
