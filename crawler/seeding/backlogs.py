"""What the source of a job still has, as its intake reports it to `status`."""

from __future__ import annotations

import msgspec

from crawler.interfaces import SharedValues
from crawler.model import Job
from crawler.status import Backlog


async def report(shared: SharedValues, job: Job, backlog: Backlog, seconds: float) -> None:
    """Show the backlog for `seconds`. Of several sources of one job, the last report is shown."""
    await shared.put_shared(_key(job), msgspec.json.encode(backlog), seconds)


async def reported(shared: SharedValues, job: Job) -> Backlog | None:
    """Return the last report; None if no intake is at work."""
    value = await shared.get_shared(_key(job))
    return None if value is None else msgspec.json.decode(value, type=Backlog)


def _key(job: Job) -> str:
    return f"backlog:{job.epoch}"
