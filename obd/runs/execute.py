"""Carry out runs: load what they need, distil side by side, measure returns on the way, write everything down."""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from obd.config import DistillConfig
from obd.data.catalog import load_dataset
from obd.data.dataset import OfflineDataset
from obd.data.density import held_out_likelihood
from obd.data.identifiers import is_local
from obd.engine.distill import as_distilled, distill, never, seconds_per_step
from obd.engine.distilled import DistilledDataset
from obd.engine.machine import select_device
from obd.errors import Cancelled, ObdError
from obd.evaluation import evaluate
from obd.events import Checkpoint, Event, Finished, Progress, ShouldStop, Snapshot, Started
from obd.objectives import OuterTargets, needs_teacher, needs_values, run_targets
from obd.policy import EnsemblePolicy
from obd.runs.store import Run, finite, progress_row
from obd.students import train_students
from obd.teachers.files import shipped_teacher_path
from obd.teachers.teacher import Teacher, load_teacher

log = logging.getLogger(__name__)

WRITE_SECONDS = 0.5  # metrics and status are written this often
LIVE_STUDENTS, LIVE_EPISODES, LIVE_EVERY = 5, 1, 6  # while running: at every sixth snapshot
LIVE_SHARE = 0.4  # how much slower steps are while returns are measured beside them
FINAL_STUDENTS, FINAL_EPISODES = 10, 3
EVALUATION_SEED = 1_000_000  # start states and student seeds that no distillation sees


class Scale(Protocol):
    """What measuring needs of a dataset: a loaded one has it, and so has its line in the catalogue."""

    @property
    def env_id(self) -> str: ...

    @property
    def reference_returns(self) -> tuple[float, float] | None: ...


def teacher_path(config: DistillConfig) -> Path:
    """The teacher file a run uses; ObdError when there is none."""
    return Path(config.teacher) if config.teacher else shipped_teacher_path(config.dataset)


def open_teacher(config: DistillConfig, dataset: OfflineDataset) -> Teacher | None:
    """The teacher a run needs, None for DBC; ObdError when its file is missing, damaged or for another robot."""
    if not needs_teacher(config.objective):
        return None
    teacher = load_teacher(teacher_path(config))
    teacher.check_matches(dataset)
    if needs_values(config.objective):
        teacher.check_has_values()
    return teacher


def check_possible(config: DistillConfig, dataset: OfflineDataset) -> None:
    """Raise ObdError for what would make a run fail at its start, before a directory is made for it."""
    open_teacher(config, dataset)
    select_device(config.device)
    if config.size > len(dataset):
        raise ObdError(f"The dataset has {len(dataset):,} transitions; choose a size up to that.")


