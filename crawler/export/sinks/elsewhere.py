"""What to say when the items of a job are not where they are looked for."""

from __future__ import annotations


def gone_to(location: str, here: str) -> str:
    """Return that earlier items of the job went to `location` and are not `here`, and what can be done."""
    went = "standard output" if location == "-" else location
    gone = f"are no longer in {here}: put the file back" if location == here else f"went to {went}: go on there"
    return f"earlier items of this job {gone}, write only later ones with --append, or crawl anew with --fresh"
