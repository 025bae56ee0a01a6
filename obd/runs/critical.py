"""Measure the states of a run: what ``python -m obd criticality`` prints and the States page shows."""

from __future__ import annotations

import contextlib

from obd.data.dataset import OfflineDataset
from obd.errors import ObdError
from obd.insight.report import (
    OnProgress,
    Reference,
    SetReport,
    ShouldStop,
    ignore,
    measure_reference,
    measure_set,
    never,
)
from obd.runs.execute import teacher_path
from obd.runs.store import Run
from obd.students import random_selection
from obd.teachers.teacher import load_teacher


def measured_step(run: Run, step: int | None = None) -> int:
    """``step`` if the run has a snapshot of it, the newest without one; ObdError when there is none."""
    steps = run.snapshot_steps()
    if not steps:
        raise ObdError(f"{run.id} has no snapshot yet; wait for its first one or resume it.")
    if step is not None and step not in steps:
        raise ObdError(f"{run.id} has no snapshot after {step} outer steps; it has {', '.join(map(str, steps))}.")
    return steps[-1] if step is None else step


def reference_of_run(
    run: Run, dataset: OfflineDataset, on_progress: OnProgress = ignore, should_stop: ShouldStop = never
) -> Reference:
    """The measured data of a run; without a teacher for it, only what needs none."""
    teacher = None
    with contextlib.suppress(ObdError):
        teacher = load_teacher(teacher_path(run.config))
        teacher.check_matches(dataset)
    return measure_reference(dataset, teacher, on_progress=on_progress, should_stop=should_stop)


def report_of_run(
    run: Run,
    dataset: OfflineDataset,
    reference: Reference,
    step: int | None = None,
    on_progress: OnProgress = ignore,
    should_stop: ShouldStop = never,
) -> SetReport:
    """Compare a run's snapshot (by default the newest) with the data and with its first one.

    Raises:
        ObdError: the run has no snapshot yet, or one is damaged.
        Cancelled: ``should_stop()`` returned true.
    """
    end, start = run.snapshot(measured_step(run, step)), run.snapshot(run.snapshot_steps()[0])
    return measure_set(
        reference,
        end.observations,
        end.actions,
        start.observations,
        random_selection(dataset, run.config, run.config.seed).observations,
        on_progress=on_progress,
        should_stop=should_stop,
    )
