from __future__ import annotations

import math
import threading

import gymnasium
import mujoco
import numpy as np
import pytest

from obd.errors import ObdError
from obd.render import renderer as renderer_module
from obd.render.backend import gl_backend
from obd.render.mujoco_frames import BlackFrameError, MujocoRenderer
from obd.render.poses import pose_images, poses_strip
from obd.render.renderer import expected_kind, make_renderer
from obd.render.scene import load_scene, parse_colour
from obd.render.schematic import SchematicRenderer, _hull, limbs

ENVIRONMENTS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")


@pytest.fixture(params=["mujoco", "schematic"])
def kind(request, monkeypatch):
    """Both renderers in turn; MuJoCo's only where OpenGL works."""
    if request.param == "schematic":
        monkeypatch.setenv("OBD_RENDERER", "schematic")
    elif gl_backend() is None:
        pytest.skip("no OpenGL here")
    return request.param


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_draws_the_robot_in_its_colour(env_id, kind):
    qpos = load_scene(env_id).model.qpos0
    with make_renderer(env_id, 160, 120) as renderer:
        assert renderer.kind == kind
        red = renderer.render(qpos, accent="#ff0000").astype(int)
        blue = renderer.render(qpos, accent="#0000ff").astype(int)
        bent = renderer.render(qpos + np.eye(len(qpos))[-1] * 0.8, accent="#ff0000").astype(int)
    assert red.shape == (120, 160, 3)
    robot = red[:, :, 0] > red[:, :, 2] + 60
    assert robot.sum() > 100
    # The torso's column is in view and the robot stands clear of the picture's edges.
    rows, columns = np.nonzero(robot)
    assert rows.min() > 3 and rows.max() < 116 and columns.min() > 3 and columns.max() < 156
    assert ((blue[:, :, 2] > blue[:, :, 0] + 60) & robot).sum() > 80
    assert (np.abs(bent - red).max(axis=2) > 30).sum() > 10


def test_the_ground_moves_and_the_robot_stays(kind):
    qpos = load_scene("Walker2d-v5").model.qpos0.copy()
    with make_renderer("Walker2d-v5", 160, 120) as renderer:
        pictures = []
        for x in (0.0, 0.25, 1000.25):
            qpos[0] = x
            pictures.append(renderer.render(qpos, accent="#ff0000").astype(int))
    start, near, far = pictures
    robot = [set(zip(*np.nonzero(p[:, :, 0] > p[:, :, 2] + 60), strict=True)) for p in pictures]
    assert len(robot[0] ^ robot[1]) < 0.1 * len(robot[0])
    assert (np.abs(start[100:] - near[100:]).max(axis=2) > 20).mean() > 0.03
    assert far[100:].std() > 5  # the floor has no end


def test_a_fall_moves_the_robot_down(kind):
    qpos = load_scene("Hopper-v5").model.qpos0.copy()
    with make_renderer("Hopper-v5", 160, 120) as renderer:
        standing = renderer.render(qpos, accent="#ff0000").astype(int)
        qpos[1] -= 0.4
        fallen = renderer.render(qpos, accent="#ff0000").astype(int)
    tops = [np.nonzero(p[:, :, 0] > p[:, :, 2] + 60)[0].min() for p in (standing, fallen)]
    assert tops[1] > tops[0] + 10


def test_the_far_leg_is_darker_and_behind(kind):
    qpos = load_scene("Walker2d-v5").model.qpos0.copy()
    both = qpos.copy()
    both[6] = -1.0  # lift the left thigh
    with make_renderer("Walker2d-v5", 160, 120) as renderer:
        together = renderer.render(qpos, accent="#ff0000").astype(int)
        apart = renderer.render(both, accent="#ff0000").astype(int)
    new = (np.abs(apart - together).max(axis=2) > 25) & (apart[:, :, 0] > apart[:, :, 2] + 20)
    assert new.sum() > 30
    robot = together[:, :, 0] > together[:, :, 2] + 60
    assert np.median(apart[new].sum(axis=1)) < np.median(together[robot].sum(axis=1))


def test_mujoco_in_another_thread_falls_back_or_draws():
    """A renderer of one thread used in another must never give a black picture."""
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    qpos = load_scene("Hopper-v5").model.qpos0
    pictures: list[np.ndarray] = []
    with make_renderer("Hopper-v5", 64, 48) as renderer:
        thread = threading.Thread(target=lambda: pictures.append(renderer.render(qpos)))
        thread.start()
        thread.join()
    assert pictures and pictures[0].std() > 5


class BlackRenderer(MujocoRenderer):
    """Whatever MuJoCo draws comes out black, after ``good`` pictures."""

    good = 0

    def render(self, qpos, qvel=None, *, accent=None):
        if self.good > 0:
            self.good -= 1
            return np.full((self.height, self.width, 3), 9, np.uint8)
        raise BlackFrameError("black")

    def __enter__(self):
        return self


