"""In how many items each field is filled: in words, as data for scripts, and against the rules of a spider. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from crawler.program import PROGRAM
from crawler.runtime.safe_text import shown
from crawler.status import Coverage, FieldCoverage
from crawler.views.figures import counted, several

BAR = 20  # characters of a whole bar
_NAMED = 5  # fields that a summary names
EXAMPLES = 3  # pages that a broken rule names


def share(filled: int, items: int) -> str:
    """Return `100 %`, `91.2 %` or `0 %`. Only all items are 100 %, and only none are 0 %."""
    if filled >= items or not filled:
        return "100 %" if filled else "0 %"
    return f"{max(1, 1000 * filled // items) / 10:g} %"


def bar(filled: int, items: int) -> str:
    """Return the share as a bar of `BAR` characters; one that is not whole shows that something is missing."""
    length = BAR if filled >= items else min(BAR - 1, BAR * filled // items)
    return "█" * length + "░" * (BAR - length)


def by_share(one: Coverage) -> list[tuple[str, FieldCoverage]]:
    """Return the fields with their counts, the fullest first."""
    return sorted(one.fields.items(), key=lambda field: (-field[1].filled, field[0]))


def incomplete(coverage: Sequence[Coverage]) -> str:
    """Return `price 91.2 %, brand 40 %`: the fields that some items lack, the emptiest first; empty if none do."""
    found = [
        (field.filled / max(1, one.items), f"{shown(_qualified(one, name, coverage))} {share(field.filled, one.items)}")
        for one in coverage
        for name, field in one.fields.items()
        if field.filled < one.items
    ]
    lines = [text for _, text in sorted(found)]
    more = len(lines) - _NAMED
    rest = [f"and {several(more, 'field')} more ({PROGRAM} coverage)"] if more > 0 else []
    return ", ".join([*lines[:_NAMED], *rest])


def broken_rules(coverage: Sequence[Coverage], rules: Mapping[str, float], least: int, items: int) -> Iterator[str]:
    """Yield one sentence for each rule that the items break: `rules` are shares by `FIELD` or `CLASS.FIELD`, `least` is
    the number of items wanted, `items` how many there are."""
    if items < least:
        yield f"{several(items, 'item')}, at least {counted(least)} wanted (MIN_ITEMS)"
    for rule, wanted in rules.items():
        its, name = _meant(rule, coverage)
        filled, total, lacking = _summed(its, name)
        if total and filled < wanted * total:
            examples = f"; for example {' '.join(map(shown, lacking[:EXAMPLES]))}" if lacking else ""
            least_share = f"at least {round(100 * wanted, 4):g} % wanted"
            have = f"in {counted(filled)} of {several(total, 'item')} ({share(filled, total)})"
            yield f"{shown(rule)} is filled {have}, {least_share} (COVERAGE_RULES){examples}"


def _meant(rule: str, coverage: Sequence[Coverage]) -> tuple[list[Coverage], str]:
    """The counts that a rule is about, and the name of its field: of one class, if the rule begins with a class."""
    kind, _, name = rule.partition(".")
    its = [one for one in coverage if one.kind == kind] if name else []
    return (its, name) if its else (list(coverage), rule)


def _summed(coverage: Iterable[Coverage], name: str) -> tuple[int, int, list[str]]:
    """Items in which the field is filled, all items, and pages that lack it."""
    filled, total, lacking = 0, 0, list[str]()
    for one in coverage:
        field = one.fields.get(name, FieldCoverage(0))
        filled, total = filled + field.filled, total + one.items
        lacking += field.lacking
    return filled, total, lacking


def uncounted(one: Coverage) -> str:
    """Return that values of a callback were not counted by field; empty if all were."""
    if not one.others:
        return ""
    return f"{several(one.others, 'value')} of other fields not counted: a job counts {len(one.fields)} names by itself"


def as_data(coverage: Iterable[Coverage]) -> list[dict[str, Any]]:
    """Return the counts for scripts, the spider and the callback apart."""
    return [
        {
            **dict(zip(("spider", "callback"), _parts(one.callback), strict=True)),
            "class": one.kind,
            "items": one.items,
            "pages": one.pages,
            "fields": {name: _field_data(field, one.items) for name, field in by_share(one)},
            "others": one.others,
        }
        for one in coverage
    ]


def _field_data(field: FieldCoverage, items: int) -> dict[str, Any]:
    return {"filled": field.filled, "share": round(field.filled / max(1, items), 6), "lacking": field.lacking}


def title(one: Coverage) -> str:
    """Return `shop.parse_item, Product: 1,200 items of 1,150 pages`."""
    return f"{shown(one.callback)}, {shown(one.kind)}: {several(one.items, 'item')} of {several(one.pages, 'page')}"


def rows(one: Coverage, *, bars: bool) -> Iterator[tuple[str, ...]]:
    """Yield name, bar if wanted, share, count, and a page that lacks it of each field, the fullest first."""
    for name, field in by_share(one):
        drawn = (bar(field.filled, one.items),) if bars else ()
        example = field.lacking[0] if field.lacking and field.filled < one.items else ""
        yield name, *drawn, share(field.filled, one.items), counted(field.filled), example


def _parts(callback: str) -> tuple[str, str]:
    """Spider and callback; a spider's name may have dots."""
    spider, _, callback = callback.rpartition(".")
    return spider, callback


def _qualified(one: Coverage, field: str, all_of: Sequence[Coverage]) -> str:
    """The field's name, with its class if the job has several."""
    return f"{one.kind}.{field}" if len({other.kind for other in all_of}) > 1 else field
