"""Which OpenGL MuJoCo can use on this machine, found out without risking the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from typing import Any

SCHEMATIC = "schematic"
BACKENDS = ("egl", "osmesa", "glfw", "cgl", "wgl")
PROBE_SECONDS = 30.0

# Renders in a worker thread, as the app does: some drivers work in the main thread only.
PROBE = """
import threading
from obd.render.mujoco_frames import probe
result = []
thread = threading.Thread(target=lambda: result.append(probe()))
thread.start()
thread.join()
raise SystemExit(0 if result and result[0] > 1 else 1)
"""

_lock = threading.Lock()
_found: dict[str, str | None] = {}


def gl_backend() -> str | None:
    """The OpenGL backend for MuJoCo, or None if there is none and the schematic renderer must serve.

    The first call renders one tiny frame in a subprocess per candidate (about a second) and sets ``MUJOCO_GL``
    to the first that does not come out black; later calls return the remembered answer.  The environment variable
    ``OBD_RENDERER`` decides instead: ``schematic`` gives None, ``egl``, ``osmesa`` or ``glfw`` tries that one only.
    Never raises.
    """
    request = os.environ.get("OBD_RENDERER", "").strip().lower()
    if request == SCHEMATIC:
        return None
    with _lock:
        if request not in _found:
            _found[request] = next((name for name in candidates(request) if works(name)), None)
        backend = _found[request]
        if backend is not None:
            os.environ["MUJOCO_GL"] = backend
        return backend


def likely_backend() -> str | None:
    """What :func:`gl_backend` remembers or, without asking, its first candidate: for a process that may crash."""
    request = os.environ.get("OBD_RENDERER", "").strip().lower()
    if request == SCHEMATIC:
        return None
    return _found[request] if request in _found else next(iter(candidates(request)), None)


def proven() -> bool:
    """Whether :func:`gl_backend` can answer without trying anything."""
    request = os.environ.get("OBD_RENDERER", "").strip().lower()
    return request == SCHEMATIC or request in _found


def remember(backend: str | None) -> None:
    """Take ``backend`` for what works here (None: nothing does), because it has just been tried."""
    with _lock:
        _found[os.environ.get("OBD_RENDERER", "").strip().lower()] = backend
        if backend is not None:
            os.environ["MUJOCO_GL"] = backend


def candidates(request: str = "") -> tuple[str, ...]:
    """Backends worth a try, best first.  ``request`` is the value of ``OBD_RENDERER``."""
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    system = platform.system()
    if request in BACKENDS:
        return (request,)
    if chosen in ("disable", "disabled", "off", "false", "0"):
        return ()
    if system == "Darwin":
        return ("cgl", "glfw")
    if system == "Windows":
        return ("glfw",)
    if chosen in BACKENDS:
        return (chosen,)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ("glfw", "egl", "osmesa")
    return ("egl", "osmesa")


def works(backend: str, timeout: float = PROBE_SECONDS) -> bool:
    """Whether a subprocess that uses ``backend`` renders a frame that is not black within ``timeout`` seconds."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        finished = subprocess.run(
            [sys.executable, "-c", PROBE],
            env={**os.environ, "MUJOCO_GL": backend, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return finished.returncode == 0


def quiet_mujoco() -> None:
    """Keep MuJoCo's warnings out of MUJOCO_LOG.TXT, which it would write into the working directory."""
    import mujoco

    mujoco.set_mju_user_warning(_drop)


def _drop(_message: Any) -> None:
    """MuJoCo's warnings concern deprecated XML of the environments' models: nothing a user can change."""
