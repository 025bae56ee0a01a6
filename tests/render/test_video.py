from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace

import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np
import pytest

from obd.errors import Cancelled, ObdError
from obd.render import encoder, video
from obd.render.backend import gl_backend
from obd.render.captions import caption_bar, font, shorten
from obd.render.encoder import VideoWriter
from obd.render.trajectory import Trajectory, record
from obd.render.video import GAP, HOLD_SECONDS, Grid, Panel, PanelPainter, TiledFilm, even_rate, shoot


def hopper(steps: int, terminated: bool = False, rate: float = 125.0) -> Trajectory:
    """A hopper that glides to the right and bends; no simulation needed."""
    qpos = np.zeros((steps + 1, 6))
    qpos[:, 0] = np.linspace(0, 2, steps + 1)
    qpos[:, 1] = 1.25
    qpos[:, 4] = -np.linspace(0, 1, steps + 1)
    return Trajectory(
        env_id="Hopper-v5",
        qpos=qpos,
        qvel=np.zeros((steps + 1, 6)),
        observations=np.zeros((steps + 1, 11), np.float32),
        actions=np.zeros((steps, 3), np.float32),
        rewards=np.ones(steps),
        frames_per_second=rate,
        terminated=terminated,
    )


def pictures(steps: int = 10) -> Trajectory:
    """An episode without MuJoCo states: plain frames that get brighter."""
    frames = np.stack([np.full((50, 100, 3), min(20 * i, 250), np.uint8) for i in range(steps + 1)])
    return Trajectory(
        env_id="Pictures-v0",
        qpos=np.zeros((steps + 1, 0)),
        qvel=np.zeros((steps + 1, 0)),
        observations=np.zeros((steps + 1, 2), np.float32),
        actions=np.zeros((steps, 1), np.float32),
        rewards=np.ones(steps),
        frames_per_second=10.0,
        terminated=True,
        frames=frames,
    )


def tile_video(path, panels, on_frame=None, should_stop=None, **options):
    return shoot(path, TiledFilm(panels, **options), on_frame=on_frame, should_stop=should_stop)


def test_reads_back_with_size_duration_and_motion(no_gl, tmp_path):
    path = tmp_path / "deep" / "video.mp4"
    seen: list[int] = []
    panels = [Panel("first", "#ff0000", hopper(125)), Panel("second", "#0000ff", hopper(50, terminated=True), "42")]
    on_frame = lambda frame, picture: seen.append(frame)  # noqa: E731
    assert tile_video(path, panels, width_per_panel=128, height=96, on_frame=on_frame) == path
    frames = iio.imread(path)
    assert frames.shape == (round((1 + HOLD_SECONDS) * 25), Grid(2, 128, 96).size[1], 2 * 128 + GAP, 3)
    meta = iio.immeta(path)
    assert meta["fps"] == 25 and meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p")
    assert frames[0].std() > 10
    assert np.abs(frames[5].astype(int) - frames[20].astype(int)).max() > 60
    # The second one ended after 0.4 s: it is darker than before and stands still.
    bar = Grid(2, 128, 96).bar
    second = frames[:, bar:, 128 + GAP :].astype(int)
    assert second[15].mean() < 0.7 * second[5].mean()
    assert np.abs(second[24] - second[14]).mean() < 2
    first = frames[:, bar:, :128].astype(int)
    assert first[20].mean() > 0.9 * first[5].mean()
    assert seen == list(range(len(frames)))
    assert [file.name for file in path.parent.iterdir()] == ["video.mp4"]
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # plays before it is loaded


def test_with_mujoco_pictures(tmp_path, linear_policy):
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    episode = record("HalfCheetah-v5", linear_policy(17, 6), 0, max_steps=20)
    path = tile_video(tmp_path / "v.mp4", [Panel("one", "#ff0000", episode)], width_per_panel=128, height=96)
    frames = iio.imread(path)
    assert iio.immeta(path)["fps"] == 20  # never more than the episode's own steps per second
    assert len(frames) == 40 and frames[3].std() > 10
    assert np.abs(frames[2].astype(int) - frames[18].astype(int)).max() > 60


def test_limit_of_seconds_and_odd_sizes(no_gl, tmp_path):
    panels = [Panel("long", "#ff0000", hopper(500))] * 3
    path = tile_video(tmp_path / "v.mp4", panels, width_per_panel=101, height=75, seconds=0.6)
    assert iio.imread(path).shape[:3] == (15, *reversed(Grid(3, 100, 74).size))


def test_pictures_instead_of_states(tmp_path):
    path = tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())], width_per_panel=128, height=96)
    frames = iio.imread(path)
    bar = Grid(1, 128, 96).bar
    middle = frames[:, bar + 70, 64].mean(axis=1)
    assert len(frames) == 20 and middle[9] > middle[5] > middle[2]


def test_refuses_what_cannot_be_drawn(tmp_path):
    bare = Trajectory(**{**vars(pictures()), "frames": None})
    with pytest.raises(ObdError, match="Pictures-v0 cannot be drawn"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", bare)])
    with pytest.raises(ObdError, match="at least one policy"):
        tile_video(tmp_path / "v.mp4", [])
    with pytest.raises(ObdError, match="longer than 0"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())], seconds=0)
    with pytest.raises(ObdError, match="#4c78a8"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "blue", pictures())])
    with pytest.raises(ObdError, match="16 pixels"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())], height=8)
    assert list(tmp_path.iterdir()) == []


def test_stopping_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        tile_video(path, [Panel("p", "#ff0000", pictures())], should_stop=should_stop)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["v.mp4"]


def test_without_ffmpeg(tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(ObdError, match="pip install"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())])


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ObdError, match=r"v\.mp4"):
        tile_video(tmp_path / "file" / "v.mp4", [Panel("p", "#ff0000", pictures())])


