"""A job's name that was misspelt is answered with what may be meant."""

from __future__ import annotations

import pytest

from crawler.views.job_names import no_job


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "no job is named 'nwes'; there are none yet"),
        (["shop"], "no job is named 'nwes'; there are: shop"),
        (["shop", "news"], "no job is named 'nwes'; did you mean news? there are: news, shop"),
    ],
)
def test_the_jobs_that_exist_are_named(names: list[str], told: str) -> None:
    assert no_job("nwes", names) == told


def test_of_many_jobs_some_are_named() -> None:
    told = no_job("x", [f"job{number:03}" for number in range(500)])
    assert told.endswith("job019, …")
