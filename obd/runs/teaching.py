"""Teaching in the background: train a teacher, measure its return on the way, stop on a plateau, keep the best.

A :class:`Teaching` is a plain object that a page polls.  The result is one teacher file in the user's data folder,
with its card (dataset, settings, score) in the file's metadata.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from obd.data.dataset import OfflineDataset
from obd.data.identifiers import check_id
from obd.errors import ObdError
from obd.evaluation import Score, evaluate
from obd.events import ShouldStop
from obd.paths import teachers_dir
from obd.teachers import DEFAULT_PRESET, algorithm, behaviour_cloning, teacher_config
from obd.teachers.import_policy import import_policy
from obd.teachers.teacher import Teacher, load_teacher, save_teacher
from obd.teachers.training import Session

log = logging.getLogger(__name__)

CHECKS = 20  # returns measured over the whole budget
PATIENCE = 8  # of them without a new best: a plateau, once the policy is better than the data's mean episode
MARGIN = 0.01  # a new best is better by this part of the span between the data's worst and best episode
LIVE_EPISODES, FINAL_EPISODES = 3, 10
LIVE_SEED, FINAL_SEED = 2_000_000, 3_000_000  # start states of the live and of the final measurement
SLICE_SECONDS = 0.3  # between two rows of the curve
LARGEST_FILE = 64 * 2**20
Progress = Callable[[float], None]


@dataclass(frozen=True)
class TeachRequest:
    """What to train.  ``seconds`` is the time budget; None leaves it to the preset.

    ``best_share`` is for algorithms that have this setting; None leaves it to the preset.
    """

    dataset: str
    algorithm: str
    preset: str = DEFAULT_PRESET
    seconds: float | None = None
    steps: int | None = None
    seed: int = 0
    best_share: float | None = None

    def config(self) -> Any:
        """Settings of the algorithm; ObdError when they are not valid."""
        changes = {"seconds": self.seconds, "steps": self.steps, "best_share": self.best_share}
        given = {name: value for name, value in changes.items() if value is not None}
        return teacher_config(self.algorithm, self.preset, self.dataset, seed=self.seed, **given)


@dataclass(frozen=True)
class Measured:
    """A return measured after ``step`` updates: normalised if the dataset has reference scores, else raw."""

    step: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Taught:
    """The result: the file, the update it was kept from and the scores of the kept and of the last network.

    ``errors`` are the two networks' errors on held-out episodes where these decided (behaviour cloning), else None.
    """

    path: Path
    kept_step: int
    score: Measured
    last: Measured
    plateau: bool
    stopped: bool
    steps: int
    seconds: float
    errors: tuple[float, float] | None = None


@dataclass
class Teaching:
    """A training that can be watched.

    Attributes:
        losses: one row per third of a second: ``step`` and the algorithm's losses.
        returns: measured so far.
        total: number of updates, 0 while it is not known.
        phase: "opening", "training", "measuring" or "over".
        taught: the result once there is one.
    """

    request: TeachRequest
    losses: list[dict[str, float]] = field(default_factory=list)
    returns: list[Measured] = field(default_factory=list)
    step: int = 0
    total: int = 0
    rate: float = 0.0
    phase: str = "opening"
    normalized: bool = True
    taught: Taught | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End after the current update and keep what has been learned."""
        self._stop.set()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def run(
        self,
        open_dataset: Callable[[], OfflineDataset],
        on_progress: Progress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Taught:
        """Train to the end of the budget, to a plateau or to :meth:`stop`; write the best network and its card.

        Raises:
            Cancelled: ``should_stop()`` returned true; nothing is written.
            ObdError: the dataset cannot be opened, the training diverged or the file cannot be written.
        """
        config = self.request.config()
        dataset = open_dataset()
        self.normalized = dataset.reference_returns is not None
        learner = algorithm(self.request.algorithm).learner(dataset, config)
        session = Session(learner, config)
        judge = _Judge(dataset, should_stop, validates=isinstance(learner, behaviour_cloning.Learner))
        self.phase = "training"
        try:
            self._train(session, judge, on_progress, should_stop)
        finally:
            judge.close()
        self.phase = "measuring"
        self.taught = self._finish(session, dataset, judge, should_stop)
        self.phase = "over"
        return self.taught

    def _train(
        self, session: Session, judge: _Judge, on_progress: Progress | None, should_stop: ShouldStop | None
    ) -> None:
        going_on, measured_at = True, 0.0
        while going_on:  # one slice at least, so that even an early stop leaves a trained network
            going_on = session.advance(SLICE_SECONDS, should_stop)
            report = session.report()
            self.step, self.total = session.step, int(report["steps"])
            self.rate = report["updates_per_second"]
            self.losses.append({"step": float(session.step)} | session.metrics)
            if on_progress is not None:
                on_progress(0.95 * session.fraction)
            idle = judge.idle()
            self.returns = list(judge.returns)
            if judge.plateau() or self.stopping:
                break
            # Not before the number of updates is known: rollouts on the same cores would distort the calibration.
            if idle and session.total and session.fraction >= measured_at and going_on:
                measured_at = (int(session.fraction * CHECKS) + 1) / CHECKS
                judge.measure(session.step, session.teacher())

    def _finish(
        self, session: Session, dataset: OfflineDataset, judge: _Judge, should_stop: ShouldStop | None
    ) -> Taught:
        errors = None
        if judge.validates:  # the network with the lowest validation error, whatever its return
            learner: Any = session.learner
            result = learner.result()
            last = session.teacher()
            kept_step, kept, final = result.best_step, last, result.last_policy
            errors = (result.best_loss, result.last_loss)
        else:
            last = session.teacher()
            kept_step, kept = judge.best if judge.best is not None else (session.step, last)
            final = last.to_policy()
        scores = [
            measured_return(dataset, step, policy, FINAL_EPISODES, FINAL_SEED, should_stop)
            for step, policy in ((kept_step, kept.to_policy()), (session.step, final))
        ]
        if scores[1].mean > scores[0].mean and not judge.validates:  # the live measurement was lucky
            kept_step, kept, scores[0] = session.step, last, scores[1]
        self.returns = [*judge.returns, scores[1]]
        taught = Taught(
            path=teachers_dir() / file_name(self.request),
            kept_step=kept_step,
            score=scores[0],
            last=scores[1],
            plateau=judge.plateau() or session.learner.over,
            stopped=self.stopping,
            steps=session.step,
            seconds=round(session.seconds, 1),
            errors=errors,
        )
        card = {
            "created": time.strftime("%Y-%m-%d %H:%M"),
            "preset": self.request.preset,
            "normalized": self.normalized,
            **{key: value for key, value in asdict(taught).items() if key != "path"},
        }
        save_teacher(taught.path, replace(kept, details={**kept.details, "card": json.dumps(card)}))
        return taught


class _Judge:
    """Measures networks beside the training, remembers the best one and tells a plateau."""

    def __init__(self, dataset: OfflineDataset, should_stop: ShouldStop | None, validates: bool) -> None:
        self.dataset, self.should_stop, self.validates = dataset, should_stop, validates
        span = dataset.normalized(dataset.episode_returns)
        self.margin, self.data_mean = MARGIN * float(span.max() - span.min()), float(span.mean())
        self.returns: list[Measured] = []
        self.best: tuple[int, Teacher] | None = None
        self.best_mean = -float("inf")
        self.since_best = 0
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="teaching")
        self._pending: tuple[int, Teacher, Future[Measured]] | None = None

    def idle(self) -> bool:
        """Take over a finished measurement; False while one is going on."""
        if self._pending is None:
            return True
        step, teacher, future = self._pending
        if not future.done():
            return False
        self._pending = None
        result = future.result()
        self.returns.append(result)
        self.since_best += 1
        if result.mean > self.best_mean + self.margin or self.best is None:
            self.since_best = 0
        if result.mean > self.best_mean:
            self.best_mean, self.best = result.mean, (step, teacher)
        return True

    def measure(self, step: int, teacher: Teacher) -> None:
        policy = teacher.to_policy()
        future = self._pool.submit(measured_return, self.dataset, step, policy, LIVE_EPISODES, LIVE_SEED, self._stopped)
        self._pending = (step, teacher, future)

    def plateau(self) -> bool:
        """No new best for a while.  Behaviour cloning decides by its validation error instead.

        A policy below the data's mean has not begun to learn: returns often stay flat for a while before they rise.
        """
        return not self.validates and self.since_best >= PATIENCE and self.best_mean > self.data_mean

    def close(self) -> None:
        """Give up a measurement that is still going on."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._pending is not None and not self._pending[2].cancelled() and self._pending[2].exception() is None:
            self.idle()

    def _stopped(self) -> bool:
        return self._closing.is_set() or (self.should_stop is not None and self.should_stop())


def measured_return(
    dataset: OfflineDataset, step: int, policy: Any, episodes: int, seed: int, should_stop: ShouldStop | None
) -> Measured:
    """Mean return over episodes with its 95 % interval."""
    score: Score = evaluate(
        dataset.env_id, [policy], dataset.reference_returns, episodes=episodes, seed=seed, should_stop=should_stop
    )
    low, high = score.normalized_return_ci95
    return Measured(step, score.normalized_return_mean, low, high)


# -- teacher files ---------------------------------------------------------------------------------------------


def file_name(request: TeachRequest) -> str:
    stem = check_id(request.dataset).replace("/", "_")
    return f"{stem}__{request.algorithm}__{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.safetensors"


def open_teacher_file(name: str, content: bytes, env_id: str) -> Path:
    """Check an uploaded teacher file, keep it among the own teachers and return its path.

    A zip of stable-baselines3 is converted to one.

    Raises:
        ObdError: too large, not a teacher file, or for another environment than ``env_id``; nothing is kept.
    """
    shown = re.sub(r"[^\w.\- ]", "_", name)[:80]
    if len(content) > LARGEST_FILE:
        raise ObdError(f"The file {shown} is larger than {LARGEST_FILE // 2**20} MB; a teacher has a few.")
    folder = teachers_dir()
    target = folder / f"opened-{hashlib.sha256(content).hexdigest()[:12]}.safetensors"
    temporary = folder / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        if content.startswith(b"PK"):
            save_teacher(target, import_policy(temporary, "auto", env_id))
            return target
        teacher = load_teacher(temporary)
        if teacher.env_id != env_id:
            raise ObdError(f"The teacher {shown} is for {teacher.env_id}, the dataset is from {env_id}.")
        temporary.replace(target)
    except ObdError as error:
        text = str(error).replace(str(temporary), shown).replace(temporary.name, shown)
        raise ObdError(text) from error
    except OSError as error:
        raise ObdError(f"The teacher cannot be kept in {folder}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target
