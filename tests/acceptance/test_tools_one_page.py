"""`shell` and `fetch` as people and scripts use them, on a real site."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.shell import COMMAND, LOCAL, Shell, silent_port
from tests.webserver import Answer, Hit, Running, Site, huge, redirect, serve, slow

ROOM = ("-s", "DOWNLOAD_MAXSIZE=60000000")  # for the huge page


@pytest.fixture
async def site() -> AsyncIterator[Running]:
    """Pages that people meet: `/` and a path behind it."""
    pages = Site(pages=5, hosts=1)
    pages.on("/moved", redirect("/here"))
    pages.on("/here", fixed(b"<title>Here</title>"))
    pages.on("/old", fixed("<title>Größe</title>".encode("latin-1"), "text/html; charset=iso-8859-1"))
    pages.on("/picture", fixed(bytes(range(256)), "image/png"))
    pages.on("/evil", fixed(b"<title>\x1b]0;owned\x07</title>"))
    pages.on("/slow", slow(60))
    pages.on("/huge", huge(50_000_000))
    async with serve(pages) as running:
        yield running


def fixed(body: bytes, kind: str = "text/html"):  # type: ignore[no-untyped-def]
    def answer(hit: Hit, page: Answer) -> Answer:
        return Answer(body=body, content_type=kind, headers={"Set-Cookie": "sid=geheim"})

    return answer


def at(site: Running, path: str) -> str:
    return site.seeds[0].removesuffix("/s0/p0.html") + path


# ---------------------------------------------------------------------------------------------------------
# shell


async def test_the_shell_runs_code_on_a_page(bare: Shell, site: Running) -> None:
    code = "a = response.css('title::text').get(); a; request.url; spider.name; sel.css('title').get(); None"
    ended = await bare.run("shell", *LOCAL, at(site, "/moved"), "-c", code)
    assert ended.code == 0
    assert ended.out.splitlines() == ["Here", at(site, "/here"), "site", "<title>Here</title>"]
    assert [hit.path for hit in site.log] == ["/robots.txt", "/moved", "/here"]


async def test_the_shell_stays_at_a_redirect_when_told(bare: Shell, site: Running) -> None:
    ended = await bare.run("shell", *LOCAL, "--no-redirect", at(site, "/moved"), "-c", "response.status")
    assert ended.out == "302\n"


async def test_code_from_a_pipe_fetches_other_pages_and_requests(bare: Shell, site: Running) -> None:
    code = f"""
for path in ("/old", "/picture"):
    fetch({at(site, "")!r} + path)
    response.content_type
    print(response.content_type)
