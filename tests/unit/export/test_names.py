"""Placeholders in the names of outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.app.config import Config
from crawler.app.sinks import sink
from crawler.errors import UsageError
from crawler.export import names
from crawler.export.target import Target
from crawler.model import Job
from crawler.settings import Settings

JOB = Job("news/today", epoch="e1", spider="shop", created=1764460838.9)


@pytest.mark.parametrize(
    ("name", "filled"),
    [
        ("%(name)s-%(time)s.csv", "shop-2025-11-30T00-00-38+00-00.csv"),
        ("a/%(job)s.csv", "a/news-today.csv"),
        ("100%.csv", "100%.csv"),
        ("%(batch_id)05d-%(batch_time)s.csv", "%(batch_id)05d-%(batch_time)s.csv"),
    ],
)
def test_what_is_known_of_a_job_is_filled_in(name: str, filled: str) -> None:
    assert names.of_job(name, JOB) == filled


@pytest.mark.parametrize("name", ["%(nope)s.csv", "%(name)d.csv"])
def test_other_placeholders_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"there is no %\(nope\)s; there are|write %\(name\)s"):
        names.of_job(name, JOB)


@pytest.mark.parametrize(
    "name", ["%(name)s-%(time)s.parquet", "%(job)s.sqlite", "sqlite:///%(job)s.db", "%(name)s.cdxj"]
)
def test_folders_and_tables_have_placeholders_but_no_batches(tmp_path: Path, name: str) -> None:
    config = Config(Settings(), {}, tmp_path)
    location = sink(config, Target(name), JOB).location
    assert "%" not in location
    assert "shop" in location or "news-today" in location
    for wrong, why in (("%(batch_id)d", "only files of items follow one another"), ("%(nope)s", "there is no %")):
        with pytest.raises(UsageError, match=why):
            sink(config, Target(name.replace("%(", f"{wrong}%(", 1)), JOB)


def test_names_of_batches() -> None:
    assert names.of_batch("%(batch_id)05d-%(batch_time)s.csv", 7, 1764460838.9) == "00007-2025-11-30T00-00-38+00-00.csv"
    assert names.of_batches("%(batch_id)05d.csv") == "batches.csv"


def test_batches_need_names_of_their_own(tmp_path: Path) -> None:
    config = Config(Settings(), {}, tmp_path)
    with pytest.raises(UsageError, match=r"write %\(batch_id\)d into its name"):
        sink(config, Target("items.jsonl", batch_items=5), JOB)
    sink(config, Target(f"{tmp_path}/items-%(batch_id)d.jsonl", batch_items=5), JOB)
