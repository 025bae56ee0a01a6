from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from obd.engine.distill import Distiller, distill, seconds_per_step, snapshot_steps
from obd.engine.distilled import load_distilled
from obd.errors import Cancelled, ObdError
from obd.events import Checkpoint, Event, Finished, Progress, Snapshot, Started
from tests.helpers import pendulum_dataset, pendulum_teacher, tiny_config

DATA = pendulum_dataset()
TEACHER = pendulum_teacher(DATA)


@pytest.mark.parametrize("objective", ["dbc", "pbc", "av_pbc"])
def test_the_loss_falls(objective: str) -> None:
    losses: list[float] = []
    config = tiny_config(objective=objective, steps=150, size=16, batch_size=256, inner_steps=20)

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            losses.append(event.loss)

    distill(config, DATA, TEACHER, on_event=note)
    assert np.mean(losses[-20:]) < 0.9 * losses[0]


def test_events_tell_the_whole_story() -> None:
    events: list[Event] = []
    result = distill(tiny_config(), DATA, TEACHER, on_event=events.append)
    assert isinstance(events[0], Started) and events[0].outer_steps == 12
    assert [e.step for e in events if isinstance(e, Progress)] == list(range(1, 13))
    snapshots = [e for e in events if isinstance(e, Snapshot)]
    assert [s.step for s in snapshots] == snapshot_steps(12, 4)
    last = events[-1]
    assert isinstance(last, Finished) and last.step == last.outer_steps == 12
    assert np.array_equal(snapshots[-1].observations, result.observations)
    assert result.observations.shape == (8, 3) and result.actions.shape == (8, 1)
    assert not np.array_equal(snapshots[0].observations, result.observations)


def test_start_is_real_states_with_the_teachers_actions() -> None:
    snapshot = Distiller(tiny_config(), DATA, TEACHER).snapshot(0)
    distances = np.abs(DATA.observations[:, None] - snapshot.observations[None]).max(2).min(0)
    assert distances.max() < 1e-5
    expected = TEACHER.act(torch.from_numpy(snapshot.observations)).numpy()
    assert np.allclose(snapshot.actions, expected, atol=1e-4)


def test_the_start_has_no_pair_twice() -> None:
    snapshot = Distiller(tiny_config(size=300, early_share=1.0), DATA, TEACHER).snapshot(0)
    assert len(np.unique(snapshot.observations, axis=0)) == 300


def test_dbc_needs_no_teacher_and_starts_from_the_data() -> None:
    snapshot = Distiller(tiny_config(objective="dbc"), DATA, None).snapshot(0)
    known = {tuple(np.round(row, 4)) for row in np.hstack([DATA.observations, DATA.actions])}
    assert all(tuple(np.round(row, 4)) in known for row in np.hstack([snapshot.observations, snapshot.actions]))


def test_same_seed_same_bytes_other_seed_other_set() -> None:
    first, again, other = (distill(tiny_config(seed=seed), DATA, TEACHER) for seed in (3, 3, 4))
    assert first.observations.tobytes() == again.observations.tobytes()
    assert first.recipe == again.recipe
    assert first.observations.tobytes() != other.observations.tobytes()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("initialisations", [1, 3])
def test_resuming_is_bit_identical(optimizer: str, initialisations: int) -> None:
    config = tiny_config(outer_optimizer=optimizer, initialisations=initialisations)
    events: list[Event] = []
    whole = distill(config, DATA, TEACHER, on_event=events.append)
    checkpoint = next(e for e in events if isinstance(e, Checkpoint) and 0 < e.step < 12)
    resumed = distill(config, DATA, TEACHER, checkpoint=checkpoint)
    assert resumed.observations.tobytes() == whole.observations.tobytes()
    assert resumed.actions.tobytes() == whole.actions.tobytes()
    assert resumed.recipe == whole.recipe


def test_stopping_returns_the_set_as_it_stands() -> None:
    events: list[Event] = []

    def should_stop() -> bool:
        return any(isinstance(e, Progress) and e.step == 5 for e in events)

    result = distill(tiny_config(), DATA, TEACHER, on_event=events.append, should_stop=should_stop)
    assert isinstance(events[-1], Finished) and events[-1].step == 5
    assert any(isinstance(e, Checkpoint) and e.step == 5 for e in events)
    assert result.card["outer_steps"] == 5


def test_stopping_before_the_first_step() -> None:
    with pytest.raises(Cancelled):
        distill(tiny_config(), DATA, TEACHER, should_stop=lambda: True)


def test_a_time_budget_becomes_a_step_count() -> None:
    events: list[Event] = []
    distill(tiny_config(steps=None, seconds=3.0), DATA, TEACHER, on_event=events.append)
    assert isinstance(events[0], Started) and events[0].outer_steps > 1
    assert isinstance(events[-1], Finished) and events[-1].step == events[0].outer_steps


def test_robust_clipping_skips_outliers_and_nonsense() -> None:
    distiller = Distiller(tiny_config(), DATA, TEACHER)
    assert [distiller._clip(1.0) for _ in range(5)] == [1.0] * 5
    assert distiller._clip(3.0) == pytest.approx(0.5)
    assert distiller._clip(11.0) == 0.0
    assert distiller._clip(math.nan) == 0.0


