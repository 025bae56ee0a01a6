from __future__ import annotations

import mujoco
import numpy as np
import pytest

from obd.errors import ObdError
from obd.render import race
from obd.render.backend import gl_backend
from obd.render.race import MujocoStage, RaceFilm, follow, lay_lanes, race_model
from obd.render.scene import load_model, load_scene
from obd.render.trajectory import Trajectory, record
from obd.render.video import Panel

ROBOTS = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5")
COLOURS = ("#ff0000", "#00ff00", "#0000ff")


def gliding(env_id: str, speed: float, steps: int = 100, terminated: bool = False, rate: float = 20.0) -> Trajectory:
    """A robot in its first pose that slides along its lane; no simulation needed."""
    model = load_model(env_id)
    qpos = np.repeat(model.qpos0[None], steps + 1, axis=0)
    qpos[:, 0] += speed * np.arange(steps + 1) / rate
    observations, actions = np.zeros((steps + 1, 2), np.float32), np.zeros((steps, model.nu), np.float32)
    velocities = np.zeros((steps + 1, model.nv))
    return Trajectory(env_id, qpos, velocities, observations, actions, np.ones(steps), rate, terminated)


@pytest.fixture(params=["mujoco", "schematic"])
def schematic(request):
    if request.param == "mujoco" and gl_backend() is None:
        pytest.skip("no OpenGL here")
    return request.param == "schematic"


@pytest.mark.parametrize("env_id", [*ROBOTS, "Ant-v5", "Swimmer-v5"])
def test_every_copy_is_posed_like_the_robot_on_its_own_lane(env_id):
    lanes = lay_lanes(env_id, 3, 16 / 9)
    model, single = race_model(env_id, 3, lanes.spacing, COLOURS), load_model(env_id)
    assert model.nq == 3 * single.nq
    data, alone = mujoco.MjData(model), mujoco.MjData(single)
    pose = single.qpos0 + 0.1 * np.random.default_rng(0).normal(size=single.nq)
    free = single.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    alone.qpos[:] = pose
    for lane in range(3):
        start = lane * single.nq
        data.qpos[start : start + single.nq] = pose
        data.qpos[start + 1] += lanes.offsets[lane] if free else 0
    mujoco.mj_kinematics(single, alone)
    mujoco.mj_kinematics(model, data)
    for lane in range(3):
        for body in range(1, single.nbody):
            copy = lane * (single.nbody - 1) + body
            assert model.body(copy).name in ("", f"lane{lane}_{single.body(body).name}")
            expected = alone.xpos[body] + (0, lanes.offsets[lane], 0)
            np.testing.assert_allclose(data.xpos[copy], expected, atol=1e-9)
            np.testing.assert_allclose(data.xmat[copy], alone.xmat[body], atol=1e-9)
        # The stripe lies under it, and no neighbour's robot stands on it.
        assert model.geom_pos[model.geom(f"lane{lane}").id, 1] == pytest.approx(lanes.offsets[lane])
    assert lanes.spacing > lanes.scene.size[1]


@pytest.mark.parametrize("env_id", ROBOTS)
def test_robots_stand_on_the_ground_of_their_lanes(env_id):
    """The lowest point of a standing robot touches the stripe: none floats or sinks into it."""
    lanes = lay_lanes(env_id, 2, 16 / 9)
    model = race_model(env_id, 2, lanes.spacing, COLOURS[:2])
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    for lane in range(2):
        stripe = model.geom(f"lane{lane}").id
        top = model.geom_pos[stripe, 2] + model.geom_size[stripe, 2]
        bodies = {b for b in range(1, model.nbody) if model.body(b).name.startswith(f"lane{lane}_")}
        lowest = min(
            data.geom_xpos[g, 2] - np.abs(data.geom_xmat[g].reshape(3, 3)[2]) @ model.geom_aabb[g, 3:]
            for g in range(model.ngeom)
            if model.geom_bodyid[g] in bodies
        )
        assert -0.06 < lowest - top < 0.12


def test_copies_cannot_touch_each_other():
    model = race_model("HalfCheetah-v5", 2, 0.01, COLOURS[:2])  # one inside the other
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert data.ncon == 0


