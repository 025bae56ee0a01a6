from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from obd.data.behaviour import load_behaviour
from obd.data.train_behaviour import main
from obd.errors import ObdError


def test_actor_formula(hopper_behaviour: Path) -> None:
    behaviour = load_behaviour(hopper_behaviour)
    assert behaviour.env_id == "Hopper-v5" and [p.step for p in behaviour.snapshots] == [0, 1000, 2000]
    tensors = {name: value.astype(np.float64) for name, value in load_file(hopper_behaviour).items()}
    generator = np.random.default_rng(1)
    states, noise = generator.normal(size=(4, 11)).astype(np.float32), generator.normal(size=(4, 3)).astype(np.float32)
    hidden = np.maximum(states @ tensors["snapshot.02.actor.0.weight"].T, 0)
    outputs = hidden @ tensors["snapshot.02.actor.1.weight"].T
    expected = np.tanh(outputs[:, :3] + np.exp(np.clip(outputs[:, 3:], -20, 2)) * noise)
    np.testing.assert_allclose(behaviour.snapshots[2].sample(states, noise), expected, atol=1e-5)


def test_first_snapshot_is_uniform(hopper_behaviour: Path) -> None:
    policy = load_behaviour(hopper_behaviour).snapshots[0]
    noise = policy.draw_noise(np.random.default_rng(0), 5000)
    actions = policy.sample(np.zeros((5000, 11), np.float32), noise)
    assert abs(actions.std() - 1 / np.sqrt(3)) < 0.02 and np.abs(actions).max() <= 1


def test_a_long_training_can_be_cut(hopper_behaviour: Path, tmp_path: Path) -> None:
    assert (
        main(["--cut", str(hopper_behaviour), "--first", "1000", "--last", "2000", "--out", str(tmp_path / "b")]) == 0
    )
    whole, part = load_behaviour(hopper_behaviour), load_behaviour(tmp_path / "b")
    assert [p.step for p in part.snapshots] == [1000, 2000] and part.env_id == whole.env_id
    states, noise = np.ones((2, 11), np.float32), np.zeros((2, 3), np.float32)
    for cut, original in zip(part.snapshots, whole.snapshots[1:], strict=True):
        np.testing.assert_array_equal(cut.sample(states, noise), original.sample(states, noise))
    with pytest.raises(SystemExit, match="no snapshot"):
        main(["--cut", str(hopper_behaviour), "--first", "5", "--last", "6", "--out", str(tmp_path / "c")])


def test_refuses_other_files(tmp_path: Path, hopper_behaviour: Path) -> None:
    with pytest.raises(ObdError, match="missing"):
        load_behaviour(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ObdError, match="safetensors"):
        load_behaviour(tmp_path / "text")
    save_file(load_file(hopper_behaviour), tmp_path / "bare", metadata={"format": "other"})
    with pytest.raises(ObdError, match="obd-behaviour-1"):
        load_behaviour(tmp_path / "bare")
