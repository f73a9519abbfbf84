"""A broker across a network without TLS is named once at start."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from crawler.amqp.address import Address
from crawler.app.broker import tls_for
from crawler.app.config import Config
from crawler.settings import Settings


@pytest.mark.parametrize(
    ("scheme", "hosts", "events"),
    [
        ("amqp", ("127.0.0.1", "localhost", "::1"), []),
        ("amqp", ("127.0.0.1", "mq.example"), ["broker_open"]),
        ("amqps", ("mq.example",), []),
    ],
)
def test_who_may_listen(scheme: str, hosts: tuple[str, ...], events: list[str]) -> None:
    broker = Address(scheme, tuple((host, 5672) for host in hosts), password="secret")
    with capture_logs() as logs:
        context = tls_for(Config(Settings(), {}, Path()), broker)
    assert [one["event"] for one in logs] == events
    assert (context is not None) == (scheme == "amqps")
    assert "secret" not in str(logs)
