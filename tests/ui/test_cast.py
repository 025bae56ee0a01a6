from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from obd.data.dataset import OfflineDataset
from obd.engine.distill import as_distilled
from obd.errors import ObdError
from obd.events import Snapshot
from obd.paths import cache_dir
from obd.policy import EnsemblePolicy
from obd.runs import whole_bc
from obd.runs.store import Run, create_run
from obd.students import train_other_students, train_students
from obd.teachers.behaviour_cloning import BCConfig
from obd.ui import cast
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config


def snapshot(step: int) -> Snapshot:
    generator = np.random.default_rng(step)
    observations = generator.normal(size=(8, 3)).astype(np.float32)
    actions = generator.uniform(-1, 1, (8, 1)).astype(np.float32)
    return Snapshot(step, observations, actions, np.full(3, 0.1, np.float32))


def make_run(objective: str, state: str, steps: tuple[int, ...] = (), seed: int = 0, **changes: object) -> Run:
    run = create_run(tiny_config(objective=objective, seed=seed, **changes))
    for step in steps:
        run.write_snapshot(snapshot(step))
    if state == "finished":
        run.write_distilled(as_distilled(run.config, pendulum_dataset(), snapshot(steps[-1]), {}))
    run.write_status(state=state)
    return run


def test_a_running_group_offers_the_newest_snapshot_of_each_run() -> None:
    runs = [
        make_run("dbc", "running", (0, 4)),
        make_run("pbc", "queued"),
        make_run("av_pbc", "finished", (12,)),
        make_run("av_pbc", "failed"),
    ]
    steps = cast.snapshots(runs)
    assert steps == {runs[0].id: 4, runs[2].id: None}
    members = cast.choices(runs, steps, teacher=False)
    assert list(members) == ["random_selection", "whole_bc", "dbc", "av_pbc"]
    assert members["dbc"].step == 4 and members["av_pbc"].step is None
    runs[0].write_snapshot(snapshot(8))
    newer = cast.choices(runs, cast.snapshots(runs), teacher=False)
    assert newer["dbc"].stamp != members["dbc"].stamp and newer["av_pbc"].stamp == members["av_pbc"].stamp


def test_two_runs_of_one_objective_are_told_apart_by_their_seed() -> None:
    runs = [make_run("pbc", "finished", (3,), seed=seed) for seed in (4, 5)]
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    assert [members[name].label for name in ("pbc-1", "pbc-2")] == ["PBC (seed 4)", "PBC (seed 5)"]
    assert cast.usual(members) == ["random_selection", "pbc-1", "pbc-2", "teacher"]


def test_selection_multiplies_students_and_limits_the_field() -> None:
    runs = [make_run("dbc", "finished", (3,))]
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    chosen = cast.select(members, ["teacher", "dbc"], [3, 1])
    assert [(member.label, member.student) for member in chosen] == [("DBC 1", 1), ("DBC 3", 3), ("Teacher", 1)]
    assert [m.label for m in cast.select(members, ["dbc"], [])] == ["DBC"]
    several = cast.select(members, ["dbc", "teacher"], [1, 2], ["columns", "ensemble"])
    words = ["DBC ensemble of ten", "DBC four columns 1", "DBC four columns 2", "Teacher"]
    assert [m.label for m in several] == words
    assert [(m.kind, m.student) for m in several[:3]] == [("ensemble", 1), ("columns", 1), ("columns", 2)]
    assert [m.label for m in cast.select(members, ["dbc", "teacher"], [1], [])] == ["Teacher"]
    with pytest.raises(ObdError, match="under “Students as”"):
        cast.select(members, ["dbc"], [1], [])
    with pytest.raises(ObdError, match="at least one"):
        cast.select(members, [], [1])
    with pytest.raises(ObdError, match="at most 9"):
        cast.select(members, ["dbc", "teacher"], range(1, 11))


