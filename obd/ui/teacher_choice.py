"""Choosing a teacher: the shipped one, those taught here, and files that were opened."""

from __future__ import annotations

import time
from pathlib import Path

import streamlit as st

from obd.teachers import ALGORITHMS
from obd.teachers.files import TeacherFile, list_teachers
from obd.ui import state
from obd.ui.sentences import distinct, points

KEPT = "teacher of a run"  # (dataset, path) of a run whose settings were taken over: offered though it is not listed
CHOICE = "setting main teacher"  # the widget's key: "" is the shipped teacher


def choose_teacher(dataset_id: str) -> str:
    """A selectbox of the teachers that fit a dataset; the path of the chosen one, "" for the shipped."""
    info = state.dataset_info(dataset_id)
    files = list_teachers(dataset_id, info.env_id if info else "")
    labels = distinct({file.path: label(file) for file in files})
    if not files:
        labels = {"": "None yet: teach one on the Data page"}
    kept_for, kept = st.session_state.get(KEPT, ("", ""))
    if kept and kept_for == dataset_id and kept not in labels and Path(kept).is_file():
        labels[kept] = Path(kept).stem
    if st.session_state.get(CHOICE, "") not in labels:  # of another dataset, or deleted
        st.session_state[CHOICE] = next(iter(labels))
    return str(
        st.selectbox(
            "Teacher",
            list(labels),
            format_func=lambda path: labels.get(path, path),
            help="The policy that PBC and Av-PBC imitate. DBC uses none. More are taught or opened on the Data page.",
            key=CHOICE,
            persist_state="session",
        )
    )


def label(file: TeacherFile) -> str:
    """``ReBRAC, return 52.3 (22 Nov 20:51)``."""
    row = ALGORITHMS.get(file.algorithm)
    text = row.label if row else file.algorithm.upper()
    if file.score is not None:
        text += f", return {points(file.score)}" + ("" if file.normalized else " raw")
    return f"{text} ({when(file.created) or file.origin})" + ("" if file.has_values else ", no action values")


def when(created: str) -> str:
    """``2025-11-22 20:51`` as ``22 Nov 20:51``: the list is narrow.  Text of another form is left as it is."""
    try:
        return time.strftime("%d %b %H:%M", time.strptime(created, "%Y-%m-%d %H:%M"))
    except ValueError:
        return created


def upload(dataset_id: str) -> None:
    """Open a teacher file; it is checked, kept, and chosen on the Distil page.  Raises ObdError for a wrong file."""
    from obd.runs.teaching import open_teacher_file  # imports torch, which listing teachers must not wait for

    info = state.dataset_info(dataset_id)
    uploaded = st.file_uploader(
        "Open a teacher file",
        type=["safetensors", "zip"],
        key="teacher upload",
        help="Written by `python -m obd teach`, or the zip of a stable-baselines3 policy (SAC, TD3, TQC). It "
        "is checked and never executed.",
    )
    if uploaded is None or info is None:
        return
    path = open_teacher_file(uploaded.name, uploaded.getvalue(), info.env_id)
    if st.session_state.get("teacher opened") != str(path):
        st.session_state["teacher opened"] = st.session_state[CHOICE] = str(path)
    st.success("This teacher is open: the Distil page offers it.", icon=":material/check:")
