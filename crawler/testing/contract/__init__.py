"""The contract of all backends, as tests. Needs pytest, pytest-asyncio, pytest-timeout and hypothesis.

A project with its own backend runs the whole suite with one module of tests, and `asyncio_mode = "auto"`:

    from crawler.testing.contract import *
    from crawler.testing.contract.world import World

    class MyWorld(World): ...

    @pytest.fixture
    def new_world():
        return MyWorld

See docs/backends.md.
"""

from __future__ import annotations

from importlib import import_module

import pytest

_SUBJECTS = (
    *("add", "claim", "closing", "commit", "coverage", "dead_letters", "drift", "fairness", "gaps", "groups", "health"),
    *("jobs", "joining", "limits", "maybe_new", "other_callbacks", "outbox", "pauses", "rates", "reap", "redirects"),
    *("robots", "rules", "schedules", "shared", "state_machine", "take_host", "tickets", "trace", "turns"),
)
_MODULES = [f"{__name__}.{name}" for name in (*_SUBJECTS, "world", "asking")]
pytest.register_assert_rewrite(*_MODULES)  # before the first import, so that failures show the compared values

_FIXTURE = type(pytest.fixture(lambda: None))
_SUITE = {
    name: value
    for module in map(import_module, _MODULES)
    for name, value in vars(module).items()
    if name.startswith("test_") or isinstance(value, _FIXTURE)
}
globals().update(_SUITE)
__all__ = list(_SUITE)
