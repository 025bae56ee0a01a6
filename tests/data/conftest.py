from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file


def write_behaviour(path: Path, env_id: str, obs_dim: int, act_dim: int, snapshots: int = 3) -> None:
    generator = np.random.default_rng(0)
    tensors = {}
    for number in range(snapshots):
        for layer, (inputs, outputs) in enumerate([(obs_dim, 16), (16, 2 * act_dim)]):
            name = f"snapshot.{number:02d}.actor.{layer}"
            tensors[f"{name}.weight"] = generator.normal(0, 0.3, (outputs, inputs)).astype(np.float16)
            tensors[f"{name}.bias"] = np.zeros(outputs, np.float16)
    described = [{"step": 1000 * number, "return": float(number)} for number in range(snapshots)]
    metadata = {
        "format": "obd-behaviour-1",
        "env_id": env_id,
        "actor_head": "tanh_gaussian",
        "snapshots": json.dumps(described),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


@pytest.fixture
def hopper_behaviour(tmp_path: Path) -> Path:
    path = tmp_path / "behaviour" / "hopper.safetensors"
    write_behaviour(path, "Hopper-v5", 11, 3)
    return path


@pytest.fixture
def hopper_catalog(hopper_behaviour: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A built-in Hopper dataset of a few hundred transitions; returns its id."""
    from obd import paths
    from obd.data import catalog

    monkeypatch.setattr(paths, "assets_dir", lambda: hopper_behaviour.parent.parent)
    dataset_id = "test/hopper/tiny-v0"
    row = catalog.BuiltinDataset("Hopper-v5", "Hopper", "tiny", (catalog.Source("hopper.safetensors", "all"),), 300)
    monkeypatch.setattr(catalog, "BUILTIN", {dataset_id: row})
    return dataset_id