def fake_ffmpeg(tmp_path, monkeypatch, lines: str) -> None:
    """A stand-in program that reads a little and then gives up as ffmpeg does."""
    script = tmp_path / "fake.py"
    script.write_text("import sys\n" + lines)
    popen = subprocess.Popen
    monkeypatch.setattr(encoder, "find_ffmpeg", lambda: sys.executable)
    monkeypatch.setattr(
        encoder.subprocess, "Popen", lambda command, **options: popen([command[0], str(script)], **options)
    )


@pytest.mark.parametrize("reads", ["sys.stdin.buffer.read(10)", "sys.stdin.buffer.read()"])
def test_a_full_disk(tmp_path, monkeypatch, reads):
    message = "av_interleaved_write_frame(): No space left on device"
    fake_ffmpeg(tmp_path, monkeypatch, f"{reads}\nprint({message!r}, file=sys.stderr)\nsys.exit(1)")
    with pytest.raises(ObdError, match="disk is full"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures(40))])
    assert not (tmp_path / "v.mp4").exists()


def test_a_full_disk_at_the_start(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(encoder.subprocess, "Popen", full)
    with pytest.raises(ObdError, match="disk is full"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())])


def test_another_failure_names_ffmpegs_reason(tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path, monkeypatch, "print('Unknown encoder', file=sys.stderr)\nsys.exit(1)")
    with pytest.raises(ObdError, match="Unknown encoder"):
        tile_video(tmp_path / "v.mp4", [Panel("p", "#ff0000", pictures())])


def test_writer_needs_even_sizes(tmp_path):
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "v.mp4", 15, 16, 25)


@pytest.mark.parametrize(("steps", "expected"), [(125, 25), (20, 20), (25, 25), (30, 30), (67, 67 / 3), (50, 25)])
def test_every_frame_shows_one_more_whole_number_of_steps(steps, expected):
    assert even_rate(steps) == pytest.approx(expected)


def test_parts_join_to_the_whole_and_become_a_gif(no_gl, tmp_path):
    panels = [Panel("p", "#ff0000", hopper(100))]
    whole = tile_video(tmp_path / "whole.mp4", panels, width_per_panel=64, height=48)
    film = TiledFilm(panels, width_per_panel=64, height=48)
    bounds = [(0, 13), (13, 14), (14, film.frames)]
    parts = [shoot(tmp_path / f"{first}.mp4", film, (first, end)) for first, end in bounds]
    encoder.join(parts, tmp_path / "joined.mp4")
    expected, frames = iio.imread(whole), iio.imread(tmp_path / "joined.mp4")
    assert frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected).mean() < 3
    assert iio.immeta(tmp_path / "joined.mp4")["duration"] == pytest.approx(film.frames / film.fps, abs=0.05)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joined.mp4", "whole.mp4"]
    gif = encoder.as_gif(whole, width=32)
    assert gif.startswith(b"GIF8") and iio.imread(gif).shape[2] == 32


def test_says_what_drew_it(no_gl):
    with TiledFilm([Panel("p", "#ff0000", hopper(10)), Panel("q", "#00ff00", pictures())]) as film:
        assert film.drawn_by == {"environment"}  # nothing else has been drawn yet
        film.paint(0)
        assert film.drawn_by == {"environment", "schematic"}


def test_grid():
    assert [(Grid(n, 32, 32).columns, Grid(n, 32, 32).rows) for n in (1, 2, 3, 4, 5, 7)] == [
        (1, 1),
        (2, 1),
        (3, 1),
        (2, 2),
        (3, 2),
        (3, 3),
    ]
    grid = Grid(5, 32, 32)
    canvas = grid.empty()
    for number in range(5):
        grid.place(canvas, number, np.full((32, 32, 3), 100 + number, np.uint8), grid.bar)
    assert [(canvas == 100 + number).sum() for number in range(5)] == [32 * 32 * 3] * 5
    columns = np.nonzero((canvas[-1] == 103).all(axis=1) | (canvas[-1] == 104).all(axis=1))[0]
    assert columns.min() == grid.size[0] - 1 - columns.max()  # the last row is centred


def test_says_how_an_episode_ended():
    fell = PanelPainter(Panel("p", "#ff0000", pictures()), Grid(1, 64, 48), None)
    assert fell._note() == "ended after 1.0 s"
    limited = Trajectory(**{**vars(pictures()), "terminated": False})
    assert PanelPainter(Panel("p", "#ff0000", limited), Grid(1, 64, 48), None)._note() == "time limit, 1.0 s"
    # The last state is still shown undimmed at the very end, dimmed afterwards.
    assert fell.paint(1.0)[24, 5].mean() > 1.5 * fell.paint(1.01)[24, 5].mean()


def test_captions():
    bar = caption_bar(200, 28, "a title", "#ff0000", "12.3").astype(int)
    red = (bar[:, :, 0] > 200) & (bar[:, :, 1] < 60)
    assert red[:, :40].sum() > 50 and not red[:, 60:].any()
    assert (bar[:, 150:] > 120).any() and (bar[:, 40:100] > 200).any()
    face = font(14)
    assert shorten("short", 200, face) == "short"
    cut = shorten("a very long title of a policy", 80, face)
    assert cut.endswith("…") and face.getlength(cut) <= 80


def test_a_return_just_below_zero_is_written_as_zero(no_gl, monkeypatch):
    written = []
    monkeypatch.setattr(video, "overlay", lambda picture, *texts: written.extend(texts) or picture)
    with TiledFilm((Panel("a", "#ff0000", replace(hopper(10), rewards=np.full(10, -0.04))),)) as film:
        film.paint(film.frames - 1)
    assert "return 0" in written and "return -0" not in written
