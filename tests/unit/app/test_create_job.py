"""The job of a command line: made as asked, or found as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.app.config import Config
from crawler.app.crawl import crawl
from crawler.app.jobs import create_job
from crawler.errors import UsageError
from crawler.export.target import Target
from crawler.model import Job
from crawler.settings import Settings
from tests.memory import MemoryFrontier


async def test_what_is_not_said_is_the_default_of_a_new_job_and_the_jobs_own_later() -> None:
    jobs = MemoryFrontier().backend.jobs
    new = await create_job(jobs, Job("a", order="", spider=""), "lifo")
    assert (new.order, new.spider) == ("lifo", "site")
    assert await create_job(jobs, Job("a", order="", spider=""), "fifo") == new


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Job("a", order="fifo"), "job a exists with --order lifo, not with fifo; leave --order out, or name another"),
        (Job("a", order="", spider="docs"), "job a exists with --spider shop, not with docs"),
        (Job("a", order="", arguments={"x": "2"}), "job a exists with -a x=1, not with x=2"),
    ],
)
async def test_a_job_that_exists_otherwise_is_no_job_for_this_command(wanted: Job, told: str) -> None:
    jobs = MemoryFrontier().backend.jobs
    await create_job(jobs, Job("a", order="lifo", spider="shop", arguments={"x": "1"}), "fifo")
    with pytest.raises(UsageError) as caught:
        await create_job(jobs, wanted, "fifo")
    assert told in str(caught.value)


async def test_a_jobs_name_is_checked_before_the_file_that_is_named_after_it(tmp_path: Path) -> None:
    config = Config(Settings(REDIS_URL="memory://"), {}, tmp_path)
    with pytest.raises(UsageError, match="job name 'a/b': use letters, digits"):
        await crawl(config, Job("a/b"), [], [Target(str(tmp_path / "a/b.jsonl"))], refused=print, observe=print)
