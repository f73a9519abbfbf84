"""The long form of the chaos suite: real faults on real processes, judged from outside, figures as a table.

scripts/chaos --seed 7 --faults 20 --pages 2000 --repeat 3 --only P4
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

SECONDS = 3600  # that one scenario may take


def main() -> int:
    """Run the scenarios with pytest; returns its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of all chance (1)")
    parser.add_argument("--repeat", type=int, default=1, metavar="R", help="so many seeds, from the first on (1)")
    parser.add_argument("--faults", type=int, default=20, help="in a scenario (20)")
    parser.add_argument("--pages", type=int, default=2000, help="of the site (2000)")
    parser.add_argument("--minutes", type=int, default=2, metavar="M", help="that P28, memory in time, takes (2)")
    parser.add_argument("--only", action="append", default=[], metavar="P4", help="this promise; may be repeated")
    options, more = parser.parse_known_args()
    for name in ("seed", "repeat", "faults", "pages", "minutes"):
        os.environ[f"CHAOS_{name.upper()}"] = str(getattr(options, name))
    chosen = " or ".join(f"{promise[0].lower()}{int(promise[1:]):02}" for promise in options.only)
    here = str(Path(__file__).parent)
    return pytest.main([here, "-q", "-o", f"timeout={SECONDS}", *(["-k", chosen] if chosen else []), *more])


if __name__ == "__main__":
    sys.exit(main())
