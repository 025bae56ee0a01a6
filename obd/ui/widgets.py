"""Pieces that several pages share: errors as sentences, the choice of a run, the form of the settings."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from obd.config import PRESETS, DistillConfig, Option, options, usual_preset
from obd.errors import ObdError
from obd.runs.store import Run
from obd.ui import router, state, teacher_choice
from obd.ui.sentences import distinct, group_label
from obd.ui.tasks import UNEXPECTED, Task
from obd.ui.theme import ALL_OBJECTIVE_KEYS, OBJECTIVE_KEYS, style, tag

log = logging.getLogger(__name__)

# Query parameters of a shareable link, which a page hands on to the next one.
ADDRESS = ("group", "objective", "view", "runs", "part", "over", "step", "dataset", "do", "who", "form")
LEFT_OUT = ("do", "who", "form")  # not in the address while they have their usual values

NOTICE_SECONDS = 10.0  # that the words about a missing run stay at least

PRESET_LABELS = {"default": "Ours (minutes)", "light": "Ours, light", "paper": "The paper's (hours)"}

# Fields that have their own widget, or that the app fills in itself.
PLACED = ("dataset", "objective", "size", "seconds", "seed", "preset", "teacher")


def show_error(error: ObdError | str) -> None:
    """One sentence in place."""
    st.error(str(error), icon=":material/error:")


@contextmanager
def page(name: str) -> Iterator[None]:
    """The body of a page: takes over its address and shows errors as sentences."""
    with guard():
        router.hand_over()
        back = _went_back()
        if st.session_state.get("page") != name or back:
            # The address counts on arrival and for the browser's back button only: while the page is open it follows
            # the widgets, and a timer's rerun may carry an address that is a moment old.
            st.session_state["page"] = name
            for part in ADDRESS:
                if part in st.query_params:
                    st.session_state[part] = st.query_params[part]
                elif back and part in LEFT_OUT:
                    st.session_state[part] = None
        yield
        st.session_state["unsent"] = {}  # see put


def _went_back() -> bool:
    """Whether this run was caused by the browser's back or forward button."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


@contextmanager
def guard() -> Iterator[None]:
    """Show an ObdError as its sentence; log anything unexpected to the terminal and say so plainly."""
    try:
        yield
    except ObdError as error:
        show_error(error)
    except Exception:  # Streamlit's own control flow (rerun, stop, switch page) is not an Exception
        log.exception("a page failed")
        show_error(UNEXPECTED)


def by_hand(callback: Callable[..., None]) -> Callable[..., None]:
    """``callback`` for a widget outside fragments, called only when somebody used the widget.

    A fragment's timer sends the widgets' values along, and these may be a moment older than what the script has just
    set; Streamlit takes that for a change.  Using a widget outside fragments always makes a full run.
    """

    def called(*args: Any) -> None:
        if not _in_fragment():
            callback(*args)

    return called


def _in_fragment() -> bool:
    """Whether this is not a run of the whole page."""
    context = get_script_run_ctx()
    return context is not None and bool(context.fragment_ids_this_run)


def put(key: str, value: object) -> None:
    """Give a widget its value before it is drawn, unless it has it already.

    A value that is set goes to the browser again, and there undoes a click that was made while the page was being
    drawn; a timer then sends the undone value along, and the click is lost.  But what a run sets that is cut short by
    the next one may never get there, so the next one sets it again; and as a widget may appear for the first time
    without the value that was set, each also has it as its default.
    """
    unsent = st.session_state.setdefault("unsent", {})
    if st.session_state.get(key) != value or (key in unsent and unsent[key] == value):
        st.session_state[key] = value
        if not _in_fragment():
            unsent[key] = value


