"""Items to a class of the user's: what it is called with, in which thread, and what its errors lead to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from structlog.testing import capture_logs

from crawler import Response, Spider
from crawler.app.config import Config
from crawler.app.sinks import sink as made
from crawler.errors import ConfigError, CrawlerError, OutputError, UnstorableItems, UsageError
from crawler.export.target import Target
from crawler.interfaces import Sink
from crawler.model import Exported, Job, OutboxEntry
from crawler.settings import Settings
from crawler.spiders.registry import Registry

JOB = Job("news", epoch="e1", spider="shop")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(tmp_path)]


def sink(project: Path, code: str, name: str = "python:outputs:Out") -> Sink:
    (project / "outputs.py").write_text(code)
    settings = Settings(OWN={"FILE": str(project / "seen")})
    return made(Config(settings, {}, project), Target(name), JOB)


SPIDER = """
from crawler import Spider

class Shop(Spider):
    name = "shop"
    custom_settings = {"BASE": "prod"}
    def parse(self, response): ...
    def __init__(self, country="none", **arguments):
        super().__init__(**arguments)
        self.country = country
"""
SAYS_WHERE = (
    "import pathlib\n"
    "class Out:\n"
    "    def open_spider(self, spider):\n"
    "        settings = spider.settings\n"
    "        where = f\"{settings.get('BASE')} {getattr(spider, 'country', None)}\"\n"
    "        pathlib.Path(settings.get('FILE')).write_text(where)\n"
    "    def write(self, items): 0\n"
)


def for_spider(project: Path, code: str, registry: Registry | None = None, **changes: Any) -> Sink:
    (project / "outputs.py").write_text(SAYS_WHERE)
    (project / "spiders").mkdir()
    (project / "spiders" / "shop.py").write_text(code)
    settings = Settings(OWN={"FILE": str(project / "seen"), "BASE": "test"}, **changes)
    config = Config(settings, {}, project, registry)
    return made(config, Target("python:outputs:Out"), msgspec.structs.replace(JOB, arguments={"country": "dk"}))


async def test_the_class_gets_the_spider_of_the_job_with_its_arguments(project: Path) -> None:
    await write(for_spider(project, SPIDER), [page(1)])
    assert seen(project) == ["prod dk"]


async def test_the_spider_of_a_program_counts_as_well(project: Path) -> None:
    class Shop(Spider):
        name = "shop"
        custom_settings: ClassVar = {"BASE": "own"}
        country = ""

        def parse(self, response: Response) -> None: ...

    settings = Settings(OWN={"FILE": str(project / "seen")})
    registry = Registry(settings)
    registry.add(type("Shop", (Shop,), {"__init__": _with_country}))
    await write(for_spider(project, "", registry), [page(1)])
    assert seen(project) == ["own dk"]


def _with_country(self: Any, country: str) -> None:
    Spider.__init__(self)
    self.country = country


async def test_where_the_project_lacks_the_spider_the_log_says_what_the_class_gets(project: Path) -> None:
    with capture_logs() as logs:
        await write(for_spider(project, "", SPIDERS={"shop": {"BASE": "dk"}}), [page(1)])
    assert seen(project) == ["dk None"]
    assert [one["spider"] for one in logs if one["event"] == "spider_not_asked"] == ["shop"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("class Shop(", "not loaded: .*shop.py"),
        (SPIDER + "        raise ValueError('no')\n", "ValueError: no"),
        (SPIDER.replace("country", "land"), "takes no argument 'country'|never reads country"),
    ],
)
async def test_items_do_not_go_where_a_spider_that_fails_did_not_say(project: Path, code: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        await write(for_spider(project, code), [page(1)])
    assert not (project / "seen").exists()


def page(number: int, *items: object, spider: str = "shop") -> OutboxEntry:
    lines = tuple(json.dumps(item).encode() for item in items or ({"n": number},))
    return OutboxEntry(0, f"{number}-0", lines, "http://a.example/p", spider)


async def write(to: Sink, *batches: Sequence[OutboxEntry]) -> int:
    try:
        await to.open(Exported())
        return sum([await to.write(batch) for batch in batches])
    finally:
        await to.close()


def seen(project: Path) -> list[str]:
    return (project / "seen").read_text().splitlines()


NOTES = """
import threading
from crawler import DropItem

