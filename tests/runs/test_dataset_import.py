"""Importing, from file to stored dataset: a failure leaves nothing behind, and the report stays with the data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from obd.data import minari_store
from obd.data.card import stored_card
from obd.data.catalog import load_dataset
from obd.data.identifiers import metadata_of
from obd.errors import Cancelled, ObdError
from obd.paths import minari_dir
from obd.runs.dataset_import import import_file
from tests.data.test_transitions_file import arrays, store, with_next

ID = "test/imported-v0"


def rollout(env_id: str, steps: int, states: bool = False) -> dict[str, np.ndarray]:
    """Random actions in a MuJoCo environment as a file's arrays."""
    env, generator = gym.make(env_id, disable_env_checker=True), np.random.default_rng(0)
    space: Any = env.action_space
    columns: dict[str, list[Any]] = {n: [] for n in ("observations", "actions", "rewards", "terminals", "timeouts")}
    qpos, qvel = [], []
    observation, _ = env.reset(seed=0)
    for _ in range(steps):
        action = generator.uniform(space.low, space.high).astype(np.float32)
        inner: Any = env.unwrapped
        if states:
            qpos.append(inner.data.qpos.copy()), qvel.append(inner.data.qvel.copy())
        following, reward, terminated, truncated, _ = env.step(action)
        for column, value in zip(columns.values(), (observation, action, reward, terminated, truncated), strict=True):
            column.append(value)
        observation = env.reset()[0] if terminated or truncated else following
    env.close()
    values = {name: np.asarray(column) for name, column in columns.items()}
    values["observations"] = values["observations"].astype(np.float32)
    return values | ({"infos/qpos": np.asarray(qpos), "infos/qvel": np.asarray(qvel)} if states else {})


def test_import_stores_dataset_report_and_card(tmp_path: Path) -> None:
    path = store(tmp_path, arrays(500))
    fractions: list[float] = []
    dataset, report = import_file(path, "Pendulum-v1", ID, licence="CC BY 4.0", on_progress=fractions.append)
    again = load_dataset(ID)
    assert again.content_hash and len(again) == len(dataset) == 497
    assert again.provenance["import"] == report.to_dict() and again.provenance["license"] == "CC BY 4.0"
    assert {f["code"] for f in report.to_dict()["warnings"]} == {"steps_not_reproduced"}  # the file is noise
    card = stored_card(ID)
    assert card is not None and card["content_hash"] == again.content_hash and card["episodes"] == 3
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_an_id_that_is_taken(tmp_path: Path) -> None:
    path = store(tmp_path, arrays(500))
    import_file(path, "Pendulum-v1", ID)
    before = load_dataset(ID).content_hash
    with pytest.raises(ObdError, match="already"):
        import_file(path, "Pendulum-v1", ID)
    with pytest.raises(ObdError, match="built-in"):
        import_file(path, "Pendulum-v1", "obd/halfcheetah/medium-replay-v0", replace=True)
    with pytest.raises(ObdError, match="inside another"):
        import_file(path, "Pendulum-v1", f"{ID}/inner-v0")
    import_file(store(tmp_path, with_next(arrays(400))), "Pendulum-v1", ID, replace=True)
    assert load_dataset(ID).content_hash != before


def stop_at(fraction: float) -> Any:
    """Raises Cancelled from the progress callback, as a cancelled task does."""

    def report(value: float) -> None:
        if value >= fraction:
            raise Cancelled

    return report


@pytest.mark.parametrize("fraction", [0.1, 0.69, 0.9])
def test_a_cancelled_import_leaves_nothing(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(Cancelled):
        import_file(store(tmp_path, arrays(500)), "Pendulum-v1", ID, on_progress=stop_at(fraction))
    assert os.listdir(minari_dir()) == []


def test_a_failed_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = arrays(500)
    values["rewards"][3] = np.nan
    with pytest.raises(ObdError, match="NaN"):
        import_file(store(tmp_path, values), "Pendulum-v1", ID)

    def full(*_arguments: Any) -> Any:
        raise OSError("No space left on device")

    monkeypatch.setattr(minari_store, "_buffers", full)
    with pytest.raises(ObdError, match="No space"):
        import_file(store(tmp_path, arrays(500)), "Pendulum-v1", ID)
    assert os.listdir(minari_dir()) == []


def test_a_failed_replacement_keeps_the_old_dataset(tmp_path: Path) -> None:
    import_file(store(tmp_path, arrays(500)), "Pendulum-v1", ID)
    values = arrays(500)
    values["rewards"][3] = np.nan
    with pytest.raises(ObdError):
        import_file(store(tmp_path, values), "Pendulum-v1", ID, replace=True)
    assert len(load_dataset(ID)) == 497


def test_states_in_the_file_are_used_for_the_check(tmp_path: Path) -> None:
    """Reacher's observation does not tell its state, but infos/qpos and infos/qvel do."""
    values = rollout("Reacher-v5", 120, states=True)
    _, report = import_file(store(tmp_path, values), "Reacher-v5", ID)
    assert report.warnings == []
    shifted = values | {"actions": np.roll(values["actions"], 1, axis=0)}
    _, report = import_file(store(tmp_path, shifted, "hdf5"), "Reacher-v5", ID, replace=True)
    assert [f.code for f in report.warnings] == ["shifted_actions"]


def test_missing_rewards_are_recomputed_on_request_only(tmp_path: Path) -> None:
    values = rollout("Hopper-v5", 150)
    rewards = values.pop("rewards")
    path = store(tmp_path, values)
    dataset, report = import_file(path, "Hopper-v5", ID)
    assert not load_dataset(ID).has_rewards and "no_rewards" in {f.code for f in report.warnings}
    dataset, report = import_file(path, "Hopper-v5", ID, recompute=True, replace=True)
    assert load_dataset(ID).has_rewards and "rewards_recomputed" in {f.code for f in report.repairs}
    kept = rewards[: dataset.episode_lengths[0]]
    assert np.quantile(np.abs(dataset.rewards[: len(kept)] - kept), 0.8) < 0.01
    assert metadata_of(ID)["obd_provenance"]["rewards"] == "computed by simulation"
