from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from obd.errors import Cancelled, ObdError
from obd.paths import dynamics_dir
from obd.teachers.dynamics import dynamics_path, learn_dynamics, load_dynamics, own_path, save_dynamics
from tests.helpers import cart


def test_the_model_predicts_states_rewards_and_falls() -> None:
    told: list[tuple[int, int]] = []
    data = cart()
    model = learn_dynamics(data, steps=600, members=2, width=32, on_progress=lambda *at: told.append(at))
    assert told == [(200, 600), (400, 600), (600, 600)]
    assert len(model.error) == 3 and max(model.error) < 0.02
    states, actions = torch.from_numpy(data.normalize(data.observations[:500])), torch.from_numpy(data.actions[:500])
    following, rewards, ended = model.step(states, actions)
    wanted = data.normalize(data.next_observations[:500])
    assert np.sqrt(np.square(following.numpy() - wanted).mean()) < 0.1
    np.testing.assert_allclose(rewards.numpy(), data.rewards[:500], atol=0.4)
    assert (ended.numpy() == data.terminations[:500]).mean() > 0.96 > data.terminations[:500].mean() + 0.5
    # However far it is asked to go, it stays where there are data.
    far, _, _ = model.step(states + 50, actions)
    assert bool((far <= model.high).all())


def test_the_same_seed_gives_the_same_model_and_a_file_keeps_it(tmp_path: Path) -> None:
    model, again, other = (learn_dynamics(cart(1000), steps=5, width=8, seed=seed) for seed in (1, 1, 2))
    path = tmp_path / "new" / "model.safetensors"
    save_dynamics(path, model)
    loaded = load_dynamics(path)
    state, action = torch.ones(3, 2), torch.zeros(3, 1)
    for left, right in zip(model.step(state, action), loaded.step(state, action), strict=True):
        assert torch.equal(left, right)
    assert torch.equal(model.layers[1][0], again.layers[1][0])
    assert not torch.equal(model.layers[1][0], other.layers[1][0])
    assert loaded.dataset == "test/cart-v0" and loaded.error == model.error


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ObdError, match=r"model\.safetensors is not a model of the robot; make it again"):
        load_dynamics(path)


def test_a_teacher_is_no_model_of_a_robot() -> None:
    teacher = next((Path(__file__).parents[2] / "assets" / "teachers").glob("*.safetensors"))
    with pytest.raises(ObdError, match="is not a model of the robot"):
        load_dynamics(teacher)


def test_too_little_data_and_a_stop() -> None:
    with pytest.raises(ObdError, match="400 transitions; a model of the robot needs 500"):
        learn_dynamics(cart(400))
    with pytest.raises(Cancelled):
        learn_dynamics(cart(1000), should_stop=lambda: True)


def test_the_users_own_file_comes_before_the_shipped_one() -> None:
    shipped = dynamics_path("obd/hopper/medium-replay-v0")
    assert shipped is not None and shipped.parent.name == "dynamics" and dynamics_path("some/other-v0") is None
    own = own_path("obd/hopper/medium-replay-v0")
    save_dynamics(own, learn_dynamics(cart(1000), steps=1, width=8))
    assert own.parent == dynamics_dir() and dynamics_path("obd/hopper/medium-replay-v0") == own
    with pytest.raises(ObdError):
        own_path("../elsewhere")
