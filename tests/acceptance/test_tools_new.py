"""`startproject`, `genspider` and `runspider`, as strangers use them in any folder."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.shell import LOCAL, Shell
from tests.webserver import Answer, Running, Site, serve

TEMPLATES = ("api", "basic", "crawl", "sitemap")


@pytest.fixture
async def shop() -> AsyncIterator[Running]:
    """A site for every template."""
    site = Site(pages=3, hosts=1)
    site.on("/list", lambda hit, page: Answer(b'<a href="/items/1">1</a> <a href="/items/2">2</a>'))
    site.on("/items/", lambda hit, page: Answer(b"<title>Item</title>"))
    site.on("/api", lambda hit, page: Answer(b'{"items": [{"n": 1}, {"n": 2}]}', content_type="application/json"))
    async with serve(site) as running:
        pages = "".join(f"<url><loc>{at(running, f'/items/{n}')}</loc></url>" for n in (1, 2))
        answer = Answer(f"<urlset>{pages}</urlset>".encode(), content_type="application/xml")
        site.on("/sitemap.xml", lambda hit, page: answer)
        yield running


def at(site: Running, path: str) -> str:
    return site.seeds[0].removesuffix("/s0/p0.html") + path


def items(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


async def new_project(bare: Shell) -> Shell:
    ended = await bare.run("startproject", "shop")
    assert ended.code == 0, ended.err
    return Shell(bare.folder / "shop", bare.environment)


# ---------------------------------------------------------------------------------------------------------
# startproject


async def test_a_new_project_has_files_that_tools_accept(bare: Shell) -> None:
    project = await new_project(bare)
    assert (await project.run("list")).out == ""
    assert (await project.run("settings", "--check", "settings.py")).code == 0
    for template in TEMPLATES:
        assert (await project.run("genspider", "-t", template, f"my-{template}", "quotes.example")).code == 0
    assert (await project.run("list")).out.split() == [f"my-{template}" for template in TEMPLATES]
    # RUF012: `allowed_domains = [...]` is a list in everybody's spiders
    for tool in (
        ["ruff", "check", "--isolated", "--ignore=RUF012"],
        ["ruff", "format", "--isolated", "--check", "--line-length=120"],
    ):
        await _passes(project, *tool)


async def _passes(project: Shell, *tool: str) -> None:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *tool, "."),
        cwd=project.folder,
        env=project.environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["a/b"], 2, "is no name for a project"),
        ([".."], 2, "is no name for a project"),
        (["1st"], 2, "a letter first"),
        (["größe"], 2, "is no name for a project"),
        (["crawler"], 2, "is the name of a Python module"),
        (["json"], 2, "is the name of a Python module"),
        (["class"], 2, "is the name of a Python module"),
        (["full"], 2, r"full exists and is not an empty folder; name another one: startproject full DIR"),
        (["shop", "a-file"], 2, "a-file exists and is not an empty folder"),
        (["shop", "/proc/nowhere"], 73, "/proc/nowhere"),
        ([], 2, "NAME"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_project_that_cannot_be_made_leaves_nothing(
    bare: Shell, arguments: list[str], code: int, text: str
) -> None:
    (bare.folder / "full").mkdir()
    (bare.folder / "full" / "mine").write_text("precious")
    (bare.folder / "a-file").write_text("precious")
    before = sorted(bare.folder.rglob("*"))
    ended = await bare.run("startproject", *arguments)
    assert ended.code == code
    assert re.search(text, ended.error), ended.error
    assert sorted(bare.folder.rglob("*")) == before
    assert (bare.folder / "full" / "mine").read_text() == "precious"


async def test_an_empty_folder_of_any_name_takes_a_project(bare: Shell) -> None:
    place = bare.folder / "my größe"
    place.mkdir()
    ended = await bare.run("startproject", "shop", str(place))
    assert ended.code == 0
    assert sorted(path.name for path in place.iterdir()) == [".gitignore", "README.md", "settings.py", "spiders"]
    assert f"'{place}'" in ended.err
    assert 'USER_AGENT = "shop/1.0"' in (place / "settings.py").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_is_named(bare: Shell) -> None:
    bare.folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        ended = await bare.run("startproject", "shop")
    finally:
        bare.folder.chmod(0o700)
    assert ended.code == 73
    assert "Permission denied" in ended.error


# ---------------------------------------------------------------------------------------------------------
# genspider


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [("basic", "/items/1", 1), ("crawl", "/list", 2), ("sitemap", "/sitemap.xml", 2), ("api", "/api", 2)],
)
async def test_a_new_spider_runs_at_once(bare: Shell, shop: Running, template: str, path: str, found: int) -> None:
    project = await new_project(bare)
    made = await project.run("genspider", "-t", template, "one", at(shop, path))
    assert (made.code, made.out) == (0, "spiders/one.py\n")
    ended = await project.run("crawl", *LOCAL, "--spider", "one", "-o", "out.jsonl", PYTHONWARNINGS="error")
    assert ended.code == 0, ended.err
    assert "warning" not in ended.err.lower(), ended.err
    assert len(items(project.folder / "out.jsonl")) == found


async def test_the_templates_can_be_seen(bare: Shell) -> None:
    assert (await bare.run("genspider", "--list")).out.split() == list(TEMPLATES)
    assert "class $cls(Spider):" in (await bare.run("genspider", "--dump", "basic")).out
    wrong = await bare.run("genspider", "-d", "bsic")
    assert (wrong.code, wrong.error) == (
        2,
        "error: there is no template 'bsic'; there are: api, basic, crawl, sitemap",
    )
    assert list(bare.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], r"which spider\? .*genspider NAME DOMAIN"),
        (["quotes"], r"which spider\?"),
        (["../quotes", "a.example"], "is no name for a spider"),
        (['q"uotes', "a.example"], "is no name for a spider"),
        (["-t", "spdr", "quotes", "a.example"], "there is no template 'spdr'"),
        (["quotes", "a b"], "give a domain or a URL"),
        (["quotes", "ftp://a.example"], "scheme 'ftp' is not supported"),
        (["-e", "quotes", "a.example"], "set EDITOR"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake_writes_no_spider(bare: Shell, arguments: list[str], text: str) -> None:
    bare.environment.pop("EDITOR", None)
    ended = await bare.run("genspider", *arguments)
    assert ended.code == 2
    assert re.search(text, ended.error), ended.error
    assert list(bare.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("editor", "text"), [("nosuchprog -w", "nosuchprog is not a program"), ("'", "EDITOR=': No closing quotation")]
)
async def test_an_editor_that_cannot_be_run_is_named_before_a_spider_is_written(
    bare: Shell, editor: str, text: str
) -> None:
    ended = await bare.run("genspider", "-e", "quotes", "a.example", EDITOR=editor)
    assert (ended.code, text in ended.error) == (2, True), ended.err
    assert list(bare.folder.iterdir()) == []


async def test_an_editor_that_is_no_program_inside_is_named(bare: Shell) -> None:
    (bare.folder / "edit").write_text("no program")
    (bare.folder / "edit").chmod(0o700)
    ended = await bare.run("genspider", "-e", "quotes", "a.example", EDITOR="./edit")
    assert (ended.code, ended.error) == (2, "error: ./edit: Exec format error")


async def test_what_comes_from_outside_is_quoted(bare: Shell) -> None:
    url = "https://a.example/'\"\"\"+__import__('os').system('touch owned')+\\x?q=$name${cls}#x"
    assert (await bare.run("genspider", "quotes", url)).code == 0
    assert (await bare.run("list")).out == "quotes\n"
    assert [path.name for path in bare.folder.iterdir()] == ["spiders"]


async def test_a_spider_is_overwritten_only_with_force(bare: Shell) -> None:
    assert (await bare.run("genspider", "quotes", "a.example")).code == 0
    file = bare.folder / "spiders" / "quotes.py"
    file.write_text(file.read_text() + "# mine\n")
    again = await bare.run("genspider", "quotes", "b.example")
    assert again.code == 2
    assert again.error.endswith("; --force overwrites it")
    (bare.folder / "spiders" / "other.py").write_text("1 / 0")
    taken = await bare.run("genspider", "other", "b.example")
    assert taken.code == 2
    assert "other.py exists" in taken.error
    assert file.read_text().endswith("# mine\n")
    assert (await bare.run("genspider", "--force", "quotes", "b.example")).code == 0
    assert "b.example" in file.read_text()
    file.rename(file.with_name("moved.py"))
    elsewhere = await bare.run("genspider", "--force", "quotes", "b.example")
    assert "exists in" in elsewhere.error
    assert not file.exists()


async def test_the_editor_gets_the_new_file(bare: Shell) -> None:
    ended = await bare.run("genspider", "-e", "quotes", "a.example", EDITOR="sed -i s/a.example/edited.example/")
    assert ended.code == 0
    assert "edited.example" in (bare.folder / "spiders" / "quotes.py").read_text()


# ---------------------------------------------------------------------------------------------------------
# runspider


SPIDER = """
from crawler import Spider
import beside

