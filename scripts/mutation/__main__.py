"""`scripts/mutate`: run the contract suite against each mutant of the frontier's rules. Not part of CI: it takes long.

The suite kills a mutant that it notices. A survivor is either a missing test, or a change that changes nothing, and
then `equivalent.toml` says why. The exit code is 1 when a survivor is not listed there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from scripts.mutation.cases import ROOT, SCRIPTS, Case, cases, equivalent

COPIED = ("crawler", "spiders", "tests", "settings.py", "pyproject.toml", "scripts")
ON_SERVERS = ("tests/integration/test_scripts_under_failure.py", "tests/integration/test_queue_acl.py")
# The first is quick and notices most; the second asks real servers.
SUITES = (
    ("tests/contract", "tests/unit/frontier", "-k", "memory or test_scripts"),
    ("tests/contract", *ON_SERVERS, "-k", "not memory"),
)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/mutate", description="Changes rules, and shows what no test notices."
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants of files whose path contains this")
    parser.add_argument("--list", action="store_true", help="print the mutants and run nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="only the frontier in this process: more may survive")
    options = parser.parse_args()
    wanted = [case for case in cases() if options.only in case.path]
    if options.list:
        print(*wanted, sep="\n")
        return 0
    listed = equivalent()
    left = [case for case in wanted if case.key not in listed]
    tried = len(left)
    for suite in SUITES[:1] if options.quick else SUITES:
        scripts = _scripts(left, suite, options.jobs)
        if scripts is None:
            print("the suite fails without any change, so nothing can be said", file=sys.stderr)
            return 2
        left = [*_numbers(left, suite), *scripts]
        print(f"{len(left)} of {tried} survived: -k {suite[-1]!r}", file=sys.stderr)
    for case in left:
        print(f"survived  {case}")
    same = len(wanted) - tried
    print(f"{len(wanted)} mutants: {tried - len(left)} killed, {same} listed as equivalent, {len(left)} survived")
    return 1 if left else 0


def _scripts(left: Iterable[Case], suite: tuple[str, ...], jobs: int) -> list[Case] | None:
    """Those of the scripts that survive a suite; None if the suite fails without a mutant."""
    by_number = {str(case.number): case for case in left if _is_script(case)}
    command = [sys.executable, "-m", "scripts.mutation.loop", str(jobs), *suite]
    done = subprocess.run(command, cwd=ROOT, input="\n".join(by_number), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return None
    return [by_number[number] for number in done.stdout.split() if number in by_number]


def _numbers(left: Iterable[Case], suite: tuple[str, ...]) -> list[Case]:
    """Those of the numbers: modules have imported them already, so each gets a copy of the project."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        return [case for case in left if not _is_script(case) and _survives(copy, case, suite)]


def _is_script(case: Case) -> bool:
    return case.path.startswith(SCRIPTS)


def _survives(copy: Path, case: Case, suite: tuple[str, ...]) -> bool:
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", "timeout=60", *suite]
    (copy / case.path).write_text(case.mutant.text)
    try:
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode == 0
    finally:
        (copy / case.path).write_text((ROOT / case.path).read_text())


if __name__ == "__main__":
    sys.exit(main())
