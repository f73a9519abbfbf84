"""What a connection to RabbitMQ needs of the settings."""

from __future__ import annotations

import ssl
from typing import TypeVar

import structlog
from msgspec import Struct

from crawler.amqp.address import Address, Broker, read
from crawler.app.config import Config
from crawler.runtime.tls import client_context
from crawler.worker.supervisor import worker_name

log = structlog.get_logger()

Words = TypeVar("Words", bound=Struct)

_HERE = ("127.0.0.1", "localhost", "::1")


def broker_of(config: Config, url: str, words: type[Words]) -> tuple[Broker, Words]:
    """Return the broker that a URL names, and the words of its query. Raise `ConfigError`."""
    settings = config.settings
    address, found = read(url, words, settings.RABBITMQ_PASSWORD)
    return Broker(address, worker_name(), settings.BROKER_TIMEOUT, tls_for(config, address)), found


def tls_for(config: Config, address: Address) -> ssl.SSLContext | None:
    """Return the context for `amqps`, which verifies certificates; None for `amqp`. Warn if others may listen."""
    if address.scheme == "amqps":
        return client_context(config.settings.TLS_CA_FILE)
    if any(host not in _HERE for host, _ in address.hosts):
        log.warning("broker_open", broker=address.url, why="use amqps:// across a network")
    return None
