"""The playground of one browser tab: a thread that distils, and when it makes frames (:mod:`obd.ui.playground_frame`).

The thread owns the distillations and never calls Streamlit.  The page configures it, hands over what was done by hand
and reads frames; when nobody reads any more (the tab is gone) the thread ends, and comes back with the next reader.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from obd.data.pendulum import MAX_SPEED
from obd.engine.playground import MEASURED, Playground, Settings, student_returns
from obd.ui.playground_frame import Bytes, lane_frame, measured, problem, references, still_life

log = logging.getLogger(__name__)

STEPS_PER_SECOND = 30.0  # enough to see; the rest of the core is left to others
FRAME_SECONDS, RETURN_SECONDS = 0.08, 0.7
GONE_SECONDS = 5.0  # without a reader
ROUND, ROUND_SECONDS = 400, 20.0  # steps or time until a pause: a forgotten tab keeps neither a core nor a line busy
EPISODES, CROWD = 24, 40  # per measured return; students of the crowd
HISTORY = 100  # points of a curve
INNER_PER_SECOND, INNER_PAUSE = 10, 15  # speed of the inner loop's film; its last picture stays a moment
INNER_ROUNDS = 2  # of that film


@dataclass(frozen=True)
class Lane:
    """One distillation in the picture.

    A frozen one keeps its points (random selection); with ``shipped`` it starts from the set in ``assets``.
    """

    settings: Settings
    label: str
    frozen: bool = False
    shipped: bool = False

    def begin(self) -> Playground:
        """The distillation at its start."""
        ground = Playground(problem(), self.settings)
        stored = measured()
        if self.shipped and "points" in stored:
            ground.start_from(np.array(stored["points"]), np.array(stored["log_rates"]))
        return ground


@dataclass(frozen=True)
class Scene:
    """What the thread works on.

    Attributes:
        name: a new name starts afresh; the same name with other settings goes on with the points where they are.
        lanes: distillations side by side, one outer step each in turn.
        mode: "outer" takes outer steps while playing; "inner" runs the inner loop over and over and stays where it is.
        crowd: also measure 40 fresh students.
    """

    name: str
    lanes: tuple[Lane, ...]
    mode: str = "outer"
    crowd: bool = False
    autoplay: bool = True


_RUNNING: weakref.WeakSet[Runner] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """A thread inside PyTorch while the interpreter is taken down would abort the process."""
    for tab in list(_RUNNING):
        tab.close()


class Runner:
    """The thread of one tab and its state; all methods may be called from the page's thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._scene: Scene | None = None
        self._wanted: Scene | None = None
        self._grounds: list[Playground] = []
        self._edits: list[Mapping[str, Any]] = []
        self._frame: Bytes | None = None
        self._thread: threading.Thread | None = None
        self._read = time.monotonic()
        self.playing = True
        self.error = False
        self._closed = False
        self.acknowledged = 0
        self.browser_has_code = False
        self._inner: int | None = None
        self._returns: list[list[tuple[int, float]]] = []
        self._crowd: list[float] = []
        self._until = ROUND
        self._times: deque[float] = deque(maxlen=60)
        self._measured = self._due = self._began = 0.0

    # -- for the page --------------------------------------------------------------------------------------------

    def show(self, scene: Scene) -> None:
        """Work on ``scene`` from now on."""
        with self._lock:
            if scene == self._wanted:
                return
            fresh = self._wanted is None or scene.name != self._wanted.name
            self._wanted = scene
            if fresh:
                self._frame = None
                self.playing = scene.autoplay
            self._lock.notify_all()

    def moving(self, scene: Scene) -> bool:
        """Whether another frame is to come: while playing, until a pause or a new scene is shown, and after an edit."""
        with self._lock:
            known = self._frame is not None and self._frame["playing"] == self.playing
            return self.playing or not known or self._scene != scene or bool(self._edits)

    def edit(self, edits: Sequence[Mapping[str, Any]], scene: str | None = None) -> None:
        """Hand over what was done in the browser; each edit has a rising ``seq`` and is applied once.

        What still comes from another ``scene`` than the one that is shown now is too late.
        """
        with self._lock:
            if scene is not None and (self._wanted is None or self._wanted.name != scene):
                return
            known = self._edits[-1]["seq"] if self._edits else self.acknowledged
            self._edits += [edit for edit in edits if isinstance(edit.get("seq"), int) and edit["seq"] > known]
            self._lock.notify_all()

    def frame(self, patience: float = 0.2) -> Bytes | None:
        """The latest frame; waits a moment for the first one, or for one that knows all edits."""
        with self._lock:
            self._read = time.monotonic()
            if self._thread is None or not self._thread.is_alive():
                self.error = False
                self._thread = threading.Thread(target=self._run, name="playground", daemon=True)
                self._thread.start()
                _RUNNING.add(self)
            first = self._frame is None
            self._lock.wait_for(
                lambda: self.error or (self._frame is not None and not self._edits), patience if first else 0.5
            )
            return self._frame

    def close(self) -> None:
        """End the thread for good."""
        with self._lock:
            self._closed, thread = True, self._thread
            self._lock.notify_all()
        if thread is not None:
            thread.join(10)

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            torch.set_num_threads(1)
            still_life()
            self._began = time.monotonic()
            self._loop()
        except Exception:
            log.exception("the playground failed")
            with self._lock:
                self.error, self._thread = True, None
                self._lock.notify_all()

    def _loop(self) -> None:
        drawn = 0.0
        while True:
            now = time.monotonic()
            with self._lock:
                if self._closed or now - self._read > GONE_SECONDS:
                    self._thread = None
                    return
                scene, edits = self._wanted, list(self._edits)
            if scene is None:
                time.sleep(0.01)
                continue
            changed = self._follow(scene)
            for edit in edits:
                self._apply(edit)
            playing = self.playing
            if playing and scene.mode == "outer":
                self._outer_step()
            if self.playing and scene.mode == "inner":
                self._film(now)
            if changed or edits or playing != self.playing or (playing and now - drawn >= FRAME_SECONDS):
                self._publish(
                    scene, edits, measure=changed or not self.playing or now - self._measured > RETURN_SECONDS
                )
                drawn = now
            self._rest(scene)

    def _rest(self, scene: Scene) -> None:
        """Leave the core to others until the next step is due, or until something is wanted while paused."""
        if self.playing:
            pause = 1 / STEPS_PER_SECOND if scene.mode == "outer" else FRAME_SECONDS
            self._due = max(self._due + pause, time.monotonic() - pause)  # lost time is not made up for
            time.sleep(max(0.001, self._due - time.monotonic()))
        else:
            with self._lock:
                self._lock.wait_for(
                    lambda: self._closed or bool(self._edits) or self._wanted != self._scene, GONE_SECONDS / 2
                )

    def _follow(self, scene: Scene) -> bool:
        """Bring the distillations in line with the scene; whether anything changed."""
        if scene == self._scene:
            return False
        before, self._scene = self._scene, scene
        same = before is not None and before.name == scene.name and len(before.lanes) == len(scene.lanes)
        seeds = (
            same
            and before is not None
            and [a.settings.seed for a in before.lanes] == [b.settings.seed for b in scene.lanes]
        )
        if seeds:
            for ground, lane in zip(self._grounds, scene.lanes, strict=True):
                if ground.settings != lane.settings:
                    ground.adapt(lane.settings)
        else:
            self._grounds = [lane.begin() for lane in scene.lanes]
        self._afresh()
        return True

    def _afresh(self) -> None:
        self._returns = [[] for _ in self._grounds]
        self._crowd = []
        self._until = max(ground.steps for ground in self._grounds) + ROUND
        self._inner, self._began = None, time.monotonic()
        self._times.clear()

    def _outer_step(self) -> None:
        assert self._scene is not None
        for ground, lane in zip(self._grounds, self._scene.lanes, strict=True):
            if not lane.frozen:
                ground.step()
        self._times.append(time.monotonic())
        if self._grounds[-1].steps >= self._until or time.monotonic() - self._began > ROUND_SECONDS:
            self.playing = False

    def _film(self, now: float) -> None:
        """Show the next picture of the inner loop, or end the film with the trained student."""
        length = self._grounds[0].settings.inner_steps + INNER_PAUSE
        rounds, self._inner = divmod(int((now - self._began) * INNER_PER_SECOND), length)
        if rounds >= INNER_ROUNDS:
            self.playing, self._inner = False, None

    def _apply(self, edit: Mapping[str, Any]) -> None:
        """One thing done by hand; what makes no sense is ignored."""
        assert self._scene is not None
        kind, lane = edit.get("kind"), edit.get("lane", 0)
        ground = self._grounds[lane if isinstance(lane, int) and 0 <= lane < len(self._grounds) else 0]
        index = edit.get("index", -1)
        index = index if isinstance(index, int) else -1
        x, y, action = (_number(edit.get(name)) for name in ("x", "y", "action"))
        if kind == "move" and x is not None and y is not None:
            ground.move(index, x * np.pi, y * MAX_SPEED)
        elif kind == "add" and x is not None and y is not None:
            ground.add(x * np.pi, y * MAX_SPEED, action)
        elif kind == "turn" and action is not None:
            ground.turn(index, action)
        elif kind == "delete":
            ground.delete(index)
        elif kind == "inner":
            self.playing, self._inner = False, None if index < 0 else index
        elif kind == "pause":
            self.playing = False
        elif kind == "play":
            self.playing, self._inner, self._began = True, None, time.monotonic()
            self._until = max(g.steps for g in self._grounds) + ROUND
            self._times.clear()
        elif kind == "step":
            self.playing, self._inner = False, None
            self._outer_step()
        elif kind == "reset":
            self._grounds = [lane.begin() for lane in self._scene.lanes]
            self._afresh()

    def _publish(self, scene: Scene, edits: Sequence[Mapping[str, Any]], measure: bool) -> None:
        """Make the next frame; the edits it knows are acknowledged with it."""
        students = []
        for number, ground in enumerate(self._grounds):
            if not self.playing and ground.steps == 0:
                ground.look()  # so that there are arrows before the first step
            students.append(ground.students(inner_steps=self._inner))
            if measure and self._inner is None:
                key = (ground.steps, float(student_returns(students[-1], problem(), EPISODES).mean()))
                self._returns[number] = [*[p for p in self._returns[number] if p[0] != key[0]][-HISTORY:], key]
        if measure:
            self._measured = time.monotonic()
        if scene.crowd and (measure or not self._crowd):
            crowd = self._grounds[-1].students(CROWD, MEASURED)
            self._crowd = [float(x) for x in student_returns(crowd, problem(), 8).mean(1)]
        lanes = [
            lane_frame(ground, student, returns, lane.label, lane.frozen)
            for lane, ground, student, returns in zip(scene.lanes, self._grounds, students, self._returns, strict=True)
        ]
        span = self._times[-1] - self._times[0] if len(self._times) > 5 else 0.0
        frame = {
            "playing": self.playing,
            "inner": self._inner,
            "rate": round((len(self._times) - 1) / span, 1) if span else 0,
            "lanes": lanes,
            "crowd": [round(value) for value in self._crowd],
        }
        with self._lock:
            if edits:
                self.acknowledged = int(edits[-1]["seq"])
                del self._edits[: len(edits)]
            if self._wanted == scene:
                self._frame = frame | {"ack": self.acknowledged, "references": references()}
            self._lock.notify_all()


def _number(value: Any) -> float | None:
    """A finite number from the browser, or None."""
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
