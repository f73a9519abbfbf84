"""Who could change a library that is loaded in front of the embedded server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crawler.embedded.allocator import is_safe


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """One that nobody else can change."""
    file = tmp_path / "libmimalloc.so.3"
    file.touch(0o644)
    return file


def test_a_link_is_as_safe_as_what_it_leads_to(library: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.so"
    link.symlink_to(library)
    assert is_safe(link)
    library.chmod(0o666)
    assert not is_safe(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_library_of_somebody_else_is_not_loaded(library: Path) -> None:
    library.chmod(0o755)
    os.chown(library, 12345, 0)
    assert not is_safe(library)
    os.chown(library, 0, 12345)
    assert is_safe(library)
    library.chmod(0o775)
    assert not is_safe(library), "its group can change it"
