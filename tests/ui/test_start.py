"""What the first paint of a page must not wait for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from obd.paths import teachers_dir
from tests.helpers import DATASET, store_pendulum

CODE = """
import sys
from streamlit.testing.v1 import AppTest
from obd.ui import state, warm

warm.DELAY = 1e6

def drawn(at, button, heavy):
    assert not at.exception and not at.error and button in [each.key for each in at.button], at
    assert not heavy & set(sys.modules), (button, heavy & set(sys.modules))

at = AppTest.from_file("app.py", default_timeout=60).run()
drawn(at, "quick start", {"torch", "minari", "mujoco", "sklearn", "gymnasium", "scipy"})
at.switch_page("pages/data.py")
at.query_params["dataset"] = sys.argv[1]
at.run()
for task in state.tasks()._tasks.values():
    task.join(60)
at.run()
drawn(at, "distil this", {"torch", "sklearn"})
at.switch_page("pages/distill.py").run()
assert at.selectbox(key="setting main teacher").options == ["RANDOM (taught)"]
drawn(at, "start", {"torch", "sklearn"})
at.switch_page("pages/compare.py").run()
assert not at.exception and "torch" not in sys.modules
"""


def test_home_data_distil_and_compare_are_drawn_without_torch() -> None:
    """In a fresh process, for what this one has imported says nothing."""
    teachers_dir().mkdir(parents=True)
    store_pendulum(teachers_dir())
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", CODE, DATASET]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
