"""The commands as people and scripts meet them: real processes, their output, their exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
from typing import Any

import pytest

from tests.acceptance.shell import LOCAL, Ended, Shell, silent_port
from tests.valkey import Valkey
from tests.webserver import Running

NO_NAME = "a" * 300  # longer than any file system permits
NO_TEXT = os.fsdecode(b"caf\xe9")

# Runs a command that honours permissions even if root starts it: 24 is PR_CAPBSET_DROP, 1 and 2 are CAP_DAC_….
WITHOUT_ROOTS_RIGHTS = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; [ctypes.CDLL(None).prctl(24, right, 0, 0, 0) for right in (1, 2)]; "
    "os.execv(sys.argv[1], sys.argv[1:])",
)

# ---------------------------------------------------------------------------------------------------------
# Without a server


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
async def test_no_command_and_help_show_the_commands(bare: Shell, arguments: tuple[str, ...]) -> None:
    ended = await bare.run(*arguments)
    assert ended.code == 0
    commands = [
        *("crawl", "seed", "worker", "export", "status", "jobs", "dead", "redrive", "drop", "reap"),
        *("control", "schedule", "inspect", "why", "list", "settings", "version", "up", "down"),
    ]
    for name in commands:
        assert re.search(rf"\b{name}\b", ended.out), name
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["crwal"], 2, r"No such command 'crwal'. Did you mean 'crawl'\?"),
        (["seed", "--jbo", "x"], 2, "No such option: --jbo"),
        (["worker", "--processes", "many"], 2, "--processes"),
        (["crawl", "http://127.0.0.1/", "--processes", "1025"], 2, "--processes.*less than or equal to 1024"),
        (["worker", "-s", "PROCESSES=1025"], 78, "PROCESSES='1025' .*<= 1024"),
        (["seed", "http://127.0.0.1/", "--spider", "sit"], 2, r"no spider is named 'sit'; did you mean site\?"),
        (["crawl", "http://127.0.0.1/", "--spider", "zzz"], 2, "there are: .*site"),
        (["seed", "http://127.0.0.1/", "-a", "x"], 2, "-a x: expected NAME=VALUE"),
        (["crawl", "http://127.0.0.1/", "-o", ""], 2, "-o: the value is empty, as of an unset variable"),
        (["drop", "--all", "--job", ""], 2, "--job: the value is empty, as of an unset variable"),
        (["settings", "--check", ""], 2, "--check: the value is empty, as of an unset variable"),
        (["seed"], 2, "crawler seed take URLs, -f FILE or - for stdin"),
        (["seed", "-f", "nothing"], 2, "-f nothing: no such file"),
        (["crawl", "-"], 2, "needs a name: --job NAME"),
        (["crawl", "http://127.0.0.1/", "-o", "a", "-O", "a"], 2, "a is named 2 times"),
        (["crawl", "http://127.0.0.1/", "-O", "b", "--append"], 2, "--append goes with -o"),
        (["crawl", "http://127.0.0.1/", "--force"], 2, "--force goes with --fresh"),
        (["crawl", "http://127.0.0.1/", "-o", "-", "--json"], 2, "cannot share stdout"),
        (["export"], 2, "no job is named 'default'; there are none yet"),
        (["redrive"], 2, "crawler redrive ID..., --where FIELD=PATTERN, or --all"),
        (["drop"], 2, "crawler drop ID..., --where FIELD=PATTERN, or --all"),
        (["drop", "--all", "--where", "host=a"], 2, "say which: crawler drop"),
        (["redrive", "--where", "http_503"], 2, "expected FIELD=PATTERN"),
        (["dead", "--where", "hsot=a"], 2, r"did you mean host\?"),
        (["dead", "--group", "lines"], 2, r"did you mean line\?"),
        (["dead", "show"], 2, "crawler dead show ID"),
        (["dead", "show", "x", "--list"], 2, "only ids"),
        (["jobs", "delete"], 2, "crawler jobs delete NAME"),
        (["jobs", "burn"], 2, "'burn' is not one of 'list', 'delete'"),
        (["status", "-s", "DOWNLOAD_DELY=1"], 78, r"unknown setting DOWNLOAD_DELY .*did you mean DOWNLOAD_DELAY\?"),
        (["-s", "LOG_LEVEL=loud", "status"], 78, r"LOG_LEVEL='loud' \(from -s\): expected one of DEBUG"),
        (["status", "-s", "REDIS_URL=ftp://host"], 78, r"redis\+sentinel://, redis\+cluster:// or memory://"),
        (["worker", "-s", "REDIS_URL=memory://"], 2, "lives in one process"),
        (["up", "-s", "EMBEDDED_BINARY=/nosuch"], 78, "EMBEDDED_BINARY: /nosuch is not a program"),
        (["up", "-s", "REDIS_URL=redis://host"], 2, r"REDIS_URL is set \(-s\)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_mistake_is_one_line_that_says_what_to_do(
    bare: Shell, arguments: list[str], code: int, text: str
) -> None:
    ended = await bare.run(*arguments)
    assert ended.code == code
    assert re.search(text, ended.error)
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["fetch", NO_NAME], 2),
        (["shell", NO_NAME], 2),
        (["check", NO_NAME], 2),
        (["seed", "-f", NO_NAME], 2),
        (["settings", "--check", NO_NAME], 2),
        (["runspider", f"{NO_NAME}.py"], 2),
        (["extract", "--from", NO_NAME, "-o", "-"], 2),
        (["startproject", "x", NO_NAME], 2),
        (["status", "-s", f"DATA_DIR={NO_NAME}"], 78),
    ],
)
async def test_a_name_that_no_file_can_have_is_no_bug(bare: Shell, arguments: list[str], code: int) -> None:
    ended = await bare.run(*arguments)
    assert (ended.code, "this is a bug" in ended.err) == (code, False), ended.err
    assert ended.error.count(NO_NAME) >= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["crawl", "http://127.0.0.1/", "-o", f"{NO_TEXT}.jsonl", "--job", "x"],
        ["crawl", "http://127.0.0.1/", "--spider", "shop", "-a", f"category={NO_TEXT}"],
        ["crawl", "http://127.0.0.1/", "-s", f"USER_AGENT={NO_TEXT}"],
        ["record", "http://127.0.0.1/", "--name", NO_TEXT],
        ["schedule", "add", "x", "* * * * *", "--", "crawl", f"http://127.0.0.1/{NO_TEXT}"],
    ],
)
async def test_an_argument_that_is_not_utf_8_is_shown(bare: Shell, arguments: list[str]) -> None:
    ended = await bare.run(*arguments)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert re.fullmatch(r"error: the argument b'.*caf\\xe9.*' is not UTF-8", ended.error)
    assert list(bare.folder.iterdir()) == []


async def test_an_output_that_is_not_utf_8_is_refused_though_it_exists(bare: Shell) -> None:
    (bare.folder / f"{NO_TEXT}.jsonl").touch()
    ended = await bare.run("crawl", "http://127.0.0.1/", "-o", f"{NO_TEXT}.jsonl")
    assert (ended.code, "is not UTF-8" in ended.error) == (2, True)


async def test_a_file_whose_name_is_not_utf_8_is_read(bare: Shell) -> None:
    (bare.folder / f"{NO_TEXT}.txt").write_text("ftp://a.example/")
    ended = await bare.run("seed", "-f", f"{NO_TEXT}.txt", "-s", "REDIS_URL=redis://127.0.0.1:1")
    assert ended.code == 69


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["seed", "-f", "closed/urls.txt"], 2),
        (["runspider", "closed/shop.py"], 2),
        (["extract", "--from", "closed/pages", "-o", "-"], 2),
        (["settings", "--check", "closed/settings.py"], 2),
        (["startproject", "x", "closed/x"], 2),
        (["list", "-s", "SPIDER_MODULES=closed.shop"], 2),
        (["status", "-s", "DATA_DIR=closed/data"], 78),
    ],
)
async def test_a_closed_folder_is_no_bug(bare: Shell, arguments: list[str], code: int) -> None:
    (bare.folder / "closed").mkdir(mode=0)
    ended = await bare.run(*arguments, within=WITHOUT_ROOTS_RIGHTS)
    assert (ended.code, "Permission denied" in ended.error) == (code, True), ended.err


@pytest.mark.parametrize("name", ["settings.py", "scrapy.cfg"])
async def test_settings_that_cannot_be_read_are_no_bug(bare: Shell, name: str) -> None:
    (bare.folder / name).touch(mode=0)
    ended = await bare.run("list", within=WITHOUT_ROOTS_RIGHTS)
    assert (ended.code, name in ended.error, "Permission denied" in ended.error) == (78, True, True), ended.err


async def test_a_spider_file_that_fails_is_named_and_hides_no_other(bare: Shell) -> None:
    (bare.folder / "spiders").mkdir()
    (bare.folder / "spiders" / "broken.py").write_text("raise RuntimeError('not today')")
    ended = await bare.run("list", "--all")
    assert ended.code == 78
    assert "broken.py" in ended.error
    assert "not today" in ended.error
    assert "site" in ended.out


async def test_a_spider_that_cannot_name_its_seeds_is_named(bare: Shell) -> None:
    (bare.folder / "spiders").mkdir()
    source = "from crawler import Spider\nclass S(Spider):\n    name = 's'\n    def start_requests(self): 1 / 0\n"
    (bare.folder / "spiders" / "s.py").write_text(source + "    def parse(self, response): ...\n")
    ended = await bare.run("seed", "--spider", "s")
    assert ended.code == 78
    assert "start_requests of spider s: ZeroDivisionError: division by zero" in ended.error


async def test_settings_tell_where_each_value_comes_from_and_no_password(bare: Shell) -> None:
    (bare.folder / "settings.py").write_text("DOWNLOAD_DELAY = 3\n")
    bare.environment |= {"REDIS_URL": "redis://me:geheim@host:6379/0", "CRAWLER_RETRY_TIMES": "7"}
    ended = await bare.run("-s", "DEPTH_LIMIT=1", "settings", "--json", "-s", "DEPTH_LIMIT=2")
    told = json.loads(ended.out)
    assert told["DOWNLOAD_DELAY"] == {
        "value": 3.0,
        "origin": str(bare.folder / "settings.py"),
        "default": 1.0,
        "meaning": "seconds between the starts of two requests to one host",
    }
    origins = {name: (setting["value"], setting["origin"]) for name, setting in told.items()}
    assert origins["RETRY_TIMES"] == (7, "environment")
    assert origins["DEPTH_LIMIT"] == (2, "-s")
    assert origins["REDIS_URL"] == ("redis://me:***@host:6379/0", "environment")
    assert origins["DOWNLOAD_TIMEOUT"] == (60.0, "default")
    table = await bare.run("settings", "--show-origin")
    assert re.search(r"RETRY_TIMES +7 +environment", table.out)
    assert "geheim" not in table.out


async def test_a_settings_file_is_checked_alone(bare: Shell) -> None:
    bare.environment |= {"CRAWLER_RETRY_TIMES": "many"}
    (bare.folder / "production.py").write_text("DOWNLOAD_DELAY = 3\nDEPTH_LIMIT = 2\n")
    ended = await bare.run("settings", "--check", "production.py")
    assert (ended.code, ended.out) == (0, "production.py: 2 settings, nothing wrong\n")
    (bare.folder / "production.py").write_text("DOWNLOAD_DELAY = 'slow'\nDEPTH_LIMT = 2\nprint('settings')")
    ended = await bare.run("settings", "--check", "production.py", "--json")
    assert ended.code == 78
    assert [told.partition(" (")[0] for told in json.loads(ended.out)["wrong"]] == [
        "setting DOWNLOAD_DELAY='slow'",
        "unknown setting DEPTH_LIMT",
    ]
    ended = await bare.run("settings", "--check", "production.py")
    assert (ended.code, ended.out) == (78, "")
    assert "setting DOWNLOAD_DELAY='slow'" in ended.err
    assert "DEPTH_LIMT" in ended.err
    for arguments in (["--check", "nothing.py"], ["--check", "production.py", "-s", "DEPTH_LIMIT=1"]):
        assert (await bare.run("settings", *arguments)).code == 2


async def test_version(bare: Shell) -> None:
    assert re.match(r"crawler \d+\.\d+", (await bare.run("version")).out)
    assert "python" in json.loads((await bare.run("version", "--json")).out)


# ---------------------------------------------------------------------------------------------------------
# Servers that cannot be used


async def test_an_unreachable_server_is_named_without_its_password(bare: Shell) -> None:
    with silent_port() as port:
        url = f"redis://:geheim@127.0.0.1:{port}/0"
        for arguments in (["status"], ["seed", "http://127.0.0.1/"], ["worker"], ["export", "-o", "-"]):
            ended = await bare.run(*arguments, REDIS_URL=url)
            assert ended.code == 69, arguments
            assert f"redis://:***@127.0.0.1:{port}/0" in ended.error
            assert "REDIS_URL" in ended.error, "says what to do"
            assert "geheim" not in ended.err


async def test_a_wrong_or_missing_password_is_a_matter_of_configuration(bare: Shell) -> None:
    with Valkey(tcp=True, options={"requirepass": "geheim"}) as server:
        for password in ("falsch", ""):
            ended = await bare.run("status", REDIS_URL=f"redis://:{password}@127.0.0.1:{server.port}/0")
            assert ended.code == 78
            assert "password" in ended.error
            assert "falsch" not in ended.err


async def test_tls_towards_a_port_without_it_ends_with_a_line(bare: Shell) -> None:
    with Valkey(tcp=True) as server:
        url = f"rediss://127.0.0.1:{server.port}/0"
        ended = await bare.run("status", "-s", "REDIS_TIMEOUT=0.5", REDIS_URL=url)
    assert ended.code == 78
    assert url in ended.error
    assert "write redis://" in ended.error


# ---------------------------------------------------------------------------------------------------------
# The embedded server


async def test_status_starts_no_server_when_there_is_nothing_to_tell(bare: Shell) -> None:
    ended = await bare.run("status")
    assert ended.code == 0
    assert "Start a crawl with: crawler crawl URL" in ended.out
    assert not (bare.folder / "data").exists()
    assert json.loads((await bare.run("status", "--json")).out) == {"server": None, "jobs": [], "workers": []}


async def test_up_keeps_the_embedded_server_until_down(bare: Shell) -> None:
    assert "running at unix://" in (await bare.run("up")).out
    try:
        assert (await bare.run("seed", "http://127.0.0.1/", *LOCAL)).out.startswith("new 1, known 0, refused 0")
        assert "default" in (await bare.run("status")).out
    finally:
        ended = await bare.run("down")
    assert "stopped; its data stays in" in ended.out
    assert "not running" in (await bare.run("down")).out
    assert json.loads((await bare.run("status", "--json")).out)["jobs"][0]["known"] == 1, "read from the data"
    await bare.run("down", "--force")


# ---------------------------------------------------------------------------------------------------------
# seed


async def test_seed_takes_arguments_files_and_stdin_and_may_be_repeated(shell: Shell) -> None:
    (shell.folder / "urls").write_text("# comment\n\nhttp://127.0.0.1/b\nhttp://127.0.0.1/a\n")
    given = ["seed", "http://127.0.0.1/a", "-f", "urls", "-", *LOCAL]
    ended = await shell.run(*given, stdin="http://127.0.0.1/c\n")
    assert (ended.code, ended.out, ended.err) == (0, "new 3, known 1, refused 0 (job default)\n", "")
    again = await shell.run(*given, "--json", stdin="http://127.0.0.1/c\n")
    assert json.loads(again.out) == {"job": "default", "new": 0, "known": 4, "refused": {}}


async def test_refused_seeds_are_told_with_the_reason(shell: Shell) -> None:
    urls = ["ftp://127.0.0.1/x", "example.com", "http://10.0.0.1/", "http://u:geheim@127.0.0.1:1/a\x1b[31m"]
    ended = await shell.run("seed", *urls, *LOCAL)
    assert ended.code == 0, "one of them was taken"
    assert ended.out == "new 1, known 0, refused 3 (job default)\n"
    assert re.search(r"refused ftp://127\.0\.0\.1/x: .*only http and https", ended.err)
    assert re.search(r"refused example\.com: .*https://example\.com/", ended.err)
    assert re.search(r"refused http://10\.0\.0\.1/: .*ALLOWED_NETWORKS", ended.err)
    assert (await shell.run("seed", "ftp://127.0.0.1/x")).code == 2, "nothing was taken"


@pytest.mark.parametrize("command", [["seed", "-"], ["crawl", "-", "--job", "empty", "-O", "items.jsonl"]])
async def test_a_pipe_without_a_url_is_an_error_and_leaves_nothing(shell: Shell, command: list[str]) -> None:
    ended = await shell.run(*command, *LOCAL, "-q", stdin="# nothing today\n")
    assert (ended.code, ended.error) == (
        2,
        "error: no seeds: stdin: no URL, only blank lines or comments; give one URL per line",
    )
    assert not list(shell.folder.glob("*.jsonl"))
    assert '"empty"' not in (await shell.run("jobs", "--json")).out


async def test_many_refused_seeds_are_counted(shell: Shell) -> None:
    ended = await shell.run("seed", "-", *LOCAL, stdin="".join(f"ftp://127.0.0.1/{n}\n" for n in range(500)))
    assert ended.out == "new 0, known 0, refused 500 (job default)\n"
    assert len(ended.err.splitlines()) == 21
    assert "refused 500 in all" in ended.err


async def test_ctrl_c_while_a_pipe_is_silent_says_what_was_added(shell: Shell) -> None:
    process = await shell.start("seed", "-", *LOCAL, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"http://127.0.0.1/a\nhttp://127.0.0.1/b\n")
    await process.stdin.drain()
    await until_known(shell, 2)
    process.send_signal(signal.SIGINT)
    err = (await asyncio.wait_for(process.communicate(), 10))[1].decode()
    assert process.returncode == 130
    assert err.strip() == "interrupted: new 2, known 0, refused 0 so far; repeat the command to add the rest"


async def until_known(shell: Shell, count: int) -> None:
    """Wait until the default job knows that many URLs."""
    async with asyncio.timeout(20):
        while True:
            jobs = json.loads((await shell.run("status", "--json")).out)["jobs"]
            if jobs and jobs[0]["known"] >= count:
                return


# ---------------------------------------------------------------------------------------------------------
# crawl


async def test_a_crawl_to_the_end_then_once_more_then_afresh(shell: Shell, site: Running) -> None:
    given = ["crawl", *site.seeds, *LOCAL, "--processes", "1"]
    first = await shell.run(*given)
    assert first.code == 0, first.err
    assert re.search(r"ended +finished", first.err)
    assert first.out == ""
    (file,) = shell.folder.glob("site-127.0.1.*.jsonl")
    urls = [json.loads(line)["url"] for line in file.read_text().splitlines()]
    assert sorted(urls) == sorted(site.site.truth())  # type: ignore[attr-defined]

    hits = len(site.log)
    again = await shell.run(*given, "--json")
    assert again.code == 0
    assert "is already finished. To start it again: run the same command with --fresh" in again.err
    assert json.loads(again.out)["finish_reason"] == "already_finished"
    assert len(site.log) == hits

    elsewhere = await shell.run(*given, "-o", "other.jsonl")
    assert (elsewhere.code, f"earlier items of this job went to {file}: " in elsewhere.error) == (73, True)
    kept = file.rename(shell.folder / "kept.jsonl")
    deleted = await shell.run(*given)
    assert (deleted.code, f"earlier items of this job are no longer in {file}: " in deleted.error) == (73, True)
    assert list(shell.folder.glob("*.jsonl")) == [kept], "nothing empty is left behind"
    kept.rename(file)
    doubled = await shell.run(*given, "--job", "other", "-o", file.name)
    assert (doubled.code, "holds items of another crawl" in doubled.error) == (73, True)
    assert len(file.read_text().splitlines()) == len(urls)

    fresh = await shell.run(*given, "--fresh", "--json", "-q")
    told = json.loads(fresh.out)
    assert (told["finish_reason"], told["items_exported"], fresh.err) == ("finished", len(urls), "")
    assert len(file.read_text().splitlines()) == len(urls), "written anew, not twice"


async def test_a_command_that_fails_leaves_the_jobs_as_they_were(shell: Shell, site: Running) -> None:
    async def jobs() -> list[Any]:
        found = json.loads((await shell.run("status", "--json")).out)["jobs"]
        return [(one["job"], one["closed"], one["limits"]["pages"], one["known"]) for one in found]

    given = ["crawl", *site.seeds, *LOCAL, "--processes", "1", "--job", "news"]
    assert (await shell.run(*given, "--limit", "2", "-o", "a.jsonl")).code == 0
    before = await jobs()
    assert before[0][:3] == ("news", "closespider_pagecount", 2)
    assert (await shell.run(*given, "-o", "b.jsonl")).code == 73
    afresh = await shell.run("crawl", "foo", "ftp://a.example/", "--job", "news", "--fresh", "-O", "a.jsonl")
    assert (afresh.code, "nothing was deleted" in afresh.error, afresh.err.count("refused")) == (2, True, 3)
    assert (await shell.run("seed", "foo", "--job", "other", "--spider", "site")).code == 2
    assert await jobs() == before
    resumed = await shell.run("control", "resume", "job:news")
    assert "opened again, without limits; it was closed: closespider_pagecount" in resumed.out


async def test_items_on_stdout_are_alone_there(shell: Shell, site: Running) -> None:
    (shell.folder / "spiders").mkdir()
    (shell.folder / "spiders" / "loud.py").write_text(LOUD)
    given = ["crawl", *site.seeds, *LOCAL, "-o", "-", "-q", "--processes", "1", "--spider", "loud"]
    ended = await shell.run(*given)
    assert len(ended.out.splitlines()) == len(site.site.truth())  # type: ignore[attr-defined]
    assert all(json.loads(line)["status"] == 200 for line in ended.out.splitlines())
    assert {"imported", "printed", "by a program"} <= set(ended.err.splitlines())
    again = await shell.run(*given)
    assert (again.code, again.out, "crawl anew with --fresh" in again.error) == (73, "", True)


LOUD = """
import os
from crawler.spiders.builtin.site import Site

