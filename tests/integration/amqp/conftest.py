"""One broker for all tests of the doors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rabbitmq import RabbitMQ


@pytest.fixture(scope="session")
def broker() -> Iterator[RabbitMQ]:
    with RabbitMQ(streams=True) as broker:
        yield broker
