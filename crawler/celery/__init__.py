"""Tasks of Celery that order crawls. The crawler's workers crawl, and its exporter tells the results (docs/celery.md).

    app.autodiscover_tasks(["crawler.celery"])  # or install(app, folder="…", queue="crawler")

    r = crawl.delay(["https://example.com/"], spider="site")
    r.get()  # {"job": …, "pages": …, "items": …, "dead": …, "refused": …, "reason": …, "seconds": …}

Needs the extra `celery`.
"""

from __future__ import annotations

from crawler.celery.tasks import crawl, fetch, install, redrive, state, status, stop, submit
from crawler.errors import CrawlFailed

__all__ = ["CrawlFailed", "crawl", "fetch", "install", "redrive", "state", "status", "stop", "submit"]
