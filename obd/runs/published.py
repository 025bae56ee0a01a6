"""The published figures of Lei, Zhang, Tao, NeurIPS 2024 (arXiv 2410.22728): the only ones that are typed in.

Students of 100 steps on 256 synthetic pairs, mean of 10 students x 10 episodes.
"""

from __future__ import annotations

SOURCE = "Lei, Zhang, Tao: Offline Behavior Distillation, NeurIPS 2024, arXiv 2410.22728"

COLUMNS = (
    "HalfCheetah M-R",
    "HalfCheetah M",
    "HalfCheetah M-E",
    "Hopper M-R",
    "Hopper M",
    "Hopper M-E",
    "Walker2d M-R",
    "Walker2d M",
    "Walker2d M-E",
)

# D4RL-normalised return (0 random, 100 expert) of students on 256 pairs, per column of COLUMNS.
RETURNS: dict[str, tuple[float, ...]] = {
    "random_selection": (0.9, 1.8, 2.0, 19.1, 19.2, 11.6, 1.9, 4.9, 6.7),
    "dbc": (2.5, 28.2, 29.0, 12.1, 37.8, 31.1, 6.1, 29.3, 11.7),
    "pbc": (19.4, 30.9, 20.5, 35.6, 25.1, 33.4, 41.5, 33.2, 34.0),
    "av_pbc": (35.9, 36.9, 22.0, 40.9, 32.5, 38.7, 55.0, 39.5, 42.1),
    "av_pbc_ensemble": (39.8, 41.4, 37.2, 39.7, 27.6, 38.8, 75.9, 58.6, 73.7),
    "whole_bc": (14.0, 42.3, 59.8, 22.9, 50.2, 51.7, 14.6, 65.9, 89.6),
    "teacher": (45.8, 47.6, 50.8, 98.0, 56.4, 107.3, 87.4, 84.0, 109.0),
}
GPU_HOURS = 25  # 50,000 outer steps on one V100

# Av-PBC on the medium-replay sets by number of pairs.
SIZES = (16, 32, 64, 128, 256)
SIZE_RETURNS: dict[str, tuple[float, ...]] = {
    "HalfCheetah": (6.9, 15.3, 23.8, 33.2, 35.9),
    "Hopper": (27.3, 29.9, 32.3, 38.1, 40.9),
    "Walker2d": (14.8, 21.8, 34.0, 50.0, 55.0),
}

# Av-PBC, mean over the nine sets: students of another depth, and of the same depth with another optimizer.  The names
# are those of ``obd.students``; the sets were distilled for four layers and plain SGD.
ARCHITECTURES = {"mlp2": 35.1, "mlp3": 41.0, "mlp4": 38.2, "mlp5": 35.2, "mlp6": 31.7, "residual": 35.8}
OPTIMIZERS = {"sgd": 38.2, "sgdm": 38.1, "adam": 39.3, "adamw": 39.3}

KINDS = {"medium-replay": "M-R", "medium-expert": "M-E", "medium": "M"}  # as in ids -> as in COLUMNS


def robot_of(env_id: str) -> str:
    """``HalfCheetah`` for any version of it."""
    return env_id.rsplit("-v", 1)[0]


def kind_of(dataset_id: str) -> str | None:
    """The D4RL kind that a dataset id names, or None."""
    name = dataset_id.lower().replace("_", "-")
    return next((kind for kind in KINDS if kind in name), None)


def published_returns(env_id: str, dataset_id: str) -> dict[str, float]:
    """Method -> the paper's return on the D4RL set of the same robot and kind; {} when it has none."""
    column = f"{robot_of(env_id)} {KINDS.get(kind_of(dataset_id) or '')}"
    if column not in COLUMNS:
        return {}
    return {method: row[COLUMNS.index(column)] for method, row in RETURNS.items()}


def published_sizes(env_id: str, dataset_id: str) -> dict[int, float]:
    """Number of pairs -> the paper's return of Av-PBC on the robot's medium-replay set; {} for other kinds."""
    if kind_of(dataset_id) != "medium-replay" or robot_of(env_id) not in SIZE_RETURNS:
        return {}
    return dict(zip(SIZES, SIZE_RETURNS[robot_of(env_id)], strict=True))
