"""Makes and deletes jobs by the rules that hold for every command."""

from __future__ import annotations

from msgspec.structs import replace

from crawler.errors import UsageError
from crawler.interfaces import Jobs, Reading
from crawler.model import DEFAULT_SPIDER, Job
from crawler.program import PROGRAM
from crawler.status import JobStats
from crawler.views.figures import several
from crawler.views.job_names import no_job


async def delete_job(jobs: Jobs, reading: Reading, name: str, *, force: bool) -> bool:
    """Delete all state of the job. Return whether it existed.

    Raise `UsageError` if it has items that no export has written, unless `force` is set.
    """
    if not force:
        await _refuse_unexported(jobs, reading, name)
    return await jobs.delete(name)


async def _refuse_unexported(jobs: Jobs, reading: Reading, name: str) -> None:
    for job in await jobs.all():
        if job.name == name and (why := why_kept(await reading.stats(job))):
            raise UsageError(f"{why}; or delete them with the job: --force")


def why_kept(stats: JobStats) -> str:
    """Return which items of the job are nowhere else, and what to do with them; empty if it may be deleted."""
    name = stats.job
    if stats.dead_items:
        items = several(stats.dead_items, "item")
        return f"job {name} has {items} that an output could not store: {PROGRAM} dead items --job {name}"
    if stats.outbox:
        items = f"items of {several(stats.outbox, 'page')}"
        return f"job {name} has {items} that no file holds yet; write them: {PROGRAM} export --job {name} -o FILE"
    return ""


async def exists(jobs: Jobs, name: str) -> bool:
    """Whether there is a job of that name."""
    return name in [job.name for job in await jobs.all()]


async def create_job(jobs: Jobs, wanted: Job, order: str) -> Job:
    """Create the job, or return the existing one. A field that is empty in `wanted` was not given; `order` is its
    default.

    Raise `UsageError` if the job exists with another order, spider or other arguments than those given.
    """
    job = await jobs.create(replace(wanted, order=wanted.order or order, spider=wanted.spider or DEFAULT_SPIDER))
    for option, given, own in (
        ("--order", wanted.order, job.order),
        ("--spider", wanted.spider, job.spider),
        ("-a", _written(wanted), _written(job)),
    ):
        if given and given != own:
            raise UsageError(
                f"job {job.name} exists with {f'{option} {own}' if own else f'no {option}'}, not with {given}; "
                f"leave {option} out, or name another job with --job"
            )
    return job


async def job_named(jobs: Jobs, name: str, say: str = "--job NAME") -> Job:
    """Return the job of that name, or the only job when `name` is empty. Raise `UsageError` if there is no such job;
    `say`: what the error names as the way to choose one."""
    found = {job.name: job for job in await jobs.all()}
    if name in found:
        return found[name]
    known = ", ".join(found) or "none"
    if name:
        raise UsageError(no_job(name, found))
    if len(found) == 1:
        return next(iter(found.values()))
    raise UsageError(f"say which job with {say}; there are: {known}")


def _written(job: Job) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(job.arguments.items()))
