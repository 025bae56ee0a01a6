from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from obd.data.dataset import OfflineDataset
from obd.data.minari_store import save_minari
from obd.runs.execute import GroupExecution
from obd.runs.store import Run, create_run
from obd.teachers.teacher import Teacher, save_teacher
from obd.ui import cardtext, posepanel
from tests.helpers import random_layers, tiny_config
from tests.pages.conftest import Open
from tests.pages.test_pages import spec, wait_until, words

CHEETAH = "test/cheetah/random-v0"


@pytest.fixture
def cheetahs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A finished comparison on a tiny HalfCheetah dataset, whose poses are known."""
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    env, rng = gym.make("HalfCheetah-v5", disable_env_checker=True), np.random.default_rng(0)
    rows = []
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        for _ in range(60):
            action = rng.uniform(-1, 1, 6).astype(np.float32)
            following, reward, *_ = env.step(action)
            rows.append((observation, action, reward, following))
            observation = following
    env.close()
    observations, actions, rewards, following = (np.asarray(x, np.float32) for x in zip(*rows, strict=True))
    truncations = np.zeros(120, np.bool_)
    truncations[59::60] = True
    dataset = OfflineDataset(
        id=CHEETAH,
        env_id="HalfCheetah-v5",
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=following,
        terminations=np.zeros(120, np.bool_),
        truncations=truncations,
        episode_starts=np.array([0, 60]),
        action_low=-np.ones(6, np.float32),
        action_high=np.ones(6, np.float32),
        reference_returns=(-280.0, 12135.0),
    )
    save_minari(dataset, description="", replace=True)
    teacher = Teacher(
        env_id=dataset.env_id,
        algorithm="random",
        actor=random_layers(17, 16, 6),
        critics=(random_layers(23, 16, 1, seed=1),),
        observation_mean=torch.from_numpy(dataset.observation_mean),
        observation_std=torch.from_numpy(dataset.observation_std),
    )
    path = tmp_path / "cheetah.safetensors"
    save_teacher(path, teacher)
    first = create_run(tiny_config(path, dataset=CHEETAH, objective="pbc"))
    runs = [first, create_run(tiny_config(path, dataset=CHEETAH, objective="av_pbc"), group=first.group)]
    GroupExecution(runs, live=False, final=False)(lambda: False)
    return runs


def component(at: AppTest) -> dict[str, Any]:
    """The data of the component on the page."""
    (element,) = at.get("bidi_component")
    value: dict[str, Any] = json.loads(element.proto.json)
    return value


def settle(at: AppTest, ready: Callable[[AppTest], Any]) -> None:
    """Rerun until the background work shows up."""
    deadline = time.monotonic() + 60
    while not ready(at):
        assert time.monotonic() < deadline and not at.error, words(at)
        time.sleep(0.2)
        at.run()
        assert not at.exception


def test_the_map_has_all_objectives_and_snapshots_on_fixed_axes(group: list[Run], open_page: Open) -> None:
    at = open_page("states", objective="pbc")
    data = component(at)
    assert data["steps"] == group[1].snapshot_steps()
    assert [entry["label"] for entry in data["sets"]] == ["DBC", "PBC"]
    frames = np.frombuffer(base64.b64decode(data["sets"][1]["frames"]), "<f4").reshape(len(data["steps"]), 8, 2)
    assert np.abs(frames[-1] - frames[0]).max() > 0
    at.button_group(key="objective choice").set_value("dbc").run()
    other = component(at)
    assert other["points"] == data["points"] and other["view"] == data["view"]
    assert [entry["label"] for entry in other["sets"]] == ["PBC", "DBC"]


def test_three_dimensions(group: list[Run], open_page: Open) -> None:
    data = component(open_page("states", view="pca3"))
    assert data["dimensions"] == 3 and len(data["axes"]) == 3


def test_tsne_runs_in_the_background(group: list[Run], open_page: Open) -> None:
    at = open_page("states", view="tsne")
    wait_until(at, lambda at: at.get("bidi_component"))
    assert "Only neighbourhood has a meaning" in words(at)


def test_every_colour_reaches_the_map(group: list[Run], open_page: Open) -> None:
    at = open_page("states")
    colours = at.selectbox(key="colour").options
    assert set(colours) >= {"Q value", "advantage", "criticality", "density", "return of the episode", "time step"}
    seen = set()
    for colour in colours:
        at.selectbox(key="colour").select(colour)
        at.run()
        if colour == "criticality":
            settle(at, lambda at: component(at)["values"])
        assert (component(at)["values"] is None) == (colour == "nothing")
        seen.add(component(at)["values"])
    assert len(seen) == len(colours)


def test_the_claim_is_answered_in_one_sentence(group: list[Run], open_page: Open) -> None:
    at = open_page("states", objective="pbc")
    settle(at, lambda at: "as the data" in words(at) or "than the data" in words(at))
    assert "compared with where they started" in words(at)


def test_a_robot_without_a_pose_keeps_map_and_numbers(
    group: list[Run], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cardtext, "supports_pose", lambda _env_id: False)
    at = open_page("states")
    assert "States of Pendulum-v1 cannot be drawn" in words(at)
    assert component(at)["sets"]
    at = open_page("states", part="gallery")
    assert "States of Pendulum-v1 cannot be drawn" in words(at)


def test_the_pendulum_has_poses_and_a_gallery(group: list[Run], open_page: Open) -> None:
    at = open_page("states")
    wait_until(at, lambda at: "after its action" in words(at) and "drawing …" not in words(at))
    assert len(at.image) == 2 + posepanel.RELATIVES
    assert "OpenGL" not in words(at) and "cannot be drawn" not in words(at)
    at = open_page("states", part="gallery")
    wait_until(at, lambda at: "choose one to see more" in words(at))


def test_distributions_effects_and_sentences(group: list[Run], open_page: Open) -> None:
    at = open_page("states", part="critical")
    settle(at, lambda at: at.get("echarts_chart"))
    assert spec(at)["yAxis"][0]["data"] == ["Data", "Random selection", "Start of PBC", "DBC", "PBC"]
    said = words(at)
    assert "of the data (95 %" in said and "density percentile" in said and "PBC's distilled states are" in said
    assert at.table[0].value["Set"].tolist() == ["DBC", "PBC"]
    at.selectbox(key="measure").select("density").run()
    assert len(at.table) == 0 and at.get("echarts_chart")


def test_a_state_is_shown_as_a_pose_with_its_relatives(cheetahs: list[Run], open_page: Open) -> None:
    at = open_page("states", objective="av_pbc")
    settle(at, lambda at: "Nearest" in words(at))
    assert "Nearest original states" in words(at) and "pitch" in words(at)
    assert component(at)["picked"] == {"key": "av_pbc", "indices": [0]}
    first = [picture.proto.imgs[0].url for picture in at.get("image")]
    assert len(first) == 5  # before, after, three relatives
    at.number_input(key="state").set_value(5).run()
    settle(at, lambda at: at.get("image"))
    assert component(at)["picked"]["indices"] == [5]
    assert [picture.proto.imgs[0].url for picture in at.get("image")] != first


def test_gallery_of_all_poses_sorted(cheetahs: list[Run], open_page: Open) -> None:
    at = open_page("states", objective="pbc", part="gallery")
    settle(at, lambda at: at.get("bidi_component") and "criticality" in at.selectbox(key="sort").options)
    for name in ("criticality", "density", "Q value", "torso pitch (°)", "index"):
        at.selectbox(key="sort").select(name).run()
        order = component(at)["order"]
        assert sorted(order) == list(range(8))
        if name != "index":
            at.toggle(key="falling").set_value(False).run()
            assert component(at)["order"] != order
            at.toggle(key="falling").set_value(True).run()
    assert order == list(range(8))
    assert base64.b64decode(component(at)["sheet"])[8:12] == b"WEBP"


def test_a_drawing_that_fails_is_a_sentence(
    cheetahs: list[Run], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(posepanel, "step_from", broken)
    at = open_page("states")
    wait_until(at, lambda at: at.error)
    assert "secret" not in words(at) and component(at)["sets"]


def test_a_run_that_goes_on_is_followed(cheetahs: list[Run], open_page: Open) -> None:
    steps = cheetahs[0].snapshot_steps()
    last = cheetahs[0].path / "snapshots" / f"{steps[-1]:08d}.npz"
    hidden = last.rename(last.with_suffix(".later"))
    cheetahs[0].write_status(state="running")
    at = open_page("states", objective="pbc")
    assert "have moved" in words(at)  # no measuring while the run needs the machine
    assert "is measured when the run has ended" in words(at)
    before = component(at)
    hidden.rename(last)
    at.run()  # what the fragment's timer does in a browser
    after = component(at)
    assert after["view"] == before["view"] and after["run"] == before["run"]
    assert len(after["sets"][1]["frames"]) >= len(before["sets"][1]["frames"])
    assert before["sets"][1]["frames"] != after["sets"][1]["frames"]
