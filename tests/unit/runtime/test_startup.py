"""A process that starts sooner is the same process: each case runs in an interpreter of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

LASTING = "from crawler.runtime.startup import lasting_imports\nwith lasting_imports(): import crawler.runtime.logs\n"
PLAIN = "import rich\nimport structlog, crawler.runtime.logs\n"
AN_ERROR = """
import re, structlog
crawler.runtime.logs.configure(format="console")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("failed", job="news")
"""


def ran(code: str) -> str:
    """What it prints, on stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    return (done.stdout + done.stderr).decode()


def test_garbage_is_collected_afterwards_but_what_was_imported_is_not_looked_at() -> None:
    assert ran(LASTING + "import gc; print(gc.isenabled(), gc.get_freeze_count() > 10_000)").split() == ["True"] * 2


def test_garbage_is_collected_after_an_import_that_fails() -> None:
    code = (
        "from contextlib import suppress\nimport gc\nwith suppress(ImportError):\n  with lasting_imports(): import no\n"
    )
    assert ran(f"from crawler.runtime.startup import lasting_imports\n{code}print(gc.isenabled())") == "True\n"


@pytest.mark.parametrize("module", ["rich.traceback", "twisted.logger"])
def test_what_structlog_is_loaded_without_is_there_for_those_who_ask_for_it(module: str) -> None:
    package = module.partition(".")[0]
    loaded = f"import sys; print({package!r} in sys.modules); import {module}; print({module}.__name__)"
    assert ran(LASTING + loaded).split() == ["False", module]


def test_it_is_left_alone_where_it_is_loaded_already() -> None:
    assert ran(f"import rich\n{LASTING}import sys; print(sys.modules['rich'] is rich)") == "True\n"


def test_errors_are_logged_as_with_rich() -> None:
    plain, lasting = (ran(imports + AN_ERROR).split(" ", 1)[1].splitlines() for imports in (PLAIN, LASTING))
    assert "ZeroDivisionError" in lasting[-1]
    assert lasting == plain


INTERRUPTED_BY_ITSELF = """
import os, signal
from crawler.runtime.startup import end_at_interrupts, heed_interrupts
class Lost:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)  # nothing can be raised in here
"""


def test_an_interrupt_at_the_start_cannot_be_lost() -> None:
    """In a destructor Python prints `KeyboardInterrupt`, forgets it and goes on."""
    lost = subprocess.run(
        [sys.executable, "-P", "-c", f"{INTERRUPTED_BY_ITSELF}end_at_interrupts()\nLost()\nprint('goes on')"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert (lost.returncode, lost.stdout, lost.stderr) == (-signal.SIGINT, b"", b"")


def test_interrupts_are_heeded_as_before_once_there_is_something_to_end() -> None:
    code = "end_at_interrupts()\nheed_interrupts()\nprint(signal.getsignal(2) is signal.default_int_handler)"
    assert ran(INTERRUPTED_BY_ITSELF + code) == "True\n"


def test_who_has_to_ignore_interrupts_goes_on_ignoring_them() -> None:
    code = "signal.signal(2, signal.SIG_IGN)\nend_at_interrupts()\nheed_interrupts()\nLost()\nprint('goes on')"
    assert ran(INTERRUPTED_BY_ITSELF + code) == "goes on\n"


@pytest.mark.parametrize(
    ("closed", "code"), [("<&-", 0), (">&-", 141), ("2>&-", 0), ("<&- 2>&-", 0), ("<&- >&- 2>&-", 141)]
)
def test_standard_streams_that_are_closed_harm_nothing(closed: str, code: int) -> None:
    """Output that nobody reads is as with `| head`: exit code 141."""
    command = f"{sys.executable} -m crawler version {closed}"
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == code
    assert ran.stderr == ""


def test_a_command_of_a_scheduler_drains_when_that_is_killed() -> None:
    """The pipe ends when the last process that holds it has ended: the killed one has started another."""
    command = (
        "import os, signal, sys\nfrom crawler.runtime.startup import end_with_the_scheduler\n"
        "def drain(*_): os.write(1, b'drained\\n'); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, drain)\nend_with_the_scheduler()\n"
        "os.write(1, b'ready\\n')\nwhile True: signal.pause()\n"
    )
    scheduler = (
        "import os, subprocess, sys\nfrom crawler.runtime.startup import PARENT\n"
        f"subprocess.run([sys.executable, '-c', {command!r}], env={{**os.environ, PARENT: str(os.getpid())}})\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", scheduler], stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b"drained\n"
