"""A tiny offline dataset on Pendulum-v1 and a teacher for it: enough to distil for real in a fraction of a second."""

from __future__ import annotations

import itertools
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.data.minari_store import save_minari
from obd.teachers.teacher import Teacher, save_teacher

DATASET = "test/pendulum/random-v0"


def pendulum_dataset(episodes: int = 3) -> OfflineDataset:
    """Random actions on Pendulum-v1, 200 transitions per episode."""
    env, generator = gym.make("Pendulum-v1"), np.random.default_rng(0)
    rows: list[tuple[np.ndarray, np.ndarray, float, np.ndarray]] = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        for _ in range(200):
            action = generator.uniform(-1, 1, 1).astype(np.float32)
            following, reward, *_ = env.step(2 * action)
            rows.append((observation, action, float(reward), following))
            observation = following
    observations, actions, rewards, following = (np.asarray(x, np.float32) for x in zip(*rows, strict=True))
    truncations = np.zeros(len(rows), np.bool_)
    truncations[199::200] = True
    return OfflineDataset(
        id=DATASET,
        env_id="Pendulum-v1",
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=following,
        terminations=np.zeros(len(rows), np.bool_),
        truncations=truncations,
        episode_starts=np.arange(episodes, dtype=np.int64) * 200,
        action_low=np.full(1, -2, np.float32),
        action_high=np.full(1, 2, np.float32),
        reference_returns=(-1200.0, -150.0),
    )


def random_layers(*sizes: int, seed: int = 0) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        (torch.randn(o, i, generator=generator) / i**0.5, torch.randn(o, generator=generator) * 0.1)
        for i, o in itertools.pairwise(sizes)
    )


def pendulum_teacher(dataset: OfflineDataset) -> Teacher:
    """A fixed random policy and critic: something definite to imitate."""
    return Teacher(
        env_id=dataset.env_id,
        algorithm="random",
        actor=random_layers(3, 16, 1),
        critics=(random_layers(4, 16, 1, seed=1),),
        observation_mean=torch.from_numpy(dataset.observation_mean),
        observation_std=torch.from_numpy(dataset.observation_std),
    )


def store_pendulum(folder: Path) -> Path:
    """Save the dataset where ``load_dataset`` finds it, and the teacher in ``folder``; returns the teacher's path."""
    dataset = pendulum_dataset()
    save_minari(dataset, description="random actions", replace=True)
    path = folder / "teacher.safetensors"
    save_teacher(path, pendulum_teacher(dataset))
    return path


def tiny_config(teacher: Path | str = "", **changes: object) -> DistillConfig:
    values: dict[str, object] = {
        "dataset": DATASET,
        "objective": "pbc",
        "teacher": str(teacher),
        "size": 8,
        "seconds": None,
        "steps": 12,
        "hidden_layers": 2,
        "hidden_width": 16,
        "inner_steps": 10,
        "batch_size": 64,
        "snapshots": 4,
    }
    return DistillConfig(**{**values, **changes})
