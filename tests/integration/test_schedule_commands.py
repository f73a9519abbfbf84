"""The `schedule` commands on a queue server, in this process."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.schedules import _delete_old_jobs, _start, keep_those_of_settings
from crawler.cli import main
from crawler.errors import ConfigError
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend
from crawler.model import DeadItem, Done, Job, Request, Visit
from crawler.schedules.timetable import NO_SCHEDULER, Run, Schedule, Timetable, changed, job_of, timetable
from crawler.settings import Settings
from crawler.testing.contract.world import AT_ONCE
from tests.valkey import Valkey

ADD = ("add", "news", "@daily", "--", "crawl", "https://a.example/")
NEWS = Schedule("news", "@daily", ("crawl", "https://a.example/"))
_prefixes = itertools.count(1)


@pytest.fixture
def prefix(valkey_server: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the keys of the commands, which run in an empty folder."""
    made = f"c{next(_prefixes)}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", valkey_server.url)
    monkeypatch.setenv("CRAWLER_KEY_PREFIX", made)
    monkeypatch.setenv("CRAWLER_LOG_LEVEL", "ERROR")  # the server of the tests keeps nothing, and they know it
    return made


@pytest.fixture
async def backend(valkey_server: Valkey, prefix: str) -> AsyncIterator[Backend]:
    """The same frontier."""
    async with open_redis(Server(valkey_server.url), prefix=prefix, shards=1) as opened:
        yield opened


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints."""
    assert main(["schedule", *words]) == code
    out, err = capsys.readouterr()
    return err if code else out


async def stored(valkey_server: Valkey, prefix: str, table: Timetable) -> None:
    """Put a timetable in the place of the one that is there."""
    async with open_redis(Server(valkey_server.url), prefix=prefix, shards=1) as backend:
        assert await backend.schedules.replace(await backend.schedules.get(table.name), changed(table))


@pytest.mark.usefixtures("prefix")
def test_pause_resume_and_remove(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no schedules" in said(capsys, "list")
    assert "schedule news: next 20" in said(capsys, *ADD)
    assert "schedule news: next 20" in said(capsys, *ADD), "the same is no mistake"
    assert "exists; remove it first" in said(capsys, *ADD, "-O", "x.jsonl", code=2)
    assert "paused; its runs go on" in said(capsys, "pause", "news")
    assert "paused already" in said(capsys, "pause", "news")
    assert re.search(r"^paused +by \S+@", said(capsys, "list"), re.MULTILINE)
    assert "next 20" in said(capsys, "resume", "news")
    assert "was not paused" in said(capsys, "resume", "news")
    assert "did you mean news?" in said(capsys, "pause", "nwes", code=2)
    assert "did you mean news?" in said(capsys, "run", "nwes", code=2)
    assert "removed schedule news; its jobs stay" in said(capsys, "remove", "news")
    assert "no schedule is named news" in said(capsys, "remove", "news", code=2)


@pytest.mark.usefixtures("prefix")
def test_each_change_can_be_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    add, *words = ADD
    changes = ((add, "--json", *words), *((verb, "news", "--json") for verb in ("pause", "pause", "resume", "remove")))
    told = [json.loads(said(capsys, *change)) for change in changes]
    assert {(one["name"], one["cron"]) for one in told} == {("news", "@daily")}
    assert [bool(one["paused"]) for one in told] == [False, True, True, False, False]
    assert "schedule run prints no JSON" in said(capsys, "run", "--json", code=2)


def test_list_says_what_runs_what_waits_and_that_no_scheduler_is_at_work(
    capsys: pytest.CaptureFixture[str], valkey_server: Valkey, prefix: str
) -> None:
    now = int(time.time()) // 86_400 * 86_400
    fields: dict[str, Any] = {"waiting": now - 86_400, "skipped": {NO_SCHEDULER: 1_234}}
    late = changed(timetable(NEWS, now - 86_401), runs=(Run(now - 172_800, "s1"), Run(60, "s1")), **fields)
    asyncio.run(stored(valkey_server, prefix, late))
    shown = said(capsys, "list")
    for text in ("by s1", "for the end of the run", "no scheduler is at work: ", "when     @daily (UTC)"):
        assert text in shown
    (data,) = json.loads(said(capsys, "list", "--json"))
    assert data["next"] == [now - 86_400, now, now + 86_400]
    assert (data["name"], data["skipped"], data["last_result"]) == ("news", {NO_SCHEDULER: 1_234}, None)
    assert said(capsys, "remove", "news").count("the run of job news-") == 2


def test_now_does_not_run_beside_a_run(capsys: pytest.CaptureFixture[str], valkey_server: Valkey, prefix: str) -> None:
    asyncio.run(stored(valkey_server, prefix, changed(timetable(NEWS, 0), runs=(Run(60, "s1"),))))
    assert "a scheduler goes on with it: " in said(capsys, "run", "news", code=75)


def test_a_password_in_the_command_is_not_shown(capsys: pytest.CaptureFixture[str], prefix: str) -> None:
    assert prefix
    said(capsys, *ADD, "-o", "amqp://me:secret@b.example/?exchange=items")
    assert "secret" not in said(capsys, "list")
    assert "secret" not in said(capsys, "list", "--json")


# --- schedules of the settings


def config(folder: Path, **schedules: dict[str, Any]) -> Config:
    return Config(Settings(SCHEDULES=schedules), {}, folder)


DAILY = {"cron": "@daily", "command": ["crawl", "https://a.example/"]}


async def test_schedules_of_the_settings_come_change_and_go(backend: Backend, tmp_path: Path) -> None:
    await keep_those_of_settings(config(tmp_path, news=DAILY, other=DAILY), backend.schedules)
    before = {table.name: table for table in await backend.schedules.all()}
    assert before.keys() == {"news", "other"}
    await keep_those_of_settings(config(tmp_path, news=DAILY, other={**DAILY, "keep": 9}), backend.schedules)
    news, other = await backend.schedules.all()
    assert news == before["news"], "what is the same is left alone"
    assert (other.schedule.keep, other.next) == (9, before["other"].next)
    await keep_those_of_settings(config(tmp_path / "elsewhere"), backend.schedules)
    assert len(await backend.schedules.all()) == 2, "those of another folder stay"
    await keep_those_of_settings(config(tmp_path, news=DAILY), backend.schedules)
    assert await backend.schedules.all() == [news]


async def test_of_two_folders_that_name_a_schedule_the_last_one_decides_and_says_so(
    backend: Backend, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with capture_logs() as logs:
        await keep_those_of_settings(config(first, news=DAILY), backend.schedules)
        await keep_those_of_settings(config(second, news=DAILY), backend.schedules)
        assert not logs, "one project in two places"
        await keep_those_of_settings(config(first, news={**DAILY, "keep": 9}), backend.schedules)
    (table,) = await backend.schedules.all()
    assert (table.schedule.keep, table.schedule.origin) == (9, str(first))
    assert [(one["event"], one["of"], one["by"]) for one in logs] == [("schedule_replaced", str(second), str(first))]


async def test_one_of_add_and_one_of_the_settings_do_not_share_a_name(backend: Backend, tmp_path: Path) -> None:
    assert await backend.schedules.replace(None, timetable(NEWS, 0))
    with pytest.raises(ConfigError, match="schedule remove news"):
        await keep_those_of_settings(config(tmp_path, news=DAILY), backend.schedules)


def test_one_of_the_settings_is_removed_there(
    capsys: pytest.CaptureFixture[str], valkey_server: Valkey, prefix: str
) -> None:
    asyncio.run(stored(valkey_server, prefix, timetable(Schedule("news", "@daily", ("crawl",), origin="/srv"), 0)))
    assert "SCHEDULES in /srv" in said(capsys, "remove", "news", code=2)


@pytest.mark.usefixtures("prefix")
def test_one_of_the_settings_that_no_scheduler_has_stored(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(f"SCHEDULES = {{'news': {DAILY}}}\n")
    assert "SCHEDULES does, and a scheduler stores it" in said(capsys, "run", "news", code=2)


# --- what a scheduler does with a timetable


async def test_words_that_somebody_wrote_into_the_server_start_nothing(tmp_path: Path) -> None:
    start = _start(config(tmp_path), {})
    with pytest.raises(ConfigError, match="SPIDER_MODULES"):
        await start(Schedule("news", "@daily", ("crawl", "-s", "SPIDER_MODULES=/tmp")), "job")
    with pytest.raises(ConfigError, match="a schedule runs"):
        await start(Schedule("news", "@daily", ("up",)), "job")


async def finish(backend: Backend, job: Job, *items: bytes) -> None:
    """Read the only page of the job."""
    (lease,) = (await backend.queue.claim("w1", 1, [job], AT_ONCE)).leases
    await backend.queue.commit("w1", [(lease, Visit(Done(), items=items))], AT_ONCE)


async def test_jobs_beyond_keep_are_deleted_when_they_are_finished_and_exported(backend: Backend) -> None:
    ticks = [600, 1200, 1800, 2400, 3000, 3600]
    for tick in ticks:
        job = await backend.jobs.create(Job(job_of("news", tick)))
        await backend.adding.add(job, [Request("http://a.example/")], seed=True)
        if tick == 600:
            continue  # not finished
        await finish(backend, job, *([b"{}"] if tick == 1200 else []))  # not exported
    await backend.jobs.create(Job("news-2"))
    made = timetable(Schedule("news", "@daily", ("crawl",), keep=2), 0)
    table = changed(made, runs=(Run(1800, "s1"),))  # at work
    await _delete_old_jobs(
        backend.jobs, backend.reading, changed(table, schedule=Schedule("news", "@daily", ("crawl",), keep=0)), set()
    )
    assert len(await backend.jobs.all()) == 7
    await _delete_old_jobs(backend.jobs, backend.reading, table, set())
    left = [job.name for job in await backend.jobs.all()]
    assert left == [*(job_of("news", tick) for tick in ticks if tick != 2400), "news-2"]


async def test_a_job_with_items_that_an_output_could_not_store_stays_and_is_told_once(backend: Backend) -> None:
    for tick in (600, 1200, 1800):
        job = await backend.jobs.create(Job(job_of("news", tick)))
        await backend.adding.add(job, [Request("http://a.example/")], seed=True)
        await finish(backend, job)
        if tick == 600:
            await backend.outbox.keep_dead(job, [DeadItem("0:1-1:0:aa", "items.db", "why so", "{}")])
    table = timetable(Schedule("news", "@daily", ("crawl",), keep=1), 0)
    told: set[str] = set()
    with capture_logs() as logs:
        for _ in range(2):
            await _delete_old_jobs(backend.jobs, backend.reading, table, told)
    assert [job.name for job in await backend.jobs.all()] == [job_of("news", tick) for tick in (600, 1800)]
    deleted, kept = sorted(logs, key=lambda line: line["event"])
    assert (deleted["event"], deleted["job"]) == ("job_deleted", job_of("news", 1200))
    assert (kept["event"], kept["job"]) == ("job_kept", job_of("news", 600))
    assert "1 item that an output could not store: crawler dead items --job news-" in kept["why"]
