"""`shell`: try selectors and requests on one page, at a Python prompt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crawler.cli.exits import say_error
from crawler.cli.options import Invocation, config_of, option
from crawler.cli.pages import NoRedirect, PageSpider, local_file, page_spider, request_for
from crawler.errors import CrawlerError, Exit

if TYPE_CHECKING:
    from crawler.cli.shell_words import Words

_BANNER = "The crawler's shell: response.css(…) tries a selector, fetch(URL) gets a page, shelp() lists the rest."


def shell(
    invocation: Invocation,
    target: Annotated[str, typer.Argument(metavar="URL|FILE", help="The first page.", show_default=False)] = "",
    code: Annotated[str, option("-c", "--code", metavar="CODE", help="Run CODE, print what it gives, and end.")] = "",
    spider: PageSpider = "",
    no_redirect: NoRedirect = False,
) -> int:
    """Open a Python prompt with a page in it (IPython where it is installed). It needs no queue server.

    The address guard, robots.txt, logins and middlewares of the project hold. Code from a pipe runs like -c.

    crawler shell https://quotes.example/

    crawler shell ./saved.html -c 'response.css("title::text").get()'
    """
    from crawler.cli.shell_words import opened_words

    config = config_of(invocation)
    file = local_file(target) if target else None
    request = request_for(target, or_file=True) if target and not file else None
    registry, name = page_spider(config, spider, request.url if request else "")
    at_prompt = not code and sys.stdin.isatty()
    with opened_words(config, registry, name, redirects=not no_redirect, at_prompt=at_prompt) as words:
        if at_prompt:
            _get(words, file or request)
            _talk(words.names)
            return Exit.DONE
        if not _get(words, file or request):
            return Exit.FAILED
        return _run(code or sys.stdin.read(), "<-c>" if code else "<stdin>", words.names)


def _get(words: Words, target: Any) -> bool:
    """Get the first page, if one is named. Say why it is not there."""
    try:
        if target is not None:
            words.load(target)
    except CrawlerError as error:
        say_error(str(error))
        return False
    return True


def _talk(names: dict[str, Any]) -> None:
    names["shelp"]()
    try:
        from IPython.terminal.embed import InteractiveShellEmbed
        from IPython.terminal.ipapp import load_default_config
    except ImportError:
        import code
        import readline  # noqa: F401 - the prompt then edits lines

        code.interact(banner="", local=names, exitmsg="")
        return
    InteractiveShellEmbed.instance(banner1="", user_ns=names, config=load_default_config())()  # type: ignore[no-untyped-call]


def _run(source: str, name: str, names: dict[str, Any]) -> int:
    """Run code and print the value of each expression, as a prompt would. Return 1 if it raises."""
    import ast
    import traceback

    try:
        for part in ast.parse(source, name).body:
            if isinstance(part, ast.Expr):
                value = eval(compile(ast.Expression(part.value), name, "eval"), names)  # noqa: S307 - the user's own
                if value is not None:
                    print(value)
            else:
                exec(compile(ast.Module([part], []), name, "exec"), names)  # noqa: S102 - the user's own
    except CrawlerError as error:
        say_error(str(error))
        return Exit.FAILED
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else Exit.FAILED if end.code else Exit.DONE
    except Exception as error:
        shown = traceback.TracebackException.from_exception(error)
        shown.stack = traceback.StackSummary.from_list([one for one in shown.stack if one.filename != __file__])
        sys.stderr.writelines(shown.format())
        return Exit.FAILED
    return Exit.DONE
