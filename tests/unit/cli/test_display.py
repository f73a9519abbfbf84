"""What people and scripts are shown of a crawl, without a terminal: figures, words, tables, the live picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from crawler.cli import display, tables
from crawler.cli.terminal import style_of
from crawler.control.dead_letters import Group
from crawler.model import Failure
from crawler.status import DeadLetter, HostTurn, HostView, JobStats, WorkerInfo, clock
from crawler.views import figures
from crawler.views.history import Momentum
from crawler.views.reports import CrawlReport, Output, Progress, SeedReport

NOON = 1_760_000_000.0
BUSY = HostView("a.example", 0, HostTurn(90.0, rest=90.0, cause="http_503", rests=3))
MOMENTUM = Momentum(12.34, 25_600.0, (0.0, 6.0, 12.0), seconds_left=125.0)
COUNTERS = {
    "pages": 500,
    "items": 498,
    "bytes": 9_000,
    "retried": 3,
    "status/200": 500,
    "status/301": 2,
    "status/404": 6,
    "status/503": 1,
    "error/dns": 1,
    "error/timeout": 3,
    "skip/robots": 5,
    "skip/offsite": 70,
    "dead/http_404": 6,
    "dead/dns": 1,
}


def stats(**changes: Any) -> JobStats:
    usual: dict[str, Any] = {"job": "shop", "known": 1024, "pending": 400, "processing": 12, "done": 575, "dead": 7}
    return JobStats(**{**usual, "ready": 1, "counters": COUNTERS, **changes})


def worker(name: str = "w1", lease_left: float = 10.0, **info: Any) -> WorkerInfo:
    return WorkerInfo(name, lease_left, info)


def progress(*workers: WorkerInfo, **changes: Any) -> Progress:
    return Progress(stats(**changes), workers, seconds=83.4, momentum=MOMENTUM, exported=490)


def report(reason: str = "finished", *, counters: Mapping[str, int] = COUNTERS, **changes: Any) -> CrawlReport:
    seeds = SeedReport("shop", new=3, known=0, refused={"bad url": 2})
    return CrawlReport(reason, stats(counters=counters, **changes), seeds, (Output("shop.jsonl", 498),), 40.0)


def rendered(view: RenderableType, width: int = 100) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, markup=False, highlight=False).print(view)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


# ---------------------------------------------------------------------------------------------------------
# Figures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7_620, "2 h 07 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "0.00"), (0.254, "0.25"), (0.999, "1.0"), (7.44, "7.4"), (99.96, "100"), (1234.5, "1,234")],
)
def test_rates_show_the_digits_that_matter(per_second: float, text: str) -> None:
    assert figures.rate(per_second) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (640, "640 B"),
        (12_345, "12.3 kB"),
        (999_600, "1.0 MB"),
        (181e6, "181 MB"),
        (1.2e9, "1.2 GB"),
        (5e13, "50.0 TB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert figures.size(count) == text


def test_answers_are_counted_by_class() -> None:
    assert figures.status_classes(COUNTERS) == {"2xx": 500, "3xx": 2, "4xx": 6, "5xx": 1}


def test_groups_are_sorted_by_size_and_long_ones_are_cut() -> None:
    skips = figures.group(COUNTERS, "skip")
    assert list(skips) == ["offsite", "robots"]
    assert figures.counts_in_words(skips) == "offsite 70, robots 5"
    assert figures.counts_in_words({str(n): 1 for n in range(5)}, limit=2) == "0 1, 1 1, others 3"


def test_hosts_of_all_workers_are_joined() -> None:
    workers = [
        worker(job_hosts={"shop": {"a": [10, 100.0], "b": [1, 900.0]}, "news": {"a": [99, 1.0]}}),
        worker("w2", job_hosts={"shop": {"a": [30, 200.0]}}),
        worker("w3"),
    ]
    known = figures.hosts("shop", workers)
    assert [(one.host, one.pages, one.seconds) for one in figures.busiest(known, 5)] == [
        ("a", 40, 0.175),
        ("b", 1, 0.9),
    ]
    assert [one.host for one in figures.slowest(known, 1)] == ["b"]


@pytest.mark.parametrize(
    ("changes", "workers", "why"),
    [
        ({"finished": True}, [], "finished"),
        ({}, [], "no worker is running"),
        ({}, [worker(lease_left=-1)], "no worker is running"),
        ({}, [worker()], ""),
        ({}, [worker(jobs=["news"])], "no worker works for this job (1 worker for others); crawler worker --job shop"),
        ({}, [worker(jobs=["news"]), worker(jobs=["shop"])], ""),
        (
            {"outbox": 10_000},
            [worker(idle="outbox")],
            "no exporter is running; start: crawler export --job shop -o FILE",
        ),
        ({"outbox": 10_000, "exporter": "e1"}, [worker(idle="outbox")], "e1 writes them more slowly than pages come"),
        ({"ready": 0, "processing": 3}, [worker()], ""),
        ({"ready": 0, "processing": 0, "cooling": 1, "is_pacing": True}, [worker()], ""),
        (
            {"ready": 0, "processing": 0, "cooling": 1, "resting": (BUSY,), "at": NOON},
            [worker()],
            f"a.example answered 503 (3rd time); next try {clock(NOON, 90)}",
        ),
        (
            {"ready": 0, "processing": 0, "pending": 2, "delayed": 2, "next_due": 60},
            [worker()],
            "2 requests left, none due yet",
        ),
        ({"ready": 0, "processing": 0, "pending": 0, "seeding": 1}, [worker()], "waiting for seeds (1 seeder at work)"),
        ({"ready": 0, "processing": 0, "pending": 0}, [worker()], "waiting for new requests"),
    ],
)
def test_it_says_why_nothing_happens(changes: dict[str, Any], workers: list[WorkerInfo], why: str) -> None:
    said = figures.why_idle(stats(**changes), workers)
    assert why in said if why else not said


def test_scripts_get_scrapys_names() -> None:
    told = figures.scrapy_stats(report("already finished"))
    assert told["finish_reason"] == "already_finished"
    assert told["downloader/response_count"] == 509
    assert told["downloader/response_status_count/404"] == 6
    assert told["item_scraped_count"] == 498
    assert told["elapsed_time_seconds"] == 40.0
    assert (told["queue/known"], told["queue/pending"], told["queue/dead"]) == (1024, 400, 7)
    assert told["seeds/refused"] == 2


def test_refused_seeds_are_among_what_is_lost() -> None:
    assert "2 seeds: refused (bad url 2)" in rendered(tables.summary(report()))


def test_each_output_has_a_line_of_its_own() -> None:
    ended = replace(report("finished"), outputs=(Output("a.csv", 498), Output("a\x1b[2J.csv", 12)))
    lines = [" ".join(line.split()) for line in rendered(tables.summary(ended)).splitlines()]
    assert "items 498 → a.csv" in lines
    assert "12 → a\\x1b[2J.csv" in lines


def test_what_was_left_out_is_told_everywhere_by_reason() -> None:
    counters = {"dropped/noindex": 3, "links/nofollow": 12, "links/rel_nofollow": 40}
    one, ended = stats(counters=counters), report(counters=counters)
    picture = rendered(display.picture(Progress(one, (), 1.0, Momentum(), 0), "job shop", "-"))
    assert "items: noindex 3; links: rel_nofollow 40, nofollow 12" in picture
    for told in (
        "3 items: their pages are marked noindex (NOINDEX_OBEY)",
        "40 links: marked nofollow, ugc or sponsored (NOFOLLOW_LINKS_OBEY)",
        "12 links: their pages are marked nofollow (NOFOLLOW_OBEY)",
    ):
        assert told in rendered(tables.status_view([one], [worker()], "redis://host"), 160)
        assert told in rendered(tables.summary(ended))
    for_scripts = figures.scrapy_stats(ended)
    assert for_scripts["item_dropped_count"] == for_scripts["item_dropped_reasons_count/noindex"] == 3
    assert for_scripts["links/rel_nofollow"] == 40
    assert "left out" not in rendered(tables.summary(report("finished")))


# ---------------------------------------------------------------------------------------------------------
# Views


def test_the_picture_of_a_running_crawl() -> None:
    one = worker(job_hosts={"shop": {"a.example": [400, 20.4], "b.example": [3, 900.0]}}, rss=90_500_000)
    picture = rendered(display.picture(progress(one, outbox=1), "job shop", "shop.jsonl"))
    lines = dict(line.split(maxsplit=1) for line in picture.splitlines() if line)
    assert lines["job"].split() == ["shop", "1", "min", "23", "s"]
    assert "582 of 1,024 URLs found so far" in picture
    assert "━" in picture
    assert lines["queue"] == "400 pending, 12 in flight"
    assert lines["pages"] == "500, 12.3 pages/s ▁▅█"
    assert lines["bytes"] == "9.0 kB, 25.6 kB/s"
    assert lines["end"].startswith("in about 2 min 05 s, at ")
    assert lines["items"] == "490 → shop.jsonl, 1 page to be written"
    assert lines["answers"] == "2xx 500, 3xx 2, 4xx 6, 5xx 1, no answer 4"
    assert lines["skipped"] == "offsite 70, robots 5"
    assert lines["trouble"] == "retries 3"
    assert lines["dead"] == "7 (http_404 6, dns 1)"
    assert lines["hosts"] == "a.example 400 × 20 ms, b.example 3 × 900 ms"
    assert lines["workers"] == "1, 90.5 MB"
    assert "idle" not in lines


def test_the_picture_names_busiest_and_slowest_of_many_hosts_and_why_it_is_idle() -> None:
    one = worker(job_hosts={"shop": {f"h{n}": [n, 100.0 - n] for n in range(1, 6)}})
    idle = progress(one, ready=0, processing=0, cooling=1, resting=(BUSY,))
    picture = rendered(display.picture(idle, "job shop", "-"))
    assert "busiest  h5 5 × 95 ms, h4 4 × 96 ms, h3 3 × 97 ms" in picture
    assert "slowest  h1 1 × 99 ms, h2 2 × 98 ms, h3 3 × 97 ms" in picture
    assert "idle     a.example answered 503 (3rd time); next try" in picture
    assert "490 → stdout" in picture


def test_a_picture_of_nothing_yet() -> None:
    empty = Progress(JobStats("shop"), (), seconds=0.1, momentum=Momentum(), exported=0)
    assert "0 of 0 URLs found so far" in rendered(display.picture(empty, "job shop", "shop.jsonl"))


def test_a_paused_crawl_says_how_to_try_again_what_was_given_up() -> None:
    assert "redrive --all --job shop" in rendered(tables.summary(report("paused")))
    assert "redrive" not in rendered(tables.summary(report("paused", dead=0)))


def test_a_crawl_whose_own_workers_start_is_not_idle() -> None:
    starting = Progress(stats(), (), seconds=1.0, momentum=Momentum(), exported=0)
    assert "idle" not in rendered(display.picture(starting, "job shop", "-"))
    assert "idle" not in display.log_fields(starting)


def test_without_an_estimate_there_is_no_bar() -> None:
    unsure = Progress(stats(), (worker(),), seconds=83.4, momentum=Momentum(1.0), exported=0)
    picture = rendered(display.picture(unsure, "job shop", "-"))
    assert "━" not in picture
    assert "582 of 1,024 URLs found so far" in picture
    assert "end      nobody can tell yet" in picture


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_picture_fits_any_terminal(width: int) -> None:
    one = worker(job_hosts={"shop": {"a" * 60: [400, 20.0]}})
    picture = rendered(display.picture(progress(one), "job " + "x" * 90, "y" * 90), width)
    assert max(map(len, picture.splitlines())) <= width


def test_the_log_line_has_the_same_figures() -> None:
    fields = display.log_fields(progress(worker(), ready=0, processing=0, resting=(BUSY,)))
    assert fields["job"] == "shop"
    assert (fields["pages"], fields["items"], fields["pending"], fields["5xx"], fields["no_answer"]) == (
        500,
        490,
        400,
        1,
        4,
    )
    assert fields["idle"].startswith("a.example answered 503")


def test_status_shows_jobs_workers_and_why_one_does_not_move() -> None:
    view = tables.status_view(
        [stats(), stats(job="old", finished=True), stats(job="full", finished=True, outbox=2)],
        [worker("w2", -3.0, pages=7), worker("w1", 9.0, in_flight=3, pages=80, rss=64_000_000, idle="cooling")],
        "redis://:geheim@host",
    )
    text = rendered(view, 160)
    assert "geheim" not in text
    rows = [line.split() for line in text.splitlines()]
    assert ["shop", "1,024", "400", "12", "575", "7", "70", "0", "running"] in rows
    assert ["old", "1,024", "400", "12", "575", "7", "70", "0", "finished"] in rows
    assert any(row[-4:] == ["items", "wait", "for", "export"] for row in rows)
    assert text.index("w1") < text.index("w2"), "the living first"
    assert ["w1", "3", "80", "64.0", "MB", "all", "jobs", "cooling", "9.0", "s", "left"] in rows
    assert "expired" in text


def test_status_lists_what_each_worker_takes_and_says_if_their_routes_differ() -> None:
    routed = (
        worker("w1", 9.0, queues=["eu", "fast"], routes={"spider:shop": "eu"}),
        worker("w2", 9.0, jobs=["news", "old"]),
    )
    text = rendered(tables.status_view([stats()], routed, "redis://host"), 160)
    assert "queue eu, fast" in text
    assert "job news, old" in text
    assert "different ROUTES" not in text
    assert "different ROUTES" in rendered(
        tables.status_view([stats()], [*routed, worker("w3", 9.0)], "redis://host"), 160
    )


def test_status_says_what_all_crawls_wait_for() -> None:
    assert "0 of the 1 replicas" in rendered(tables.status_view([stats()], [], "redis://host", "0 of the 1 replicas"))


def test_status_without_jobs_says_how_to_start_one() -> None:
    assert "crawler crawl URL" in rendered(tables.status_view([], [], "redis://host"))


def test_all_of_a_dead_letter_is_shown_and_nothing_of_it_steers_the_terminal() -> None:
    failure = Failure(
        "callback",
        "KeyError: '\x1b[2J'",
        status=200,
        traceback='Traceback\n\tFile "shop.py", line 42\nKeyError: \x1b[2J\u202e http://user:secret@a.example/',
        error="KeyError",
        line="shop.py:42",
    )
    letter = DeadLetter(
        *("id1", "http://a.example/\x9b", "shop", "parse", 3, "w1", 1_800_000_000.0, failure, "[1,\x07]"),
        host="a.example",
        deliveries=4,
    )
    text = rendered(tables.letter_view("news", letter), 200)
    for part in (
        "callback/KeyError: '\\x1b[2J'",
        "shop.py:42",
        "3 failed; handed out 4 times",
        "2027-01-15 08:00:00 UTC",
    ):
        assert part in text
    assert text.count("KeyError:") == 2
    assert "secret" not in text
    assert not set("\x1b\x07\x9b\u202e") & set(text)


def test_groups_of_dead_letters_stand_in_the_order_given_with_an_example() -> None:
    groups = [
        ("news", Group(("http_503", "a.example"), 1234, 1_800_000_000.0, "id1", "http://a.example/1")),
        ("news", Group(("junk", ""), 1, 1_800_000_000.0, "id2", "")),
    ]
    lines = rendered(tables.dead_groups_table(("error", "host"), groups), 200).splitlines()
    assert lines[0].split()[:4] == ["count", "job", "error", "host"]
    assert lines[1].split() == [
        "1,234",
        "news",
        "http_503",
        "a.example",
        "2027-01-15",
        "08:00:00",
        "http://a.example/1",
    ]
    assert lines[2].split() == ["1", "news", "junk", "-", "2027-01-15", "08:00:00", "(no", "request)"]


def test_dead_letters_from_the_web_cannot_steer_the_terminal() -> None:
    url = "http://example.com/\x1b]0;owned\x07[red]markup[/red]"
    failure = Failure("http_500", f"{url}: \x9b31m\nforged line", 500)
    letter = DeadLetter("id1", url, "site", "parse", 3, "w1", 1_800_000_000.0, failure, "")
    text = rendered(tables.dead_table([("shop", letter)]), 200)
    assert not {"\x1b", "\x07", "\x9b"} & set(text)
    assert "[red]markup[/red]" in text
    assert r"http_500: \x9b31m\nforged line" in text, "the URL is not said twice"
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("reason", "changes", "fresh", "said"),
    [
        ("finished", {"dead": 0}, False, "500 of 1,024 known URLs"),
        ("finished", {}, False, "crawler redrive --all --job shop"),
        ("already finished", {}, False, "--fresh"),
        ("interrupted", {}, False, "the same command resumes"),
        ("interrupted", {}, True, "the same command without --fresh resumes"),
    ],
)
def test_the_summary_says_what_can_be_done_now(reason: str, changes: dict[str, Any], fresh: bool, said: str) -> None:
    assert said in rendered(tables.summary(report(reason, **changes), fresh=fresh))


@pytest.mark.parametrize("reason", ["finished", "interrupted", "paused", "lacking"])
def test_a_crawl_that_nothing_keeps_cannot_be_resumed(reason: str) -> None:
    text = rendered(tables.summary(replace(report(reason), kept=False)))
    assert "keeps nothing: what was pending, paused or given up is gone" in text
    assert "use `crawl` without REDIS_URL" in text
    assert "crawler " not in text
    assert "keeps nothing" not in rendered(tables.summary(replace(report(dead=0), kept=False)))


@pytest.mark.parametrize(("dead", "told"), [(1_000, "812 × callback"), (1_001, "812 of 1,000 of them × callback")])
def test_the_causes_of_more_dead_letters_than_are_read_are_counted_among_those(dead: int, told: str) -> None:
    cause = Group(("callback/KeyError", "spiders/shop.py:7"), 812, 1_800_000_000.0, "id1", "http://a.example/1")
    assert told in rendered(tables.summary(replace(report(dead=dead), causes=(cause,))))


def test_the_summary_of_a_good_crawl() -> None:
    text = rendered(tables.summary(report(dead=7)))
    assert "ended    finished" in text
    assert "answers  2xx 500, 3xx 2, 4xx 6, 5xx 1" in text
    assert "items    498 → shop.jsonl" in text
    assert "time     40 s, 12.5 pages/s" in text
    assert "dead     7 (http_404 6, dns 1)" in text


@pytest.mark.parametrize(
    ("line", "style"), [("12:00:00 [error    ] x", "red"), ("12:00:00 [warning  ] x", "yellow"), ("x", "dim")]
)
def test_log_lines_above_the_picture_have_the_colour_of_their_level(line: str, style: str) -> None:
    assert style_of(line) == style
