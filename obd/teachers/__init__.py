"""Offline reinforcement learning: one file per algorithm, one teacher file format."""

from __future__ import annotations

from collections.abc import Callable

from obd.teachers.td3_bc import TD3BCConfig
from obd.teachers.td3_bc import train as train_td3_bc
from obd.teachers.teacher import Teacher

# name -> settings; name -> train(dataset, config, on_progress, should_stop)
CONFIGS: dict[str, type] = {"td3_bc": TD3BCConfig}
ALGORITHMS: dict[str, Callable[..., Teacher]] = {"td3_bc": train_td3_bc}

__all__ = ["ALGORITHMS", "CONFIGS", "Teacher"]
