"""Reads what the result of a job needs: its figures, its workers, and why its pages failed."""

from __future__ import annotations

from collections.abc import Sequence

from crawler.control.dead_letters import LETTERS_READ, Group, Groups
from crawler.interfaces import Backend, Letters
from crawler.model import Job
from crawler.status import JobStats, WorkerInfo
from crawler.views.job_names import no_job
from crawler.views.losses import exit_code
from crawler.views.results import JobResult, State, of_job


async def job_result(connected: Backend, name: str, *, strict: bool = False) -> JobResult:
    """Return the result of the job of that name; UNKNOWN if nobody has made it. `strict`: the setting STRICT."""
    jobs = {job.name: job for job in await connected.jobs.all()}
    if name not in jobs:
        return JobResult(name, State.UNKNOWN, no_job(name, jobs))
    stats = await connected.reading.stats(jobs[name])
    return await result_from(connected.letters, jobs[name], stats, await connected.reading.workers(), strict=strict)


async def result_from(
    letters: Letters, job: Job, stats: JobStats, workers: Sequence[WorkerInfo], *, strict: bool
) -> JobResult:
    """Return the result of a job with these figures. Reads errors only where the result tells them."""
    has_failed = stats.is_all_paused or (stats.finished and not stats.outbox and exit_code(stats, strict=strict))
    groups = await largest_groups(letters, job, 1) if has_failed else ()
    errors = await letters.failing(job, 1) if stats.is_retrying else ()
    return of_job(stats, workers, largest=next(iter(groups), None), last=next(iter(errors), None), strict=strict)


async def largest_groups(letters: Letters, job: Job, limit: int) -> tuple[Group, ...]:
    """Return the most frequent (error, line) of the job's dead letters; of some of them if there are thousands."""
    groups, left = Groups(("error", "line")), LETTERS_READ
    async for letter in letters.each(job):
        groups.add(letter)
        left -= 1
        if not left:
            break
    return tuple(groups.largest(limit))
