"""Says what jobs have lost when a command ends, and makes it the exit code."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from crawler.errors import Exit
from crawler.status import JobStats
from crawler.views.losses import lost

log = structlog.get_logger()


def code_of(jobs: Iterable[JobStats], *, strict: bool) -> Exit:
    """Log each loss of the jobs. Return `Exit.LOST` if there is one and the command is `strict`, else `Exit.DONE`."""
    losses = [(one.job, loss) for one in jobs for loss in lost(one)]
    for job, loss in losses:
        log.warning("lost", job=job, counter=loss.counter, count=loss.count, why=loss.text)
    return Exit.LOST if losses and strict else Exit.DONE