print("imported")

class Loud(Site):
    name = "loud"

    def parse(self, response):
        print("printed")
        os.system("echo by a program")
        yield from super().parse(response)
"""


async def test_interrupted_it_says_how_to_go_on_and_does(shell: Shell, site: Running) -> None:
    given = ["crawl", *site.seeds, *LOCAL, "--processes", "1", "-O", "items.jsonl"]
    (shell.folder / "items.jsonl").write_text('{"url":"http://before.example/"}\n')
    process = await shell.start(*given, "-s", "DOWNLOAD_DELAY=0.2")
    await asyncio.wait_for(site.until(5), 20)  # robots.txt of both hosts, and pages
    process.send_signal(signal.SIGINT)
    err = (await asyncio.wait_for(process.communicate(), 30))[1].decode()
    assert process.returncode == 130
    assert "Nothing is lost: the same command resumes where this one stopped." in err
    assert re.search(r"items +\d+ → \S+items\.jsonl\.\w+\.part", err.replace("\n", ""))
    assert "before.example" in (shell.folder / "items.jsonl").read_text()
    assert (await shell.run(*given)).code == 0
    urls = [json.loads(line)["url"] for line in (shell.folder / "items.jsonl").read_text().splitlines()]
    assert sorted(urls) == sorted(site.site.truth())  # type: ignore[attr-defined]


async def test_an_output_that_cannot_be_written(shell: Shell, site: Running) -> None:
    ended = await shell.run("crawl", *site.seeds, *LOCAL, "-o", "/nowhere/items.jsonl", "--processes", "1")
    assert ended.code == 73
    assert "/nowhere/items.jsonl" in ended.error
    assert (await shell.run("jobs")).out.strip() == "no jobs", "a crawl that never began leaves none behind"


async def test_seeds_that_are_all_refused_end_the_crawl(shell: Shell) -> None:
    ended = await shell.run("crawl", "ftp://127.0.0.1/")
    assert ended.code == 2
    assert re.fullmatch(r"refused ftp://127\.0\.0\.1/: .*only http and https.*\n", ended.err)


async def test_seeds_that_are_all_refused_are_figures_as_well(shell: Shell) -> None:
    ended = await shell.run("crawl", "ftp://127.0.0.1/", "http://10.0.0.1/", "--json", *LOCAL)
    told = json.loads(ended.out)
    assert (ended.code, told["finish_reason"], told["seeds/refused"]) == (2, "no_seeds", 2)
    assert [(loss["counter"], loss["count"]) for loss in told["losses"]] == [("seeds/refused", 2)]


async def test_on_a_terminal_a_live_picture_leaves_stdout_to_the_items(shell: Shell, site: Running) -> None:
    screen = await on_terminal(shell, "crawl", *site.seeds, "-o", "-", "--processes", "1", *LOCAL)
    assert "known URLs" in screen.err
    assert "\x1b[" in screen.err, "drawn in place"
    assert re.search(r"ended +finished", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.err))
    assert all(json.loads(line) for line in screen.out.splitlines())
    assert "\x1b" not in screen.out


async def test_no_color_is_honoured(shell: Shell, site: Running) -> None:
    shell.environment["NO_COLOR"] = "1"
    screen = await on_terminal(shell, "crawl", *site.seeds, "-o", "-", "--processes", "1", *LOCAL)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", screen.err)


async def on_terminal(shell: Shell, *arguments: str) -> Ended:
    """Run it with a terminal of its own as stderr."""
    ours, theirs = pty.openpty()
    process = await shell.start(*arguments, stderr=theirs, env={**shell.environment, "TERM": "xterm-256color"})
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read_terminal, ours))
    out, _ = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), await reading)


def _read_terminal(terminal: int) -> str:
    parts = []
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()
