"""Measured states of runs for the page: one background task per dataset and one per run and snapshot."""

from __future__ import annotations

import time

import streamlit as st

from obd.errors import Cancelled, ObdError
from obd.insight.report import Reference, SetReport
from obd.runs.critical import reference_of_run, report_of_run
from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import state
from obd.ui.tasks import Task

Key = tuple[object, ...]


def measured_step(run: Run) -> int:
    """The snapshot that is measured: the last one of a run that is over; of one going on, the last one asked for."""
    newest = run.snapshot_steps()[-1]
    if run.status().get("state") not in ACTIVE_STATES:
        return newest
    return int(st.session_state.setdefault(f"measured {run.id}", newest))


def measure_newest(run: Run) -> None:
    """Let :func:`measured_step` of a run going on be its newest snapshot."""
    st.session_state[f"measured {run.id}"] = run.snapshot_steps()[-1]


def reference_task(run: Run) -> Task:
    """The measuring of the run's data, started on first use."""
    shelf, config = state.shelf(), run.config
    return state.tasks().start_once(
        reference_key(run),
        lambda task: reference_of_run(run, shelf.get(config.dataset), task.progress, task.should_stop),
        "measuring the data",
    )


def reference_key(run: Run) -> Key:
    return ("reference", run.config.dataset, run.config.teacher)


def reference(run: Run) -> Reference | None:
    """The measured data if they are ready, else None; starts nothing."""
    task = state.tasks().get(reference_key(run))
    found: Reference | None = task.result if task is not None and task.state == "done" else None
    return found


def report_key(run: Run, step: int) -> Key:
    return ("report", str(run.path), step)


def report(run: Run) -> SetReport | None:
    """The report of a run at its measured step; None while it is being made (and then it has been started)."""
    step = measured_step(run)
    shelf, config = state.shelf(), run.config
    before = reference_task(run)

    def work(task: Task) -> SetReport:
        while before.state == "running":
            task.progress(0.5 * before.fraction)
            time.sleep(0.05)
        if before.state == "cancelled":
            raise Cancelled
        if before.state == "failed":
            raise ObdError(before.error)
        dataset = shelf.get(config.dataset)
        return report_of_run(run, dataset, before.result, step, task.part(0.5, 1.0), task.should_stop)

    task = state.tasks().start_once(report_key(run, step), work, "measuring the states")
    found: SetReport | None = task.result if task.state == "done" else None
    return found


def forget(run: Run) -> None:
    """Let a measurement that failed or was cancelled be tried again."""
    state.tasks().forget(reference_key(run))
    state.tasks().forget(report_key(run, measured_step(run)))
