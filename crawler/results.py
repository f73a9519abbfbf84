"""The result of a job, for programs:

    from crawler.results import State, job_result

    result = await job_result("news", folder="/srv/news")
    if result.state == State.FAILURE:
        print(result.reason, result.failure.traceback)

docs/results.md describes the states and the fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from crawler.app import results
from crawler.app.config import Config
from crawler.app.connect import connect, has_server
from crawler.settings import load
from crawler.views.job_names import no_job
from crawler.views.results import VERSION, Counts, JobResult, State

__all__ = ["VERSION", "Counts", "JobResult", "State", "job_result"]


async def job_result(
    job: str, *, folder: str | os.PathLike[str] = ".", settings: Mapping[str, str] | None = None
) -> JobResult:
    """Return the result of a job; its state is UNKNOWN if nobody has made the job.

    `folder` holds the `settings.py` that says where the queue server is; the environment and then `settings` override
    it, as `-s` does. Opens a connection and closes it. Raise `ConfigError` for a setting that cannot be used,
    `UsageError` for a REDIS_URL that no other process can reach, `FrontierUnavailable` if the server does not answer.
    """
    config = _config(folder, settings)
    if not has_server(config):
        return JobResult(job, State.UNKNOWN, no_job(job, ()))
    async with connect(config, warn=False) as connected:
        return await results.job_result(connected, job, strict=config.settings.STRICT)


def _config(folder: str | os.PathLike[str], settings: Mapping[str, str] | None) -> Config:
    where = Path(folder).resolve()
    values, origins = load(where, overrides=settings)
    return Config(values, origins, where)
