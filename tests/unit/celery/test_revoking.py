"""A `revoke` that cannot tell whether a task has ordered a crawl still revokes the task."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker import state
from celery.worker.control import Panel

from crawler.celery import revoking


@pytest.mark.parametrize("results", ["", "rpc://", "redis://127.0.0.1:1/0"])
def test_tasks_of_an_app_are_revoked_although_its_results_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, results: str
) -> None:
    monkeypatch.setitem(Panel.data, "revoke", Panel.data["revoke"])
    monkeypatch.setattr(state, "revoked", set())
    app = Celery("shop", broker="memory://", backend=results or None, set_as_current=False)
    app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    revoking.install(None)
    Panel.data["revoke"](SimpleNamespace(app=app, consumer=None), "t1")
    assert "t1" in state.revoked
    app.close()
