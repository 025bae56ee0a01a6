from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from obd.bench import generalisation, sizes
from obd.config import DistillConfig
from obd.errors import ObdError
from tests.helpers import DATASET, store_pendulum, tiny_config


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both benchmarks on Pendulum with tiny settings; returns the folder of their lines."""
    teacher = store_pendulum(tmp_path)

    def of_seed(_dataset: str, seed: int, steps: int) -> DistillConfig:
        return tiny_config(teacher, objective="av_pbc", seed=seed, steps=steps)

    def of_size(_dataset: str, size: int, seed: int, steps: int) -> DistillConfig:
        return tiny_config(teacher, objective="av_pbc", seed=seed, steps=steps, size=size)

    folder = tmp_path / "benchmarks"
    for module, config in ((generalisation, of_seed), (sizes, of_size)):
        monkeypatch.setattr(module, "distillation", config)
        monkeypatch.setattr(module, "lines_path", lambda name: folder / f"{name}.jsonl")
        monkeypatch.setattr(module, "STUDENTS", 2)
        monkeypatch.setattr(module, "EPISODES", 1)
    monkeypatch.setattr(generalisation, "budget_steps", lambda seconds: round(seconds))
    monkeypatch.setattr(
        generalisation, "student_kinds", lambda _recipe: [("mlp3", "sgdm"), ("mlp2", "adam"), ("residual", "sgd")]
    )
    monkeypatch.setattr(sizes, "SIZES", (4, 8))
    monkeypatch.setattr(sizes, "SELECTION_WAYS", (("recipe", 20), ("adam", 4)))
    return folder


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(module: object, **keywords: object) -> list[str]:
    said: list[str] = []
    module.run(  # type: ignore[attr-defined]
        **{"quick": False, "say": said.append, "should_stop": lambda: False, "datasets": [DATASET]} | keywords
    )
    return said


def test_generalisation_fills_every_cell_once(small: Path) -> None:
    path = small / "generalisation.jsonl"
    measure(generalisation, seconds=3.0)
    lines = lines_of(path)
    assert [(line["architecture"], line["optimizer"], line["own"]) for line in lines] == [
        ("mlp3", "sgdm", True), ("mlp2", "adam", False), ("residual", "sgd", False),
    ]  # fmt: skip
    assert all(np.shape(line["students"]) == (2, 1) and line["outer_steps"] == 3 for line in lines)
    measure(generalisation, seconds=3.0)
    assert lines_of(path) == lines
    measure(generalisation, seconds=3.0, seeds=2)
    assert [line["seed"] for line in lines_of(path)] == [0, 0, 0, 1, 1, 1]


def test_a_lost_cell_is_measured_again_on_the_same_set(small: Path) -> None:
    path = small / "generalisation.jsonl"
    measure(generalisation, seconds=3.0)
    whole = path.read_text().splitlines()
    path.write_text("\n".join((whole[0], whole[2])) + "\n")
    measure(generalisation, steps=3)  # the count as given: the same set, whatever it was called
    found = lines_of(path)
    assert len(found) == 3 and found[-1]["students"] == json.loads(whole[1])["students"]


def test_another_number_of_outer_steps_is_another_set(small: Path) -> None:
    measure(generalisation, steps=2)
    measure(generalisation, steps=4)
    assert {line["outer_steps"] for line in lines_of(small / "generalisation.jsonl")} == {2, 4}


def test_earlier_lines_fix_the_steps_of_a_budget() -> None:
    lines = [{"budget_seconds": 9.0, "outer_steps": 0}, {"budget_seconds": 9.0, "outer_steps": 70}]
    assert generalisation.planned_steps(lines, 9.0) == 70


def test_sizes_continue_where_they_ended(small: Path) -> None:
    path = small / "sizes.jsonl"
    said = measure(sizes, seconds=2.0, seeds=2)
    lines = lines_of(path)
    assert len(lines) == 8 and len(said) == 9
    assert {(line["method"], line["outer_steps"]) for line in lines} == {("av_pbc", 2), ("random_teacher", 0)}
    assert {line["size"] for line in lines} == {4, 8} and {line["seed"] for line in lines} == {0, 1}
    assert all(np.shape(line["students"]) == (2, 1) and len(line["ensemble"]) == 1 for line in lines)  # type: ignore[arg-type]
    assert {line.get("optimizer") for line in lines} <= {None, "recipe", "adam"}
    measure(sizes, seconds=2.0, seeds=2)
    assert lines_of(path) == lines
    measure(sizes, steps=5)  # a selection takes no outer steps, so it is not measured again
    assert [(line["method"], line["outer_steps"]) for line in lines_of(path)[8:]] == [("av_pbc", 5)] * 2


@pytest.mark.parametrize("module", [generalisation, sizes])
def test_a_stopped_run_leaves_no_line(module: object, small: Path) -> None:
    asked: list[bool] = []

    def should_stop() -> bool:
        asked.append(True)
        return len(asked) > 2

    measure(module, steps=50, should_stop=should_stop)
    assert not small.exists()


def test_damaged_lines_are_refused(small: Path) -> None:
    small.mkdir()
    (small / "sizes.jsonl").write_text('{"dataset": "d"}\n')
    with pytest.raises(ObdError, match="another kind"):
        measure(sizes, steps=1)


@pytest.mark.parametrize(("module", "count"), [(generalisation, 2), (sizes, 2)])
def test_quick_writes_nothing_that_is_shipped(
    module: object, count: int, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generalisation, "QUICK_ARCHITECTURES", ("mlp3", "mlp2"))
    monkeypatch.setattr(sizes, "QUICK_SIZES", (4,))
    said = measure(module, quick=True)
    assert not small.exists() and sum(text.startswith(DATASET) and "distilling" not in text for text in said) == count
