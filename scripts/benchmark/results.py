"""Results as JSON lines, each with the conditions it was measured under. `plot.py` draws them."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any


def save(file: Path | None, what: str, figures: dict[str, Any]) -> None:
    """Append one result of the kind `what`; do nothing without a file."""
    if file is None:
        return
    record = {"what": what, **figures, **_conditions()}
    with file.open("a") as lines:
        lines.write(json.dumps(record) + "\n")


def read(files: list[Path]) -> list[dict[str, Any]]:
    """Return all results of these files, oldest first."""
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _conditions() -> dict[str, Any]:
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
