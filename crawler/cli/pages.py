"""What the commands for one page share: the page as a person names it, and the spider that it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from crawler.cli.options import flag, option
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.app.config import Config
    from crawler.model import Request
    from crawler.spiders.registry import Registry

PageSpider = Annotated[
    str,
    option(
        "--spider",
        metavar="NAME",
        help="The spider whose settings count; default: the one with the URL's domain in allowed_domains, or site.",
    ),
]
NoRedirect = Annotated[bool, flag("--no-redirect", help="Do not follow redirects.")]


def local_file(target: str) -> Path | None:
    """Return the file that the target names, as file:// or as a path; None if it is a URL."""
    if target.lower().startswith("file:"):
        return Path(unquote(urlsplit(target).path))
    if "://" in target or not target:
        return None
    path = Path(target)
    return path if target.startswith(("/", "./", "../", "~")) or path.exists() else None


def request_for(url: str, *, or_file: bool = False, **fields: Any) -> Request:
    """Return the request for a URL in any spelling. Raise `UsageError` if it cannot be made; `or_file`: it could have
    been the name of a file."""
    from crawler.model import Request
    from crawler.parsing.url import BadUrl, canonical

    try:
        return Request(canonical(url), **fields)
    except BadUrl as error:
        no_file = ", or the name of a file; none has this name" if or_file and "://" not in url else ""
        raise UsageError(f"{error}{no_file}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


def page_spider(config: Config, named: str, url: str) -> tuple[Registry, str]:
    """Return the spiders of the project, and the name of the one that a page belongs to (an empty URL: to any).

    Raise `UsageError` if there is no spider of that name, or if several have the URL's domain.
    """
    from crawler.app.spiders import spider_of, spiders_of
    from crawler.model import DEFAULT_SPIDER

    registry = spiders_of(config)
    name = named or (url and spider_of(registry, url)) or DEFAULT_SPIDER
    registry.get(name)
    return registry, name