class A(Spider):
    name = "a"
    def __init__(self, word="", **more):
        super().__init__(**more)
        self.word = word
    def start_requests(self):
        from crawler import Request
        yield Request(self.page)
    def parse(self, response):
        yield {"word": self.word, "beside": beside.VALUE}
"""


async def test_the_spider_of_a_file_runs_anew_each_time(bare: Shell, shop: Running) -> None:
    place = bare.folder / "else where"
    place.mkdir()
    (place / "my-spider.py").write_text(SPIDER)
    (place / "beside.py").write_text("VALUE = 7\n")
    (bare.folder / "spiders").mkdir()
    (bare.folder / "spiders" / "broken.py").write_text("1 / 0")
    (bare.folder / "settings.py").write_text("SPIDERS = {'other': {'RETRY_TIMES': 1}}\n")
    given = ("else where/my-spider.py", "-a", f"page={at(shop, '/items/1')}", "-a", "word=hi")
    for _ in range(2):
        ended = await bare.run("runspider", *LOCAL, *given, "-O", "out.jsonl")
        assert ended.code == 0, ended.err
        (one,) = items(bare.folder / "out.jsonl")
        assert (one["word"], one["beside"]) == ("hi", 7)
    assert len(shop.hits(at(shop, "/items/1"))) == 2
    assert not (bare.folder / "data").exists()  # no queue server
    out = await bare.run("runspider", *LOCAL, *given, "-o", "-", "-q")
    assert json.loads(out.out)["word"] == "hi"


async def test_with_a_queue_server_it_resumes_as_crawl_does(shell: Shell, shop: Running) -> None:
    (shell.folder / "one.py").write_text(SPIDER)
    (shell.folder / "beside.py").write_text("VALUE = 7\n")
    for _ in range(2):
        ended = await shell.run("runspider", *LOCAL, "one.py", "-a", f"page={at(shop, '/items/1')}", "-o", "o.jsonl")
        assert ended.code == 0, ended.err
    assert len(shop.hits(at(shop, "/items/1"))) == 1


TWO = "from crawler import Spider\nclass {0}(Spider):\n    name = '{0}'\n    start_urls = ['http://10.0.0.1/']\n"
TWO += "    def parse(self, response): ...\n"


@pytest.mark.parametrize(
    ("source", "arguments", "code", "text"),
    [
        (None, [], 2, "one.py: there is no such file"),
        ("x = 1\n", [], 2, "there is no spider in it"),
        ("def f(:\n", [], 78, r"SyntaxError: .*one\.py"),
        ("1 / 0\n", [], 78, r"ZeroDivisionError: division by zero .*one\.py:1"),
        (TWO.format("a") + TWO.format("b"), [], 2, "one.py has a and b: --spider a or --spider b"),
        (TWO.format("a") + TWO.format("b"), ["--spider", "c"], 2, "one.py has a and b"),
        (TWO.format("a"), ["-a", "x"], 2, "expected NAME=VALUE"),
        (
            "from crawler import Spider\nclass A(Spider):\n    name = 'a'\n    def parse(self, response): ...\n",
            [],
            2,
            "crawler crawl and .* take URLs",
        ),
    ],
)
async def test_a_file_that_cannot_be_run(
    bare: Shell, source: str | None, arguments: list[str], code: int, text: str
) -> None:
    if source is not None:
        (bare.folder / "one.py").write_text(source)
    ended = await bare.run("runspider", "one.py", *arguments)
    assert ended.code == code
    assert re.search(text, ended.error), ended.error


async def test_only_python_files_are_run(bare: Shell) -> None:
    (bare.folder / "one.txt").write_text(TWO.format("a"))
    assert "not a Python file" in (await bare.run("runspider", "one.txt")).error
    (bare.folder / "dir.py").mkdir()
    assert "no such file" in (await bare.run("runspider", "dir.py")).error
