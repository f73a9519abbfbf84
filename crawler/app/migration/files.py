"""Finds the files of a project. Whatever cannot be read is named and counted, and stops nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from crawler.errors import UsageError

MAX_FILES = 50_000
"""Most files that are read; the report names what was left out."""

MAX_BYTES = 4 * 1024 * 1024
"""Of one file; a larger one is data."""

_FOREIGN = frozenset({"__pycache__", "node_modules", "site-packages"})
_MADE = frozenset({"venv", "env", "build", "dist", "htmlcov", "egg-info"})
"""Names of folders that hold what a tool has made; some project may have code in such a one."""

_LIKE_A_TOOLS = "it holds code, but has the name of what a tool makes: rename it"

_TEXTS = frozenset({".sh", ".bash", ".bat", ".cmd", ".ps1", ".yml", ".yaml", ".md", ".rst", ".toml", ".txt", ".cfg"})
_NAMES = frozenset({"Makefile", "Dockerfile", "Procfile", "Pipfile", "crontab"})


class Files(Struct):
    """The files of a project: `python` and `texts` to read, and what was left out, by reason."""

    folder: Path
    python: list[Path] = []
    texts: list[Path] = []
    notebooks: list[Path] = []
    left_out: list[tuple[str, str]] = []  # file and why


def files_of(path: Path) -> Files:
    """Return the files of a project, or the one file. Raise `UsageError` for a path that is neither."""
    try:
        if path.is_dir():
            return _of_folder(path)
        is_file = path.is_file()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not is_file:
        raise UsageError(f"{path}: there is no such file or folder")
    if path.suffix != ".py":
        raise UsageError(f"{path}: no Python file; name a Scrapy project's folder, or one file.py")
    return Files(path.parent, python=[path])


def _of_folder(folder: Path) -> Files:
    files = Files(folder)
    try:
        os.listdir(folder)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from None
    for number, file in enumerate(_walk(files)):
        if number == MAX_FILES:
            files.left_out.append((str(folder), f"more than {MAX_FILES:,} files: the others were not read"))
            break
        _sort_in(files, file)
    return files


def _walk(files: Files) -> Iterator[Path]:
    """Yield all files, in order of their names. Folders that are hidden or not the project's are left out, and so are,
    with a note in `left_out`, links to folders, and folders with a tool's name that hold code."""

    def fail(error: OSError) -> None:
        files.left_out.append((str(error.filename), error.strerror or "cannot be read"))

    for where, folders, names in os.walk(files.folder, onerror=fail):
        here = Path(where)
        ours = sorted(name for name in folders if not _is_foreign(here / name))
        folders[:] = [name for name in ours if name not in _MADE]
        made = (here / name for name in ours if name in _MADE and _holds_code(here / name))
        files.left_out.extend((name_of(files, one), _LIKE_A_TOOLS) for one in made)
        links = (here / name for name in folders if (here / name).is_symlink())
        files.left_out.extend((name_of(files, link), "a link to a folder, whose files were not read") for link in links)
        yield from (here / name for name in sorted(names))


def _is_foreign(folder: Path) -> bool:
    name = folder.name
    return name in _FOREIGN or name[:1] == "." or name.endswith(".egg-info") or (folder / "pyvenv.cfg").is_file()


def _holds_code(folder: Path) -> bool:
    return any(name.endswith(".py") for _, _, names in os.walk(folder) for name in names)


def _sort_in(files: Files, file: Path) -> None:
    if file.suffix == ".py":
        files.python.append(file)
    elif file.suffix == ".ipynb":
        files.notebooks.append(file)
    elif file.suffix in _TEXTS or file.name in _NAMES:
        files.texts.append(file)


def read_bytes(files: Files, file: Path) -> bytes | None:
    """Return what the file holds; None, and a note in `left_out`, if it cannot be read."""
    try:
        if not file.is_file():  # a broken link, or a pipe that would never end
            raise OSError(0, "no ordinary file")
        if file.stat().st_size > MAX_BYTES:
            raise OSError(0, f"more than {MAX_BYTES // 1024**2} MiB")
        return file.read_bytes()
    except OSError as error:
        files.left_out.append((name_of(files, file), error.strerror or "cannot be read"))
        return None


def name_of(files: Files, file: Path) -> str:
    """Return the file's path within the project."""
    return str(file.relative_to(files.folder))
