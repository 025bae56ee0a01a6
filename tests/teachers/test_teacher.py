from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from obd.errors import ObdError
from obd.teachers.files import shipped_teacher_path
from obd.teachers.teacher import Layers, Teacher, load_teacher, save_teacher
from tests.teachers.conftest import line_dataset

METADATA = {
    "format": "obd-teacher-1",
    "env_id": "Hopper-v5",
    "algorithm": "test",
    "actor_head": "tanh",
    "q_discount": "0.99",
}


def layers(sizes: list[int], seed: int) -> Layers:
    generator = torch.Generator().manual_seed(seed)
    pairs = itertools.pairwise(sizes)
    return tuple((torch.randn(o, i, generator=generator), torch.randn(o, generator=generator)) for i, o in pairs)


def make_teacher(head: str = "tanh", critics: int = 2) -> Teacher:
    outputs = 3 if head == "tanh" else 6
    return Teacher(
        env_id="Hopper-v5",
        algorithm="test",
        actor=layers([11, 8, 8, outputs], 0),
        critics=tuple(layers([14, 8, 1], 1 + number) for number in range(critics)),
        observation_mean=torch.linspace(-1, 1, 11),
        observation_std=torch.linspace(1, 2, 11),
        head=head,  # type: ignore[arg-type]
        q_discount=0.97,
        details={"dataset": "test/a-v0"},
    )


@pytest.mark.parametrize("head", ["tanh", "tanh_gaussian"])
@pytest.mark.parametrize("critics", [1, 2])
def test_round_trip(tmp_path: Path, head: str, critics: int) -> None:
    teacher = make_teacher(head, critics)
    save_teacher(tmp_path / "t.safetensors", teacher)
    assert [file.name for file in tmp_path.iterdir()] == ["t.safetensors"]
    again = load_teacher(tmp_path / "t.safetensors")
    states = torch.randn(20, 11, generator=torch.Generator().manual_seed(9))
    actions = teacher.act(states)
    assert actions.shape == (20, 3) and again.q_discount == 0.97 and again.details["dataset"] == "test/a-v0"
    torch.testing.assert_close(again.act(states), actions)
    torch.testing.assert_close(again.q(states, actions), teacher.q(states, actions))
    np.testing.assert_allclose(again.to_policy().act(states.numpy()), actions.numpy(), atol=1e-5)
    # The formula of the file format, written out.
    hidden = (states - teacher.observation_mean) / teacher.observation_std
    for weight, bias in teacher.actor[:-1]:
        hidden = torch.relu(hidden @ weight.T + bias)
    torch.testing.assert_close(actions, torch.tanh((hidden @ teacher.actor[-1][0].T + teacher.actor[-1][1])[:, :3]))
    single = [dataclasses.replace(teacher, critics=(critic,)).q(states, actions) for critic in teacher.critics]
    torch.testing.assert_close(teacher.q(states, actions), torch.stack(single).amin(0))


def test_chunks_agree_with_one_pass() -> None:
    teacher = make_teacher()
    states = torch.randn(40_000, 11, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(teacher.act(states)[-5:], teacher.act(states[-5:]))
    assert teacher.q(states, teacher.act(states)).shape == (40_000,)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("actor.0.weight", lambda t: t[:, :-1], r"actor\.0\.weight.*expected.*\[any, 11\]"),
        ("actor.1.weight", lambda t: None, r"lacks the tensor actor\.1\.weight.*\[any, 8\]"),
        ("actor.1.bias", lambda t: t[:-1], r"actor\.1\.bias.*\[8\]"),
        ("actor.2.weight", lambda t: t[:-1], r"actor\.2\.weight.*\[3, 8\]"),
        ("critic.0.weight", lambda t: None, r"lacks the tensor critic\.0\.weight.*\[any, 14\]"),
        ("critic.0.weight", lambda t: t[:, 1:], r"critic\.0\.weight.*\[any, 14\]"),
        ("critic2.1.weight", lambda t: t.repeat(2, 1), r"critic2\.1\.weight.*\[1, 8\]"),
        ("critic2.1.bias", lambda t: t * float("inf"), r"critic2\.1\.bias.*not finite.*\[1\]"),
        ("actor.0.weight", lambda t: t * float("nan"), r"actor\.0\.weight.*not finite"),
        ("actor.0.weight", lambda t: t.to(torch.int32), r"actor\.0\.weight.*int32"),
        ("observation_mean", lambda t: None, r"lacks the tensor observation_mean.*\[11\]"),
        ("observation_std", lambda t: t[:-1], r"observation_std.*\[11\]"),
        ("observation_std", lambda t: t * 0, "not positive"),
    ],
)
def test_damaged_tensors_are_named(tmp_path: Path, name: str, change, expected: str) -> None:  # type: ignore[no-untyped-def]
    save_teacher(tmp_path / "t", make_teacher())
    tensors = load_file(tmp_path / "t")
    changed = change(tensors.pop(name))
    if changed is not None:
        tensors[name] = changed.contiguous()
    save_file(tensors, tmp_path / "bad", metadata=METADATA)
    with pytest.raises(ObdError, match=expected):
        load_teacher(tmp_path / "bad")


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", "obd-teacher-2"), ("actor_head", "softmax"), ("q_discount", "much"), ("q_discount", "nan"),
     ("env_id", "HalfCheetah-v5")],
)  # fmt: skip
def test_wrong_metadata_is_refused(tmp_path: Path, key: str, value: str) -> None:
    save_teacher(tmp_path / "t", make_teacher())
    save_file(load_file(tmp_path / "t"), tmp_path / "bad", metadata=METADATA | {key: value})
    with pytest.raises(ObdError):
        load_teacher(tmp_path / "bad")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path, words in ((tmp_path / "text", "safetensors"), (tmp_path / "none", "no teacher"), (tmp_path, "no t")):
        with pytest.raises(ObdError, match=words):
            load_teacher(path)


def test_diverged_teacher_is_not_written(tmp_path: Path) -> None:
    teacher = dataclasses.replace(make_teacher(), observation_mean=torch.full((11,), float("nan")))
    with pytest.raises(ObdError, match="diverged"):
        save_teacher(tmp_path / "t", teacher)
    assert list(tmp_path.iterdir()) == []


def test_wrong_environment_is_refused() -> None:
    dataset = line_dataset()
    with pytest.raises(ObdError, match="Hopper-v5"):
        make_teacher().targets(dataset)
    with pytest.raises(ObdError, match="11 observations"):
        dataclasses.replace(make_teacher(), env_id=dataset.env_id).targets(dataset)


def test_shipped_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obd.teachers.files.assets_dir", lambda: tmp_path)
    with pytest.raises(ObdError, match="obd teach"):
        shipped_teacher_path("obd/a/b-v0")
    (tmp_path / "teachers").mkdir()
    (tmp_path / "teachers" / "obd_a_b-v0.safetensors").touch()
    assert shipped_teacher_path("obd/a/b-v0").name == "obd_a_b-v0.safetensors"
