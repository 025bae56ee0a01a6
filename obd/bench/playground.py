"""Returns on the pendulum of the playground: teacher, objectives, random selection, BC on all data.

Written to ``assets/benchmarks/playground.json`` together with one distilled set, which the Learn page starts from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from obd.data.pendulum import returns_of
from obd.engine.drawing import generator
from obd.engine.network import Parameters, Shape, orthogonal_parameters
from obd.engine.playground import HIDDEN, MEASURED, OUTPUT_GAIN, Playground, Problem, Settings, student_returns
from obd.errors import Cancelled
from obd.events import ShouldStop
from obd.paths import assets_dir
from obd.runs.store import write_atomic

SIZES, SEEDS, OUTER_STEPS, STUDENTS, EPISODES = (16, 32), 3, 400, 20, 24
CLONE_STEPS, CLONE_BATCH, CLONE_RATE = 3000, 512, 3e-3
SHIPPED = Settings("pbc", 16)


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """Distil and measure everything and, unless ``quick``, store it."""
    torch.set_num_threads(1)
    problem = Problem.build()
    seeds, steps = (1, 20) if quick else (SEEDS, OUTER_STEPS)
    result: dict[str, Any] = {
        "command": "python -m obd bench playground",
        "transitions": len(problem.dataset),
        "dataset_hash": problem.dataset.content_hash,
        "players": problem.dataset.provenance["players"],
        "outer_steps": steps,
        "seeds": seeds,
        "students": STUDENTS,
        "teacher": float(returns_of(problem.teacher.actions_at, 1000).mean()),
        "nothing": float(returns_of(lambda angle, _: np.zeros_like(angle), 1000).mean()),
        "whole_bc": _score([student_returns(_clone(problem, seed, quick), problem, EPISODES) for seed in range(seeds)]),
        "sets": [],
    }
    say(f"teacher {result['teacher']:.0f}, whole-data BC {result['whole_bc']['mean']:.0f}")
    for size in SIZES[:1] if quick else SIZES:
        for name in ("random_selection", "dbc", "pbc", "av_pbc"):
            measured = []
            for seed in range(seeds):
                ground = Playground(problem, Settings("dbc" if name == "random_selection" else name, size, 40, seed))
                for _ in range(0 if name == "random_selection" else steps):
                    if should_stop():
                        raise Cancelled
                    ground.step()
                measured.append(student_returns(ground.students(STUDENTS, MEASURED), problem, EPISODES))
                if ground.settings == SHIPPED:
                    result["points"] = np.round(ground.points.numpy(), 4).tolist()
                    result["log_rates"] = np.round(ground.log_rates.numpy(), 4).tolist()
            result["sets"].append({"name": name, "size": size, **_score(measured)})
            say(f"{name}, {size} pairs: {result['sets'][-1]}")
    if not quick:
        path = assets_dir() / "benchmarks" / "playground.json"
        write_atomic(path, (json.dumps(result, indent=1) + "\n").encode())
    return result


def _score(returns: list[Any]) -> dict[str, float]:
    """Mean and spread over the students of all seeds, and the share of students that swing up."""
    students = np.concatenate([values.mean(1) for values in returns])
    return {
        "mean": round(float(students.mean()), 1),
        "std": round(float(students.std()), 1),
        "median": round(float(np.median(students)), 1),
        "best_seed": round(max(float(values.mean()) for values in returns), 1),
    }


def _clone(problem: Problem, seed: int, quick: bool) -> Parameters:
    """A student of the same size trained on every pair of the dataset with Adam."""
    shape = Shape(1, 1, 3, 1, HIDDEN, 1)
    start = orthogonal_parameters(shape, generator(seed, MEASURED), OUTPUT_GAIN)
    flat = [tensor.requires_grad_() for pair in start for tensor in pair]
    descent = torch.optim.Adam(flat, CLONE_RATE)
    source = generator(seed, MEASURED, 1)
    for _ in range(50 if quick else CLONE_STEPS):
        rows = torch.randint(len(problem.states), (CLONE_BATCH,), generator=source)
        hidden = problem.states[rows]
        for index in range(0, len(flat) - 2, 2):
            hidden = torch.relu(hidden @ flat[index][0] + flat[index + 1][0])
        action = torch.tanh(hidden @ flat[-2][0] + flat[-1][0])
        loss = (action - problem.targets["dbc"][rows]).square().mean()
        descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return [(flat[i].detach(), flat[i + 1].detach()) for i in range(0, len(flat), 2)]
