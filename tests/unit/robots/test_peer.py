"""What Protego alone would have got wrong: the figure that `docs/politeness.md` gives, for the locked version."""

from __future__ import annotations

from collections import Counter

from protego import Protego

from crawler.parsing.url import canonical
from tests.unit.robots.verdicts import SITE, VERDICTS, Case

WRONG = Counter(
    {
        "it is compared as a whole": 5,
        "line ends": 3,
        "500 KiB, cut at a line": 3,
        "one spelling for both": 2,
        "what is encoded stays different": 2,
        "only the product token of an agent counts": 2,
        "where a group begins and ends": 2,
        "the longest match wins": 1,
        "groups of one agent are one group": 1,
        "lines are read with patience": 1,
    }
)


def _is_wrong(case: Case) -> bool:
    text = case.robots.decode("utf-8", "replace")  # Protego takes text
    return bool(Protego.parse(text).can_fetch(canonical(SITE + case.path), case.agent)) is not case.allowed


def test_protego_alone() -> None:
    wrong = Counter(case.kind for case in VERDICTS if _is_wrong(case))
    print(f"\nProtego: {wrong.total()} of {len(VERDICTS)} wrong")
    assert wrong == WRONG