@pytest.mark.parametrize("good", [0, 1, 2])
def test_black_frames_are_replaced_by_the_schematic(monkeypatch, good):
    monkeypatch.setattr(renderer_module, "gl_backend", lambda: "egl")
    monkeypatch.setattr(renderer_module, "MujocoRenderer", BlackRenderer)
    monkeypatch.setattr(BlackRenderer, "good", good)
    with make_renderer("Hopper-v5", 64, 48) as renderer:
        assert renderer.kind == ("schematic" if good == 0 else "mujoco")  # entering draws one for a test
        pictures = [renderer.render(load_scene("Hopper-v5").model.qpos0) for _ in range(3)]
        assert renderer.kind == "schematic"
        assert renderer.used == ({"schematic"} if good <= 1 else {"mujoco", "schematic"})
    expected = SchematicRenderer("Hopper-v5", 64, 48).render(load_scene("Hopper-v5").model.qpos0)
    np.testing.assert_array_equal(pictures[-1], expected)


def test_an_empty_frame_is_noticed(monkeypatch):
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    with MujocoRenderer("Hopper-v5", 64, 48) as renderer:
        monkeypatch.setattr(mujoco, "mjr_readPixels", lambda frame, *rest: frame.fill(0))
        with pytest.raises(BlackFrameError):
            renderer.render(renderer.scene.model.qpos0)
    with pytest.raises(BlackFrameError, match="closed"):
        renderer.render(renderer.scene.model.qpos0)


def test_a_driver_that_fails_gives_the_schematic(monkeypatch):
    def broken(*_):
        raise RuntimeError("no display")

    monkeypatch.setattr(renderer_module, "gl_backend", lambda: "egl")
    monkeypatch.setattr("obd.render.mujoco_frames.open_context", broken)
    with make_renderer("Hopper-v5", 64, 48) as renderer:
        assert renderer.kind == "schematic"
        assert renderer.render(load_scene("Hopper-v5").model.qpos0).std() > 5


@pytest.mark.parametrize("env_id", ["MountainCarContinuous-v0", "NoSuchRobot-v0"])
def test_refuses_environments_without_a_model(env_id):
    with pytest.raises(ObdError, match=env_id):
        make_renderer(env_id, 64, 48)


@pytest.mark.parametrize(("env_id", "elevation"), [("Ant-v5", -25), ("Swimmer-v5", -65), ("Humanoid-v5", -25)])
def test_other_robots_stand_in_the_picture(env_id, elevation):
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    qpos = load_scene(env_id).model.qpos0
    assert load_scene(env_id).elevation == elevation
    with make_renderer(env_id, 160, 120) as renderer:
        picture = renderer.render(qpos, accent="#ff0000").astype(int)
        qpos = qpos.copy()
        qpos[list(load_scene(env_id).travel)] += 500
        far = renderer.render(qpos, accent="#ff0000").astype(int)
        assert renderer.used == {"mujoco"}
    rows, columns = np.nonzero(picture[:, :, 0] > picture[:, :, 2] + 60)
    assert len(rows) > 100 and rows.min() > 3 and rows.max() < 116 and columns.min() > 3 and columns.max() < 156
    assert np.abs(picture - far).mean() < 2  # the camera follows to wherever it travels


