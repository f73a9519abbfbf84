"""What a connection to RabbitMQ needs of the settings."""

from __future__ import annotations

import ssl

import structlog

from crawler.amqp.address import Address
from crawler.app.config import Config
from crawler.runtime.tls import client_context

log = structlog.get_logger()

_HERE = ("127.0.0.1", "localhost", "::1")


def tls_for(config: Config, address: Address) -> ssl.SSLContext | None:
    """Return the context for `amqps`, which verifies certificates; None for `amqp`. Warn if others may listen."""
    if address.scheme == "amqps":
        return client_context(config.settings.TLS_CA_FILE)
    if any(host not in _HERE for host, _ in address.hosts):
        log.warning("broker_open", broker=address.url, why="use amqps:// across a network")
    return None
