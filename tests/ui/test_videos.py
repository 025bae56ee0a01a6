from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import pytest

from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError
from obd.render.crew import Crew
from obd.runs import whole_bc
from obd.runs.showcase import showcase_runs
from obd.teachers.behaviour_cloning import BCConfig
from obd.teachers.teacher import Teacher
from obd.ui import cast, videos
from obd.ui.tasks import Task
from tests.helpers import pendulum_dataset, pendulum_teacher
from tests.ui.test_cast import make_run


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[Crew]:
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    with Crew(2) as opened:
        yield opened


def quiet_task() -> Task:
    task = Task(lambda task: None, "video")
    task.join()
    return task


def request(view: str = "tiled") -> videos.Request:
    runs = [make_run("dbc", "running", (0, 4)), make_run("pbc", "finished", (3,))]
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    return videos.Request(tuple(cast.select(members, cast.usual(members), [1])), view, seed=2, seconds=2)


def test_raw_returns_are_not_called_normalised(tmp_path: Path) -> None:
    def scale(score: float, episode_return: float) -> str:
        shot = videos.Shot("dbc", "DBC", score, episode_return, 3.0, False, None)
        return videos.Video(tmp_path / "x.mp4", "tiled", "Ant-v5", 20.0, 60, (320, 240), (shot,), (), ()).scale

    assert "100 expert" in scale(12.0, 800.0)
    assert "raw" in scale(800.0, 800.0) and "expert" not in scale(800.0, 800.0)


def test_scores_below_zero_have_a_real_minus(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"video")
    shot = videos.Shot("dbc", "DBC", -1376.4, -1376.4, 3.0, False, None)
    track = videos.Track("DBC", "dbc", {"reward": [0.0] * 60})
    data = videos.Video(path, "tiled", "Pendulum-v1", 20.0, 60, (320, 240), (shot,), (), (track,)).contract("/x.mp4")
    assert data["members"][0]["score"] == "−1376.4" and "DBC −1376" in data["alt"]


def test_what_cannot_race_says_so_before_any_episode_is_played(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    def played(*_: object) -> None:
        raise AssertionError("an episode was played in vain")

    monkeypatch.setattr(videos, "_episodes", played)
    with pytest.raises(ObdError, match="side by side"):
        make(request("race"), crew)


def no_teacher() -> Teacher:
    raise ObdError("There is no teacher.")


def make(wanted: videos.Request, crew: Crew, task: Task | None = None, dataset: OfflineDataset | None = None):
    dataset = dataset or pendulum_dataset()
    teacher = pendulum_teacher(dataset)
    return videos.make(
        task or quiet_task(), wanted, wanted.path, dataset, lambda: teacher, crew, cast.Shelf(20)
    )  # fmt: skip


def test_films_the_newest_snapshots_with_the_environments_own_pictures(crew: Crew) -> None:
    pytest.importorskip("pygame")
    wanted, task = request(), quiet_task()
    video = make(wanted, crew, task)
    assert video.path == wanted.path and task.preview[:3] == b"\xff\xd8\xff" and task.fraction == 1.0
    assert [shot.label for shot in video.shots] == ["Random selection", "DBC", "PBC", "Teacher"]
    assert video.drawn_by == ("environment",) and "environment" in video.renderer()
    assert iio.imread(video.path).shape == (video.frames, wanted.size[1], wanted.size[0], 3)
    assert video.fps == 30 and video.frames == 60
    assert set(video.tracks[0].values) == {"reward", "return", "q", "size", "action 0"}
    assert videos.existing(wanted.path) == video
    data = video.contract("/media/x.mp4")
    assert data["size"] == list(wanted.size) and data["members"][0]["ending"] == "7 s, time limit"
    names = {path.name for path in wanted.path.parent.iterdir()}
    assert names == {wanted.path.name, wanted.path.with_suffix(".json").name}


def test_a_video_with_the_clone_of_the_whole_dataset_says_how_long_it_was_trained(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pygame")
    monkeypatch.setattr(whole_bc, "CONFIG", BCConfig(steps=40, hidden_width=8, check_every=50))
    runs = [make_run("dbc", "finished", (3,))]
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    wanted = videos.Request(tuple(cast.select(members, ["whole_bc", "dbc"], [1])), seconds=2)
    video = make(wanted, crew)
    assert [shot.label for shot in video.shots] == ["Whole-data BC", "DBC"]
    assert video.remarks == ("Whole-data BC was trained for 40 steps on 600 transitions",)
    assert videos.existing(wanted.path) == video


def test_the_first_picture_needs_neither_data_nor_students_nor_the_crew(crew: Crew) -> None:
    with crew._lock:  # as while it draws somebody else's video
        task = quiet_task()
        videos.announce(task, request(), "HalfCheetah-v5", crew)
        assert task.preview[:3] == b"\xff\xd8\xff"
    crew.warm_up()
    assert crew.warm


def test_what_does_not_travel_cannot_race(crew: Crew) -> None:
    with pytest.raises(ObdError, match="side by side"):
        make(request("race"), crew)


def test_a_cancelled_video_leaves_nothing_behind(crew: Crew) -> None:
    wanted, task = request(), quiet_task()
    task.cancel()
    with pytest.raises(Cancelled):
        make(wanted, crew, task)
    assert videos.existing(wanted.path) is None
    assert not wanted.path.parent.exists() or not list(wanted.path.parent.iterdir())


def test_another_set_seed_length_or_view_is_another_file() -> None:
    first = request()
    others = [
        replace(first, seed=3),
        replace(first, seconds=3),
        replace(first, view="race"),
        replace(first, members=first.members[1:]),
        replace(first, members=(first.members[0], replace(first.members[1], step=0), *first.members[2:])),
    ]
    assert len({first.path, *(other.path for other in others)}) == 6


def test_damaged_or_old_notes_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"")
    for notes in ("{", "[]", json.dumps({"format": 1, "shots": []}), json.dumps({"format": videos.FORMAT})):
        path.with_suffix(".json").write_text(notes)
        assert videos.existing(path) is None


def test_the_showcase_is_shown_as_shipped() -> None:
    runs = showcase_runs()
    members = cast.choices(runs, cast.snapshots(runs), teacher=True)
    usual = tuple(cast.select(members, cast.usual(members), [1]))
    for view in videos.VIEWS:
        video = videos.shipped(videos.Request(usual, view))
        assert video is not None and video.view == view and video.drawn_by == ("mujoco",)
        assert [shot.label for shot in video.shots] == [member.label for member in usual]
        assert len(video.tracks[0].values["q"]) == video.frames
    assert videos.shipped(videos.Request(usual, seed=1)) is None
    assert videos.shipped(videos.Request(usual[1:])) is None
    assert videos.shipped(request()) is None


def test_only_the_newest_videos_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(videos, "KEPT_VIDEOS", 2)
    for number in range(4):
        for suffix in (".mp4", ".json"):
            path = tmp_path / f"{number}{suffix}"
            path.write_text("")
            os.utime(path, (number, number))
    videos._prune(tmp_path / "3.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.json", "2.mp4", "3.json", "3.mp4"]
