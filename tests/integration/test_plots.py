"""A picture in the documents shows the figures that lie beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLOTS = ROOT / "docs" / "plots"


def test_every_picture_is_what_scripts_plot_draws_from_its_table(tmp_path: Path) -> None:
    tables = sorted(PLOTS.glob("*.csv"))
    for table in tables:
        shutil.copy(table, tmp_path)
    subprocess.run([sys.executable, "-m", "scripts.benchmark.plot", tmp_path], cwd=ROOT, check=True, timeout=60)
    drawn = {picture.name: picture.read_text() for picture in tmp_path.glob("*.svg")}
    assert drawn == {picture.name: picture.read_text() for picture in PLOTS.glob("*.svg")}
    assert len(drawn) == len(tables)
