"""Deletes jobs, for `jobs delete` and `crawl --fresh`."""

from __future__ import annotations

from crawler.errors import UsageError
from crawler.interfaces import Backend
from crawler.views.figures import several


async def delete_job(connected: Backend, name: str, *, force: bool) -> bool:
    """Delete all state of the job. Return whether it existed.

    Raise `UsageError` if it has items that no export has written, unless `force` is set.
    """
    if not force:
        await _refuse_unexported(connected, name)
    return await connected.jobs.delete(name)


async def _refuse_unexported(connected: Backend, name: str) -> None:
    for job in await connected.jobs.all():
        waiting = (await connected.reading.stats(job)).outbox if job.name == name else 0
        if waiting:
            raise UsageError(
                f"job {name} has items of {several(waiting, 'page')} that no file holds yet; "
                f"write them: crawler export --job {name} -o FILE; or delete them with the job: --force"
            )
