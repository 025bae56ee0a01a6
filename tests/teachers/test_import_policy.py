from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obd.errors import ObdError
from obd.teachers.import_policy import import_policy
from obd.teachers.teacher import load_teacher, save_teacher

ENV = "Pendulum-v1"  # 3 observations, 1 action in [-2, 2]


def network(prefix: str, *sizes: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(len(prefix))
    result = {}
    for index in range(len(sizes) - 1):
        result[f"{prefix}{2 * index}.weight"] = torch.randn(sizes[index + 1], sizes[index], generator=generator)
        result[f"{prefix}{2 * index}.bias"] = torch.randn(sizes[index + 1], generator=generator)
    return result


def state(kind: str, quantiles: int = 5) -> dict[str, torch.Tensor]:
    """What stable-baselines3 keeps of a policy, by name."""
    outputs = quantiles if kind == "tqc" else 1
    critics = network("critic.qf0.", 4, 8, 8, outputs) | network("critic.qf1.", 4, 8, 8, outputs)
    if kind == "td3":
        return network("actor.mu.", 3, 8, 8, 1) | critics
    heads = {
        f"actor.{name}.{part}": tensor
        for name in ("mu", "log_std")
        for part, tensor in (("weight", torch.full((1, 8), 0.1)), ("bias", torch.full((1,), 0.2)))
    }
    return network("actor.latent_pi.", 3, 8, 8) | heads | critics


def write(path: Path, tensors: Any, data: Any = None) -> Path:
    buffer = io.BytesIO()
    torch.save(tensors, buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", buffer.getvalue())
        archive.writestr("data", json.dumps({"gamma": 0.9} if data is None else data))
    return path


@pytest.mark.parametrize("kind", ["sac", "td3", "tqc"])
def test_handcrafted_zip(kind: str, tmp_path: Path) -> None:
    tensors = state(kind)
    teacher = import_policy(write(tmp_path / "p.zip", tensors), kind, ENV)
    assert import_policy(tmp_path / "p.zip", "auto", ENV).algorithm == kind
    save_teacher(tmp_path / "t.safetensors", teacher)
    teacher = load_teacher(tmp_path / "t.safetensors")
    states = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    hidden = states
    first = "actor.mu." if kind == "td3" else "actor.latent_pi."
    for index in (0, 2):
        hidden = torch.relu(hidden @ tensors[f"{first}{index}.weight"].T + tensors[f"{first}{index}.bias"])
    last = "actor.mu.4" if kind == "td3" else "actor.mu"
    actions = torch.tanh(hidden @ tensors[f"{last}.weight"].T + tensors[f"{last}.bias"])
    torch.testing.assert_close(teacher.act(states), actions)
    values = []
    for number in range(2):
        hidden = torch.cat([states, actions], 1)
        for index in (0, 2):
            name = f"critic.qf{number}.{index}"
            hidden = torch.relu(hidden @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"])
        name = f"critic.qf{number}.4"
        values.append((hidden @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]).mean(1))
    torch.testing.assert_close(teacher.q(states, actions), torch.stack(values).amin(0))
    assert teacher.q_discount == 0.9 and teacher.env_id == ENV and teacher.algorithm == kind


@pytest.mark.parametrize("kind", ["sac", "td3"])
def test_saved_by_stable_baselines3(kind: str, tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    model = {"sac": sb3.SAC, "td3": sb3.TD3}[kind]("MlpPolicy", ENV, policy_kwargs={"net_arch": [16, 16]}, seed=0)
    model.save(tmp_path / "model.zip")
    teacher = import_policy(tmp_path / "model.zip", kind, ENV)
    states = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected, _ = model.predict(states, deterministic=True)
    np.testing.assert_allclose(2 * teacher.to_policy().act(states), expected, atol=1e-5)
    actions = torch.from_numpy(expected / 2)
    with torch.no_grad():
        values = torch.cat(model.critic(torch.from_numpy(states), actions), 1).amin(1)
    torch.testing.assert_close(teacher.q(torch.from_numpy(states), actions), values)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = write(tmp_path / "p.zip", {"actor.mu.0.weight": Bomb(mark)})
    with pytest.raises(ObdError, match="not a plain file of tensors"):
        import_policy(path, "td3", ENV)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", pickle.dumps(Bomb(mark)))
    with pytest.raises(ObdError, match="not a plain file of tensors"):
        import_policy(path, "td3", ENV)
    hidden = {"policy_class": {":type:": "x", ":serialized:": "gASV" * 10}, "gamma": "much"}
    assert import_policy(write(path, state("td3"), hidden), "td3", ENV).q_discount == 0.99
    assert not mark.exists()


def test_wrong_files_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"

    def refuse(words: str, kind: str = "sac", env: str = ENV) -> None:
        with pytest.raises(ObdError, match=words) as caught:
            import_policy(path, kind, env)
        assert "\n" not in str(caught.value)

    refuse("no file")
    path.write_text("hello")
    refuse("not a readable zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other", "x")
    refuse(r"no policy\.pth")
    write(path, [1, 2])
    refuse("tensors by name")
    write(path, state("td3"))
    refuse("check the algorithm")
    write(path, state("sac"))
    refuse("lacks plain linear|cannot hold", kind="td3")
    refuse("Unknown algorithm", kind="ppo")
    refuse("MountainCarContinuous-v0 has 2 and 1", env="MountainCarContinuous-v0")
    write(path, state("tqc"))
    refuse("5 outputs")
    write(path, state("sac") | {"actor.mu.bias": torch.full((1,), float("nan"))})
    refuse("not finite")
    write(path, state("sac") | {"actor.latent_pi.2.weight": torch.zeros(8, 7)})
    refuse("do not fit")
    write(path, state("sac") | {"actor.features_extractor.cnn.0.weight": torch.zeros(1)})
    refuse("cannot hold")
    write(path, state("sac"), {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.Tanh'>"}})
    refuse("only ReLU")
    write(path, {key: value for key, value in state("sac").items() if "log_std" not in key})
    refuse("not a SAC policy")
    buffer = io.BytesIO()
    torch.save(state("sac"), buffer)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("policy.pth", buffer.getvalue())
        archive.writestr("data", "[" * 100_000)
    refuse("not JSON")


def test_a_zip_bomb_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obd.teachers.import_policy.LARGEST_ENTRY", 1000)
    with pytest.raises(ObdError, match="larger than"):
        import_policy(write(tmp_path / "p.zip", state("sac")), "sac", ENV)
