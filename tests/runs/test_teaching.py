from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from obd.errors import Cancelled, ObdError
from obd.paths import teachers_dir
from obd.runs import teaching
from obd.runs.teaching import Teaching, TeachRequest, open_teacher_file
from obd.teachers.files import list_teachers
from obd.teachers.teacher import load_teacher, save_teacher
from tests.helpers import DATASET, pendulum_dataset, pendulum_teacher
from tests.teachers.test_import_policy import state, write


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of one short episode, in this process."""
    monkeypatch.setattr(teaching, "LIVE_EPISODES", 1)
    monkeypatch.setattr(teaching, "FINAL_EPISODES", 2)
    monkeypatch.setattr(teaching, "SLICE_SECONDS", 0.01)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny networks, whatever the preset says."""
    original = teaching.teacher_config
    monkeypatch.setattr(
        teaching, "teacher_config", lambda *names, **changes: original(*names, hidden_width=8, batch_size=16, **changes)
    )


@pytest.mark.parametrize("name", ["td3_bc", "bc"])
def test_teaches_measures_and_keeps_a_file_with_its_card(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    job = Teaching(TeachRequest(DATASET, name, steps=300))
    fractions: list[float] = []
    taught = job.run(pendulum_dataset, fractions.append)
    assert (taught.steps, taught.stopped, taught.plateau) == (300, False, False)
    assert fractions == sorted(fractions) and job.phase == "over" and job.total == 300
    assert job.losses[-1]["step"] == 300 and len(job.losses[-1]) > 1
    assert job.returns[-1] == taught.last and taught.score.low <= taught.score.mean <= taught.score.high
    teacher = load_teacher(taught.path)
    card = json.loads(teacher.details["card"])
    assert card["score"]["mean"] == taught.score.mean and card["kept_step"] == taught.kept_step
    assert taught.path.parent == teachers_dir() and bool(teacher.critics) == (name != "bc")
    (listed,) = list_teachers(DATASET, "Pendulum-v1")
    assert (listed.algorithm, listed.score, listed.has_values) == (name, taught.score.mean, name != "bc")
    assert list_teachers(DATASET, "Hopper-v5") == []


def test_stop_keeps_what_has_been_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    job = Teaching(TeachRequest(DATASET, "td3_bc", steps=10**8))
    started = threading.Event()
    thread = threading.Thread(target=job.run, args=(pendulum_dataset, lambda _fraction: started.set()))
    thread.start()
    assert started.wait(60)
    job.stop()
    thread.join(60)
    assert job.taught is not None and job.taught.stopped and job.taught.steps < 10**8
    assert job.taught.path.is_file()


def test_cancel_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    job = Teaching(TeachRequest(DATASET, "iql", steps=10**8))
    with pytest.raises(Cancelled):
        job.run(pendulum_dataset, should_stop=lambda: True)
    assert not teachers_dir().exists()


def test_stops_on_a_plateau_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    means = iter([10.0] * 12 + [50.0] + [20.0] * 100)  # flat below the data's mean, then a best, then a plateau

    def measured(_dataset: object, step: int, _policy: object, episodes: int, *_: object) -> teaching.Measured:
        mean = next(means) if episodes == 1 else 45.0 if step else 0.0
        return teaching.Measured(step, mean, mean - 1, mean + 1)

    monkeypatch.setattr(teaching, "measured_return", measured)
    monkeypatch.setattr(teaching, "CHECKS", 10**9)  # measure at every opportunity
    job = Teaching(TeachRequest(DATASET, "td3_bc", steps=10**6))
    taught = job.run(pendulum_dataset)
    assert taught.plateau and not taught.stopped and taught.steps < 10**6
    assert [round(entry.mean) for entry in job.returns[:-1]] == [10] * 12 + [50] + [20] * teaching.PATIENCE
    assert taught.kept_step == job.returns[12].step


def test_a_bad_request_or_dataset_is_one_sentence() -> None:
    with pytest.raises(ObdError, match="Unknown algorithm"):
        TeachRequest(DATASET, "ppo").config()
    with pytest.raises(ObdError, match="Unknown preset"):
        TeachRequest(DATASET, "bc", "paper").config()
    with pytest.raises(ObdError, match="seconds must lie"):
        TeachRequest(DATASET, "iql", seconds=0).config()
    assert TeachRequest(DATASET, "iql", "paper").config().steps == 1_000_000
    assert TeachRequest(DATASET, "iql", "paper", seconds=60).config().steps is None


def test_opening_a_teacher_file(tmp_path: Path) -> None:
    save_teacher(tmp_path / "mine.safetensors", pendulum_teacher(pendulum_dataset()))
    content = (tmp_path / "mine.safetensors").read_bytes()
    path = open_teacher_file("../mine.safetensors", content, "Pendulum-v1")
    assert path.parent == teachers_dir() and path.read_bytes() == content
    assert open_teacher_file("again", content, "Pendulum-v1") == path
    (listed,) = list_teachers(DATASET, "Pendulum-v1")
    assert (listed.origin, listed.score) == ("opened", None)
    for name, wrong, env_id, words in (
        ("a.safetensors", b"nothing useful", "Pendulum-v1", r"file a\.safetensors is not a safetensors file"),
        ("b.safetensors", content, "Hopper-v5", r"b\.safetensors is for Pendulum-v1"),
    ):
        with pytest.raises(ObdError, match=words) as caught:
            open_teacher_file(name, wrong, env_id)
        assert str(teachers_dir()) not in str(caught.value)
    assert [file.name for file in teachers_dir().iterdir()] == [path.name]


def test_opening_a_policy_of_stable_baselines3(tmp_path: Path) -> None:
    content = write(tmp_path / "p.zip", state("sac")).read_bytes()
    path = open_teacher_file("agent.zip", content, "Pendulum-v1")
    assert load_teacher(path).algorithm == "sac" and [f.name for f in teachers_dir().iterdir()] == [path.name]
    with pytest.raises(ObdError, match=r"policy in agent\.zip maps 3 observations to 1 actions but Hopper-v5 has 11"):
        open_teacher_file("agent.zip", content, "Hopper-v5")
    with pytest.raises(ObdError, match=r"file broken\.zip is not a readable zip"):
        open_teacher_file("broken.zip", content[:200], "Pendulum-v1")
    assert [f.name for f in teachers_dir().iterdir()] == [path.name]
