"""Teaching in the app: choose an algorithm, watch its losses and its return, keep the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from obd.config import options
from obd.data.card import normalized_scale
from obd.runs.teaching import Teaching, TeachRequest
from obd.teachers import ALGORITHMS, Algorithm, algorithm
from obd.ui import charts, datasets, state, teacher_choice, widgets
from obd.ui.charts import Curve, Estimate, Spec
from obd.ui.sentences import duration, points
from obd.ui.tasks import Task
from obd.ui.theme import NEUTRAL, style

LOSSES = ("critic_loss", "value_loss", "imitation_error", "validation_loss", "train_loss")
NO_LOSSES = "Losses appear with the first updates."
NEAR_DATA = ("awr", "bc")  # what to try when another algorithm fails
PRESETS = {
    "fast": "Minutes",
    "steady": "Minutes, small steps",
    "paper": "As published (hours)",
    "long": "Until it stops improving",
}


@st.cache_resource(show_spinner=False)
def _teachings() -> dict[str, Teaching]:
    """The last teaching of every dataset, shared by tabs."""
    return {}


def teach_panel(dataset_id: str) -> None:
    """Everything about making a teacher for one dataset: form, live curves, result, opening a file."""
    with widgets.guard():
        task = state.tasks().get(_key(dataset_id))
        running = task is not None and task.state == "running"
        _form(dataset_id, running)
        teaching = _teachings().get(dataset_id)
        if task is not None and teaching is not None:
            st.fragment(_watch, run_every=1.0 if running else None)(dataset_id, running)
        with st.expander("Open a teacher file"), widgets.guard():
            teacher_choice.upload(dataset_id)


def _key(dataset_id: str) -> tuple[str, str]:
    return ("teach", dataset_id)


def _form(dataset_id: str, running: bool) -> None:
    """Algorithm, preset, budget and Start."""
    st.markdown(
        "A **teacher** is a policy that offline reinforcement learning finds in the data alone: "
        "$\\pi^*$, with its action value $q^*$. PBC and Av-PBC distil what it does."
    )
    name = st.segmented_control(
        "Algorithm",
        list(ALGORITHMS),
        format_func=lambda key: ALGORITHMS[key].label,
        default="td3_bc",
        required=True,
        key="teach algorithm",
        persist_state="session",
    )
    row = algorithm(str(name))
    st.caption(f"{row.label} {row.summary}.")
    share = _best_share(row) if "best_share" in options(row.config) else None
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    with left:
        preset = st.selectbox(
            "Preset",
            list(row.presets),
            format_func=lambda key: PRESETS.get(key, key),
            help="Minutes: larger steps and a decay, for three minutes of one free core. Cal-QL needs longer.",
            key=f"teach preset {name}",
            persist_state="session",
        )
    budget = row.presets[str(preset)].get("seconds")
    with middle:
        seconds = st.number_input(
            "Seconds",
            1,
            1_000_000,
            int(budget) if budget else None,
            placeholder="as many updates as published",
            help="Time budget for training. It ends earlier when the return stops improving.",
            key=f"teach seconds {name} {preset}",
            persist_state="session",
        )
    with right:
        pressed = st.button(
            "Teach", type="primary", width="stretch", icon=":material/school:", key="teach start", disabled=running
        )
    if pressed:
        limit = float(seconds) if seconds else None
        request = TeachRequest(dataset_id, str(name), str(preset), limit, best_share=share)
        request.config()  # a wrong value is a sentence here, before anything starts
        start(request)
        st.rerun()


def _best_share(row: Algorithm) -> float:
    """How much of the data to imitate."""
    percent = st.slider(
        "Imitate the best part of the data, %",
        1,
        100,
        100,
        help="Counted from the episodes with the highest returns. Where two policies made the data, a teacher that "
        "imitates both lets its students stay with the worse one: try 50.",
        key=f"teach share {row.label}",
        persist_state="session",
    )
    return percent / 100


def start(request: TeachRequest) -> Task:
    """Train in the background; the app's other pages stay usable."""
    teaching = Teaching(request)
    shelf = state.shelf()
    key = _key(request.dataset)
    state.tasks().forget(key)
    _teachings()[request.dataset] = teaching
    return state.tasks().start(
        key,
        lambda task: teaching.run(lambda: shelf.get(request.dataset), task.progress, task.should_stop),
        f"teacher for {request.dataset}",
    )


