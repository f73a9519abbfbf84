"""`up` and `down`: start and stop the embedded queue server of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from crawler.cli.options import Invocation, config_of, flag
from crawler.errors import UsageError
from crawler.program import PROGRAM
from crawler.views.figures import size

if TYPE_CHECKING:
    from crawler.app.config import Config


def up(invocation: Invocation) -> int:
    """Start the embedded queue server of this folder and keep it running until the command `down`."""
    config = config_of(invocation)
    _refuse_other_server(config)

    from crawler.app.config import data_dir
    from crawler.embedded import server as embedded

    server = embedded.attach(
        data_dir(config),
        binary=embedded.find_binary(config.settings.EMBEDDED_BINARY),
        fsync=config.settings.EMBEDDED_FSYNC,
        keep=True,
    )
    server.detach()
    known = embedded.status(data_dir(config))
    print(f"running at {known['url']} (pid {known['pid']}, {size(known['memory_bytes'])})")
    print(f"data in {known['data_dir']}; stop it with: {PROGRAM} down")
    return 0


def down(
    invocation: Invocation,
    force: Annotated[bool, flag("--force", help="Stop it even while other commands use it; they wait.")] = False,
) -> int:
    """Stop the embedded queue server of this folder. Its data stays."""
    config = config_of(invocation)
    _refuse_other_server(config)

    from crawler.app.config import data_dir
    from crawler.embedded import server as embedded

    match embedded.stop(data_dir(config), force=force):
        case embedded.Stopped.IN_USE:
            raise UsageError("other commands use the embedded server; end them first, or use --force")
        case embedded.Stopped.NOT_RUNNING:
            print("not running")
        case embedded.Stopped.STOPPED:
            print(f"stopped; its data stays in {data_dir(config)}")
    return 0


def _refuse_other_server(config: Config) -> None:
    if config.settings.REDIS_URL:
        origin = config.origins.get("REDIS_URL", "a setting")
        raise UsageError(
            f"REDIS_URL is set ({origin}), so commands use that server and no embedded one; "
            "start and stop that server yourself, or unset REDIS_URL"
        )
