"""What the first page must not wait for."""

from __future__ import annotations

import subprocess
import sys


def test_home_and_distil_are_drawn_without_torch() -> None:
    code = (
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        "import obd.ui.warm; obd.ui.warm.DELAY = 1e6\n"
        "at = AppTest.from_file('app.py', default_timeout=60).run()\n"
        "assert not at.exception and at.button, at\n"
        "at.switch_page('pages/distill.py').run()\n"
        "assert not at.exception and at.get('echarts_chart'), at\n"
        "heavy = {'torch', 'minari', 'mujoco', 'sklearn', 'plotly', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
