"""Every error ends as one line for a person and one exit code for a script."""

from __future__ import annotations

import errno

import pytest

from crawler import errors
from crawler.cli.exits import ended_by


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("which?"), 2),
        (errors.FrontierUnavailable("no answer"), 69),
        (errors.FrontierReplaced("not the same server"), 70),
        (errors.OutputError("disk full"), 73),
        (errors.OutputClosed("standard output was closed"), 141),
        (errors.FrontierFull("out of memory"), 75),
        (errors.ConfigError("no such setting"), 78),
        (errors.CrawlerError("something else"), 1),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_what_a_person_can_act_on_is_a_line_without_traceback(
    error: errors.CrawlerError, code: int, verbose: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(error, verbose=verbose) == code
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOTDIR, "Not a directory"),
        (errno.ENAMETOOLONG, "File name too long"),
    ],
)
def test_a_file_that_the_user_cannot_use_is_the_users_mistake(
    number: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(OSError(number, why, "secret/urls.txt")) == 2
    assert capsys.readouterr().err == f"error: secret/urls.txt: {why}\n"


def test_an_error_of_the_system_without_a_file_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(OSError(errno.EACCES, "Permission denied")) == 70


def test_an_error_shows_neither_password_nor_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    ended_by(errors.FrontierUnavailable("redis://me:geheim@host: \x1b[31mgone"))
    assert capsys.readouterr().err.startswith(r"error: redis://me:***@host: \x1b[31mgone")


def test_a_bug_is_one_line_and_with_v_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("redis://:geheim@host")
    assert ended_by(caught.value) == 70
    short = capsys.readouterr().err
    assert ended_by(caught.value, verbose=True) == 70
    long = capsys.readouterr().err
    assert short == "error: KeyError: 'redis://:***@host' (this is a bug; run again with -v for the details)\n"
    assert long.startswith("Traceback (most recent call last)")
    assert long.endswith("(this is a bug)\n")
    assert "geheim" not in short + long


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_by(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""
