"""Starting runs from a page, the queue they wait in, and starting again from the settings of an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import streamlit as st

from obd.config import PRESETS, DistillConfig, options
from obd.errors import ObdError
from obd.runs.store import Run
from obd.teachers.files import list_teachers
from obd.ui import state
from obd.ui.sentences import distinct, group_label
from obd.ui.theme import ALL_OBJECTIVE_KEYS, style


def start(configs: Sequence[DistillConfig], name: str = "") -> str:
    """Queue the runs, make them the ones on show and return their group.

    The same runs a second time, as of a double click, are not queued: they would come out the same, byte for byte.
    A built-in dataset that is missing is collected by the queue, which reports its progress in the run's status.
    Raises ObdError when the runs directory cannot be written, or when a teacher is missing or not of the right kind:
    better now than when it is the run's turn.
    """
    check_teachers(configs)
    queue = state.job_queue()
    group = queue.find(configs)
    if group is not None:
        st.toast(
            "This run is under way already; another seed or another setting makes a new one.", icon=":material/info:"
        )
    else:
        group = queue.submit(configs, name=name)
    state.select_group(group)
    return group


def check_teachers(configs: Sequence[DistillConfig]) -> None:
    """Raise ObdError if a run needs a teacher that there is not, or action values that its teacher does not have."""
    from obd.objectives import needs_teacher, needs_values  # imports torch, which drawing the form must not wait for

    for config in configs:
        if not needs_teacher(config.objective):
            continue
        if not config.teacher and not list_teachers(config.dataset, ""):  # none is shipped for it
            raise ObdError(
                f"{style(config.objective).label} imitates a teacher, and there is none for this dataset yet: teach "
                "one on the Data page, or choose DBC alone."
            )
        teacher = state.teacher(config.dataset, config.teacher)
        if needs_values(config.objective):
            teacher.check_has_values()


def fill_form(configs: Sequence[DistillConfig]) -> None:
    """Put the settings of a group into the form (:func:`obd.ui.widgets.settings_form`); a widget's callback."""
    config = configs[0]
    preset = config.preset if config.preset in PRESETS else "default"
    values = dataclasses.asdict(config)
    if state.dataset_info(config.dataset) is not None:  # else it has been deleted: keep the one chosen
        st.session_state["dataset"] = config.dataset
    st.session_state["teacher of a run"] = (config.dataset, config.teacher)  # see obd.ui.teacher_choice
    chosen = {one.objective for one in configs}
    st.session_state["objectives"] = [key for key in ALL_OBJECTIVE_KEYS if key in chosen]
    st.session_state["preset"] = preset
    for name in options(DistillConfig):
        scope = "main" if name in ("size", "seconds", "seed", "teacher") else preset
        value = values[name]
        if name in ("dataset", "objective", "preset") or (name == "seconds" and value is None):
            continue
        st.session_state[f"setting {scope} {name}"] = value


def queue_panel(shown: str | None) -> None:
    """What is going on elsewhere and what waits; draws nothing when only the group on ``shown`` is at work."""
    queue = state.job_queue()
    active, waiting = queue.active(), queue.waiting()
    if not waiting and active in (None, shown):
        return
    groups = state.groups()
    labels = distinct({name: _label(runs) for name, runs in groups.items()})  # those of the list of runs
    st.markdown("**Queue**")
    for place, group in enumerate([active, *waiting] if active else waiting):
        if group not in groups:
            continue
        now = group == active
        label, button = st.columns([5, 1], vertical_alignment="center")
        label.caption(f"{'Now' if now else f'{place}.' if active else f'{place + 1}.'} {labels[group]}")
        if now and group != shown:
            if button.button("", icon=":material/visibility:", key=f"show {group}", type="tertiary", help="Watch it"):
                state.select_group(group)
                st.rerun()
        elif not now and button.button(
            "", icon=":material/close:", key=f"unqueue {group}", type="tertiary", help="Take it out of the queue"
        ):
            queue.stop(group)
            st.rerun()


def _label(runs: Sequence[Run]) -> str:
    try:
        return group_label(runs)
    except (ObdError, IndexError):
        return "a run that cannot be read"
