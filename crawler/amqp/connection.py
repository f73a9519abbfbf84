"""Connects to a broker with aio-pika, and turns its errors into the crawler's.

A connection that has ended is not repaired: its user makes another. aio-pika's RobustConnection loses consumers when it
reconnects. Importing this module raises `ConfigError` where the extra `rabbitmq` is not installed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crawler.amqp.address import Broker
from crawler.errors import BrokerUnavailable, ConfigError
from crawler.program import extra
from crawler.runtime.safe_text import shown
from crawler.runtime.tasks import was_cancelled

try:
    import aio_pika
    from aio_pika.abc import AbstractConnection
    from aiormq.exceptions import (
        AMQPError,
        AuthenticationError,
        ChannelAccessRefused,
        ChannelInvalidStateError,
        ChannelNotFoundEntity,
        ChannelPreconditionFailed,
        ConnectionNotAllowed,
        InvalidFrameError,
        ProbableAuthenticationError,
    )
except ImportError:
    raise ConfigError(f"amqp:// needs the extra `rabbitmq`: {extra('rabbitmq')}") from None

HEARTBEAT = 5  # seconds; a connection is given up after three missed ones

_REFUSED = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)
_WRONG = (ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed)
_AWAY = (AMQPError, ChannelInvalidStateError, OSError, asyncio.CancelledError)

for name in ("aio_pika", "aiormq"):  # they log what this module raises, and URLs with passwords
    logging.getLogger(name).setLevel(logging.CRITICAL)


class Connection(aio_pika.Connection):
    """A connection that may be collected in any thread."""

    def __del__(self) -> None:
        """Do nothing: we close what we open. aio-pika's method starts `close()` in whatever thread the garbage
        collector runs in, and there it can only warn that the coroutine was never awaited."""


async def connect(broker: Broker) -> AbstractConnection:
    """Connect to the first host that answers in time.

    Raises `BrokerUnavailable` if none answers, and `ConfigError` if one refuses the login or the vhost.
    """
    address, seconds, reasons = broker.address, broker.seconds, []
    for host, port in address.hosts:
        try:
            async with asyncio.timeout(seconds):
                return await aio_pika.connect(
                    host=host,
                    port=port,
                    login=address.user,
                    password=address.password,
                    virtualhost=address.vhost,
                    ssl=address.scheme == "amqps",
                    ssl_context=broker.tls,
                    client_properties={"connection_name": broker.name},
                    heartbeat=HEARTBEAT,
                    connection_class=Connection,
                )
        except _REFUSED:
            raise ConfigError(f"{address.url}: {host}:{port} refuses the login of {shown(address.user)!r}") from None
        except InvalidFrameError:  # the broker closes a connection that opens a vhost in vain
            why = f"has no vhost {shown(address.vhost)!r}, or none for {shown(address.user)!r}"
            raise ConfigError(f"{address.url}: {host}:{port} {why}") from None
        except TimeoutError:
            reasons.append(f"{host}:{port} does not answer within {seconds:g} s")
        except (AMQPError, OSError) as error:
            reasons.append(f"{host}:{port}: {reason_of(error)}")
    raise BrokerUnavailable(f"{address.url}: {'; '.join(reasons)}")


@asynccontextmanager
async def within(broker: Broker, what: str) -> AsyncIterator[None]:
    """Bound what is asked of the broker. `what` names it, such as `publish`.

    Raises `BrokerUnavailable` if the connection ends or no answer comes in time; `ConfigError` if the broker
    says that something does not exist, is declared otherwise, or is not permitted.
    """
    try:
        async with asyncio.timeout(broker.seconds):
            yield
    except TimeoutError:
        alarm = "a memory or disk alarm of the broker blocks those who publish"
        raise BrokerUnavailable(f"{broker.url}: no answer to {what} within {broker.seconds:g} s; {alarm}") from None
    except _WRONG as error:
        raise ConfigError(f"{broker.url}: {what}: {reason_of(error)}") from None
    except _AWAY as error:
        if isinstance(error, asyncio.CancelledError) and was_cancelled():
            raise  # otherwise aiormq cancelled what waited when the connection ended
        raise BrokerUnavailable(f"{broker.url}: {what}: {reason_of(error)}") from None


def version(connection: AbstractConnection) -> tuple[int, ...]:
    """Return the broker's version, such as (3, 10, 8)."""
    properties = connection.transport.connection.server_properties  # type: ignore[union-attr]
    return tuple(int(part) for part in re.findall(r"\d+", str(properties.get("version", "")))[:3])


def reason_of(error: BaseException) -> str:
    """Return what the error says, for people."""
    if "[SSL" in str(error):  # before the next line: in these the number is OpenSSL's
        return f"{shown(str(error))}; TLS_CA_FILE adds a certificate authority"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return shown(str(error) or type(error).__name__)