@pytest.mark.parametrize("env_id", ROBOTS)
def test_a_race_shows_everybody_in_colour_and_the_leader_ahead(env_id, schematic):
    speeds = (0.0, 1.0, 0.5)
    panels = [Panel(c, c, gliding(env_id, v), symbol="circle") for c, v in zip(COLOURS, speeds, strict=True)]
    with RaceFilm(panels, width=320, height=180, schematic=schematic) as film:
        early, late = film.paint(0).astype(int), film.paint(20).astype(int)
        assert film.drawn_by == {"schematic" if schematic else "mujoco"}
        assert film.fps == 20 and film.size == (320, 180)
    middles = []
    for channel in range(3):
        others = [c for c in range(3) if c != channel]
        for picture in (early, late):
            # Limbs are tinted and shaded, so this looks for the hue; names and strip are left out.
            body = picture[24:, 130:]
            hue = body[:, :, channel] - body[:, :, others].max(axis=2) > 70
            assert hue.sum() > 15, (env_id, channel)
        middles.append(np.nonzero(hue)[1].mean())
    assert middles[1] > middles[2] > middles[0]


def test_feet_are_where_the_projection_says():
    if gl_backend() is None:
        pytest.skip("no OpenGL here")
    lanes = lay_lanes("HalfCheetah-v5", 2, 16 / 9)
    qpos = load_scene("HalfCheetah-v5").model.qpos0
    with MujocoStage("HalfCheetah-v5", lanes, COLOURS[:2], 320, 180) as stage:
        picture, feet = stage.draw([qpos, qpos], COLOURS[:2], 0.0, 1.0)
        ahead = qpos.copy()
        ahead[0] = 1003.0  # any distance: the lanes have no end
        _, moved = stage.draw([ahead, ahead], COLOURS[:2], 1003.0, 1.0)
    for channel, (x, y) in enumerate(feet):
        hue = picture[:, :, channel].astype(int) - picture[:, :, 1 - channel] > 60
        rows, columns = np.nonzero(hue)
        assert abs(columns.mean() - x) < 25
        assert rows.min() < y < rows.max() + 12
    np.testing.assert_allclose(feet, moved, atol=1e-6)


def test_a_fallen_robot_turns_grey_and_is_said_to_have_fallen(no_gl):
    panels = [
        Panel("a", "#ff0000", gliding("Hopper-v5", 1.0, 10, terminated=True)),
        Panel("b", "#00ff00", gliding("Hopper-v5", 0.0)),
    ]
    with RaceFilm(panels, width=320, height=180) as film:
        pictures = [film.paint(frame).astype(int)[60:, 130:] for frame in (0, 20)]
    red = [(p[:, :, 0] - p[:, :, 1] > 60).sum() for p in pictures]
    assert red[0] > 50 and red[1] < 0.2 * red[0]


def test_the_camera_glides_with_the_leader_and_keeps_the_pack_in_view():
    episodes = [gliding("Hopper-v5", speed, 200) for speed in (0.1, 4.0, 5.0)]
    travelled = [episode.qpos[:, 0] - episode.qpos[0, 0] for episode in episodes]
    leader, zoom = follow(episodes, travelled, 20, 200, view=6.0)
    assert leader.shape == zoom.shape == (200,)
    assert np.abs(leader[40:160] - travelled[2][40:160]).max() < 0.2
    assert zoom[0] == pytest.approx(1.0, abs=0.05) and zoom[100] > 1.5
    assert np.abs(np.diff(zoom)).max() < 0.1


def test_a_driver_that_fails_gives_the_schematic(monkeypatch):
    def broken(*_):
        raise RuntimeError("no display")

    monkeypatch.setattr(race, "gl_backend", lambda: "egl")
    monkeypatch.setattr("obd.render.mujoco_frames.open_context", broken)
    with RaceFilm([Panel("a", "#ff0000", gliding("Hopper-v5", 1.0))], width=320, height=180) as film:
        assert film.paint(3).std() > 5
        assert film.drawn_by == {"schematic"}


def test_what_cannot_race_is_a_sentence(linear_policy):
    pictures = Trajectory(
        **{**vars(gliding("Hopper-v5", 0.0)), "qpos": np.zeros((101, 0)), "env_id": "Pendulum-v1"},
    )
    with pytest.raises(ObdError, match="side by side"):
        RaceFilm([Panel("a", "#ff0000", pictures)])
    with pytest.raises(ObdError, match="side by side"):
        RaceFilm([Panel("a", "#ff0000", gliding("Hopper-v5", 0)), Panel("b", "#00ff00", gliding("Walker2d-v5", 0))])
    with pytest.raises(ObdError, match="does not travel"):
        RaceFilm([Panel("a", "#ff0000", record("Reacher-v5", linear_policy(10, 2), 0))])
    with pytest.raises(ObdError, match="at least one"):
        RaceFilm([])
