"""The form that imports a file."""

from __future__ import annotations

import re
from pathlib import PurePath

import streamlit as st

from obd.config import DEFAULT_DATASET
from obd.data.identifiers import check_id
from obd.errors import ObdError
from obd.ui import datasets, state, widgets

KINDS = ["hdf5", "h5", "npz"]
ENVIRONMENTS = (
    "HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Swimmer-v5", "InvertedPendulum-v5", "Pendulum-v1",
)  # fmt: skip
TASK = "import task"  # in the session: the key of the import that was started last


def form() -> None:
    """File, environment and name; starts the import and reports on it."""
    st.subheader("Import your own data", anchor=False)
    st.markdown(
        "A D4RL-style **HDF5** or **NPZ** file with the arrays `observations`, `actions`, `rewards`, `terminals` and, "
        "if it has them, `timeouts`, `next_observations`, `infos/qpos` and `infos/qvel`. Errors that such files "
        "often carry are found, counted and told; they are repaired where that needs no guess. "
        "The file never leaves this machine."
    )
    upload = st.file_uploader("File", KINDS, key="import file", on_change=_another_file)
    left, right = st.columns(2)
    env_id = left.selectbox(
        "Environment",
        ENVIRONMENTS,
        accept_new_options=True,
        key="import env",
        persist_state="session",
        help="The Gymnasium environment it was recorded in; type any name that Gymnasium can make.",
    )
    suggestion = suggested_id(upload.name) if upload is not None else ""
    dataset_id = right.text_input(
        "Name of the dataset",
        key="import id",
        placeholder=suggestion or "mine/my-data-v0",
        persist_state="session",
        help="namespace/name-v0. Left empty, it is made from the file's name.",
    )
    licence = left.text_input(
        "Licence", key="import licence", placeholder="for its card", persist_state="session", max_chars=200
    )
    with right:
        st.space("small")
        recompute = st.checkbox("Recompute rewards by simulation", key="import recompute")
        drop = st.checkbox("Drop bad episodes (with NaN or infinity)", key="import drop")
        replace = st.checkbox("Replace the dataset of this name", key="import replace")
    key: datasets.Key = st.session_state.get(TASK) or ()
    task = state.tasks().get(key)
    running = task is not None and task.state == "running"
    if st.button("Import", type="primary", icon=":material/upload:", key="import start", disabled=running):
        if upload is None:
            widgets.show_error("Choose a file first.")
            return
        name = (dataset_id or "").strip() or suggestion
        check_id(name, new=True)
        st.session_state[TASK] = datasets.start_import(
            upload,
            PurePath(upload.name).name,
            str(env_id or "").strip(),
            name,
            recompute=recompute,
            drop_bad_episodes=drop,
            replace=replace,
            licence=licence.strip(),
        )
        st.rerun()
    if running:
        st.fragment(_progress, run_every=0.5)(key)
    elif task is not None and task.state == "failed":
        widgets.show_error(task.error)
        st.caption("Nothing was stored. The form is as you left it: change it and import again.")
    elif task is not None and task.state == "cancelled":
        st.info("The import was cancelled; nothing was stored.")
    elif task is not None:
        state.tasks().forget(key)
        state.datasets.clear()
        st.session_state["imported"] = task.result
        show(task.result)


def show(dataset_id: str) -> None:
    """Go to the card of a dataset."""
    st.session_state["dataset"] = dataset_id
    st.session_state["do"] = ""
    st.rerun()


def suggested_id(file_name: str) -> str:
    """A valid id from the name of a file, the default dataset's grammar: ``mine/name-v0``."""
    stem = PurePath(file_name).stem
    text = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:80] or "data"
    name = f"mine/{text}" if re.search(r"-v[0-9]+$", text) else f"mine/{text}-v0"
    try:
        return check_id(name, new=True)
    except ObdError:
        return f"mine/{PurePath(DEFAULT_DATASET).name}"


def _another_file() -> None:
    """Callback: what was said about the last file is over, unless it is still being imported."""
    key = st.session_state.get(TASK) or ()
    task = state.tasks().get(key)
    if task is not None and task.state != "running":
        state.tasks().forget(key)


def _progress(key: datasets.Key) -> None:
    task = state.tasks().get(key)
    if task is None or task.state != "running":
        st.rerun()
    widgets.task_progress(task, "Reading, checking and storing the file:")
    if st.button("Cancel", key="cancel import"):
        task.cancel()