def _watch(dataset_id: str, running_when_drawn: bool) -> None:
    """The fragment: progress or result, and the two charts in place."""
    with widgets.guard():
        task, teaching = state.tasks().get(_key(dataset_id)), _teachings().get(dataset_id)
        if task is None or teaching is None:
            return
        if task.state == "failed":
            widgets.show_error(task.error)
        else:
            st.markdown(sentence(teaching))
            better = advice(teaching, _references(dataset_id).get("dataset")) if teaching.taught else ""
            if better:
                st.caption(better)
        if task.state == "running":
            bar, button = st.columns([5, 1], vertical_alignment="center")
            bar.progress(task.fraction, text=progress_text(teaching))
            label = "Stopping …" if teaching.stopping else "Stop"
            with button:
                if st.button(
                    label,
                    icon=":material/stop:",
                    key="teach stop",
                    disabled=teaching.stopping,
                    help="Keeps the best network so far.",
                ):
                    teaching.stop()
                    st.rerun()
        elif teaching.taught is not None:
            _use(str(teaching.taught.path))
        _charts(dataset_id, teaching)
        if running_when_drawn and task.state != "running":
            st.rerun()


def _use(path: str) -> None:
    if st.button("Distil with this teacher", icon=":material/arrow_forward:", key="teach use"):
        st.session_state[teacher_choice.CHOICE] = path
        st.switch_page("pages/distill.py")


def _charts(dataset_id: str, teaching: Teaching) -> None:
    total, request = teaching.total or teaching.step, teaching.request
    estimates = [Estimate(entry.mean, entry.low, entry.high, entry.step) for entry in list(teaching.returns)]
    left, right = st.columns(2, gap="medium")
    with left:
        curves = loss_curves(list(teaching.losses))
        spec = losses_chart(curves, total)
        if teaching.taught is not None:
            mark_kept(spec, teaching.taught.kept_step)
        st.echarts_chart(spec, key=f"teach losses {dataset_id}", height=300, alt=alt(curves))
        st.caption(
            " · ".join(f"{style(c.objective).label}: {style(c.objective).explanation}" for c in curves) or NO_LOSSES
        )
    with right:
        references = _references(dataset_id)
        words = "normalised return" if teaching.normalized else "raw return"
        st.echarts_chart(
            returns_chart(estimates, total, references, raw=not teaching.normalized),
            key=f"teach returns {dataset_id}",
            height=300,
            alt=f"{words} of the teacher: {points(estimates[-1].mean)}" if estimates else "No return is measured yet.",
        )
        scale = "0 is random, 100 expert; " if teaching.normalized else ""
        cloned = request.algorithm == "bc"
        who = "the network with the lowest validation error so far" if cloned else "the policy as it learns"
        st.caption(f"Return of {who}, in the environment; {scale}whiskers: 95 %.")


def _references(dataset_id: str) -> dict[str, float]:
    """The mean return of the data's episodes, once their card is known."""
    card, _ = datasets.card(dataset_id)
    if card is None or card["returns"] is None:
        return {}
    return {"dataset": float(normalized_scale(card, card["returns"]["mean"]))}


def loss_curves(rows: Sequence[dict[str, float]]) -> list[Curve]:
    """One curve per loss that the rows hold, thinned by the chart."""
    curves = []
    for name in LOSSES:
        known = [(row["step"], row[name]) for row in rows if row.get(name, 0) > 0]
        if known:
            steps, values = np.asarray(known).T
            curves.append(Curve(name, style(name).label, steps, values))
    return curves


