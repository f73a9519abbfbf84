"""What to say when the items of a job are not where they are looked for."""

from __future__ import annotations


def gone_to(place: str, here: str) -> str:
    """Return that earlier items of the job went to `place` and are not `here`, and what can be done."""
    went = "standard output" if place == "-" else place
    gone = f"are no longer in {here}: put the file back" if place == here else f"went to {went}: go on there"
    return f"earlier items of this job {gone}, write only later ones with --append, or crawl anew with --fresh"