def test_an_explosion_goes_back_to_the_last_good_state(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = Distiller(tiny_config(), DATA, TEACHER)
    for step in range(12):
        distiller.step(step, 100)
    good = {name: tensor.clone() for name, tensor in distiller.good.items()}  # of step 10, before its update
    original = Distiller.hypergradient

    def explode(self: Distiller, step: int, replica: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        loss, gradients = original(self, step, replica)
        return loss * math.nan, gradients

    monkeypatch.setattr(Distiller, "hypergradient", explode)
    for times in (1, 2):
        loss, _, skipped = distiller.step(11 + times, 100)
        assert math.isnan(loss) and skipped
        assert torch.equal(distiller.observations, good["observations"])
        assert torch.allclose(distiller.log_rates, good["log_rates"] + times * math.log(0.8))


def test_an_exploding_hypergradient_lowers_the_step_sizes() -> None:
    distiller = Distiller(tiny_config(), DATA, TEACHER)
    distiller.step(0, 100)
    before = distiller.log_rates.clone()
    distiller.norms.clear()
    distiller.norms.extend([1e-9] * 50)  # what comes now is far beyond ten times the usual
    _, _, skipped = distiller.step(1, 100)
    assert skipped and torch.allclose(distiller.log_rates, before + math.log(0.9))


def test_wild_settings_end_in_finite_numbers() -> None:
    config = tiny_config(inner_step_size=8.0, outer_step_size=5.0, step_size_rate=1.0, steps=60)
    result = distill(config, DATA, TEACHER)
    assert np.isfinite(result.observations).all() and np.isfinite(result.actions).all()
    assert all(rate > 0 and math.isfinite(rate) for rate in result.recipe.step_sizes)


def test_fixed_norm_clipping() -> None:
    distiller = Distiller(tiny_config(clipping="norm", clip_norm=2.0), DATA, TEACHER)
    assert distiller._clip(8.0) == pytest.approx(0.25)
    assert distiller._clip(1.0) == 1.0


def test_fixed_step_sizes_stay() -> None:
    result = distill(tiny_config(learn_step_sizes=False, inner_step_size=0.07), DATA, TEACHER)
    assert result.recipe.step_sizes == pytest.approx((0.07,) * 3)


def test_density_weights_resume_bit_for_bit() -> None:
    config = tiny_config(density_power=0.2)
    events: list[Event] = []
    whole = distill(config, DATA, TEACHER, on_event=events.append)
    checkpoint = next(e for e in events if isinstance(e, Checkpoint) and 0 < e.step < 12)
    assert distill(config, DATA, TEACHER, checkpoint=checkpoint).observations.tobytes() == whole.observations.tobytes()
    assert distill(tiny_config(), DATA, TEACHER).observations.tobytes() != whole.observations.tobytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "pbc"}, "needs a teacher"),
        ({"objective": "dbc", "size": 4096}, "600 transitions"),
        ({"objective": "dbc", "device": "cuda"}, "no cuda device"),
        ({"objective": "dbc", "hidden_width": 2048, "hidden_layers": 8, "inner_steps": 1000, "size": 600}, "memory"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(changes: dict[str, object], words: str) -> None:
    if changes.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ObdError, match=words):
        distill(tiny_config(**changes), DATA, None)


def test_a_checkpoint_of_other_settings_is_refused() -> None:
    events: list[Event] = []
    distill(tiny_config(), DATA, TEACHER, on_event=events.append)
    checkpoint = next(e for e in events if isinstance(e, Checkpoint))
    with pytest.raises(ObdError, match="does not fit"):
        distill(tiny_config(size=9), DATA, TEACHER, checkpoint=checkpoint)


def test_distilled_set_survives_a_round_trip(tmp_path) -> None:
    result = distill(tiny_config(), DATA, TEACHER)
    path = tmp_path / "distilled.npz"
    with open(path, "wb") as stream:
        result.write(stream)
    loaded = load_distilled(path)
    assert np.array_equal(loaded.observations, result.observations)
    assert loaded.recipe == result.recipe
    assert loaded.card["outer_steps"] == 12
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ObdError, match="damaged"):
        load_distilled(path)
    with pytest.raises(ObdError, match="no distilled set"):
        load_distilled(tmp_path / "absent.npz")


def test_measuring_the_speed_can_be_stopped() -> None:
    asked = iter([False, True])
    with pytest.raises(Cancelled):  # after the first step, not after all
        seconds_per_step(tiny_config(), DATA, TEACHER, should_stop=lambda: next(asked))


def test_a_pause_of_the_machine_while_its_speed_is_measured_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, costs = [0.0], iter([9.0, 0.5, 30.0, 0.7])  # the first step warms up

    def step(*_arguments: object) -> tuple[float, float, bool]:
        now[0] += next(costs)
        return 1.0, 1.0, False

    monkeypatch.setattr(Distiller, "step", step)
    monkeypatch.setattr("obd.engine.distill.time.perf_counter", lambda: now[0])
    assert seconds_per_step(tiny_config(), DATA, TEACHER) == 0.5
