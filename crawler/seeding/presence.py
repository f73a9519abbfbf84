"""Announces that somebody adds to a job, so that the job does not count as finished meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from crawler.errors import FrontierError
from crawler.interfaces import Adding
from crawler.model import Job
from crawler.runtime.patience import Patience
from crawler.runtime.tasks import end, heed_cancellation


@asynccontextmanager
async def present(adding: Adding, job: Job, name: str, lease_seconds: float) -> AsyncIterator[None]:
    """Count as at work within the block, under this name, even while the block waits for the queue server.

    After `lease_seconds` without a sign of life, the seeder no longer counts as at work.
    """
    patiently = Patience("seeding_waits").until_done

    async def be_present() -> None:
        await adding.seeding(job, name, lease_seconds)

    async def stay_present() -> None:
        while True:
            await asyncio.sleep(lease_seconds / 3)
            await patiently(be_present)
            heed_cancellation()

    await patiently(be_present)
    staying = asyncio.create_task(stay_present())
    try:
        yield
    except BaseException:
        await end(staying)
        with suppress(FrontierError):  # if this fails, the seeder counts as at work until its lease expires
            await adding.seeding(job, name, 0)
        raise
    await end(staying)
    await patiently(lambda: adding.seeding(job, name, 0))
