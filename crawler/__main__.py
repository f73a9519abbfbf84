"""Entry point of `crawler` and of `python -m crawler`."""

import os
import sys


def main() -> int:
    """Run the command in `sys.argv` and return its exit code."""
    try:
        from crawler.runtime.startup import (
            end_at_interrupts,
            end_with_the_scheduler,
            lasting_imports,
            replace_closed_streams,
            survive_the_terminal,
        )

        end_at_interrupts()
        replace_closed_streams()
        survive_the_terminal()
        end_with_the_scheduler()
        with lasting_imports():
            from crawler.app.prefork import prefork
            from crawler.runtime.own_limits import raise_file_limit

        raise_file_limit()
        preforked, work = prefork(sys.argv[1:], os.environ)
        if work:  # this is one of the forked processes: what called this function is the command's
            sys.exit(work())
        with lasting_imports():
            from crawler.cli import main

        code = main(preforked=preforked)
        preforked.keep(0)  # the command has ended without them
        return code
    except KeyboardInterrupt:  # before a command has started
        from crawler.errors import Exit

        return Exit.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
