"""Offline reinforcement learning: one file per algorithm, one teacher file format.

The table of algorithms names their modules and imports one when it is used: pages list algorithms without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.events import ShouldStop

if TYPE_CHECKING:
    from obd.teachers.teacher import Teacher
    from obd.teachers.training import Learner, OnProgress

DEFAULT_PRESET = "fast"


@dataclass(frozen=True)
class Algorithm:
    """One way to make a teacher.

    Attributes:
        label: name for people.
        summary: one line in plain words.
        module: in this package; it has a class ``Learner``, ``PRESETS`` and, if its paper tunes settings per dataset,
            ``tuned``.
        settings: name of the module's frozen dataclass with the published values as defaults.
    """

    label: str
    summary: str
    module: str
    settings: str

    @property
    def config(self) -> type:
        """Its settings."""
        found: type = getattr(self._module, self.settings)
        return found

    @property
    def learner(self) -> Callable[[OfflineDataset, Any], Learner]:
        """(dataset, settings) -> Learner."""
        found: Callable[[OfflineDataset, Any], Learner] = self._module.Learner
        return found

    @property
    def presets(self) -> dict[str, dict[str, Any]]:
        """Named settings; ``fast`` is made for three minutes on one core, ``paper`` is as published."""
        found: dict[str, dict[str, Any]] = self._module.PRESETS
        return found

    def tuned(self, dataset_id: str, preset: str) -> dict[str, Any]:
        """Settings that its paper chose for this dataset; mostly none."""
        found: Callable[[str, str], dict[str, Any]] | None = getattr(self._module, "tuned", None)
        return found(dataset_id, preset) if found else {}

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"obd.teachers.{self.module}")


ALGORITHMS: dict[str, Algorithm] = {
    "td3_bc": Algorithm(
        "TD3+BC", "maximises the action value while staying near the data's actions", "td3_bc", "TD3BCConfig"
    ),
    "rebrac": Algorithm(
        "ReBRAC",
        "is TD3+BC with layer norm and a second penalty inside the critic's target",
        "rebrac",
        "ReBRACConfig",
    ),
    "iql": Algorithm(
        "IQL", "learns values from the data's actions only and clones the better ones", "iql", "IQLConfig"
    ),
    "awr": Algorithm(
        "AWR",
        "imitates the data, and more so what led to higher returns than usual; compares whole episodes",
        "awr",
        "AWRConfig",
    ),
    "cal_ql": Algorithm(
        "Cal-QL",
        "keeps the values of unseen actions low, but not below the data's returns; the paper's teacher, and slow",
        "cal_ql",
        "CalQLConfig",
    ),
    "bc": Algorithm(
        "Behaviour cloning",
        "imitates every action in the data: the baseline, without action values",
        "behaviour_cloning",
        "BCConfig",
    ),
}


def algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``; ObdError with the known names otherwise."""
    if name not in ALGORITHMS:
        raise ObdError(f"Unknown algorithm {name!r}; known are {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


def teacher_config(name: str, preset: str = DEFAULT_PRESET, dataset_id: str = "", **changes: Any) -> Any:
    """Settings of an algorithm: a preset, what its paper tuned for that dataset, and ``changes``.

    A number of steps replaces a time budget and vice versa.
    """
    chosen = algorithm(name)
    if preset not in chosen.presets:
        raise ObdError(f"Unknown preset {preset!r}; known are {', '.join(chosen.presets)}.")
    values = chosen.presets[preset] | chosen.tuned(dataset_id, preset)
    if changes.get("steps") is not None:
        values |= {"seconds": None}
    elif changes.get("seconds") is not None:
        values |= {"steps": None}
    return chosen.config(**(values | changes))


def train(
    name: str,
    dataset: OfflineDataset,
    config: Any = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Teacher:
    """Train a teacher; see :func:`obd.teachers.training.train` for progress and errors."""
    from obd.teachers.training import train as run_session

    config = teacher_config(name, dataset_id=dataset.id) if config is None else config
    return run_session(algorithm(name).learner(dataset, config), config, on_progress, should_stop)
