from __future__ import annotations

import os
import subprocess
import sys

import gymnasium
import pytest

from obd.render import backend


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """No remembered answers, and the environment as it was afterwards."""
    monkeypatch.setattr(backend, "_found", {})
    for name in ("MUJOCO_GL", "OBD_RENDERER"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setenv("OBD_RENDERER", "")


def test_schematic_is_never_probed(monkeypatch):
    monkeypatch.setenv("OBD_RENDERER", "schematic")
    monkeypatch.setattr(backend, "works", lambda name: pytest.fail("probed"))
    assert backend.gl_backend() is None


def test_takes_the_first_that_works_and_asks_once(monkeypatch):
    tried = []
    monkeypatch.setattr(backend, "candidates", lambda request: ("egl", "osmesa"))
    monkeypatch.setattr(backend, "works", lambda name: tried.append(name) or name == "osmesa")
    assert backend.gl_backend() == backend.gl_backend() == "osmesa"
    assert tried == ["egl", "osmesa"]
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_none_works(monkeypatch):
    monkeypatch.setattr(backend, "works", lambda name: False)
    assert backend.gl_backend() is None


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("Linux", {}, ("egl", "osmesa")),
        ("Linux", {"DISPLAY": ":0"}, ("glfw", "egl", "osmesa")),
        ("Linux", {"MUJOCO_GL": "osmesa"}, ("osmesa",)),
        ("Linux", {"MUJOCO_GL": "disable"}, ()),
        ("Darwin", {}, ("cgl", "glfw")),
        ("Windows", {}, ("glfw",)),
    ],
)
def test_candidates(monkeypatch, system, variables, expected):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(backend.platform, "system", lambda: system)
    assert backend.candidates() == expected
    assert backend.candidates("egl") == ("egl",)


def test_a_probe_that_hangs_or_cannot_start_fails(monkeypatch):
    monkeypatch.setattr(backend, "PROBE", "import time; time.sleep(60)")
    assert backend.works("egl", timeout=0.3) is False
    monkeypatch.setattr(backend.sys, "executable", "/nowhere/python")
    assert backend.works("egl") is False


def test_a_black_probe_fails(monkeypatch):
    monkeypatch.setattr(backend, "PROBE", backend.PROBE.replace("probe()))", "0.0))"))
    assert "0.0))" in backend.PROBE
    assert backend.works("egl") is False


def test_a_bright_probe_works(monkeypatch):
    monkeypatch.setattr(backend, "PROBE", backend.PROBE.replace("probe()))", "40.0))"))
    assert backend.works("egl") is True


def test_mujoco_writes_no_log(working_folder):
    backend.quiet_mujoco()
    gymnasium.make("HalfCheetah-v5", disable_env_checker=True).close()
    assert list(working_folder.iterdir()) == []


def test_works_after_mujoco_was_imported_without_a_backend():
    """The app's rollouts import MuJoCo long before the first video."""
    if backend.gl_backend() is None:
        pytest.skip("no OpenGL here")
    code = (
        "import mujoco\n"
        "from obd.render.renderer import make_renderer\n"
        "with make_renderer('Hopper-v5', 64, 48) as renderer:\n"
        "    assert renderer.kind == 'mujoco', renderer.kind\n"
    )
    variables = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "OBD_RENDERER")}
    variables["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    subprocess.run([sys.executable, "-c", code], env=variables, check=True, timeout=120)
