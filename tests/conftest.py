"""What all tests share: hypothesis profiles and one real queue server a session."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

from crawler.runtime.logs import USERS
from tests.valkey import Valkey

# Real servers and a busy machine make single examples slow without anything being wrong: no deadline.
_QUICK = hypothesis.settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.register_profile("default", _QUICK)
hypothesis.settings.register_profile("long", _QUICK, max_examples=2_000, stateful_step_count=100)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    """Heed the signals that `nohup` and a shell's `&` make us ignore: what tests start would ignore them, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were skipped for want of a server that could be installed."""
    skips = [one for one in terminalreporter.getreports("skipped") if "scripts/test-services" in str(one.longrepr)]
    if skips:
        why = "for want of nginx, RabbitMQ or libfaketime: run scripts/test-services as root"
        terminalreporter.write_line(f"NOT TESTED: {len(skips)} tests, {why}", yellow=True, bold=True)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """End with each test what it does to logging, such as a command that runs in this process and has a LOG_LEVEL."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger(USERS).setLevel(logging.NOTSET)
        logging.captureWarnings(False)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """One server for the whole run. Every test uses a key prefix of its own; none may empty it."""
    with Valkey() as server:
        yield server