class Base:
    def __init__(self, path):
        self.path = path
        self.note("made")

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler.settings.get("FILE"))

    def note(self, *words):
        with open(self.path, "a") as file:
            print(*words, file=file)
"""


async def test_a_pipeline_of_scrapys_shape(project: Path) -> None:
    code = NOTES + (
        "class Out(Base):\n"
        "    def open_spider(self, spider): self.note('open', spider.name, spider.settings.get('FILE') == self.path)\n"
        "    def process_item(self, item, spider):\n"
        "        if item['n'] == 2: raise DropItem('two')\n"
        "        self.note(item['n'], spider.name)\n"
        "        return item\n"
        "    def close_spider(self, spider): self.note('close', spider.name)\n"
    )
    to = sink(project, code)
    with capture_logs() as logs:
        await to.open(Exported())
        assert await to.write([page(1), page(2, {"n": 2}, {"n": 3}), page(4, spider="blog")]) == 4
        await to.finish()
        await to.close()
    assert seen(project) == ["made", "open shop True", "1 shop", "3 shop", "4 blog", "close shop"]
    assert {(one["event"], one.get("items")) for one in logs} >= {
        ("output_at_least_once", None),
        ("output_dropped", 1),
    }


@pytest.mark.parametrize(
    "code",
    [
        "class Out(Base):\n    def write(self, items): self.note(len(items), items[0]['n'])\n",
        "class Out(Base):\n    async def write(self, items): self.note(len(items), items[0]['n'])\n",
        "class Out(Base):\n    def process_item(self, item):\n        if item['n'] == 1: self.note(2, 1)\n",
        "class Out(Base):\n    async def process_item(self, item):\n        if item['n'] == 1: self.note(2, 1)\n",
    ],
    ids=["write", "async write", "process_item", "async process_item"],
)
async def test_other_shapes(project: Path, code: str) -> None:
    assert await write(sink(project, NOTES + code), [page(1), page(2)]) == 2
    assert seen(project) == ["made", "2 1"]


async def test_a_class_of_from_settings(project: Path) -> None:
    code = (
        "import pathlib\n"
        "class Out:\n"
        "    @classmethod\n"
        "    def from_settings(cls, settings):\n"
        "        out = cls()\n"
        "        out.path = settings['FILE']\n"
        "        return out\n"
        "    def write(self, items): pathlib.Path(self.path).write_text('ok')\n"
    )
    await write(sink(project, code), [page(1)])
    assert seen(project) == ["ok"]


async def test_all_methods_run_in_one_thread_so_a_connection_of_sqlite_works(project: Path) -> None:
    code = (
        "import pathlib, sqlite3\n"
        "class Out:\n"
        "    def open_spider(self): self.base = sqlite3.connect('FOLDER/items.db')\n"
        "    def process_item(self, item):\n"
        "        with self.base:\n"
        "            self.base.execute('create table if not exists items (n)')\n"
        "            self.base.execute('insert into items values (?)', (item['n'],))\n"
        "    def close_spider(self):\n"
        "        self.count = self.base.execute('select count(*) from items').fetchone()\n"
        "        self.base.close()\n"
        "        pathlib.Path('FOLDER/seen').write_text(str(self.count[0]))\n"
    ).replace("FOLDER", str(project))
    assert await write(sink(project, code), *([page(number)] for number in range(1, 21))) == 20
    assert seen(project) == ["20"]


async def test_the_id_of_an_item_is_the_same_whenever_it_comes(project: Path) -> None:
    code = NOTES + "class Out(Base):\n    def process_item(self, item): self.note(item['_id'], item['n'])\n"
    to = sink(project, code, "python:outputs:Out?id=_id")
    await write(to, [page(1, {"n": 1}, {"n": 2})])
    assert seen(project) == ["made", "e1.0.1-0.0 1", "e1.0.1-0.1 2"]
    to = sink(project, code, "python:outputs:Out?id=n")
    with pytest.raises(UnstorableItems, match=r"field n \(int\): the item has one already"):
        await write(to, [page(1)])


@pytest.mark.parametrize("error", ["OSError('away')", "sqlite3.OperationalError('locked')", "Psycopgs('gone')"])
async def test_what_may_pass_is_tried_again_with_a_new_object_and_only_the_rest(project: Path, error: str) -> None:
    code = NOTES + (
        "import sqlite3\n"
        "class InterfaceError(Exception): pass\n"
        "class Psycopgs(InterfaceError): pass\n"
        "failed = []\n"
        "class Out(Base):\n"
        "    def process_item(self, item):\n"
        "        if item['n'] == 3 and not failed:\n"
        "            failed.append(1)\n"
        f"            raise {error}\n"
        "        self.note(item['n'])\n"
        "    def close_spider(self): self.note('close')\n"
    )
    to = sink(project, code)
    await to.open(Exported())
    with pytest.raises(OutputError, match=r"Out: .*Error.*\(.*outputs.py:\d+\); what is not written stays|Psycopgs"):
        await to.write([page(1), page(2), page(3), page(4)])
    assert await to.write([page(1), page(2), page(3), page(4)]) == 4
    await to.close()
    assert seen(project) == ["made", "1", "2", "close", "made", "3", "4", "close"]


async def test_a_bug_ends_with_the_line_and_the_traceback_of_the_users_code(project: Path) -> None:
    code = "class Out:\n    def process_item(self, item):\n        return self.price(item)\n" + (
        "    def price(self, item):\n        return item['price']\n"
    )
    with pytest.raises(ConfigError) as caught:
        await write(sink(project, code), [page(1)])
    first, *trace = str(caught.value).splitlines()
    assert first.startswith("python:outputs:Out: KeyError: 'price' (")
    assert "outputs.py:5); what is not written stays in the outbox" in first
    assert "outputs.py" in "".join(trace)
    assert "user_class.py" not in "".join(trace)


async def test_a_database_that_is_away_when_the_object_is_made_is_no_bug(project: Path) -> None:
    code = "class Out:\n    def __init__(self): raise ConnectionRefusedError('no database')\n"
    code += "    def write(self, items): 0\n"
    with pytest.raises(OutputError, match="no database"):
        await write(sink(project, code), [page(1)])


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("python:nothing:Out", "", "No module named 'nothing'"),
        ("python:outputs:Oup", "class Out: pass", "outputs.py has no Oup; did you mean Out?"),
        ("python:outputs:Out", "class Out: pass", r"has neither process_item\(self, item\) nor write\(self, items\)"),
        ("python:outputs:Out", "Out = 5", "outputs.Out is no class"),
        ("python:outputs:Out", "def", r"SyntaxError.*outputs.py"),
        ("python:outputs", "", "is no import path"),
        ("python:", "", "is no import path"),
        ("python:outputs:Out?key=1", "class Out:\n  def write(self, items): 0", "unknown word 'key'"),
    ],
)
def test_a_class_that_cannot_be_used(project: Path, name: str, code: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        sink(project, code, name)


async def test_a_class_that_configures_itself_away_is_an_error(project: Path) -> None:
    code = (
        "from crawler.errors import NotConfigured\n"
        "class Out:\n    def __init__(self): raise NotConfigured('no DSN')\n    def write(self, items): 0\n"
    )
    with pytest.raises(CrawlerError, match="raised NotConfigured"):
        await write(sink(project, code), [page(1)])


async def test_earlier_items_went_elsewhere(project: Path) -> None:
    to = sink(project, "class Out:\n    def write(self, items): 0\n")
    with pytest.raises(OutputError, match=r"went to items\.jsonl"):
        await to.open(Exported({0: "1-0"}, "items.jsonl"))
    await to.close()


def test_what_is_taken_cannot_be_replaced(project: Path) -> None:
    (project / "outputs.py").write_text("class Out:\n    def write(self, items): 0\n")
    with pytest.raises(UsageError, match="cannot be replaced: write -o"):
        made(Config(Settings(), {}, project), Target("python:outputs:Out", overwrite=True), JOB)
