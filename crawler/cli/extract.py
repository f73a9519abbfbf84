"""`extract`: read the pages of an archive again, with new code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from crawler.cli.options import (
    Append,
    AppendTo,
    ArgumentOptions,
    Invocation,
    Json,
    Overwrite,
    Strict,
    config_of,
    option,
    spider_arguments,
    targets_of,
)
from crawler.errors import UsageError
from crawler.runtime.safe_text import json_line, shown
from crawler.runtime.signals import run
from crawler.runtime.standard_output import kept_from_users
from crawler.views.figures import counted

if TYPE_CHECKING:
    from crawler.app.extract import Extraction


def extract(
    invocation: Invocation,
    sources: Annotated[
        list[str] | None,
        option("--from", metavar="FILE|DIR", help="A WARC file, a folder of them, or HTTPCACHE_DIR; may be repeated."),
    ] = None,
    spider: Annotated[
        str,
        option(
            "--spider",
            metavar="NAME",
            help="Only pages of this spider, and those whose spider the archive does not name.",
        ),
    ] = "",
    job: Annotated[str, option("--job", metavar="NAME", help="Only pages of this job.")] = "",
    arguments: ArgumentOptions = None,
    output: AppendTo = None,
    overwrite: Overwrite = None,
    append: Append = False,
    strict: Strict = False,
    json_: Json = False,
) -> int:
    """Run the callbacks of spiders over pages of an archive (crawl --warc) or of the page cache, without the network.

    Each page is read by the callback that it was fetched for, with its meta; pages of other tools by `parse`.

    crawler extract --from archive --spider shop -O items.jsonl
    """
    if not sources:
        raise UsageError("name the archive: --from FILE, or --from DIR")
    targets = targets_of(output, overwrite, append=append)
    if not targets:
        raise UsageError("give a file for the items: -o FILE appends, -O FILE overwrites, -o - is stdout")
    if json_ and any(target.name == "-" for target in targets):
        raise UsageError("--json and items cannot share stdout: write the items to a file with -o FILE")
    config = config_of(invocation, strict=strict)

    from crawler.app.extract import extract as extract_here

    given = spider_arguments(arguments)
    with kept_from_users():
        done = run(
            extract_here(config, [Path(one) for one in sources], targets, spider=spider, job=job, arguments=given)
        )
    _print(done, [target.shown for target in targets], as_json=json_, quiet=invocation.quiet)
    return done.code(strict=config.settings.STRICT)


def _print(done: Extraction, targets: Sequence[str], *, as_json: bool, quiet: bool) -> None:
    from msgspec import to_builtins
    from rich.text import Text

    from crawler.cli import tables
    from crawler.views.losses import told

    if as_json:
        print(json_line({**to_builtins(done), "losses": to_builtins(told(done.stats)), "targets": list(targets)}))
    if not quiet:
        lines = {name: Text(value, overflow="fold") for name, value in _lines(done, targets).items() if value}
        tables.console(error=True).print(tables.fields(lines))


def _lines(done: Extraction, targets: Sequence[str]) -> dict[str, str]:
    from crawler.views.figures import files_in_words
    from crawler.views.losses import asked_for_in_words, lost_in_words, told

    files = f"{counted(done.files)} {'file' if done.files == 1 else 'files'}"
    again = f"; {counted(done.again)} older visits of them left out" if done.again else ""
    missing = f"{counted(done.missing)} requests for pages that are not in the archive"
    return {
        "read": f"{counted(done.pages)} pages of {files}{again}",
        "items": f"{counted(done.items)} → {', '.join('stdout' if one == '-' else shown(one) for one in targets)}",
        "files": files_in_words(done.stats),
        "skipped": asked_for_in_words(done.stats, pages=True),
        "left out": asked_for_in_words(done.stats, pages=False),
        "lost": lost_in_words(told(done.stats)),
        "broken rules": "\n".join(done.broken),
        "not archived": missing if done.missing else "",
        "not asked for": f"{counted(done.others)} pages of other spiders" if done.others else "",
        "not stored": f"{counted(done.unstorable)} items; the log names their fields" if done.unstorable else "",
        "errors": "\n".join(f"{counted(count)} × {shown(why)}" for why, count in done.errors.most_common(20)),
    }
