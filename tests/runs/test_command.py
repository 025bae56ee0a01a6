from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from obd.cli.commands import chosen
from obd.cli.parser import build_parser
from obd.config import DistillConfig, preset
from obd.runs.command import command_line


def parsed(line: str) -> tuple[DistillConfig, Path]:
    """What the command line interface makes of it, as ``python -m obd distill`` does."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "obd"]
    arguments = build_parser().parse_args(words[3:])
    values = chosen(arguments, DistillConfig)
    if arguments.steps is not None:
        values["seconds"] = None
    return preset(values.pop("preset", "default"), **values), arguments.out


CONFIGS = [
    DistillConfig(objective="dbc"),
    DistillConfig(objective="gradient_matching", density_power=0.15),
    DistillConfig(objective="pbc", seconds=12.5, size=64, seed=7, teacher="/some where/it's a teacher.safetensors"),
    DistillConfig(outer_step_size=0.1 + 0.2, learn_step_sizes=False, inner_batch=0, early_share=0.0, snapshots=3),
    preset("paper", objective="pbc", seconds=None, steps=5),
    preset("paper", objective="dbc", learn_step_sizes=True, clipping="robust"),
    DistillConfig(preset="paper"),  # named after it, but with values of the other
]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_command_line_gives_the_same_settings_with_the_recorded_steps(config: DistillConfig) -> None:
    again, out = parsed(command_line(config, 261, "a folder/run"))
    assert again == config.replace(steps=261, seconds=None)
    assert out == Path("a folder/run")


@pytest.mark.parametrize("config", CONFIGS)
def test_before_the_calibration_the_budget_stands(config: DistillConfig) -> None:
    again, _ = parsed(command_line(config, 0, "run"))
    assert again == config


def test_only_what_differs_is_spelled_out() -> None:
    assert command_line(DistillConfig(), 9, "x") == "python -m obd distill --objective av_pbc --steps 9 --out x"
