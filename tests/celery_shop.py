"""A project whose application has Celery: its app, and the processes that serve its crawls, to be killed at any time.

with Shop(folder, frontier=server.url, broker=server.url, results=server.url) as shop:
    result = shop.crawl.delay(site.seeds, spider="site")
    shop.kill("celery")
    shop.start("celery")
    await shop.get(result)
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from celery import Celery

from crawler.celery import install

ROOT = Path(__file__).resolve().parents[1]
QUEUE = "crawls"
PLAYED = "index.jsonl"  # what the task `index` was given, one line for each time that it ran

_SETTINGS = """
REDIS_URL = "{frontier}"
ALLOWED_NETWORKS = ("127.0.0.0/8",)
DOWNLOAD_DELAY = 0
RETRY_DELAY = 0.05
BACKOFF_SECONDS = 0.1
LEASE_SECONDS = 2
CELERY_APP = "shop:app"
"""
_APP = """
import os
from tests.celery_shop import app_of
app = app_of(os.environ["BROKER"], os.environ["RESULTS"], ".")
"""
_BEATS = """
app.conf.beat_schedule = {{"news": {schedule!r}}}
app.conf.beat_max_loop_interval = 0.1
"""
_QUIET = ("--without-mingle", "--without-gossip", "--without-heartbeat", "-l", "INFO", "-E")
_SPIDER = """
from crawler import Spider

class Broken(Spider):
    name = "broken"

    def parse(self, response):
        raise LookupError("no price on the page")

class Given(Spider):
    name = "given"
    custom_settings = {"COVERAGE_RULES": {"price": 1.0}}

    def __init__(self, prices="", **more):
        super().__init__(**more)

    def parse(self, response):
        yield {"url": response.url}
"""


def app_of(broker: str, results: str, folder: str | Path) -> Any:
    """An app with the crawler's tasks and one of its own, `index`, which writes down what it is given."""
    app = Celery("shop", broker=broker, backend=results)
    app.conf.broker_connection_retry_on_startup = True
    app.conf.worker_send_task_events = True
    # a message that a killed worker has taken comes again; with Redis, a worker looks for such messages now and then
    app.conf.broker_transport_options = (
        {"confirm_publish": True}
        if "amqp" in broker
        else {"visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    )
    install(app, folder=folder, queue=QUEUE)

    @app.task(name="shop.index", bind=True, shared=False)  # type: ignore[untyped-decorator]
    def index(task: Any, value: Any) -> Any:
        with Path(PLAYED).open("a") as played:
            played.write(json.dumps({"id": task.request.id, "value": value}) + "\n")
        return value

    return app


class Shop:
    """A project folder, the processes in it, and the app in this process."""

    def __init__(self, folder: Path, *, frontier: str, broker: str, results: str, pool: str = "solo") -> None:
        self.folder = folder
        (folder / "shop.py").write_text(_APP)
        (folder / "settings.py").write_text(_SETTINGS.format(frontier=frontier))
        (folder / "spiders").mkdir()
        (folder / "spiders" / "broken.py").write_text(_SPIDER)
        program = (sys.executable, "-m")
        self._commands = {
            "celery": (
                *program,
                "celery",
                "-A",
                "shop",
                "worker",
                "-P",
                pool,
                "-c",
                "1",
                "-Q",
                f"celery,{QUEUE}",
                *_QUIET,
            ),
            "worker": (*program, "crawler", "worker", "--processes", "1"),
            "beat": (*program, "celery", "-A", "shop", "beat", "-s", "beat", "--pidfile", ""),
            "other beat": (*program, "celery", "-A", "shop", "beat", "-s", "other-beat", "--pidfile", ""),
            "exporter": (*program, "crawler", "export", "--ordered", "-o", "{job}.jsonl"),
        }
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CRAWLER_", "REDIS_"))},
            "PYTHONPATH": str(ROOT),
            "BROKER": broker,
            "RESULTS": results,
            "XDG_DATA_HOME": str(folder / "data"),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.app = app_of(broker, results, folder)

    def __getattr__(self, name: str) -> Any:
        """Return a task of the crawler, such as `crawl`."""
        return self.app.tasks[f"crawler.celery.{name}"]

    @property
    def index(self) -> Any:
        """Return the project's own task."""
        return self.app.tasks["shop.index"]

    def __enter__(self) -> Shop:
        self.app.loader.import_default_modules()
        for name in ("celery", "worker", "exporter"):
            self.start(name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in list(self._running):
            self.kill(name)
        self.app.backend.client.close()
        self.app.close()
        gc.collect()  # what clients left open shows here, in the test that made it

    def start(self, name: str) -> None:
        """Start one process; what it says goes to a file of its name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                self._commands[name],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def schedule(self, **schedule: Any) -> None:
        """Give the beats, which `start` starts, a schedule."""
        (self.folder / "shop.py").write_text(_APP + _BEATS.format(schedule=schedule))

    def kill(self, name: str) -> None:
        """Kill the process with its children."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def terminate(self, name: str) -> None:
        """Tell the process to end, and wait for it."""
        process = self._running.pop(name)
        process.terminate()
        process.wait()

    async def get(self, result: Any, **options: Any) -> Any:
        """Wait for a result, in a thread."""
        return await asyncio.to_thread(result.get, timeout=60, **options)

    async def said(self, name: str, *words: str) -> str:
        """Wait until a process has logged a line with these words, and return it."""
        async with asyncio.timeout(60):
            while True:
                lines = (self.folder / f"{name}.log").read_text().splitlines()
                for line in lines:
                    if all(word in line for word in words):
                        return line
                await asyncio.sleep(0.1)

    def played(self) -> list[dict[str, Any]]:
        """What `index` was given."""
        path = self.folder / PLAYED
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def items(self, job: str) -> list[dict[str, Any]]:
        """The items in the file of a job."""
        return [json.loads(line) for line in (self.folder / f"{job}.jsonl").read_text().splitlines()]
