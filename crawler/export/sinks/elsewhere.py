"""What to say when the items of a job are not where they are looked for."""

from __future__ import annotations

from crawler.errors import OutputError
from crawler.model import Exported


def gone_to(location: str, here: str, what: str = "the file") -> str:
    """Return a sentence that earlier items of the job went to `location` and are not `here`, and what a person can do.
    If both are one, that is to put back what is gone."""
    went = "standard output" if location == "-" else location
    gone = f"are no longer in {here}: put {what} back" if location == here else f"went to {went}: go on there"
    return f"earlier items of this job {gone}, write only later ones with -o FILE --append, or crawl anew with --fresh"


def check_here(exported: Exported, location: str, here: str = "") -> None:
    """Raise `OutputError` if earlier items of the job went elsewhere than to this location, `here` for people."""
    if exported.positions and exported.location != location:
        raise OutputError(gone_to(exported.location, here or location))
