from __future__ import annotations

import pytest

from obd.paths import teachers_dir
from obd.ui import mapdata, state, warm
from tests.helpers import DATASET, store_pendulum


def test_the_first_map_is_ready_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    teachers_dir().mkdir(parents=True)
    store_pendulum(teachers_dir())
    monkeypatch.setattr(warm, "DELAY", 0.0)
    monkeypatch.setattr(warm, "DEFAULT_DATASET", DATASET)
    warm._work(state.shelf(), state.tasks())
    assert DATASET in state.shelf()
    monkeypatch.setattr(mapdata, "fit_pca", None)
    assert mapdata.pca(DATASET, "", 2).original.shape[1] == 2
