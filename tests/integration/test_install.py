"""The wheel: brings `crawler` and nothing else, and works in an empty folder. The locks: every file pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from crawler.program import DISTRIBUTION, VERSION

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as site-packages would hold it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_brings_the_package_alone(wheel: Path) -> None:
    """Nothing named `settings`, `spiders` or `tests` at the top of site-packages."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"crawler", f"fleetcrawler-{wheel.name.split('-')[1]}.dist-info"}


def test_the_wheel_brings_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("crawler/")}
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "crawler").rglob("*") if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert any(name.endswith(".lua") for name in packed)


def test_it_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    ran = _run(installed, tmp_path, "version")
    assert ran.returncode == 0, ran.stderr
    assert "0.1.0" in ran.stdout


def test_the_built_in_spider_is_there_without_a_project(installed: Path, tmp_path: Path) -> None:
    ran = _run(installed, tmp_path, "list", "--all")
    assert ran.returncode == 0, ran.stderr
    assert "site" in ran.stdout


def test_a_fresh_environment_has_the_command_and_the_module(wheel: Path, tmp_path: Path) -> None:
    """With the packages that the crawler needs from where these tests have theirs."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    for site in (tmp_path / "venv").glob("lib/python*/site-packages"):
        (site / "others.pth").write_text(str(Path(pytest.__file__).parents[1]))
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-cache-dir", str(wheel)]
    subprocess.run(install, check=True, timeout=100)
    for command in ([str(tmp_path / "venv/bin/crawler")], [str(python), "-m", "crawler"]):
        ran = subprocess.run([*command, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert ran.stdout == f"crawler {VERSION}\n"
    code = "import crawler, importlib.metadata as m; print(crawler.__file__, m.version('fleetcrawler'))"
    ran = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    file, version = ran.stdout.split()
    assert (file.startswith(str(tmp_path)), version) == (True, VERSION)


def test_the_source_distribution_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert [file.name for file in tmp_path.iterdir()] == [f"{DISTRIBUTION}-{VERSION}.tar.gz"]


def test_the_command_of_the_wheel_is_the_module(installed: Path) -> None:
    points = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "crawler = crawler.__main__:main" in points.read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-rabbitmq.lock", "requirements-dev.lock"])
def test_a_lock_pins_everything_by_hash_and_names_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert packages
    assert all(re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", package, re.DOTALL) for package in packages)
    assert not re.search(r"://|^-|@", text, re.MULTILINE)


def test_the_locks_hold_every_package_that_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = project["project"]["dependencies"]
    assert _names(asked) <= _locked("requirements.lock")
    extras = project["project"]["optional-dependencies"]
    assert _names([*asked, *extras["rabbitmq"], *extras["rabbitmq-streams"]]) <= _locked("requirements-rabbitmq.lock")
    assert _names([*asked, *project["dependency-groups"]["dev"]]) <= _locked("requirements-dev.lock")
    assert _locked("requirements.lock") <= _locked("requirements-rabbitmq.lock") <= _locked("requirements-dev.lock")


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^a-zA-Z0-9-]", requirement)[0] for requirement in requirements}


def _locked(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text(), re.MULTILINE))


def _run(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -P keeps this tree, where the tests run, off the import path
    command = [sys.executable, "-P", "-c", _COMMAND, str(installed), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


_COMMAND = """
import sys
installed = sys.argv.pop(1)
sys.path.insert(0, installed)
import crawler.cli
assert crawler.cli.__file__.startswith(installed), crawler.cli.__file__
sys.exit(crawler.cli.main())
"""
