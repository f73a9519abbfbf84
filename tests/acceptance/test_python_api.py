"""`crawler.run` and `crawler.crawl`, as programs call them: scripts, tests, web applications, threads."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
import uvicorn
from aiohttp import ClientSession
from fastapi import FastAPI
from redis.asyncio import Redis

from crawler import Crawling, Report, Request, Response, Spider, crawl, run
from crawler.errors import ConfigError, CrawlerError, FrontierUnavailable, OutputError, UsageError
from tests.crawling import Pages
from tests.valkey import Valkey
from tests.webserver import Running, Site, serve

ROOT = Path(__file__).parents[2]
LOCAL = {"ALLOWED_NETWORKS": ["127.0.0.0/8"], "DOWNLOAD_DELAY": 0, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}
PAGES = 24


class Titles(Spider):
    name = "titles"

    def parse(self, response: Response) -> Iterator[Any]:
        if response.is_html:
            yield {"url": response.url}
            yield from response.follow_all()


@pytest.fixture
async def web() -> AsyncIterator[Running]:
    async with serve(Site(pages=PAGES, hosts=1, seed=3)) as running:
        yield running


def urls_of(items: list[dict[str, Any]]) -> list[str]:
    return sorted(item["url"] for item in items)


def truth(web: Running) -> list[str]:
    assert isinstance(web.site, Site)
    return sorted(web.site.truth())


@pytest.fixture(autouse=True)
def others() -> Iterator[None]:
    """Threads that were there before, such as that of a client of Celery in another test."""
    _others.update(threading.enumerate())
    yield
    _others.clear()


_others: set[threading.Thread] = set()


def left_over() -> list[str]:
    """Tasks and threads that a crawl has left."""
    tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    ours = ("heartbeat", "seeds", "export", "watch", "work", "crawl", "claim", "commit", "reap", "listen")
    threads = [one.name for one in threading.enumerate() if one not in _others and one.name.startswith(ours)]
    return [name for name in tasks if name.startswith(ours)] + threads


async def test_await_returns_the_report_with_all_items(web: Running) -> None:
    report = await crawl(Titles, web.seeds, settings=LOCAL)
    assert (report.reason, report.code, report.ok, report.lost) == ("finished", 0, True, ())
    assert urls_of(report.items) == truth(web)
    assert report.counts["item_scraped_count"] == len(report.items)
    assert report.output == ""
    assert left_over() == []


async def test_a_loop_gets_each_item_once_and_the_report_afterwards(web: Running) -> None:
    async with crawl(Titles, web.seeds, settings=LOCAL) as crawling:
        with pytest.raises(UsageError, match="no report"):
            crawling.report  # noqa: B018 - raises
        items = [item async for item in crawling]
    assert urls_of(items) == truth(web)
    assert crawling.report.items == []
    assert crawling.progress is not None
    with pytest.raises(UsageError, match="taken already"):
        await anext(aiter(crawling))


async def test_a_slow_loop_holds_the_crawl_back(web: Running) -> None:
    bounds = {**LOCAL, "OUTBOX_LIMIT": 5, "EXPORT_BATCH": 1, "CONCURRENT_REQUESTS": 4}
    async with crawl(Titles, web.seeds, settings=bounds) as crawling:
        items = aiter(crawling)
        await anext(items)
        while crawling.progress is None or crawling.progress.stats.outbox < 5:  # noqa: ASYNC110 - a figure, no event
            await asyncio.sleep(0.05)
        asked = len(web.log)
        await asyncio.sleep(0.5)  # that nothing happens cannot be awaited
        assert len(web.log) == asked
        assert asked < PAGES
    assert left_over() == []


async def test_leaving_a_loop_ends_the_crawl(web: Running) -> None:
    async with crawl(Titles, web.seeds, settings={**LOCAL, "EXPORT_BATCH": 1}) as crawling:
        async for _ in crawling:
            break
    assert left_over() == []
    asked = len(web.log)
    await asyncio.sleep(0.2)  # that nothing happens cannot be awaited
    assert len(web.log) == asked
    with pytest.raises(UsageError, match="left before its end"):
        crawling.report  # noqa: B018 - raises


async def test_a_cancelled_crawl_leaves_nothing(web: Running) -> None:
    slow = {**LOCAL, "DOWNLOAD_DELAY": 0.2}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await crawl(Titles, web.seeds, settings=slow)
    assert left_over() == []
    assert web.log  # it had begun


async def test_several_crawls_at_once_know_nothing_of_each_other(web: Running) -> None:
    reports = await asyncio.gather(*(crawl_all(web.seeds) for _ in range(3)))
    for report in reports:
        assert urls_of(report.items) == truth(web)
    assert len({report.job for report in reports}) == 3
    assert left_over() == []


async def crawl_all(seeds: list[str]) -> Report:
    return await crawl(Titles, seeds, settings=LOCAL)


async def test_threads_crawl_beside_the_loop_of_the_program(web: Running) -> None:
    def crawl_all() -> Report:
        return run(Titles, web.seeds, settings=LOCAL)

    for report in await asyncio.gather(*(asyncio.to_thread(crawl_all) for _ in range(3))):
        assert urls_of(report.items) == truth(web)


async def test_run_says_what_to_write_where_a_loop_runs() -> None:
    with pytest.raises(UsageError, match="await crawl"):
        run(Titles, [])


async def test_no_signal_handler_unless_asked(web: Running) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    async with crawl(Titles, web.seeds, settings=LOCAL) as crawling:
        async for _ in crawling:
            assert [signal.getsignal(number) for number in numbers] == before
    with pytest.raises(UsageError, match="main thread"):
        await asyncio.to_thread(lambda: run(Titles, web.seeds, handle_signals=True))


async def test_a_signal_drains_where_that_is_asked_for(web: Running) -> None:
    slow = {**LOCAL, "DOWNLOAD_DELAY": 0.2, "EXPORT_BATCH": 1}
    async with crawl(Titles, web.seeds, settings=slow, handle_signals=True) as crawling:
        async for _ in crawling:
            os.kill(os.getpid(), signal.SIGTERM)
    assert (crawling.report.reason, crawling.report.code) == ("interrupted", 143)


async def test_items_go_to_a_file_that_is_replaced_or_grows(web: Running, tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    for _ in range(2):
        report = await crawl(Titles, web.seeds, settings=LOCAL, output=file)
        assert (report.items, report.output) == ([], str(file))
        assert len(file.read_text().splitlines()) == PAGES
    await crawl(Titles, web.seeds, settings=LOCAL, output=file, append=True)
    assert len(file.read_text().splitlines()) == 2 * PAGES
    with pytest.raises(UsageError, match=r"items go to .*items\.jsonl"):
        await anext(aiter(crawl(Titles, web.seeds, output=file)))


async def test_errors_are_exceptions_of_the_crawler(tmp_path: Path) -> None:
    class Nameless(Spider):
        def parse(self, response: Response) -> None: ...

    with pytest.raises(ConfigError, match="has no name"):
        await crawl(Nameless, ["http://127.0.0.1/"])
    with pytest.raises(ConfigError, match=r"DOWNLOAD_DELAI \(from settings=\).*did you mean DOWNLOAD_DELAY"):
        await crawl(Titles, ["http://127.0.0.1/"], settings={"DOWNLOAD_DELAI": 1})
    with pytest.raises(UsageError, match="no seeds"):
        await crawl(Titles)
    with pytest.raises(OutputError):
        await crawl(Titles, ["http://127.0.0.1/"], output=tmp_path / "no" / "such" / "folder.jsonl")
    with pytest.raises(FrontierUnavailable):
        await crawl(Titles, ["http://127.0.0.1/"], redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(UsageError, match="give the class"):
        crawl("titles")
    with pytest.raises(UsageError, match="is no spider"):
        crawl(dict)  # type: ignore[arg-type]
    assert left_over() == []


async def test_an_error_inside_the_block_is_raised_as_it_is(web: Running) -> None:
    async def fail() -> None:
        async with crawl(Titles, web.seeds, settings=LOCAL) as crawling:
            async for _ in crawling:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert left_over() == []


async def test_an_error_that_nobody_met_is_raised_on_leaving() -> None:
    with pytest.raises(ConfigError):
        async with crawl(Titles, settings={"DOWNLOAD_DELAY": "soon"}) as crawling:
            await asyncio.wait([crawling._begin()])


async def test_refused_seeds_are_told(web: Running) -> None:
    report = await crawl(Titles, ["mailto:a@b", *web.seeds], settings=LOCAL)
    assert list(report.refused) == ["mailto:a@b"]
    report = await crawl(Titles, ["mailto:a@b"], settings=LOCAL)
    assert (report.reason, report.code, report.ok) == ("no seeds", 2, False)


async def test_a_strict_crawl_that_lost_something_says_what(web: Running) -> None:
    """Two seeds that are equal are two in the count, and one in `refused`."""
    strict = {**LOCAL, "STRICT": True, "MIN_ITEMS": PAGES + 1}
    report = await crawl(Titles, ["mailto:a@b", "mailto:a@b", *web.seeds], settings=strict)
    assert (report.code, len(report.refused)) == (3, 1)
    assert [(one.counter, one.count) for one in report.lost] == [("seeds/refused", 2), ("rules/broken", 1)]
    assert "MIN_ITEMS" in report.lost[1].text


async def test_the_environment_and_settings_py_are_left_alone_without_a_project(
    web: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.py").write_text('DEPTH_LIMIT = 1\nALLOWED_NETWORKS = ["127.0.0.0/8"]\nDOWNLOAD_DELAY = 0\n')
    (tmp_path / "spiders").mkdir()
    (tmp_path / "spiders" / "own.py").write_text(
        "from crawler import Spider\nclass Own(Spider):\n    name = 'own'\n"
        "    def parse(self, response):\n"
        "        yield {'depth': response.depth}\n        yield from response.follow_all()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")  # of another program
    report = await crawl(Titles, web.seeds, settings=LOCAL)
    assert urls_of(report.items) == truth(web)
    monkeypatch.delenv("REDIS_URL")
    report = await crawl("own", web.seeds, project=tmp_path)
    assert {item["depth"] for item in report.items} == {0, 1}


async def test_the_spider_reads_the_settings_that_the_program_gives(web: Running) -> None:
    class Reading(Spider):
        name = "reading"
        custom_settings: ClassVar[Mapping[str, Any]] = {"DEPTH_LIMIT": 3, "SHOP": "custom"}

        def parse(self, response: Response) -> Iterator[Any]:
            self.crawler.stats.inc_value("seen")
            yield {"shop": self.settings["SHOP"], "depth": self.settings.getint("DEPTH_LIMIT")}

    report = await crawl(Reading, web.seeds[:1], settings={**LOCAL, "SHOP": "given"})
    assert report.items == [{"shop": "given", "depth": 3}]
    assert report.stats.counters["own/seen"] == 1


async def test_a_limit_ends_the_crawl_and_is_its_reason(web: Running) -> None:
    report = await crawl(Titles, web.seeds, settings={**LOCAL, "CLOSESPIDER_PAGECOUNT": 5})
    assert (report.reason, report.code, len(report.items)) == ("closespider_pagecount", 0, 5)


async def test_seeds_of_an_async_start_and_arguments_reach_the_spider(web: Running) -> None:
    class Started(Spider):
        name = "started"
        word = ""

        async def start(self) -> AsyncIterator[Request]:
            yield Request(web.seeds[0], callback="parse_page")

        def parse_page(self, response: Response) -> Iterator[Any]:
            yield {"word": self.word}

    report = await crawl(Started, settings=LOCAL, arguments={"word": "hello"})
    assert report.items == [{"word": "hello"}]


async def test_on_a_queue_server_a_named_job_goes_on_and_another_leaves_nothing(
    web: Running, valkey_server: Valkey
) -> None:
    server = {"KEY_PREFIX": secrets.token_hex(4), **LOCAL}
    async with crawl(
        Titles, web.seeds, settings={**server, "EXPORT_BATCH": 1}, redis_url=valkey_server.url, job="mine"
    ) as crawling:
        first = [await anext(aiter(crawling))]
    rest = await crawl(Titles, web.seeds, settings=server, redis_url=valkey_server.url, job="mine")
    seen = urls_of([*first, *rest.items])
    assert sorted(set(seen)) == truth(web)
    assert len(seen) <= PAGES + 1  # the one item that the first loop had not yet come back from
    again = await crawl(Titles, web.seeds, settings=server, redis_url=valkey_server.url, job="mine")
    assert (again.reason, again.items) == ("already finished", [])
    brief = await crawl(Titles, web.seeds, settings=server, redis_url=valkey_server.url)
    assert urls_of(brief.items) == truth(web)
    async with Redis.from_url(valkey_server.url) as client:
        keys = [key async for key in client.scan_iter(f"{server['KEY_PREFIX']}*")]
    assert not [key for key in keys if brief.job.encode() in key]


async def test_logging_stays_the_programs_own(web: Running, caplog: pytest.LogCaptureFixture) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), structlog.is_configured())

    class Noisy(Titles):
        name = "noisy"

        def parse(self, response: Response) -> Iterator[Any]:
            self.logger.warning("seen")
            yield 5

    await crawl(Noisy, web.seeds[:1], settings=LOCAL)
    assert (root.level, list(root.handlers), structlog.is_configured()) == before
    assert "seen" in caplog.messages
    ours = [record for record in caplog.records if record.name.startswith("crawler.")]
    assert any("not_an_item" in record.getMessage() or "5" in record.getMessage() for record in ours)


async def test_inside_fastapi(web: Running) -> None:
    app = FastAPI()

    @app.get("/titles")
    async def titles() -> list[dict[str, Any]]:
        return (await crawl(Titles, web.seeds, settings=LOCAL)).items

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - it has no event for that
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with ClientSession() as session:
            answers = await asyncio.gather(*(_get(session, f"http://127.0.0.1:{port}/titles") for _ in range(2)))
    finally:
        server.should_exit = True
        await serving
    assert [urls_of(items) for items in answers] == [truth(web)] * 2


async def _get(session: ClientSession, url: str) -> list[dict[str, Any]]:
    async with session.get(url) as answer:
        return list(await answer.json())


SCRIPT = """
import sys
from crawler import Spider, run

