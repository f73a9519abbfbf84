"""`revoke` also stops a crawl that a task has ordered: Celery itself forgets a task that has left its worker."""

from __future__ import annotations

from typing import Any

import structlog
from celery import states

from crawler.app.celery_results import PROGRESS
from crawler.errors import CrawlRetries

log = structlog.get_logger()

STOPPABLE = (states.STARTED, PROGRESS, states.RETRY)


def install(sender: Any, **_: Any) -> None:
    """Let the workers of this process's app, which all hear of a `revoke`, stop the jobs of the revoked tasks."""
    from celery.utils.functional import maybe_list
    from celery.worker.control import Panel  # only workers need it

    own = Panel.data["revoke"]
    if getattr(own, "stops_crawls", False):
        return

    def revoke(state: Any, task_id: Any, **options: Any) -> Any:
        ids = []
        try:
            ids = [one for one in maybe_list(task_id) or () if _is_ours(state.app, one)]
        except Exception as error:  # whatever the database of the results raises; other tasks are revoked all the same
            log.warning("crawl_not_stopped", tasks=task_id, why=str(error), then="send crawler.celery.stop")
        reply = own(state, task_id, **options)
        for one in ids:
            state.app.tasks["crawler.celery.stop"].delay(one, why="revoked")
        return reply

    revoke.stops_crawls = True  # type: ignore[attr-defined]
    Panel.data["revoke"] = revoke


def _is_ours(app: Any, task_id: str) -> bool:
    """Whether the task has ordered a crawl that has no result yet, as the results say, if the app keeps any."""
    if not app.conf.result_backend:
        return False
    said = app.backend.get_task_meta(task_id, cache=False)
    about = said["result"]
    names_job = isinstance(about, CrawlRetries) or (isinstance(about, dict) and "job" in about)
    return names_job and said["status"] in STOPPABLE