def test_policies_are_the_students_of_that_number_and_are_kept() -> None:
    dataset = pendulum_dataset()
    runs = [make_run("dbc", "finished", (3,)), make_run("pbc", "running", (0, 4))]
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    together = replace(members["pbc"], kind="ensemble")
    asked = [replace(members["dbc"], student=2), members["pbc"], together, members["teacher"]]
    asked.append(replace(members["dbc"], kind="columns", student=3))
    shelf, fractions = cast.Shelf(10), []
    teacher = pendulum_teacher(dataset).to_policy()
    found = cast.policies(asked, dataset, lambda: teacher, shelf, seed=0, on_progress=fractions.append)
    observations = dataset.observations[:5]
    expected = train_students(runs[0].distilled(), 2)[1].act(observations)
    np.testing.assert_array_equal(found[0].act(observations), expected)
    current = as_distilled(runs[1].config, dataset, snapshot(4), {})
    np.testing.assert_array_equal(found[1].act(observations), train_students(current, 1)[0].act(observations))
    assert isinstance(found[2], EnsemblePolicy) and len(found[2].members) == cast.ENSEMBLE
    *_, wide = train_other_students(runs[0].distilled(), 3, architecture="columns4")
    np.testing.assert_array_equal(found[4].act(observations), wide.act(observations))
    assert found[3] is teacher and len(fractions) == 5 and max(fractions) == 1.0
    again = cast.policies(asked, dataset, lambda: teacher, shelf, seed=0, on_progress=fractions.append)
    assert all(new is old for new, old in zip(again, found, strict=True))


def test_the_usual_students_are_those_of_the_recipe() -> None:
    dataset = pendulum_dataset()
    run = make_run("pbc", "finished", (3,), columns=4)
    members = cast.choices([run], cast.snapshots([run]), teacher=False)
    assert (members["pbc"].kind, cast.own_form(run)) == ("columns", "columns")
    chosen = cast.select(members, ["pbc", "random_selection"], [1], ["student", "columns"])
    assert [m.label for m in chosen] == ["Random selection", "PBC four columns", "PBC one network"]
    assert [m.label for m in cast.select(members, ["pbc"], [1], ["columns"])] == ["PBC"]
    random, several, one = cast.policies(
        chosen, dataset, lambda: 1 / 0, cast.Shelf(9), seed=0, on_progress=lambda _: None
    )
    assert [policy.weights[0].ndim for policy in (random, several, one)] == [3, 3, 2]
    (own,) = train_students(run.distilled(), 1)
    np.testing.assert_array_equal(several.act(dataset.observations[:5]), own.act(dataset.observations[:5]))


def test_the_clone_of_the_whole_dataset_is_trained_once_and_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_bc, "CONFIG", BCConfig(steps=40, hidden_width=8, check_every=10))
    dataset = pendulum_dataset()
    runs = [make_run("dbc", "finished", (3,))]
    members = cast.choices(runs, cast.snapshots(runs), teacher=False)
    assert "whole_bc" not in cast.usual(members) and whole_bc.whole_clone_steps(dataset) is None

    def clone(data: OfflineDataset) -> tuple[np.ndarray, list[float]]:
        told: list[float] = []
        (policy,) = cast.policies(
            [members["whole_bc"]], data, lambda: 1 / 0, cast.Shelf(10), seed=0, on_progress=told.append
        )
        return policy.act(dataset.observations[:5]), told

    first, fractions = clone(dataset)
    assert sorted(fractions) == fractions and fractions[-1] == 1.0
    steps, kept = whole_bc.whole_clone_steps(dataset) or (0, 0)
    assert steps == 40 and kept in (10, 20, 30, 40)
    with monkeypatch.context() as patch:
        patch.setattr(whole_bc, "train", None)  # not called again
        np.testing.assert_array_equal(clone(dataset)[0], first)
    (file,) = (cache_dir() / "whole_bc").iterdir()
    file.write_bytes(b"cut short")
    np.testing.assert_array_equal(clone(dataset)[0], first)  # a damaged file is made again
    clone(replace(dataset, actions=-dataset.actions))
    assert len(list((cache_dir() / "whole_bc").iterdir())) == 2  # other data, another clone


def test_random_selections_differ_by_number() -> None:
    runs = [make_run("dbc", "finished", (3,))]
    member = cast.choices(runs, cast.snapshots(runs), teacher=False)["random_selection"]
    first, second = (cast.distilled(replace(member, student=n), pendulum_dataset()) for n in (1, 2))
    assert len(first) == 8 and not np.array_equal(first.observations, second.observations)


def test_a_shelf_forgets_the_oldest() -> None:
    shelf = cast.Shelf(2)
    for number in range(3):
        shelf.put(str(number), number)
        shelf.get("0")
    assert [shelf.get(str(number)) for number in range(3)] == [0, None, 2]
