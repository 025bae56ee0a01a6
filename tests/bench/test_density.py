from __future__ import annotations

import numpy as np
import pytest

from obd.bench import density
from obd.data.catalog import DatasetInfo
from tests.helpers import pendulum_dataset


def test_every_dataset_that_is_here_gets_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [DatasetInfo(name, "Pendulum-v1", name, "", True, name != "b", None) for name in ("a", "b")]
    monkeypatch.setattr(density, "list_datasets", lambda: infos)
    monkeypatch.setattr(density, "load_dataset", lambda name: pendulum_dataset())
    rows = density.run(quick=False, say=lambda text: None, should_stop=lambda: False)
    assert list(rows) == ["a"] and rows["a"]["kernels"] > rows["a"]["gaussian"]
    shares = list(rows["a"]["effective_share"].values())
    assert shares[0] > shares[2] and all(0 < share <= 1 for share in shares)


def test_the_effective_share_counts_states() -> None:
    assert density.effective_share(np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)