def choose_group() -> tuple[str, list[Run]] | None:
    """The run to show: the one in the address, else the last one chosen, else the active or newest one.

    Draws the choice in the sidebar and keeps ``?group=`` in the address.  None when there is no run at all.
    """
    groups = state.groups()
    if not groups:
        return None
    wanted = st.session_state.get("group")
    active = state.job_queue().active()
    current = wanted if wanted in groups else active if active in groups else next(iter(groups))
    if wanted and wanted not in groups:
        st.session_state["missing run"] = (current, time.monotonic())
    instead, since = st.session_state.get("missing run", ("", 0.0))
    if instead == current and time.monotonic() - since < NOTICE_SECONDS:  # the page may run again by itself meanwhile
        st.warning("The run asked for is not here any more; this is another one.", icon=":material/info:")
    labels = distinct({name: _group_name(name, members) for name, members in groups.items()})
    put("run choice", current)
    st.sidebar.selectbox(
        "Run",
        list(groups),
        list(groups).index(current),
        format_func=lambda name: labels.get(name, name),
        key="run choice",
        on_change=by_hand(_group_chosen),
        help="A run holds one or several objectives that were started together.",
    )
    state.select_group(current)
    return current, groups[current]


def _group_chosen() -> None:
    st.session_state.pop("missing run", None)
    state.select_group(st.session_state["run choice"])


def _group_name(name: str, runs: Sequence[Run]) -> str:
    try:
        return "Showcase (shipped)" if name == state.SHOWCASE else group_label(runs)
    except (ObdError, IndexError):
        return name


def choose_objective(available: Sequence[str]) -> str:
    """One of the objectives of a run, kept in ``?objective=``."""
    wanted = st.session_state.get("objective")
    if wanted and wanted not in available:
        if wanted not in ALL_OBJECTIVE_KEYS:
            st.warning("There is no such objective; this is another one.", icon=":material/info:")
        wanted = None
    shown = wanted or available[-1]
    put("objective choice", shown)
    chosen = st.sidebar.segmented_control(
        "Objective",
        list(available),
        default=shown,
        format_func=objective_label,
        key="objective choice",
        required=True,
        on_change=by_hand(_follow),
        args=("objective",),
    )
    return _settled("objective", chosen)


def choose_view(views: dict[str, str]) -> str:
    """One of the projections, kept in ``?view=``."""
    wanted = st.session_state.get("view")
    if wanted and wanted not in views:
        st.warning("There is no such projection; this is another one.", icon=":material/info:")
    shown = wanted if wanted in views else next(iter(views))
    put("view choice", shown)
    chosen = st.sidebar.segmented_control(
        "Projection",
        list(views),
        default=shown,
        format_func=lambda view: views[view],
        key="view choice",
        required=True,
        on_change=by_hand(_follow),
        args=("view",),
    )
    return _settled("view", chosen)


def choose_part(name: str, words: dict[str, str]) -> str:
    """One of the parts of a page, by key, kept in ``?NAME=``; drawn where it is called."""
    kept = f"{name} of {st.session_state.get('page')}"  # pages that share the name have different parts
    wanted = st.session_state.get(name)
    wanted = wanted if wanted in words else st.session_state.get(kept)
    shown = wanted if wanted in words else next(iter(words))
    put(f"{name} choice", shown)
    chosen = st.segmented_control(
        name.capitalize(),
        list(words),
        default=shown,
        format_func=lambda key: words.get(key, key),
        key=f"{name} choice",
        required=True,
        label_visibility="collapsed",
        on_change=by_hand(_follow),
        args=(name,),
    )
    st.session_state[kept] = chosen
    return _settled(name, chosen)


