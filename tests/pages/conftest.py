"""The app as a test sees it: every test has its own runs directory, its own queue and one tiny dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from obd.data.collect import content_hash
from obd.data.minari_store import save_minari
from obd.runs.execute import GroupExecution
from obd.runs.store import Run, create_run
from obd.teachers.teacher import save_teacher
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

ROOT = Path(__file__).resolve().parents[2]
Open = Callable[..., AppTest]


@pytest.fixture(autouse=True)
def fresh_caches(storage: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No queue, dataset or task of an earlier test; the same form on every processor."""
    for module in ("obd.config", "obd.ui.widgets"):
        monkeypatch.setattr(f"{module}.usual_preset", lambda: "default")
    st.cache_resource.clear()
    yield
    st.cache_resource.clear()  # closes the queue of this test


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A tiny dataset in the catalogue; returns the file of its teacher."""
    dataset = pendulum_dataset()
    actions = (
        np.round(dataset.actions * 64) / 64 + 0.0
    )  # survive the change to the environment's scale and back exactly
    dataset = dataclasses.replace(dataset, actions=actions)
    save_minari(dataclasses.replace(dataset, content_hash=content_hash(dataset)), description="", replace=True)
    path = tmp_path / "teacher.safetensors"
    save_teacher(path, pendulum_teacher(dataset))
    return path


@pytest.fixture
def group(teacher: Path) -> list[Run]:
    """A finished comparison of two objectives, distilled for real."""
    first = create_run(tiny_config(teacher, objective="dbc"))
    runs = [first, create_run(tiny_config(teacher, objective="pbc"), group=first.group)]
    GroupExecution(runs, live=False, final=False)(lambda: False)
    for run, mean in zip(runs, (5.0, 20.0), strict=True):
        run.write_evaluation(
            {"students": {"normalized_return_mean": mean, "normalized_return_ci95": [mean - 1, mean + 1]}}
        )
        run.write_status(state="finished")
    return runs


@pytest.fixture
def open_page() -> Open:
    """Open the app and go to a page, with query parameters if any; fails on an exception on screen."""

    def opened(page: str = "", **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
        assert not at.exception
        if page:
            at.switch_page(f"pages/{page}.py")
            for name, value in query.items():
                at.query_params[name] = value
            at.run()
            assert not at.exception
        return at

    return opened
