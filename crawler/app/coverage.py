"""Checks the items of a job against the rules of its spider: COVERAGE_RULES and MIN_ITEMS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from crawler.interfaces import Reading
from crawler.model import Filled, Job
from crawler.settings import Settings
from crawler.status import Coverage, FieldCoverage, JobStats
from crawler.views.coverage import EXAMPLES, broken_rules

log = structlog.get_logger()


async def broken(settings: Settings, reading: Reading, job: Job, stats: JobStats, unknown: str = "") -> tuple[str, ...]:
    """Log each rule that the items of a finished job break, and return them as sentences. `settings`: those for the
    job's spider; `unknown`: why its own are not known, which counts as a rule that is broken."""
    if not stats.finished:
        return ()
    has_rules = settings.COVERAGE_RULES or settings.MIN_ITEMS
    coverage = await reading.coverage(job) if has_rules else ()
    return broken_by(coverage, stats.counters.get("items", 0), settings, job, unknown)


def broken_by(
    coverage: Iterable[Coverage], items: int, settings: Settings, job: Job, unknown: str = ""
) -> tuple[str, ...]:
    """Do the same for items that are counted already: `coverage` has their fields, `items` is their number."""
    found = [f"the rules of spider {job.spider} are not known: {unknown}"] if unknown else []
    its = [one for one in coverage if one.callback.startswith(f"{job.spider}.")]
    found += broken_rules(its, settings.COVERAGE_RULES, settings.MIN_ITEMS, items)
    for why in found:
        log.warning("coverage_rule_broken", job=job.name, why=why)
    return tuple(found)


class Covered:
    """Counts in how many items the fields of COVERAGE_RULES are filled, for a command that has no queue to do so."""

    def __init__(self, rules: Mapping[str, float]) -> None:
        self._names = {name for rule in rules for name in (rule, rule.partition(".")[2]) if name}
        self._found: dict[tuple[str, str], Coverage] = {}  # by callback and class

    @property
    def coverage(self) -> Sequence[Coverage]:
        """What was counted so far, of these fields alone."""
        return list(self._found.values())

    def add(self, url: str, filled: Iterable[Filled]) -> None:
        """Count the items of a page."""
        for its in filled:
            before = self._found.get((its.callback, its.kind), Coverage(its.callback, its.kind, 0, 0, {}))
            fields = {name: self._field(name, url, its, before) for name in self._names}
            page = Coverage(its.callback, its.kind, its.items, 1, fields)
            self._found[its.callback, its.kind] = before.plus(page)

    def _field(self, name: str, url: str, its: Filled, before: Coverage) -> FieldCoverage:
        filled = its.fields.get(name, 0)
        known = before.fields[name].lacking if before.fields else ()
        return FieldCoverage(filled, (url,) if filled < its.items and len(known) < EXAMPLES else ())
