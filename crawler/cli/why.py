"""`why`: everything known about one URL, and what it waits for or what would happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.options import Invocation, Json, config_of, option
from crawler.errors import Exit
from crawler.program import PROGRAM
from crawler.runtime.safe_text import json_line

if TYPE_CHECKING:
    from rich.text import Text

    from crawler.app.config import Config
    from crawler.views.inquiry import Inquiry


def why(
    invocation: Invocation,
    url: Annotated[str, typer.Argument(metavar="URL", help="The URL, in any spelling.", show_default=False)],
    job: Annotated[str, option("--job", metavar="NAME", help="Only this job.")] = "",
    json_: Json = False,
) -> int:
    """Show everything known about a URL: its state, what it waits for, or why it was not fetched. Contacts no host.

    Exit code: 0 when a job knows the URL, 1 when none does.
    """
    from crawler.cli.exits import say_error
    from crawler.cli.status import nothing_yet
    from crawler.parsing.url import BadUrl, canonical

    config = config_of(invocation)
    try:
        spelling = canonical(url)
    except BadUrl as error:
        print(json_line({"url": url, "known": False, "refused": error.why, "jobs": []})) if json_ else say_error(
            f"{error}: it can be neither seeded nor followed"
        )
        return Exit.FAILED
    if note := nothing_yet(config):
        print(json_line({"url": spelling, "known": False, "jobs": []}) if json_ else note)
        return Exit.FAILED
    found = asyncio.run(_inquire(config, spelling, job))
    if json_:
        print(json_line(as_data(spelling, found)))
    else:
        _print(spelling, found)
    return Exit.DONE if any(one.trace.known for one in found) else Exit.FAILED


async def _inquire(config: Config, url: str, job: str) -> list[Inquiry]:
    from crawler.app.connect import connect
    from crawler.app.inquiry import inquire

    async with connect(config) as connected:
        return await inquire(config, connected, url, job)


def _print(url: str, found: Sequence[Inquiry]) -> None:
    from crawler.cli import tables
    from crawler.runtime.safe_text import shown
    from crawler.views.figures import several

    console = tables.console()
    if not found:
        print(f"{shown(url)}: no jobs yet; start one with: {PROGRAM} crawl URL")
    known = [one for one in found if one.trace.known]
    for one in known or found:
        console.print(tables.fields({name: value for name, value in _lines(one).items() if value}))
        console.print()
    if known and len(known) < len(found):
        print(f"not known to {several(len(found) - len(known), 'other job')}")


def _lines(one: Inquiry) -> dict[str, object]:
    from crawler.views import reasons

    return {
        "URL": one.url,
        "host": one.trace.host,
        "job": one.job,
        "state": _text(reasons.told(one)),
        "found": _text(reasons.origin(one)),
        "waits for": _text(reasons.waits(one)),
        "rules": _text(reasons.rules(one)),
    }


def _text(sentences: Sequence[str]) -> Text:
    from rich.text import Text

    from crawler.runtime.safe_text import shown

    return Text("\n".join(map(shown, sentences)), overflow="fold")


def as_data(url: str, found: Sequence[Inquiry]) -> dict[str, Any]:
    """Return the same facts as JSON data, for scripts."""
    import msgspec

    from crawler.views import reasons
    from crawler.views.results import of_url

    jobs = [
        {
            "job": one.job,
            "result": msgspec.to_builtins(of_url(one)),
            "state": reasons.state(one),
            "told": reasons.told(one),
            "found": reasons.origin(one),
            "waits_for": reasons.waits(one),
            "rules": reasons.rules(one),
            **msgspec.to_builtins(one.trace),
        }
        for one in found
    ]
    return {"url": url, "known": any(one.trace.known for one in found), "jobs": jobs}
