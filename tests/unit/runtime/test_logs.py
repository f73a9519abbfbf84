"""One event a line, readable by people or machines, with nothing in it that could harm either."""

from __future__ import annotations

import errno
import io
import json
import logging
import warnings
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from crawler import Spider
from crawler.runtime import logs

HOSTILE = "\x1b[31m\r\nERROR forged\x9b\u2028\u202e\ud800"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_time_level_event_and_fields() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    structlog.get_logger().info("fetched", url="https://example.com/", status=200, seconds=0.25, ok=True, none=None)
    (line,) = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "level": "info",
        "event": "fetched",
        "url": "https://example.com/",
        "status": 200,
        "seconds": 0.25,
        "ok": True,
        "none": None,
    }


@pytest.mark.parametrize("format", ["json", "console"])
def test_hostile_text_stays_one_line_without_control_characters(format: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure("INFO", format, stream)
    structlog.get_logger().info(
        HOSTILE, title=HOSTILE, deep={HOSTILE: [HOSTILE, b"\x1b\xff"]}, error=ValueError(HOSTILE)
    )
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert "\r" not in text


@pytest.mark.parametrize("format", ["json", "console"])
def test_passwords_in_urls_are_masked_wherever_they_stand(format: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure("INFO", format, stream)
    url = "redis://:geheim@127.0.0.1:6379/0"
    log = structlog.get_logger()
    log.error(f"no answer from {url}", server=url, deep=[{"url": url}], error=OSError(url))
    try:
        raise OSError(url)
    except OSError:
        log.exception("failed")
    logging.getLogger("library").error("lost %s", url)
    assert "geheim" not in stream.getvalue()
    assert stream.getvalue().count("redis://:***@127.0.0.1:6379/0") == 6


@pytest.mark.parametrize("format", ["json", "console"])
def test_credentials_are_masked_wherever_they_stand(format: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure("INFO", format, stream)
    headers = {"Authorization": "geheim", "cookie": "a=geheim"}
    structlog.get_logger().error(
        "no price with Bearer abc123geheim",
        token="geheim",
        said="cookie: geheim",
        deep=[headers],
        cookies={"a": "geheim"},
    )
    logging.getLogger("library").error("sent %s", headers)
    assert "geheim" not in stream.getvalue()
    assert stream.getvalue().count("***") == 8


def test_a_traceback_is_one_json_line() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    try:
        raise ValueError("broken page")
    except ValueError:
        structlog.get_logger().exception("callback_failed", url="https://example.com/")
    (line,) = lines(stream)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: broken page")


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_only_events_from_the_level_up_are_written(level: logs.Level, heard: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("event")
    assert [line["level"] for line in lines(stream)] == heard


def test_libraries_are_heard_from_warning_up_and_python_warnings_too() -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble with %s", "something")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second = lines(stream)
    assert (first["event"], first["level"], first["logger"]) == ("trouble with something", "warning", "library")
    assert "DeprecationWarning: old" in second["event"]


def test_a_spider_is_heard_at_the_crawlers_own_level_with_its_name() -> None:
    class Shop(Spider):
        name = "shop"

    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    logger = Shop().logger
    logger.info("no price on %s", "http://me:geheim@a.example/")
    logger.debug("unheard")
    logging.getLogger("spiders.shop_de").info("from its file")
    logs.set_level("DEBUG")
    logger.debug("heard now")
    logs.set_level("WARNING")
    logger.info("unheard")
    told = [(one["level"], one["event"], one.get("spider"), one["logger"]) for one in lines(stream)]
    assert told == [
        ("info", "no price on http://***@a.example/", "shop", "spiders.shop"),
        ("info", "from its file", None, "spiders.shop_de"),
        ("debug", "heard now", "shop", "spiders.shop"),
    ]


def test_a_line_that_cannot_be_made_is_told_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure("INFO", "json", stream)
    logging.getLogger("spiders.shop").info("\x1b100%", "more")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["why"]) == (
        "log_line_failed",
        "spiders.shop",
        "ValueError: incomplete format",
    )
    assert line["line"].rpartition(":")[0].endswith("test_logs.py")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("stream", "no_color", "is_console", "is_coloured"),
    [
        (Terminal(), "", True, True),
        (Terminal(), "1", True, False),
        (io.StringIO(), "", False, False),
    ],
)
def test_auto_is_a_console_on_a_terminal_and_json_elsewhere(
    stream: io.StringIO, no_color: str, is_console: bool, is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    logs.configure("INFO", "auto", stream)
    structlog.get_logger().info("fetched")
    assert stream.getvalue().startswith("{") is not is_console
    assert ("\x1b[" in stream.getvalue()) is is_coloured


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    logs.configure("INFO", "json", Full())
    structlog.get_logger().info("fetched")
    logging.getLogger("library").error("trouble")