def choose_several(
    name: str, words: dict[str, str], usual: Sequence[str], help_text: str, label: str = ""
) -> list[str]:
    """Any of the keys of ``words``; kept in ``?NAME=one,other`` unless they are the usual ones."""
    wanted = st.session_state.get(name)
    known = list(usual) if wanted is None else [key for key in words if key in wanted.split(",")]
    if wanted and not known:
        st.warning(f"None of “{plain(wanted[:80])}” is here; these are the usual ones.", icon=":material/info:")
        known = list(usual)
    if set(st.session_state.get(f"{name} choice") or ()) != set(known):  # in the order of the clicks; see put
        st.session_state[f"{name} choice"] = known
    chosen = st.pills(
        label or name.capitalize(),
        list(words),
        default=known,
        selection_mode="multi",
        format_func=lambda key: words.get(key, key),
        key=f"{name} choice",
        help=help_text,
        on_change=by_hand(_follow_several),
        args=(name, usual),
    )
    _settled_several(name, chosen, usual)
    return list(chosen)


def _follow_several(name: str, usual: Sequence[str]) -> None:
    _settled_several(name, st.session_state[f"{name} choice"], usual)


def _settled_several(name: str, chosen: Sequence[str], usual: Sequence[str]) -> None:
    """Remember a choice and put it into the address; the usual one is left out, so that it may grow with the runs."""
    st.session_state[name] = None if set(chosen) == set(usual) else ",".join(chosen)
    if st.session_state[name]:
        st.query_params[name] = st.session_state[name]
    else:
        st.query_params.pop(name, None)


def _follow(name: str) -> None:
    """Callback: the address follows the widget."""
    _settled(name, st.session_state[f"{name} choice"])


def _settled(name: str, chosen: Any) -> str:
    """Remember a choice for the other pages and put it into the address."""
    st.session_state[name] = str(chosen)
    st.query_params[name] = str(chosen)
    return str(chosen)


