"""Any environment with Box spaces, from a file of random play to a film of a student: every step of the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from obd.data.card import dataset_card
from obd.evaluation import summarize
from obd.objectives import outer_targets
from obd.render.trajectory import record
from obd.render.video import Panel, TiledFilm, shoot
from obd.runs.dataset_import import import_file
from obd.runs.execute import GroupExecution
from obd.runs.store import create_run
from obd.students import train_students
from obd.teachers import train
from obd.teachers.td3_bc import TD3BCConfig
from obd.teachers.teacher import load_teacher, save_teacher
from obd.ui import cardtext, mapdata
from obd.ui.monitor import RunReader
from obd.ui.sentences import result_sentence
from tests.data.test_transitions_file import store
from tests.helpers import tiny_config
from tests.runs.test_dataset_import import rollout

ENVIRONMENTS = ["Ant-v5", "Swimmer-v5", "InvertedPendulum-v5", "Pendulum-v1"]


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_from_a_file_to_a_film(env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    st.cache_resource.clear()
    dataset, _ = import_file(store(tmp_path, rollout(env_id, 220)), env_id, "mine/random-v0")
    assert dataset.reference_returns is None and len(dataset) > 150
    assert "raw returns" in cardtext.returns_sentence(dataset_card(dataset))

    teacher = train("td3_bc", dataset, TD3BCConfig(steps=6, batch_size=32, hidden_width=8))
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, teacher)
    assert np.isfinite(outer_targets("av_pbc", dataset, load_teacher(path)).targets.numpy()).all()

    run = create_run(tiny_config(path, dataset=dataset.id, objective="av_pbc", steps=3, snapshots=2))
    GroupExecution([run], live=False, final=False)(lambda: False)
    assert run.status()["state"] == "finished", run.status()
    (policy,) = train_students(run.distilled(), 1, 0)

    trajectory = record(env_id, policy, seed=0, max_steps=12)
    assert np.isfinite(trajectory.total_return) and len(trajectory) > 0
    score = summarize(np.array([[trajectory.total_return]]), dataset.reference_returns)
    assert score.normalized_return_mean == score.return_mean == trajectory.total_return
    run.write_evaluation({"students": score.to_dict()})
    sentence = result_sentence([RunReader(run.path).read()], None, len(dataset))
    assert "reach a raw return of" in sentence and "normalised" not in sentence

    plane = mapdata.pca(dataset.id, str(path), 2)
    moving = mapdata.moving_set(run, mapdata.background(dataset.id, str(path)), plane)
    assert np.isfinite(plane.original).all() and np.isfinite(moving.frames).all()
    assert list(moving.steps) == run.snapshot_steps()
    film = tmp_path / "film.mp4"
    shoot(film, TiledFilm([Panel("student", "#009E73", trajectory, "1")], seconds=0.2))
    assert film.stat().st_size > 0
