"""What the first page must not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from streamlit.testing.v1 import AppTest
from obd.ui import warm
warm.DELAY = 1e6
at = AppTest.from_file("app.py", default_timeout=60).run()
assert not at.exception and at.button, at
heavy = {"torch", "minari", "mujoco", "sklearn", "gymnasium", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""


def test_home_is_drawn_without_torch() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