def plain(text: str) -> str:
    """``text`` so that Markdown shows it as it is: names that people gave are not formatted and load no pictures."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def objective_label(key: str) -> str:
    return f"{style(key).glyph} {style(key).label}"


def settings_form() -> tuple[list[DistillConfig] | None, bool]:
    """The sidebar form of the Distil page.

    Returns the settings of one run per chosen objective (None when they are not valid; the reason is shown) and
    whether Start was pressed.
    """
    catalogue = {info.id: info for info in state.datasets() if info.usable}
    described = options(DistillConfig)
    names = list(catalogue)
    if not names:
        show_error("There is no dataset to distil; build one with `python -m obd collect`.")
        return None, False
    if st.session_state.get("dataset") not in names:  # another page may show one that cannot be distilled yet
        st.session_state.pop("dataset", None)
    dataset = st.selectbox(
        "Dataset",
        names,
        format_func=lambda name: catalogue[name].title if name in catalogue else name,
        help=described["dataset"].help,
        key="dataset",
        persist_state="session",
    )
    objectives = st.pills(
        "Objectives",
        ALL_OBJECTIVE_KEYS,
        selection_mode="multi",
        default=OBJECTIVE_KEYS,
        format_func=objective_label,
        help="What the students imitate. Several are distilled side by side.",
        key="objectives",
        persist_state="session",
    )
    left, right = st.columns(2)
    values = {"dataset": dataset, "teacher": teacher_choice.choose_teacher(dataset)}
    with left:
        values["size"] = _field("size", described["size"], 256, "main")
    with right:
        values["seconds"] = _field("seconds", described["seconds"], 180, "main")
    start = st.button("Start", type="primary", width="stretch", icon=":material/play_arrow:", key="start")
    with st.expander("Advanced"):
        preset = st.selectbox(
            "Preset",
            list(PRESETS),
            index=list(PRESETS).index(usual_preset()),
            format_func=lambda name: PRESET_LABELS.get(name, name),
            help="Settings to start from. Light distils for networks of half the width, which get further in minutes "
            "on a processor without matrix units (AMX), and sets four of them side by side as one student; it is "
            "chosen there.",
            key="preset",
            persist_state="session",
        )
        values["seed"] = _field("seed", described["seed"], 0, "main")
        base = dataclasses.asdict(DistillConfig(**PRESETS[preset], preset=preset))
        for name, option in described.items():
            if name not in PLACED:
                values[name] = _field(name, option, base[name], preset)
    if not objectives:
        show_error("Choose at least one objective.")
        return None, False
    try:
        base = dict(PRESETS[preset], preset=preset) | values
        if base.get("steps") is not None:
            base["seconds"] = None  # a fixed number of steps replaces the budget
        chosen = [key for key in ALL_OBJECTIVE_KEYS if key in objectives]
        return [DistillConfig(**base, objective=key) for key in chosen], start
    except ObdError as error:
        show_error(error)
        return None, False


def _field(name: str, option: Option, default: Any, scope: str) -> Any:
    """The widget that fits a setting; its value."""
    common: dict[str, Any] = {
        "help": f"{option.help[0].upper()}{option.help[1:]}.",
        "key": f"setting {scope} {name}",
        "persist_state": "session",
    }
    if isinstance(default, bool):
        return st.toggle(option.label, default, **common)
    if option.choices:
        return st.selectbox(option.label, option.choices, index=option.choices.index(default), **common)
    if isinstance(default, str):
        return st.text_input(option.label, default, **common).strip()
    if isinstance(default, float):
        low, high = float(option.low or 0), float(option.high or 0)
        return st.number_input(option.label, low, high, default, step=None, format="%g", **common)
    low_int, high_int = int(option.low or 0), int(option.high or 0)
    if default is None:
        common["placeholder"] = "by time"
    return st.number_input(option.label, low_int, high_int, default, **common)


def explain_objectives(keys: Sequence[str]) -> None:
    """One column per objective: symbol, plain words, formula."""
    for column, key in zip(st.columns(max(len(keys), 1)), keys, strict=False):
        look = style(key)
        with column:
            st.markdown(f"{tag(key)}: {look.explanation}.", unsafe_allow_html=True)
            if look.formula:
                st.markdown(f"$\\small {look.formula}$")


def task_progress(task: Task, text: str) -> None:
    """The progress of a background task, or its failure as one sentence."""
    if task.state == "running":
        st.progress(task.fraction, text=f"{text} {100 * task.fraction:.0f} %")
    elif task.state == "failed":
        show_error(task.error)
    elif task.state == "cancelled":
        st.info("This was cancelled.")


def dataset_ready(dataset_id: str) -> bool:
    """Whether the dataset is loaded; if it must be collected first, that is started and its progress drawn."""
    shelf = state.shelf()
    if dataset_id in shelf:
        return True
    info = state.dataset_info(dataset_id)
    key = ("dataset", dataset_id)
    task = state.tasks().get(key)
    if info is not None and info.builtin and not info.available and (task is None or task.state != "done"):
        state.tasks().start_once(
            key, lambda task: shelf.get(dataset_id, task.progress, task.should_stop), f"dataset {dataset_id}"
        )
        st.fragment(_collecting, run_every=0.5)(key)
        return False
    state.tasks().forget(key)
    with st.spinner("Opening the dataset …"):
        shelf.get(dataset_id)
    return True


def _collecting(key: tuple[str, ...]) -> None:
    poll(key, "Building the dataset, once: the shipped policies play their episodes.")


def poll(key: tuple[object, ...], text: str) -> None:
    """Body of a fragment that waits for a task: progress and Cancel, or the failure and Try again."""
    task = state.tasks().get(key)
    if task is None or task.state == "done":
        st.rerun()
    task_progress(task, text)
    if task.state == "running":
        if st.button("Cancel", key=f"cancel {key[0]}"):
            task.cancel()
    elif st.button("Try again", icon=":material/refresh:", key=f"retry {key[0]}"):
        state.tasks().forget(key)
        st.rerun()


def empty_state(sentence: str) -> None:
    """What a page says when there is no run yet: one sentence and one button."""
    st.markdown(sentence)
    if st.button("Start a run", type="primary", icon=":material/play_arrow:", key="empty start"):
        st.switch_page("pages/distill.py")
