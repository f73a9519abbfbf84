"""Which hosts and spiders of a job fail alike, page after page: the in-process counterpart of `watch` in Lua."""

from __future__ import annotations

import time
from dataclasses import dataclass

from crawler.frontier.memory.lines import Entry
from crawler.status import Pause

Subject = tuple[str, str]  # what (`host`, `spider` or `job`), name


@dataclass(slots=True)
class Recent:
    """How the last pages of one went; the older a page is, the less it counts."""

    pages: int = 0
    failed: int = 0  # of these, alike
    kind: str = ""

    def note(self, kind: str) -> None:
        """One page more: `ok`, or the kind of its failure. The kind of most failures stays (a vote)."""
        self.pages += 1
        if kind == self.kind:
            self.failed += 1
        elif kind != "ok" and self.failed == 0:
            self.failed, self.kind = 1, kind
        elif kind != "ok":
            self.failed -= 1


class Outcomes:
    """Pauses a host or spider when at least `least` of its last pages failed alike, and more than `share` of them."""

    def __init__(self, share: float, least: int) -> None:
        self._share = share
        self._least = least
        self._recent: dict[Subject, Recent] = {}  # only of those that failed lately
        self.paused: dict[Subject, Pause] = {}

    def watch(self, entry: Entry, kind: str) -> None:
        """A visit ended. `kind`: `ok`, of a failure that is not the page's own, or empty: nothing was found out.

        A page that fails counts with its first try: the last requests of any crawl are those that fail again and again.
        """
        if not kind or self._share >= 1 or (kind != "ok" and entry.attempt):
            return
        known, paused = self._note(("host", entry.host), kind)
        # one bad host is not its spider's fault: there each host that fails counts once
        if kind == "ok" or (not known and not paused):
            self._note(("spider", entry.request.spider), kind)

    def pause(self, subject: Subject, why: str) -> bool:
        """False: it was so before."""
        if subject in self.paused:
            return False
        self.paused[subject] = Pause(*subject, why, time.time())
        return True

    def resume(self, subject: Subject) -> bool:
        """False: there was nothing to lift. What is behind us should not pause it again."""
        self._recent.clear()
        return self.paused.pop(subject, None) is not None

    def _note(self, subject: Subject, kind: str) -> tuple[int, bool]:
        """(how many had failed alike before, whether it is paused now)."""
        if kind == "ok" and subject not in self._recent:
            return 0, False
        recent = self._recent.setdefault(subject, Recent())
        known = recent.failed if recent.kind == kind else 0
        recent.note(kind)
        exploded = recent.failed >= self._least and recent.failed > self._share * recent.pages
        if exploded:
            self.pause(subject, f"{recent.failed} of {recent.pages} failed with {recent.kind}")
        elif recent.pages >= self._least / min(self._share, 0.5):
            recent.pages, recent.failed = recent.pages // 2, recent.failed // 2
        if exploded or not recent.failed:
            del self._recent[subject]
        return known, exploded