def measure(
    distilled: DistilledDataset,
    dataset: Scale,
    *,
    students: int = FINAL_STUDENTS,
    episodes: int = FINAL_EPISODES,
    ensemble: bool = True,
    seed: int = EVALUATION_SEED,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> dict[str, Any]:
    """Scores of fresh students on the set, and of their mean action: ``{"students": ..., "ensemble": ...}``."""
    began = time.perf_counter()
    policies = train_students(distilled, students, seed)
    student_seconds = (time.perf_counter() - began) / students
    values = {}
    parts: list[tuple[str, Sequence[Any]]] = [("students", policies)]
    if ensemble:
        parts.append(("ensemble", [EnsemblePolicy(tuple(policies))]))
    for name, members in parts:
        score = evaluate(
            dataset.env_id,
            members,
            dataset.reference_returns,
            episodes=episodes,
            seed=seed,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        values[name] = score.to_dict()
    values["students"]["student_seconds"] = round(student_seconds, 3)
    return values


class Recorder:
    """Writes the events of one run into its directory and notes which snapshots are to be measured."""

    def __init__(self, run: Run, config: DistillConfig, dataset: OfflineDataset, card: dict[str, Any]) -> None:
        self.run, self.config, self.dataset, self.card = run, config, dataset, card
        self.rows: list[dict[str, Any]] = []
        self.last_write = 0.0
        self.snapshot: Snapshot | None = None
        self.to_measure: DistilledDataset | None = None  # the newest set waiting for live rollouts
        self.to_measure_step = 0
        self.count = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.run.write_status(
                state="running", step=event.first_step, outer_steps=event.outer_steps, message="", started=time.time()
            )
        elif isinstance(event, Progress):
            self.rows.append(progress_row(event))
            if time.monotonic() - self.last_write > WRITE_SECONDS:
                self.flush(event)
        elif isinstance(event, Snapshot):
            self.snapshot = event
            self.run.write_snapshot(event)
            if self.count % LIVE_EVERY == 0:
                self.to_measure, self.to_measure_step = self.distilled(event), event.step
            self.count += 1
        elif isinstance(event, Checkpoint):
            self.flush(None)
            self.run.write_checkpoint(event)
            assert self.snapshot is not None
            self.run.write_distilled(self.distilled(self.snapshot))
        elif isinstance(event, Finished):
            self.flush(None)
            loss = None if event.step == 0 else finite(event.final_loss)
            initial = None if event.step == 0 else finite(event.initial_loss)
            self.run.write_status(step=event.step, seconds=event.seconds, loss=loss, initial_loss=initial)

    def distilled(self, snapshot: Snapshot) -> DistilledDataset:
        return as_distilled(self.config, self.dataset, snapshot, self.card | {"outer_steps": snapshot.step})

    def flush(self, event: Progress | None) -> None:
        rows, self.rows = self.rows, []
        self.run.append(rows)
        self.last_write = time.monotonic()
        if event is not None:
            self.run.write_status(step=event.step, seconds=event.seconds, loss=finite(event.loss))


def card(config: DistillConfig, dataset: OfflineDataset, teacher: Teacher | None) -> dict[str, Any]:
    """What a distilled set says about its origin; with density weights, also how well the density was known."""
    density = {"density_held_out": held_out_likelihood(dataset, config.seed)} if config.density_power else {}
    return density | {
        "dataset": dataset.id,
        "dataset_hash": dataset.content_hash,
        "transitions": len(dataset),
        "env_id": dataset.env_id,
        "licence": dataset.provenance.get("license", "unknown"),
        "teacher": None if teacher is None else teacher_path(config).name,
        "teacher_algorithm": None if teacher is None else teacher.algorithm,
        "objective": config.objective,
        "settings": config.to_dict() | {"teacher": Path(config.teacher).name},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


class GroupExecution:
    """Runs of one group, advancing side by side in one thread each at equal budget."""

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        live: bool = True,
        final: bool = True,
        load: Callable[..., OfflineDataset] | None = None,
    ) -> None:
        self.runs, self.live, self.final = list(runs), live, final
        self.load = load or load_dataset
        self.pausing: ShouldStop = never
        self.recorders: dict[str, Recorder] = {}
        self.calibrating = {run.id for run in self.runs}
        self.lock, self.agreed = threading.Lock(), threading.Event()
        self.per_step: dict[str, float] = {}
        self.common_steps = 0

    def __call__(self, should_stop: ShouldStop = never, pausing: ShouldStop = never) -> None:
        """Carry out all runs; problems of one run end up in its status and do not touch the others.

        Runs that ``should_stop`` ends before they are complete are ``paused`` if ``pausing`` says so, else ``stopped``.

        Raises:
            ObdError: the dataset cannot be opened (the runs are marked as failed).
        """
        self.pausing = pausing
        try:
            dataset = self._load(should_stop)
        except (ObdError, Cancelled) as error:
            state = self._ended() if isinstance(error, Cancelled) else "failed"
            for run in self.runs:
                run.write_status(state=state, message=str(error))
            if isinstance(error, ObdError):
                raise
            return
        threads = [
            threading.Thread(target=self._guarded, args=(run, dataset, should_stop), name=f"run-{run.id}", daemon=True)
            for run in self.runs
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if not (self.live and self._measure_next(dataset, should_stop)):
                time.sleep(0.1)
        if self.final:
            self._measure_final(dataset, should_stop)

    def _load(self, should_stop: ShouldStop) -> OfflineDataset:
        for run in self.runs:
            run.write_status(state="calibrating", message="Opening the dataset.")
        name = self.runs[0].config.dataset

        def on_progress(fraction: float) -> None:
            self.runs[0].write_status(message=f"Collecting the dataset: {100 * fraction:.0f} %.", collected=fraction)

        return self.load(name, on_progress=None if is_local(name) else on_progress, should_stop=should_stop)

    def _ended(self) -> str:
        """The state of a run that was ended before it was complete."""
        return "paused" if self.pausing() else "stopped"

    def _guarded(self, run: Run, dataset: OfflineDataset, should_stop: ShouldStop) -> None:
        torch.set_num_threads(1)  # the runs of a group share the cores; the targets come before the engine says so
        try:
            self._distil(run, dataset, should_stop)
        except Cancelled:
            self._finish(run, state=self._ended(), message="This was before the first step.")
        except ObdError as error:
            self._finish(run, state="failed", message=str(error))
        except Exception as error:
            log.exception("run %s failed", run.id)
            self._finish(run, state="failed", message=f"Unexpected {type(error).__name__}; the log has the details.")
        finally:
            self._calibrated(run)  # nobody waits for a run that is over

    def _finish(self, run: Run, **status: Any) -> None:
        try:
            run.write_status(**status)
        except ObdError as error:  # a full disk: nothing more can be written
            log.error("run %s: %s", run.id, error)

    def _distil(self, run: Run, dataset: OfflineDataset, should_stop: ShouldStop) -> None:
        config, checkpoint = run.config, run.checkpoint()
        agreed = int(run.status()["outer_steps"])  # before an interruption, even if that was before the first step
        if checkpoint is not None and checkpoint.step >= agreed:  # interrupted while its returns were measured
            run.write_status(state="evaluating" if self.final else "finished")
            return
        teacher = open_teacher(config, dataset)
        outer = run_targets(config, dataset, teacher)
        if checkpoint is not None:
            run.drop_after(checkpoint.step)
        if agreed:
            config = config.replace(steps=agreed)
        elif config.steps is None:
            config = config.replace(steps=self._common_steps(run, config, dataset, teacher, outer, should_stop))
            run.write_status(outer_steps=config.steps)
        self._calibrated(run)  # also if its count was known before
        recorder = Recorder(run, config, dataset, card(config, dataset, teacher))
        if checkpoint is not None:  # keep measuring every LIVE_EVERY-th snapshot
            recorder.count = len(run.snapshot_steps())
        self.recorders[run.id] = recorder
        result = distill(
            config, dataset, teacher, on_event=recorder, should_stop=should_stop, checkpoint=checkpoint, outer=outer
        )
        run.write_distilled(recorder.distilled(recorder.snapshot) if recorder.snapshot else result)
        complete = run.status()["step"] >= run.status()["outer_steps"]
        state = "evaluating" if self.final and complete else "finished" if complete else self._ended()
        run.write_status(state=state)

    def _common_steps(
        self,
        run: Run,
        config: DistillConfig,
        dataset: OfflineDataset,
        teacher: Teacher | None,
        outer: OuterTargets,
        should_stop: ShouldStop,
    ) -> int:
        """Outer steps that fit into the time budget when all runs of the group work at once; the same for each."""
        run.write_status(message="Measuring the speed of this machine.")
        self.calibration_began = time.perf_counter()
        self.per_step[run.id] = seconds_per_step(config, dataset, teacher, outer, should_stop)
        self._calibrated(run)
        self.agreed.wait()  # however long the others take: a race has equal steps
        return self.common_steps

    def _calibrated(self, run: Run) -> None:
        """Nobody has to wait for the speed of this run (any more); the last one settles the number of steps."""
        with self.lock:
            self.calibrating.discard(run.id)
            if self.calibrating or self.agreed.is_set():
                return
            if self.per_step:
                self._agree()
            self.agreed.set()

    def _agree(self) -> None:
        budget = self.runs[0].config.seconds
        assert budget is not None
        left = budget - (time.perf_counter() - self.calibration_began)
        slower = 1 + LIVE_SHARE if self.live else 1.0
        self.common_steps = max(1, round(left / (slower * max(self.per_step.values()))))

    # -- returns ---------------------------------------------------------------------------------------------

    def _measure_next(self, dataset: OfflineDataset, should_stop: ShouldStop) -> bool:
        """Roll out students of one waiting snapshot; False when none waits."""
        waiting = [r for r in list(self.recorders.values()) if r.to_measure is not None]
        if not waiting:
            return False
        recorder = min(waiting, key=lambda r: r.to_measure_step)
        distilled, step = recorder.to_measure, recorder.to_measure_step
        assert distilled is not None
        recorder.to_measure = None
        try:
            values = measure(
                distilled,
                dataset,
                students=LIVE_STUDENTS,
                episodes=LIVE_EPISODES,
                ensemble=False,
                should_stop=should_stop,
            )
            recorder.run.append([{"kind": "evaluated", "step": step, "score": values["students"]}])
        except Cancelled:
            pass
        except ObdError as error:
            log.warning("live evaluation of %s: %s", recorder.run.id, error)
        return True

    def _measure_final(self, dataset: OfflineDataset, should_stop: ShouldStop) -> None:
        """Measure the finished runs; a stop or an error leaves the run finished without a score, a pause does not."""
        for run in self.runs:
            if run.status()["state"] != "evaluating":
                continue
            message = ""
            try:
                run.write_evaluation(measure(run.distilled(), dataset, should_stop=should_stop))
            except Cancelled:
                if self.pausing():  # measured when the run goes on
                    self._finish(run, state="paused")
                    continue
                message = "The evaluation was stopped; the distilled set is complete."
            except ObdError as error:
                message = str(error)
            self._finish(run, state="finished", message=message)
