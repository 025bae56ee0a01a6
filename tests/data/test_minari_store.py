from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector.episode_buffer import EpisodeBuffer

from obd.data import minari_store
from obd.data.catalog import list_datasets
from obd.data.collect import content_hash
from obd.data.dataset import OfflineDataset
from obd.data.identifiers import local_datasets
from obd.data.minari_store import load_minari, save_minari
from obd.errors import ObdError
from obd.ui.cardtext import state_words


def small_dataset(seed: int = 0) -> OfflineDataset:
    generator = np.random.default_rng(seed)
    size, starts = 30, np.array([0, 10], np.int64)
    states = generator.normal(size=(size + 1, 11)).astype(np.float32)
    following = states[1:].copy()
    following[9] = 5  # the end of the first episode is not the start of the second
    terminations, truncations = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    terminations[9], truncations[-1] = True, True
    dataset = OfflineDataset(
        id="test/hopper/small-v3",
        env_id="Hopper-v5",
        observations=states[:-1],
        actions=generator.uniform(-1, 1, (size, 3)).astype(np.float32),
        rewards=generator.normal(size=size).astype(np.float32),
        next_observations=following,
        terminations=terminations,
        truncations=truncations,
        episode_starts=starts,
        action_low=-np.ones(3, np.float32),
        action_high=np.ones(3, np.float32),
        reference_returns=(-20.0, 3000.0),
        provenance={"title": "small"},
    )
    return dataclasses.replace(dataset, content_hash=content_hash(dataset))


def test_round_trip_and_minari_s_view() -> None:
    dataset = small_dataset()
    assert save_minari(dataset, description="small", algorithm="none")
    again = load_minari(dataset.id)
    assert again.content_hash == dataset.content_hash
    assert again.reference_returns == (-20.0, 3000.0) and again.provenance["title"] == "small"
    theirs = minari.load_dataset(dataset.id)
    assert list(minari.list_local_datasets()) == [dataset.id] == [name for name, _ in local_datasets()]
    assert [len(episode) for episode in theirs] == [10, 20]
    assert minari.get_normalized_score(theirs, np.array([3000.0])) == pytest.approx(1.0)
    assert theirs.recover_environment(eval_env=True).spec.id == "Hopper-v5"


def test_existing_dataset_stays_or_is_replaced() -> None:
    first, second = small_dataset(0), small_dataset(1)
    assert save_minari(first, description="")
    assert not save_minari(second, description="")
    assert load_minari(first.id).content_hash == first.content_hash
    assert save_minari(second, description="", replace=True)
    assert load_minari(first.id).content_hash == second.content_hash


def test_datasets_do_not_nest() -> None:
    dataset = small_dataset()
    save_minari(dataset, description="")
    with pytest.raises(ObdError, match="inside another"):
        save_minari(dataclasses.replace(dataset, id=f"{dataset.id}/inner-v0"), description="")
    assert save_minari(dataclasses.replace(dataset, id="test/hopper-v0/x-v0"), description="")
    with pytest.raises(ObdError, match="namespace of other datasets"):
        save_minari(dataclasses.replace(dataset, id="test/hopper-v0"), description="")


def test_failure_leaves_nothing(storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(minari_store, "_buffers", fail)
    with pytest.raises(ObdError, match="disk full"):
        save_minari(small_dataset(), description="")
    assert list(local_datasets()) == [] and os.listdir(storage / "minari") == []


def test_racing_writers_leave_one_whole_dataset(storage: Path) -> None:
    datasets = [small_dataset(seed) for seed in range(4)]
    threads = [
        threading.Thread(target=save_minari, args=(dataset,), kwargs={"description": "", "replace": number % 2 == 0})
        for number, dataset in enumerate(datasets)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_minari(datasets[0].id).content_hash in {dataset.content_hash for dataset in datasets}
    assert [name for name in os.listdir(storage / "minari") if name.startswith(".")] == []


def test_damage_is_noticed(storage: Path) -> None:
    dataset = small_dataset()
    save_minari(dataset, description="")
    path = storage / "minari" / dataset.id / "data"
    metadata = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps(metadata | {"obd_content_hash": "0" * 64}))
    with pytest.raises(ObdError, match="changed"):
        load_minari(dataset.id)
    (path / "main_data.hdf5").write_bytes(b"not hdf5")
    with pytest.raises(ObdError, match="damaged"):
        load_minari(dataset.id)


def foreign(dataset_id: str, actions: np.ndarray, **spaces: Any) -> None:
    """A dataset as another program writes it."""
    steps = len(actions)
    episode = EpisodeBuffer(
        observations=np.zeros((steps + 1, 11)),
        actions=actions,
        rewards=np.ones(steps),
        terminations=np.zeros(steps, bool),
        truncations=np.zeros(steps, bool),
    )
    minari.create_dataset_from_buffers(dataset_id, [episode], env="Hopper-v5", **spaces)


@pytest.mark.filterwarnings("ignore")
def test_foreign_actions_are_scaled_and_clipped() -> None:
    actions = np.array([[0.0, 2.0, 4.0], [1.0, 1.0, 5.0]], np.float32)
    foreign("test/foreign-v0", actions, action_space=gym.spaces.Box(0.0, 4.0, (3,)))
    dataset = load_minari("test/foreign-v0")
    np.testing.assert_allclose(dataset.actions, [[-1, 0, 1], [-0.5, -0.5, 1]], atol=1e-6)
    assert dataset.provenance["clipped_action_entries"] == 1 and dataset.provenance["episodes_without_end_flag"] == 1
    assert dataset.truncations.tolist() == [False, True]


@pytest.mark.filterwarnings("ignore")
def test_unusable_datasets_are_refused() -> None:
    foreign("test/nan-v0", np.full((2, 3), np.nan, np.float32))
    with pytest.raises(ObdError, match="not finite"):
        load_minari("test/nan-v0")
    foreign("test/discrete-v0", np.zeros(2, np.int64), action_space=gym.spaces.Discrete(2))
    with pytest.raises(ObdError, match="bounded vectors"):
        load_minari("test/discrete-v0")
    listed = {info.id: info for info in list_datasets()}  # which says so before anybody tries
    assert not listed["test/discrete-v0"].usable and "cannot be used" in state_words(listed["test/discrete-v0"])
    assert listed["test/nan-v0"].usable  # only reading it tells
    with pytest.raises(ObdError, match="no local dataset"):
        load_minari("test/none-v0")


def test_folders_that_are_links_are_found_and_circles_end(storage: Path, tmp_path: Path) -> None:
    dataset = small_dataset()
    save_minari(dataset, description="small")
    root, elsewhere = storage / "minari", tmp_path / "other disk"
    (root / "test").rename(elsewhere)
    (root / "test").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    (elsewhere / "here").symlink_to(elsewhere)
    assert [name for name, _ in local_datasets()] == [dataset.id]


@pytest.mark.filterwarnings("ignore:.*is set to None")
def test_a_dataset_of_minari_without_a_namespace_is_listed_and_opened() -> None:
    env = gym.make("Pendulum-v1")
    states = np.zeros((6, 3), np.float32)
    buffer = EpisodeBuffer(
        observations=states,
        actions=np.zeros((5, 1), np.float32),
        rewards=np.zeros(5),
        terminations=np.zeros(5, bool),
        truncations=np.arange(5) == 4,
    )
    minari.create_dataset_from_buffers(dataset_id="plain-v0", buffer=[buffer], env=env)
    assert [name for name, _ in local_datasets()] == ["plain-v0"]
    assert len(load_minari("plain-v0")) == 5
