"""Standard output is the crawler's: what a user's code or program writes to it goes to stderr."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from crawler.runtime.standard_output import descriptor, kept_from_users


def test_only_what_the_crawler_writes_reaches_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    with kept_from_users(), kept_from_users():
        print("printed")
        os.write(1, b"written\n")
        subprocess.run([sys.executable, "-c", "print('by a program')"], check=True)
        os.write(descriptor(), b"item\n")
    assert descriptor() == sys.stdout.fileno()
    print("after")
    said = capfd.readouterr()
    assert said.out == "before\nitem\nafter\n"
    assert said.err == "printed\nwritten\nby a program\n"
