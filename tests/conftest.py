"""What all tests share: hypothesis profiles and one real queue server a session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

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


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """One server for the whole run. Every test uses a key prefix of its own; none may empty it."""
    with Valkey() as server:
        yield server
