"""Routes: the first that matches a job decides its queue, and a worker takes the queues that it was told."""

from __future__ import annotations

import pytest

from crawler.control.routes import Assignment, assignment, problems, queue_of
from crawler.errors import UsageError

ROUTES = {"spider:shop": "eu", "job:news*": "fast", "spider:sho?": "shops"}


@pytest.mark.parametrize(
    ("job", "spider", "queue"),
    [
        ("anything", "shop", "eu"),
        ("news-1", "shop", "eu"),
        ("news-1", "site", "fast"),
        ("old-news", "site", "default"),
        ("anything", "shot", "shops"),
        ("shop", "site", "default"),
        ("anything", "SHOP", "default"),
    ],
)
def test_the_first_route_that_matches_decides(job: str, spider: str, queue: str) -> None:
    assert queue_of(ROUTES, job, spider) == queue


@pytest.mark.parametrize(
    ("jobs", "queues", "taken"),
    [
        ((), (), ["other"]),
        ((), ("eu",), ["s1"]),
        ((), ("eu", "fast"), ["s1", "news"]),
        ((), ("eu", "default", "fast", "eu"), ["s1", "news", "other"]),
        (("s1", "other"), (), ["s1", "other"]),
        (("s1", "other"), ("eu",), ["s1"]),
    ],
)
def test_a_worker_takes_the_default_queue_or_what_it_is_told(
    jobs: tuple[str, ...], queues: tuple[str, ...], taken: list[str]
) -> None:
    ours = assignment(ROUTES, jobs, queues)
    there = {"s1": "shop", "news": "site", "other": "site"}
    assert [job for job, spider in there.items() if ours.has(job, spider)] == taken


def test_without_routes_a_worker_takes_all_jobs() -> None:
    assert assignment({}, (), ()) == Assignment()
    assert assignment({}, (), ("default",)).has("any", "site")


@pytest.mark.parametrize(
    ("queue", "hint"), [("ue", "did you mean eu"), ("warehouse", "ROUTES has: default, eu, fast, sh")]
)
def test_a_queue_to_which_no_route_leads_is_an_error(queue: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"--queue {queue}: no route leads there; {hint}"):
        assignment(ROUTES, (), ("eu", queue))


def test_all_mistakes_in_routes_are_told() -> None:
    assert list(problems(ROUTES)) == []
    assert list(problems({"shop": "eu", "spyder:shop": "e u", "job:": ""})) == [
        "ROUTES: 'shop' is no subject; write job:NAME",
        "ROUTES: 'spyder:shop' is no subject; write spider:shop",
        "ROUTES: 'e u' is no name of a queue: up to 64 letters, digits and . _ -",
        "ROUTES: 'job:' is no subject; write job:NAME",
        "ROUTES: '' is no name of a queue: up to 64 letters, digits and . _ -",
    ]