class Mine(Spider):
    name = "mine"
    def parse(self, response):
        print("to standard output")
        yield {"url": response.url}
        yield response.follow("/slow")

settings = {"ALLOWED_NETWORKS": ["127.0.0.0/8"], "DOWNLOAD_DELAY": float(sys.argv[2]), "ROBOTSTXT_OBEY": False}
report = run(Mine, [sys.argv[1]], settings=settings)
print(report.reason, len(report.items))
"""


async def test_a_spider_of_the_script_itself(web: Running, tmp_path: Path) -> None:
    ran = await _script(tmp_path, web.seeds[0], "0")
    out, err = await asyncio.wait_for(ran.communicate(), 60)
    assert out.decode().splitlines() == ["to standard output", "finished 1"], err.decode()
    assert ran.returncode == 0


async def test_ctrl_c_ends_a_script_as_python_does(web: Running, tmp_path: Path) -> None:
    ran = await _script(tmp_path, web.seeds[0], "600")
    assert ran.stdout is not None
    assert await asyncio.wait_for(ran.stdout.readline(), 60) == b"to standard output\n"
    ran.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(ran.communicate(), 30)
    assert err.decode().rstrip().endswith("KeyboardInterrupt")
    assert "never retrieved" not in err.decode()
    assert "was destroyed" not in err.decode()
    assert ran.returncode == -signal.SIGINT


async def test_typed_at_a_prompt(web: Running, tmp_path: Path) -> None:
    """The source of such a class is nowhere, as in a notebook."""
    script = SCRIPT.replace("[sys.argv[1]]", repr(web.seeds[:1])).replace("float(sys.argv[2])", "0")
    typed = script.replace("\n\nsettings", "\n\n\nsettings")
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-q", "-i"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(ran.communicate(typed.encode()), 60)
    assert "finished 1" in out.decode(), err.decode()


async def _script(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    (folder / "mine.py").write_text(SCRIPT)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "mine.py", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    """Its blocks, one after the other, as one script. The site is ours."""
    quotes = '<div class="quote"><span class="text">So it goes.</span></div>'
    async with serve(Pages({"/": f'{quotes}<li class="next"><a href="/2">2</a></li>', "/2": quotes})) as web:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
        local = 'settings={"ALLOWED_NETWORKS": ["127.0.0.0/8"], "DOWNLOAD_DELAY": 0}'
        code = "\n".join(blocks).replace('settings={"DOWNLOAD_DELAY": 0.5}', local)
        code = code.replace('quotes.example/"])', f'quotes.example/"], {local})')
        (tmp_path / "page.py").write_text(code.replace("https://quotes.example/", web.seeds[0]))
        ran = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "page.py"),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(ran.communicate(), 60)
    assert out.decode().splitlines() == ["finished 2 ()", "2", "So it goes.", "So it goes.", "finished"], err.decode()


def test_the_names_are_typed_and_cheap() -> None:
    code = (
        "import sys, crawler; assert 'crawler.api' not in sys.modules; assert 'aiohttp' not in sys.modules; "
        "print(crawler.__version__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "0.1.0"
    assert issubclass(UsageError, CrawlerError)
    assert isinstance(crawl(Titles), Crawling)