fetch(Request({at(site, "/here")!r}, method="HEAD"))
(response.status, len(response.body), response.request.method)
fetch({at(site, "/moved")!r}, redirect=False)
"""
    ended = await bare.run("shell", *LOCAL, stdin=code)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines() == [
        f"<Response 200 {at(site, '/old')}>",
        "text/html",
        f"<Response 200 {at(site, '/picture')}>",
        "image/png",
        f"<Response 200 {at(site, '/here')}>",
        "(200, 0, 'HEAD')",
        f"<Response 302 {at(site, '/moved')}>",
    ]


async def test_a_page_that_cannot_be_had_is_one_sentence_and_no_code_runs(bare: Shell, site: Running) -> None:
    refused = await bare.run("shell", at(site, "/here"), "-c", "print('ran')")
    assert (refused.code, refused.out) == (1, "")
    assert "-s ALLOWED_NETWORKS=127.0.0.0/8" in refused.error
    assert site.log == []
    with silent_port() as port:
        down = await bare.run("shell", *LOCAL, f"http://127.0.0.1:{port}/", "-c", "print('ran')")
    assert (down.code, down.out) == (1, "")
    assert "cannot connect" in down.error


async def test_a_fetch_that_fails_ends_the_code(bare: Shell, site: Running) -> None:
    for target, text in (("http://10.1.2.3/", "10.0.0.0/8"), ("nowhere", "none has this name")):
        ended = await bare.run("shell", *LOCAL, at(site, "/old"), "-c", f"fetch({target!r}); response.status")
        assert (ended.code, ended.out) == (1, "")
        assert text in ended.error


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("nowhere.html", 2, r"no scheme; write https://nowhere\.html/, or the name of a file; none has this name"),
        ("./nowhere.html", 2, "No such file"),
        ("ftp://host/", 2, "scheme 'ftp' is not supported"),
        (".", 2, "Is a directory"),
    ],
)
async def test_a_target_that_is_no_page(bare: Shell, target: str, code: int, text: str) -> None:
    for command in (["shell", target, "-c", "1"], ["fetch", target]):
        ended = await bare.run(*command)
        assert re.search(text, ended.error)
        assert ended.out == ""
    assert ended.code == code


async def test_a_saved_page_needs_no_network(bare: Shell) -> None:
    file = bare.folder / "größe 1.html"
    file.write_bytes("<meta charset=iso-8859-1><title>Größe</title>".encode("latin-1"))
    code = "response.css('title::text').get()"
    for name in (file.name, str(file), file.as_uri()):
        assert (await bare.run("shell", name, "-c", code)).out == "Größe\n"
    odd = os.fsdecode(b"\xff.html")
    (bare.folder / odd).write_bytes(b"<title>x</title>")
    assert (await bare.run("shell", odd, "-c", code)).out == "x\n"


async def test_an_error_in_the_code_shows_its_line(bare: Shell) -> None:
    ended = await bare.run("shell", stdin="a = 1\n\n1 / 0\nprint('never')\n")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("ZeroDivisionError: division by zero\n")
    assert 'File "<stdin>", line 3' in ended.err
    assert "shell.py" not in ended.err
    wrong = await bare.run("shell", "-c", "a b")
    assert wrong.code == 1
    assert "SyntaxError" in wrong.err
    assert (await bare.run("shell", "-c", "raise SystemExit(7)")).code == 7


async def test_view_writes_the_page_for_this_user_alone(bare: Shell, site: Running, tmp_path: Path) -> None:
    browser = {"BROWSER": "echo", "TMPDIR": str(tmp_path)}
    for path, ending in (("/old", ".html"), ("/picture", ".png")):
        await bare.run("shell", *LOCAL, at(site, path), "-c", "view(response)", **browser)
        (file,) = tmp_path.glob(f"*{ending}")
        assert file.stat().st_mode & 0o777 == 0o600
    (page,) = tmp_path.glob("*.html")
    text = page.read_text("latin-1")
    assert f'<base href="{at(site, "/old")}"><meta charset="windows-1252">' in text
    assert "script-src 'none'" in text
    none = await bare.run("shell", "-c", "view()")
    assert "no response to show" in none.error


async def test_the_shell_needs_no_home_and_no_writable_folder(bare: Shell, site: Running) -> None:
    ended = await bare.run(
        "shell", *LOCAL, at(site, "/here"), "-c", "response.status", HOME="/nowhere", XDG_DATA_HOME="/nowhere"
    )
    assert (ended.code, ended.out, ended.err) == (0, "200\n", "")
    assert list(bare.folder.iterdir()) == []


async def test_a_prompt_opens_though_the_page_is_missing(bare: Shell, tmp_path: Path) -> None:
    process, terminal = await _at_a_terminal(bare, tmp_path, "shell", *LOCAL, "http://10.1.2.3/")
    await _heard(terminal, "In [1]")
    os.write(terminal, b"response is None\r")
    await _heard(terminal, "True")
    os.write(terminal, b"response = 1; fetch('nowhere'); response is None\r")
    assert "none has this name" in await _heard(terminal, "True")
    os.write(terminal, b"exit\r")
    assert await process.wait() == 0


async def test_ctrl_c_ends_a_fetch_at_the_prompt_and_not_the_shell(bare: Shell, site: Running, tmp_path: Path) -> None:
    process, terminal = await _at_a_terminal(bare, tmp_path, "shell", *LOCAL)
    await _heard(terminal, "In [1]")
    os.write(terminal, f"fetch({at(site, '/slow')!r})\r".encode())
    await site.until(2)
    os.write(terminal, b"\x03")
    await _heard(terminal, "interrupted")
    os.write(terminal, b"exit\r")
    assert await process.wait() == 0


async def _at_a_terminal(bare: Shell, home: Path, *arguments: str) -> tuple[asyncio.subprocess.Process, int]:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        cwd=bare.folder,
        env={**bare.environment, "TERM": "dumb", "HOME": str(home), "IPYTHONDIR": str(home)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_take_the_terminal,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    return process, ours


def _take_the_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


async def _heard(terminal: int, text: str) -> str:
    """Read until the terminal shows the text."""
    said = ""
    async with asyncio.timeout(60):
        while text not in said:
            try:
                said += os.read(terminal, 65_536).decode(errors="replace")
            except BlockingIOError:
                await asyncio.sleep(0.02)
    return said


# ---------------------------------------------------------------------------------------------------------
# fetch


async def test_fetch_prints_the_bytes_of_a_page(bare: Shell, site: Running) -> None:
    for path, body in (("/picture", bytes(range(256))), ("/old", "<title>Größe</title>".encode("latin-1"))):
        process = await bare.start("fetch", *LOCAL, at(site, path))
        out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, body, b"")


async def test_fetch_prints_the_headers_without_secrets(bare: Shell, site: Running) -> None:
    login = f'HTTP_AUTH={{"{at(site, "")}": "me:geheim"}}'
    ended = await bare.run("fetch", *LOCAL, "-s", login, "--headers", at(site, "/old"))
    assert ended.out.startswith(f"> GET {at(site, '/old')}\n")
    assert "\n> user-agent: crawler/" in ended.out
    assert "\n> authorization: " in ended.out
    assert "\n< 200 OK\n" in ended.out
    assert "\n< content-type: text/html; charset=iso-8859-1\n" in ended.out
    assert "geheim" not in ended.out


async def test_fetch_says_a_status_of_failure(bare: Shell, site: Running) -> None:
    ended = await bare.run("fetch", *LOCAL, at(site, "/none"))
    assert (ended.code, ended.error) == (1, f"error: {at(site, '/none')}: status 404 Not Found")
    assert ended.out == "<h1>Not here</h1>"
    moved = await bare.run("fetch", *LOCAL, "--no-redirect", "--headers", at(site, "/moved"))
    assert moved.code == 0
    assert "\n< 302 Found\n" in moved.out


async def test_a_page_that_is_too_large_names_the_setting(bare: Shell, site: Running) -> None:
    ended = await bare.run("fetch", *LOCAL, at(site, "/huge"))
    assert ended.code == 1
    assert "DOWNLOAD_MAXSIZE" in ended.error
    for unbuffered in ("", "1"):
        environment = {**bare.environment, "PYTHONUNBUFFERED": unbuffered}
        process = await bare.start("fetch", *LOCAL, *ROOM, at(site, "/huge"), env=environment)
        out, err = await process.communicate()
        assert (process.returncode, len(out), err) == (0, 762 * 65_536, b"")


async def test_a_reader_that_goes_away_ends_it_quietly(bare: Shell, site: Running) -> None:
    process = await bare.start("fetch", *LOCAL, *ROOM, at(site, "/huge"))
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readexactly(10)
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert await process.stderr.read() == b""
    assert await process.wait() == 141


async def test_ctrl_c_ends_a_fetch(bare: Shell, site: Running) -> None:
    process = await bare.start("fetch", *LOCAL, at(site, "/slow"))
    await site.until(2)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")


async def test_a_page_cannot_control_the_terminal(bare: Shell, site: Running, tmp_path: Path) -> None:
    process, terminal = await _at_a_terminal(bare, tmp_path, "fetch", *LOCAL, at(site, "/evil"))
    said = await _heard(terminal, "</title>")
    assert "\x1b]0;" not in said
    assert r"\x1b" in said
    assert await process.wait() == 0
    process, terminal = await _at_a_terminal(bare, tmp_path, "fetch", *LOCAL, at(site, "/picture"))
    assert "the body is binary (image/png, 256 bytes)" in await _heard(terminal, "> FILE")
    assert await process.wait() == 2


async def test_the_spider_is_chosen_by_its_domain(bare: Shell, site: Running) -> None:
    (bare.folder / "spiders").mkdir()
    spider = "from crawler import Spider\nclass A(Spider):\n    name = '{0}'\n    allowed_domains = ['{1}']\n"
    spider += "    def parse(self, response): ...\n"
    (bare.folder / "spiders" / "a.py").write_text(spider.format("a", "127.0.1.1"))
    (bare.folder / "spiders" / "broken.py").write_text("1 / 0")
    ended = await bare.run("shell", *LOCAL, at(site, "/here"), "-c", "spider.name")
    assert ended.out == "a\n", ended.err
    (bare.folder / "spiders" / "b.py").write_text(spider.format("b", "127.0.1.1"))
    two = await bare.run("shell", *LOCAL, at(site, "/here"), "-c", "spider.name")
    assert two.code == 2
    assert two.error.endswith("is in the allowed_domains of 2 spiders: --spider a or b")
    named = await bare.run("shell", *LOCAL, "--spider", "b", at(site, "/here"), "-c", "spider.name")
    assert named.out == "b\n"
