"""The result of a job and of a URL, for programs:

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

from crawler.app import inquiry, results
from crawler.app.config import Config
from crawler.app.connect import connect, has_server
from crawler.errors import UsageError
from crawler.parsing.url import BadUrl, canonical
from crawler.settings import load
from crawler.views.job_names import no_job
from crawler.views.results import VERSION, Counts, JobResult, State, UrlResult

__all__ = ["VERSION", "Counts", "JobResult", "State", "UrlResult", "job_result", "url_result"]


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


async def url_result(
    url: str, job: str, *, folder: str | os.PathLike[str] = ".", settings: Mapping[str, str] | None = None
) -> UrlResult:
    """Return the result of a URL, in any spelling, in a job; its state is UNKNOWN if the job does not know it.

    Searches the line of the URL's host: for people, not for thousands of URLs. Everything else is as in `job_result`;
    raise `UsageError` also for what is no URL.
    """
    try:
        url = canonical(url)
    except BadUrl as error:
        raise UsageError(str(error)) from None
    config = _config(folder, settings)
    if not has_server(config):
        return UrlResult(job, url, State.UNKNOWN, no_job(job, ()))
    async with connect(config, warn=False) as connected:
        return await inquiry.url_result(config, connected, job, url)


def _config(folder: str | os.PathLike[str], settings: Mapping[str, str] | None) -> Config:
    where = Path(folder).resolve()
    values, origins = load(where, overrides=settings)
    return Config(values, origins, where)
