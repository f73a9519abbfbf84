"""The command `crawler`, also as `python -m crawler`."""

import sys

from crawler.startup import lasting_imports


def main() -> int:
    """Run the command of `sys.argv` and return its exit code."""
    try:
        with lasting_imports():
            from crawler.cli import main
    except KeyboardInterrupt:
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(main())
