from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from obd.render.trajectory import Trajectory
from obd.ui import player
from obd.ui.theme import style


def episode(steps: int = 50, terminated: bool = False, rate: float = 125.0) -> Trajectory:
    """A hopper that slides one centimetre per step with reward equal to the step's number."""
    qpos = np.zeros((steps + 1, 6))
    qpos[:, 0] = 7 + 0.01 * np.arange(steps + 1)
    actions = np.stack([np.full(steps, 0.5), -np.linspace(0, 1, steps), np.zeros(steps)], axis=1)
    observations = np.zeros((steps + 1, 11), np.float32)
    rewards = np.arange(steps, dtype=float)
    return Trajectory(
        "Hopper-v5", qpos, np.zeros((steps + 1, 6)), observations, actions.astype(np.float32), rewards, rate, terminated
    )


@pytest.fixture
def tracks() -> list[player.Track]:
    q = np.arange(50) * 2.0
    return [
        player.measure(episode(), 25, 20, q, "PBC 1", "pbc"),
        player.measure(episode(20, terminated=True), 25, 20, None, "Teacher", "teacher"),
    ]


def test_numbers_are_those_of_the_frames(tracks: list[player.Track]) -> None:
    values = tracks[0].values
    assert all(len(column) == 20 for column in values.values())
    # Every frame is five steps on; the reward is the mean over the steps until the next frame.
    assert values["reward"][:3] == [2.0, 7.0, 12.0]
    assert values["return"][:3] == [0.0, 10.0, 45.0]
    assert values["distance"][:3] == [0.0, 0.05, 0.1]
    assert values["q"][:3] == [0.0, 10.0, 20.0]
    assert values["action 0"][3] == 0.5 and values["action 1"][9] == pytest.approx(-45 / 49, abs=1e-3)
    assert values["size"][0] == pytest.approx(0.5 / 3**0.5, abs=1e-3)
    # Frame 10 shows the last state; after that there is nothing to say.
    assert values["return"][10] == sum(range(50)) and values["return"][11:] == [None] * 9
    assert tracks[1].values["return"][5:] == [None] * 15 and "q" not in tracks[1].values


def test_the_contract_of_the_component(tracks: list[player.Track]) -> None:
    data = player.contract(
        tracks, key="k", url="/media/x.mp4", fps=25, frames=20, env_id="Hopper-v5", view="tiled", alt="two hoppers"
    )
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert {"key", "url", "fps", "frames", "alt", "members", "charts"} == set(data)
    look = style("pbc")
    assert data["members"][0] == {"label": "PBC 1", "colour": look.colour, "glyph": look.glyph, "dash": look.dash}
    assert [chart["title"] for chart in data["charts"]] == ["Reward", "Q value", "Action"]
    for chart in data["charts"]:
        for option in chart["options"]:
            assert set(option) == {"label", "unit", "values"}
            assert [len(series) for series in option["values"]] == [20, 20]  # a line per policy, even an empty one
    assert [option["label"] for option in data["charts"][2]["options"]] == [
        "Size of the action",
        "Action: thigh",
        "Action: leg",
        "Action: foot",
    ]
    assert data["charts"][0]["options"][0]["label"] == "Reward per step"


def test_lines_of_one_method_differ_in_their_dashes() -> None:
    names = [("Student 1", "av_pbc"), ("Teacher", "teacher"), ("Ensemble", "av_pbc"), ("Four columns", "av_pbc")]
    many = [player.measure(episode(), 25, 20, None, *name) for name in names]
    data = player.contract(many, key="k", url="u", fps=25, frames=20, env_id="Hopper-v5", view="tiled", alt="a")
    own = [member for member in data["members"] if member["colour"] == style("av_pbc").colour]
    assert [member["dash"] for member in own] == ["solid", "dashed", "dotted"]
    assert data["members"][1]["dash"] == style("teacher").dash


def test_a_race_starts_with_the_distance_and_without_a_teacher_there_is_no_q(tracks: list[player.Track]) -> None:
    data = player.contract(
        tracks[1:], key="k", url="u", fps=25, frames=20, env_id="Hopper-v5", view="race", alt="a hopper"
    )
    assert [chart["title"] for chart in data["charts"]] == ["Reward", "Action"]
    assert data["charts"][0]["options"][0] | {"values": []} == {"label": "Distance", "unit": "m", "values": []}


def test_numbers_that_are_not_finite_are_left_out() -> None:
    broken = player.measure(episode(), 25, 20, np.full(50, np.nan), "PBC", "pbc")
    assert broken.values["q"] == [None] * 20


def test_csv_and_json_give_the_same_numbers_back(tracks: list[player.Track]) -> None:
    assert player.from_json(json.loads(json.dumps(player.to_json(tracks)))) == tuple(tracks)
    rows = list(csv.DictReader(io.StringIO(player.as_csv(tracks, 25, "Hopper-v5").decode())))
    assert len(rows) == 11 + 5
    assert rows[1]["policy"] == "PBC 1" and float(rows[1]["seconds"]) == 0.04 and float(rows[1]["q"]) == 10.0
    assert float(rows[3]["action thigh"]) == 0.5
    assert rows[-1]["policy"] == "Teacher" and rows[-1]["q"] == ""


def test_nothing_in_the_component_asks_another_machine() -> None:
    for name in ("player.js", "player.css"):
        text = (player.HERE / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text and "@import" not in text and "//cdn" not in text