def losses_chart(curves: Sequence[Curve], total: int) -> Spec:
    spec = charts.loss_chart(curves, total)
    spec["xAxis"]["name"] = "updates"
    return spec


def mark_kept(spec: Spec, step: int) -> None:
    """A line at the update whose network was kept."""
    if spec["series"]:
        spec["series"][-1]["markLine"] = {
            "silent": True,
            "symbol": "none",
            "animation": False,
            "data": [{"xAxis": step}],
            "lineStyle": {"type": "dotted", "width": 1.5, "color": NEUTRAL},
            "label": {"formatter": "kept", "color": NEUTRAL},
        }


def returns_chart(estimates: Sequence[Estimate], total: int, references: dict[str, float], raw: bool) -> Spec:
    spec = charts.return_chart({"teacher": estimates}, total, references, raw=raw)
    spec["xAxis"]["name"] = "updates"
    return spec


def alt(curves: Sequence[Curve]) -> str:
    """The losses for screen readers."""
    parts = [f"{curve.name} from {curve.losses[0]:.3g} to {curve.losses[-1]:.3g}" for curve in curves]
    return "Losses over updates: " + (", ".join(parts) if parts else "no update is done yet")


def progress_text(teaching: Teaching) -> str:
    if teaching.phase == "opening":
        return "Opening the dataset"
    if teaching.phase == "measuring":
        return "Measuring the return of the kept and of the last network"
    total = f" of {teaching.total:,}" if teaching.total else ""
    left = (teaching.total - teaching.step) / teaching.rate if teaching.total and teaching.rate else None
    return f"update {teaching.step:,}{total}, {teaching.rate:.0f} per second" + (
        f", {duration(left)} left at most" if left is not None else ""
    )


def sentence(teaching: Teaching) -> str:
    """What happens now, or what came out."""
    label = algorithm(teaching.request.algorithm).label
    words = "normalised return" if teaching.normalized else "raw return"
    taught = teaching.taught
    if taught is None:
        if not teaching.returns:
            return f"**{label}** is learning from the data; its first return is measured soon."
        best = max(teaching.returns, key=lambda entry: entry.mean)
        return (
            f"**{label}** reaches a {words} of **{points(teaching.returns[-1].mean)}** after "
            f"{teaching.returns[-1].step:,} updates; the best so far is {points(best.mean)}."
        )
    stuck = "nothing improved" if taught.errors is None else "the validation error did not fall"
    why = (
        "It was stopped by hand."
        if taught.stopped
        else f"It stopped by itself after {taught.steps:,} updates, because {stuck} any more."
        if taught.plateau
        else f"The whole budget was used: {taught.steps:,} updates in {duration(taught.seconds)}."
    )
    half = (taught.score.high - taught.score.low) / 2
    kept = f"kept from update {taught.kept_step:,}"
    if taught.errors is not None:
        kept += f", where the validation error was lowest: {taught.errors[0]:.3g}"
    if taught.kept_step != taught.last.step:
        end = "" if taught.errors is None else f", with an error of {taught.errors[1]:.3g}"
        kept += f"; the last network returns {points(taught.last.mean)}{end}"
    return (
        f"**{label}** reaches a {words} of **{points(taught.score.mean)} ± {points(half)}** ({kept}). {why} "
        "The Distil page now offers this teacher."
    )


def advice(teaching: Teaching, data: float | None) -> str:
    """What to do about a teacher whose interval is not above the mean episode of the data; empty for a good one."""
    if teaching.taught is None or data is None or teaching.taught.score.low > data:
        return ""
    less = "less" if teaching.taught.score.high < data else "not clearly more"
    other = next(name for name in NEAR_DATA if name != teaching.request.algorithm)
    return (
        f"That is {less} than the mean episode of the data ({points(data)}). Give it more time, or try "
        f"{ALGORITHMS[other].label}, which stays closer to the data."
    )
