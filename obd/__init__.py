"""Offline behaviour distillation: compress an offline RL dataset into a few hundred state-action pairs.

>>> from obd import DistillConfig, distill, load_dataset, load_teacher, shipped_teacher_path
>>> dataset = load_dataset("obd/halfcheetah/medium-replay-v0")
>>> teacher = load_teacher(shipped_teacher_path(dataset.id))
>>> distilled = distill(DistillConfig(objective="pbc", seconds=60), dataset, teacher)
>>> score = evaluate(dataset.env_id, train_students(distilled, 10), dataset.reference_returns)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obd.config import DistillConfig, preset
    from obd.data.catalog import list_datasets, load_dataset
    from obd.data.dataset import OfflineDataset
    from obd.engine.distill import distill
    from obd.engine.distilled import DistilledDataset, load_distilled
    from obd.errors import ObdError
    from obd.evaluation import Score, evaluate
    from obd.runs.dataset_import import import_file
    from obd.students import train_students
    from obd.teachers.files import shipped_teacher_path
    from obd.teachers.teacher import Teacher, load_teacher

_HOMES = {
    "DistillConfig": "obd.config",
    "preset": "obd.config",
    "list_datasets": "obd.data.catalog",
    "load_dataset": "obd.data.catalog",
    "OfflineDataset": "obd.data.dataset",
    "distill": "obd.engine.distill",
    "DistilledDataset": "obd.engine.distilled",
    "load_distilled": "obd.engine.distilled",
    "ObdError": "obd.errors",
    "Score": "obd.evaluation",
    "evaluate": "obd.evaluation",
    "import_file": "obd.runs.dataset_import",
    "train_students": "obd.students",
    "Teacher": "obd.teachers.teacher",
    "load_teacher": "obd.teachers.teacher",
    "shipped_teacher_path": "obd.teachers.files",
}
__all__ = [
    "DistillConfig",
    "DistilledDataset",
    "ObdError",
    "OfflineDataset",
    "Score",
    "Teacher",
    "distill",
    "evaluate",
    "import_file",
    "list_datasets",
    "load_dataset",
    "load_distilled",
    "load_teacher",
    "preset",
    "shipped_teacher_path",
    "train_students",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that worker processes can import ``obd.policy`` without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'obd' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
