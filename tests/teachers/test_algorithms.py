"""What holds for every algorithm."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from obd.errors import Cancelled, ObdError
from obd.teachers import ALGORITHMS, algorithm, teacher_config, train
from obd.teachers.networks import Networks
from obd.teachers.teacher import load_teacher, save_teacher
from obd.teachers.training import among_best
from tests.teachers.conftest import line_dataset

SMALL = {"hidden_width": 16, "batch_size": 32}


@pytest.mark.parametrize("preset", ["fast", "other"])
@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_smoke(name: str, preset: str, tmp_path: Path) -> None:
    dataset = line_dataset()
    chosen = preset if preset == "fast" else next(key for key in algorithm(name).presets if key != "fast")
    reports: list[dict[str, float]] = []
    config = teacher_config(name, chosen, steps=30, **SMALL)
    teacher = train(name, dataset, config, lambda _step, report: reports.append(report))
    assert reports[-1]["fraction"] == 1 and all(math.isfinite(value) for value in reports[-1].values())
    save_teacher(tmp_path / "t.safetensors", teacher)
    loaded = load_teacher(tmp_path / "t.safetensors")
    states = torch.linspace(-3, 3, 7)[:, None]
    actions = loaded.act(states)
    assert float(actions.abs().max()) <= 1
    torch.testing.assert_close(actions, teacher.act(states))
    assert json.loads(loaded.details["config"])["steps"] == 30 and loaded.algorithm == name
    if name == "bc":
        assert loaded.critics == ()
        with pytest.raises(ObdError, match="no action values"):
            loaded.q(states, actions)
    else:
        assert len(loaded.critics) == 2 and bool(torch.isfinite(loaded.q(states, actions)).all())
        torch.testing.assert_close(loaded.q(states, actions), teacher.q(states, actions))


@pytest.mark.parametrize("name", ["rebrac", "iql", "awr", "cal_ql"])
def test_learns_to_walk_to_the_reward(name: str) -> None:
    """On random data imitation alone would do nothing; the reward is at the origin."""
    rates = {"actor_rate": 3e-3, "critic_rate": 3e-3, "discount": 0.8, "target_rate": 0.02}
    if name == "cal_ql":
        rates |= {"conservatism": 0.5}  # in reward units, and the rewards are a tenth of a robot's
    config = teacher_config(name, steps=600, hidden_width=32, hidden_layers=2, batch_size=128, **rates)
    actions = train(name, line_dataset(), config).act(torch.tensor([[-1.0], [1.0]])).flatten()
    assert actions[0] > 0.2 and actions[1] < -0.2


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_update_returns_floats_when_asked(name: str) -> None:
    learner = algorithm(name).learner(line_dataset(), teacher_config(name, steps=9, **SMALL))
    assert learner.update(1.0, False) == {}
    report = learner.update(1.0, True)
    assert report and all(type(value) is float for value in report.values())


def test_exported_critics_with_layer_norm_are_the_trained_ones() -> None:
    dataset = line_dataset()
    learner = algorithm("rebrac").learner(dataset, teacher_config("rebrac", steps=9, **SMALL))
    for _ in range(5):
        learner.update(1.0, False)
    states, actions = torch.from_numpy(dataset.observations[:7]), torch.from_numpy(dataset.actions[:7])
    normalized = torch.from_numpy(dataset.normalize(dataset.observations[:7]))
    inside = learner.critic(torch.cat([normalized, actions], 1))[..., 0].amin(0)  # type: ignore[attr-defined]
    inside = inside * learner.data.reward_scale  # type: ignore[attr-defined]
    torch.testing.assert_close(learner.teacher(5).q(states, actions), inside, rtol=1e-4, atol=1e-4)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ObdError, match="Unknown algorithm"):
        algorithm("ppo")
    with pytest.raises(ObdError, match="Unknown preset"):
        teacher_config("iql", "quick")
    with pytest.raises(Cancelled):
        train("iql", line_dataset(), teacher_config("iql", **SMALL), should_stop=lambda: True)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("copies", [1, 3])
def test_networks_have_the_gradients_of_autograd(layer_norm: bool, copies: int) -> None:
    networks = Networks([5, 16, 16, 2], copies, torch.Generator().manual_seed(0), layer_norm=layer_norm)
    inputs = torch.randn(7, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    weights = [weight.clone().requires_grad_() for weight in networks.weights]
    biases = [bias.clone().requires_grad_() for bias in networks.biases]
    hidden = inputs.expand(copies, -1, -1)
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = torch.baddbmm(bias, hidden, weight)
        if index < 2:
            hidden = torch.relu(hidden)
            hidden = torch.nn.functional.layer_norm(hidden, (16,)) if layer_norm else hidden
    expected = torch.autograd.grad(hidden.square().sum(), [inputs, *weights, *biases])
    for _ in range(2):  # the second pass replaces the gradient, it does not add to it
        outputs = networks.forward(inputs.detach())
        networks.backward(2 * outputs)
    torch.testing.assert_close(outputs, hidden.detach())
    torch.testing.assert_close(networks(inputs.detach()), outputs)
    torch.testing.assert_close([*networks.weight_gradients, *networks.bias_gradients], list(expected[1:]))
    before = networks.gradient.clone()
    torch.testing.assert_close(networks.input_slope(2 * outputs), expected[0])
    assert torch.equal(networks.gradient, before)


def test_part_of_an_ensemble_shares_its_parameters() -> None:
    networks = Networks([2, 4, 1], 3, torch.Generator().manual_seed(0))
    inputs = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    first = networks.only(1)
    networks.forward(inputs)
    networks.backward(torch.ones(3, 5, 1))
    networks.step(0.1)
    assert torch.equal(first.forward(inputs)[0], networks(inputs)[0])


def test_rebrac_takes_the_published_penalties_of_a_dataset() -> None:
    def penalties(dataset_id: str, **changes: float) -> tuple[float, float]:
        config = teacher_config("rebrac", "fast", dataset_id, **changes)
        return config.actor_penalty, config.critic_penalty

    assert penalties("obd/hopper/medium-replay-v0") == (0.05, 0.5)
    assert penalties("obd/hopper/medium-v0") == (0.01, 0.001)
    assert penalties("mujoco/walker2d/medium-v0") == (0.05, 0.1)
    assert penalties("obd/halfcheetah/medium-v0") == (0.01, 0.01)  # no weaker in minutes
    assert teacher_config("rebrac", "paper", "obd/halfcheetah/medium-v0").actor_penalty == 0.001
    assert penalties("mine/walker-v0") == penalties("") == (0.01, 0.001)
    assert penalties("obd/walker2d/medium-v0", actor_penalty=0.2) == (0.2, 0.1)
    assert teacher_config("td3_bc", "fast", "obd/hopper/medium-v0") == teacher_config("td3_bc")


def test_the_best_share_holds_the_episodes_with_the_highest_returns() -> None:
    dataset = line_dataset(episodes=20, steps=25)
    chosen = among_best(dataset, 0.3)
    kept = chosen.reshape(20, 25)
    assert set(kept.ravel()) == {0.0, 1.0} and (kept == kept[:, :1]).all()  # whole episodes
    inside = kept[:, 0] == 1
    assert inside.sum() == 6 and dataset.episode_returns[inside].min() > dataset.episode_returns[~inside].max()
    assert among_best(dataset, 1.0).all() and among_best(dataset, 0.001).sum() == 25


def test_awr_imitates_the_best_share_alone() -> None:
    """Two policies in the same states: one pushes left and earns less, one pushes right."""
    dataset = line_dataset()
    good = dataset.episode_index % 2 == 0
    two = dataclasses.replace(
        dataset,
        actions=np.where(good, 0.8, -0.8).astype(np.float32)[:, None],
        rewards=np.where(good, 1.0, 0.9).astype(np.float32),
    )
    settings = {"steps": 800, "hidden_width": 16, "batch_size": 64, "temperature": 0.0, "target_rate": 0.05}

    def action(share: float) -> float:
        teacher = train("awr", two, teacher_config("awr", best_share=share, **settings))
        return float(teacher.act(torch.zeros(1, 1)))

    assert abs(action(1.0)) < 0.2 and action(0.5) > 0.7