def red_pixels(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(picture[:, :, 0].astype(int) > picture[:, :, 2].astype(int) + 60)


@pytest.mark.parametrize("turned", [0.0, 1.5, 3.1, -1.5])
def test_a_robot_that_lies_flat_is_seen_from_above_and_whole(turned, kind):
    qpos = load_scene("Swimmer-v5").model.qpos0.copy()
    qpos[2:] = turned, 0.6, 0.6
    with make_renderer("Swimmer-v5", 160, 120) as renderer:
        rows, columns = red_pixels(renderer.render(qpos, accent="#ff0000"))
        assert renderer.used == {kind}
    assert rows.min() > 3 and rows.max() < 116 and columns.min() > 3 and columns.max() < 156
    assert min(np.ptp(rows), np.ptp(columns)) > 10  # bent, not a line


@pytest.mark.parametrize("turned", [0.0, 0.4, 0.8, 1.6])
def test_no_leg_of_an_ant_leaves_the_picture_wherever_it_heads(turned):
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    qpos = load_scene("Ant-v5").model.qpos0.copy()
    qpos[2:] = 0.5, math.cos(turned / 2), 0, 0, math.sin(turned / 2), 0, 0.7, 0, -0.7, 0, -0.7, 0, 0.7
    with make_renderer("Ant-v5", 160, 120) as renderer:
        rows, columns = red_pixels(renderer.render(qpos, accent="#ff0000"))
        assert renderer.used == {"mujoco"}
    assert rows.min() > 3 and rows.max() < 116 and columns.min() > 3 and columns.max() < 156


def test_the_ground_seen_from_above_moves_with_the_robot(no_gl):
    qpos = load_scene("Swimmer-v5").model.qpos0.copy()
    with make_renderer("Swimmer-v5", 160, 120) as renderer:
        pictures = [
            renderer.render(qpos + np.array([x, y, 0, 0, 0])) for x, y in ((0, 0), (0.25, 0), (0, 0.25), (9, 7))
        ]
    start, right, up, far = (picture.astype(int) for picture in pictures)
    for moved in (right, up):
        assert (np.abs(start - moved).max(axis=2) > 10).mean() > 0.2
    assert np.abs(start - far).mean() < 2


@pytest.mark.parametrize("env_id", ["InvertedPendulum-v5", "Ant-v5", "Hopper-v5"])
def test_no_part_of_a_picture_is_black(env_id, kind):
    with make_renderer(env_id, 160, 120) as renderer:
        picture = renderer.render(load_scene(env_id).model.qpos0)
    assert (picture.max(axis=2) == 0).mean() < 0.001


def test_draws_other_robots_schematically(no_gl):
    with make_renderer("Ant-v5", 160, 120) as renderer:
        assert renderer.render(load_scene("Ant-v5").model.qpos0).std() > 5


def test_colours():
    assert parse_colour("#4c78a8") == (0x4C, 0x78, 0xA8)
    for text in ("red", "#12345", "#gggggg"):
        with pytest.raises(ObdError, match="#4c78a8"):
            parse_colour(text)


def test_hull_drops_inner_points():
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
    assert sorted(_hull([*square, (1.0, 1.0), (0.5, 1.5)])) == sorted(square)


def test_pose_pictures(kind):
    rng = np.random.default_rng(0)
    observations = rng.normal(scale=0.3, size=(3, 11)) + np.eye(11)[0] * 1.25
    pictures = pose_images("Hopper-v5", observations, 64, 48, accents=["#ff0000", "#00ff00", "#0000ff"])
    assert pictures.shape == (3, 48, 64, 3)
    assert all(picture.std() > 5 for picture in pictures)
    np.testing.assert_array_equal(pose_images("Hopper-v5", observations[1:2], 64, 48, accents="#00ff00"), pictures[1:2])
    strip = poses_strip("Hopper-v5", observations, 64, 48, titles=["a", "b", "c"], gap=4)
    assert strip.shape[1] == 3 * 64 + 2 * 4 and strip.shape[0] > 48
    assert poses_strip("Hopper-v5", observations, 64, 48).shape == (48, 200, 3)


def test_poses_refuse_other_environments(no_gl):
    with pytest.raises(ObdError, match="MountainCarContinuous-v0"):
        pose_images("MountainCarContinuous-v0", np.zeros((1, 2)))


def test_the_pendulum_points_where_gymnasium_draws_it(kind):
    angles = np.array([0.0, 0.5, 2.0, np.pi, -1.0])
    observations = np.stack([np.cos(angles), np.sin(angles), np.zeros(5)], axis=1)
    pictures = pose_images("Pendulum-v1", observations, 100, 100, accents="#ff0000")
    env = gymnasium.make("Pendulum-v1", render_mode="rgb_array")
    env.reset(seed=0)
    for angle, picture in zip(angles, pictures, strict=True):
        env.unwrapped.state = np.array([angle, 0.0])
        for drawn in (picture, env.render()):
            rows, columns = red_pixels(drawn)
            middle = drawn.shape[0] / 2
            found = math.atan2(middle - columns.mean(), middle - rows.mean())
            assert abs(math.remainder(found - angle, 2 * math.pi)) < 0.1
    env.close()
    wide = pose_images("Pendulum-v1", observations, 160, 90, accents="#ff0000")
    assert wide.shape == (5, 90, 160, 3) and all(len(red_pixels(picture)[0]) > 100 for picture in wide)
    with make_renderer("Pendulum-v1", 64, 64) as renderer:
        assert renderer.kind == expected_kind("Pendulum-v1") == "drawing"
    assert expected_kind("Hopper-v5") == kind


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_limbs_are_rigid_joined_and_above_the_ground_at_the_start(env_id: str) -> None:
    scene = load_scene(env_id)
    start = np.zeros((2, scene.model.nq + scene.model.nv - 1))
    if env_id != "HalfCheetah-v5":
        start[:, 0] = 1.25  # metres above the ground; the cheetah's height counts from its start
    start[1, 3] = 0.4  # bend one joint
    ends, radii = limbs(env_id, start)
    assert ends.shape == (2, len(radii), 4) and (radii > 0).all()
    lengths = np.hypot(ends[..., 2] - ends[..., 0], ends[..., 3] - ends[..., 1])
    np.testing.assert_allclose(lengths[0], lengths[1], atol=1e-5)
    assert np.abs(ends[0] - ends[1]).max() > 0.05
    lowest = (np.minimum(ends[0, :, 1], ends[0, :, 3]) - radii).min()
    assert -0.02 < lowest < 0.2
    with pytest.raises(ObdError, match="one plane"):
        limbs("Ant-v5", np.zeros((1, 105)))
