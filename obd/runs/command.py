"""The command line that makes a run again."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from obd.config import DistillConfig, preset

OWN_FLAGS = ("objective", "preset", "seconds", "steps")


def distill_arguments(config: DistillConfig, outer_steps: int, out: str) -> list[str]:
    """What follows ``python -m obd`` to distil with ``config`` into the folder ``out``.

    Only what differs from the preset is spelled out.  ``outer_steps`` is the recorded step count of the run, which
    with the same seed reproduces its bytes; 0 (not calibrated yet) leaves the time budget in its place.
    """
    arguments = ["distill", "--objective", config.objective]
    if config.preset != "default":
        arguments += ["--preset", config.preset]
    steps = outer_steps or config.steps
    arguments += ["--steps", str(steps)] if steps else ["--seconds", _number(config.seconds)]
    usual = preset(config.preset)
    for field in dataclasses.fields(DistillConfig):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if field.name in OWN_FLAGS or value == getattr(usual, field.name):
            continue
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", _number(value)]
    return [*arguments, "--out", out]


def command_line(config: DistillConfig, outer_steps: int, out: str) -> str:
    """One line for a shell; see :func:`distill_arguments`."""
    return shlex.join(["python", "-m", "obd", *distill_arguments(config, outer_steps, out)])


def _number(value: Any) -> str:
    """Exact: ``repr`` of a float reads back to the same bits."""
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
