"""The embedded server on the real binary: shared, private, durable, and gone when nobody uses it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from crawler.embedded import guardian
from crawler.embedded.server import EmbeddedError, Stopped, attach, find_binary, status, stop

BINARY = find_binary()

# a command that uses the server until it is killed; it says when it has it
USER = """
import sys, time
from pathlib import Path
from crawler.embedded.server import attach
server = attach(Path(sys.argv[1]), binary=Path(sys.argv[2]))
print("attached", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server does not outlive the test."""
    folder = tmp_path / "data"
    yield folder
    stop(folder, force=True)


@contextlib.contextmanager
def another_command(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", USER, str(folder), str(BINARY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "attached\n"
        yield process
        process.kill()


def redis(folder: Path) -> Redis:
    return Redis.from_url(status(folder)["url"])


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that work for this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"{folder}/valkey" in words:
                found.append(words)
    return found


def test_it_starts_answers_and_is_joined_by_the_second_command(folder: Path) -> None:
    with attach(folder, binary=BINARY) as first, attach(folder, binary=BINARY) as second:
        pid = status(folder)["pid"]
        assert first.url == second.url
        with another_command(folder), redis(folder) as client:
            assert client.ping()
            assert status(folder)["pid"] == pid
    assert len([words for words in processes_of(folder) if "guardian" in words]) == 1


def test_many_commands_that_start_at_once_share_one_server(folder: Path) -> None:
    with contextlib.ExitStack() as commands:
        for _ in range(4):
            process = subprocess.Popen(
                [sys.executable, "-c", USER, str(folder), str(BINARY)], stdout=subprocess.PIPE, text=True
            )
            commands.enter_context(process)
            commands.callback(process.kill)
            assert process.stdout is not None
            commands.callback(process.stdout.readline)
        wait_until(lambda: status(folder)["running"])
        with attach(folder, binary=BINARY), redis(folder) as client:
            assert client.info("clients")["connected_clients"] >= 1
        assert len([words for words in processes_of(folder) if "guardian" in words]) == 1


def test_nobody_else_can_reach_it(folder: Path) -> None:
    """Folder and socket are for the user alone, and there is no TCP port."""
    with attach(folder, binary=BINARY) as server, redis(folder) as client:
        socket_path = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700
        assert client.config_get("port") == {"port": "0"}
        assert _tcp_sockets(status(folder)["pid"]) == []


def _tcp_sockets(pid: int) -> list[str]:
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    return [line for table in tables for line in table if f"socket:[{line.split()[9]}]" in inodes]


def test_what_was_written_is_there_after_stop_and_start(folder: Path) -> None:
    with attach(folder, binary=BINARY), redis(folder) as client:
        client.rpush("pending", "https://example.com/")
    assert stop(folder) is Stopped.STOPPED
    assert not status(folder)["running"]
    with attach(folder, binary=BINARY), redis(folder) as client:
        assert client.lrange("pending", 0, -1) == [b"https://example.com/"]


def test_a_killed_server_is_started_again_under_its_users_with_all_data_on_disk(folder: Path) -> None:
    with attach(folder, binary=BINARY), redis(folder) as client:
        for number in range(1000):
            client.rpush("pending", number)
        # while an fsync is under way, the server holds its writes back (everysec), and a kill loses them
        assert client.execute_command("WAITAOF", 1, 0, 0) == [1, 0]
        pid = status(folder)["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: status(folder)["pid"] not in (0, pid) and guardian.ask(_socket(folder), "PING") == "+PONG")
        assert client.llen("pending") == 1000


def test_it_stops_soon_after_its_only_user_was_killed(folder: Path) -> None:
    with another_command(folder) as user:
        user.send_signal(signal.SIGKILL)
        wait_until(lambda: not processes_of(folder), seconds=guardian.UNUSED_SECONDS + 3)


def test_it_stays_for_the_second_user_when_the_first_was_killed(folder: Path) -> None:
    with another_command(folder) as first, another_command(folder):
        pid = status(folder)["pid"]
        first.kill()
        first.wait()
        time.sleep(guardian.UNUSED_SECONDS + 1)  # nothing to await: it must not happen
        assert status(folder)["pid"] == pid


def test_kept_it_outlives_its_command_until_it_is_stopped(folder: Path) -> None:
    attach(folder, binary=BINARY, keep=True).detach()
    time.sleep(guardian.UNUSED_SECONDS + 1)  # nothing to await: it must not happen
    assert status(folder)["running"]
    assert status(folder)["kept"]
    assert stop(folder) is Stopped.STOPPED
    assert processes_of(folder) == []


def test_kept_it_ends_when_the_machine_does(folder: Path) -> None:
    attach(folder, binary=BINARY, keep=True).detach()
    os.kill(int(guardian.holder(str(folder / "guardian"))[0]), signal.SIGTERM)
    wait_until(lambda: not processes_of(folder))


def test_it_ends_when_its_folder_is_removed_whoever_uses_it(folder: Path) -> None:
    attach(folder, binary=BINARY, keep=True)
    pid = status(folder)["pid"]
    shutil.rmtree(folder)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_folder_whose_name_is_no_utf_8_works(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with attach(folder, binary=BINARY, fsync="always"):
        assert redis(folder).ping()
        assert status(folder)["fsync"] == "always"
    stop(folder, force=True)


def test_a_server_in_use_is_stopped_only_by_force(folder: Path) -> None:
    with another_command(folder):
        assert status(folder)["in_use"]
        assert stop(folder) is Stopped.IN_USE
        assert status(folder)["running"]
        assert stop(folder, force=True) is Stopped.STOPPED
    assert stop(folder) is Stopped.NOT_RUNNING


def test_the_next_command_repairs_a_killed_guardian(folder: Path) -> None:
    with attach(folder, binary=BINARY):
        pid = status(folder)["pid"]
        _kill_guardian(folder)
        with attach(folder, binary=BINARY):
            assert status(folder)["pid"] == pid
    wait_until(lambda: not processes_of(folder))


def test_a_server_without_guardian_can_be_stopped(folder: Path) -> None:
    attach(folder, binary=BINARY).detach()
    _kill_guardian(folder)
    assert stop(folder) is Stopped.STOPPED
    assert processes_of(folder) == []


def _kill_guardian(folder: Path) -> None:
    pid = int((folder / "guardian").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not guardian.holder(str(folder / "guardian")))


def _socket(folder: Path) -> str:
    return status(folder)["url"].removeprefix("unix://")


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 40) / "data"
    with attach(folder, binary=BINARY), redis(folder) as client:
        assert client.ping()
        assert stat.S_IMODE(Path(_socket(folder)).parent.stat().st_mode) == 0o700
    assert stop(folder, force=True) is Stopped.STOPPED


def test_the_stricter_wish_for_the_disk_holds(folder: Path) -> None:
    with (
        attach(folder, binary=BINARY),
        attach(folder, binary=BINARY, fsync="always"),
        redis(folder) as client,
    ):
        with attach(folder, binary=BINARY, fsync="everysec"):
            assert client.config_get("appendfsync") == {"appendfsync": "always"}
        assert status(folder)["fsync"] == "always"


def test_a_log_cut_off_by_a_crash_is_read_up_to_there(folder: Path) -> None:
    with attach(folder, binary=BINARY), redis(folder) as client:
        client.rpush("pending", "kept")
        client.rpush("pending", "torn")
    stop(folder)
    log = _append_log(folder)
    os.truncate(log, log.stat().st_size - 5)
    with attach(folder, binary=BINARY), redis(folder) as client:
        assert client.lrange("pending", 0, -1) == [b"kept"]


def test_a_damaged_log_is_reported_in_the_servers_own_words(folder: Path) -> None:
    with attach(folder, binary=BINARY), redis(folder) as client:
        client.rpush("pending", "one")
    stop(folder)
    _append_log(folder).write_bytes(b"this is no log\r\n" * 10)
    with pytest.raises(EmbeddedError, match=r"(?s)Bad file format.*DATA_DIR"):
        attach(folder, binary=BINARY)
    assert processes_of(folder) == []


def _append_log(folder: Path) -> Path:
    return next((folder / "appendonlydir").glob("*.incr.aof"))


def test_a_program_that_is_no_server_is_reported(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="did not start"):
        attach(folder, binary=Path("/bin/false"))


def test_a_server_of_another_machine_is_not_waited_for(folder: Path) -> None:
    """On a shared home directory the lock is seen everywhere, but a unix socket serves one machine."""
    with attach(folder, binary=BINARY):
        (folder / "guardian").write_text(f"{os.getpid()} another-host\n")
        with pytest.raises(EmbeddedError, match=r"runs on another-host.*REDIS_URL"):
            attach(folder, binary=BINARY)
    wait_until(lambda: not status(folder)["running"])


def test_the_packaged_server_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with attach(folder, binary=find_binary()), redis(folder) as client:
        assert client.ping()
