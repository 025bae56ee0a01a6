from __future__ import annotations

import subprocess
import sys

import pytest

from obd.paths import teachers_dir
from obd.runs.execute import GroupExecution
from obd.runs.store import Run, create_run
from obd.ui import mapdata, state, warm
from tests.helpers import DATASET, store_pendulum, tiny_config


def test_the_first_map_is_ready_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers_dir().mkdir(parents=True)
    store_pendulum(teachers_dir())
    monkeypatch.setattr(warm, "DELAY", 0.0)
    monkeypatch.setattr(warm, "DEFAULT_DATASET", DATASET)
    run = GroupExecution([create_run(tiny_config(objective="dbc", steps=3))], live=False, final=False)
    run()
    monkeypatch.setattr(warm, "showcase_runs", lambda: run.runs)
    warm._work(state.shelf(), state.tasks())
    assert DATASET in state.shelf()
    monkeypatch.setattr(mapdata, "fit_pca", None)
    plane = mapdata.pca(DATASET, "", 2)
    assert plane.original.shape[1] == 2
    monkeypatch.setattr(Run, "snapshot", None)  # what ships with the app is on the map already
    assert len(mapdata.moving_set(run.runs[0], mapdata.background(DATASET, ""), plane).frames) > 1


def test_pages_open_while_torch_is_being_imported() -> None:
    """Compare's and Home's modules must not look into a torch that the warm-up is only half done with."""
    names = ("evaluation", "runs.statistics", "ui.comparison", "ui.nine", "ui.overlay_view", "ui.runtable",
             "ui.takeaway", "ui.transfer", "ui.widgets", "ui.charts", "ui.headline", "ui.launch")  # fmt: skip
    code = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')\n"
    code += "".join(f"import obd.{name}\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
