"""What the first page must not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from streamlit.testing.v1 import AppTest
from obd.ui import posestrip, warm
warm.DELAY, posestrip.draw = 1e6, lambda *_: []  # what goes on in the background may import what it likes
at = AppTest.from_file("app.py", default_timeout=60).run()
assert not at.exception and at.button, at
heavy = {"torch", "minari", "mujoco", "sklearn", "gymnasium", "scipy"} & set(sys.modules)
assert not heavy, heavy
at.switch_page("pages/distill.py").run()
assert not at.exception and at.get("echarts_chart"), at
assert "torch" not in sys.modules
"""


def test_home_and_distil_are_drawn_without_torch() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
