"""Files that leave the tool and come back: downloads of a set, a student or a report, and the import.

What needs torch or MuJoCo is imported where it is used: the table and the pictures do not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from obd.errors import ObdError
from obd.runs.manage import is_own
from obd.runs.store import ACTIVE_STATES, Run
from obd.ui import comparison, report, runtable, state, widgets
from obd.ui.charts import Spec
from obd.ui.comparison import Compared

UPLOAD_MB = 4  # the largest set that can be made here takes 1.5 MB

QUICK = ("npz", "safetensors")

WORDS = {  # format -> (label, what it is)
    "npz": ("NumPy (.npz)", "the pairs, their normaliser, the recipe and the card; the snippet below reads it"),
    "safetensors": ("safetensors", "the same content in a format that many libraries read"),
    "minari": ("Minari (.zip)", "episodes of one step; rewards and next states are NaN, because a pair has none"),
    "torchscript": ("Student (TorchScript)", "the first measured student; runs in PyTorch and C++ without this tool"),
}


def files(compared: Sequence[Compared]) -> None:
    """Downloads of one of the compared runs."""
    ready = {one.run.id: one for one in compared if (one.run.path / "distilled.npz").is_file()}
    if not ready:
        st.info("None of the chosen runs has a distilled set yet; it comes with the first checkpoint.")
        return
    from obd.runs import export

    st.subheader("One distilled set", anchor=False)
    imported = st.session_state.pop("imported", None)
    if imported in ready:
        st.session_state["file of"] = imported
        st.success("Imported: it is chosen in the table above, and its students can be measured here.")
    key = st.selectbox("Distilled set of", list(ready), format_func=lambda key: ready[key].label, key="file of")
    one = ready[key]
    stem = export.file_stem(one.run)
    for column, (kind, (label, words)) in zip(st.columns(4), WORDS.items(), strict=True):
        with column:
            name = stem + export.FORMATS[kind][0]
            make = partial(export.export, one.run, kind)
            # What takes no time is made now: a click that meets a rerun finds nothing to call any more.
            download(label, make() if kind in QUICK else make, name, "application/octet-stream", kind)
            st.caption(words)
    with st.container(horizontal=True):
        card = export.card_markdown(one.run, f"{stem}.npz")
        download("Card (.md)", card, f"{stem}.md", "text/markdown", "card", stretch=False)
        everything = partial(export.everything, one.run)
        download("Everything (.zip)", everything, f"{stem}.zip", "application/zip", "everything", stretch=False)
        measuring(one)
    with st.expander("Train a student on the .npz file with PyTorch alone"):
        st.caption(export.SNIPPET_NOTE)
        st.code(export.snippet(one.run.distilled(), f"{stem}.npz"), language="python")
    with st.expander("The card of this set"):
        st.code(card, language="markdown", wrap_lines=True)


def download(
    label: str, data: str | bytes | Callable[[], str | bytes], name: str, mime: str, key: str, *, stretch: bool = True
) -> None:
    """A download; a callable makes the content when it is asked for."""
    st.download_button(
        label,
        data=data,
        file_name=name,
        mime=mime,
        key=f"download {key}",
        icon=":material/download:",
        on_click="ignore",
        width="stretch" if stretch else "content",
    )


def measuring(one: Compared) -> None:
    """A button that measures students of a finished run without scores, such as an imported one."""
    run = one.run
    if not is_own(run) or one.view.state in ACTIVE_STATES or one.view.evaluation.get("students"):
        return
    from obd.runs.importing import measure_run

    key = ("measure", str(run.path))
    if state.tasks().get(key) is not None:
        st.fragment(_measured, run_every=0.5)(key)
    elif st.button(
        "Measure its students", icon=":material/speed:", key="measure", help="Ten students, three episodes."
    ):
        state.tasks().start(key, lambda task: measure_run(run, task.progress, task.should_stop), "measure")
        st.rerun()


def _measured(key: tuple[object, ...]) -> None:
    task = state.tasks().get(key)
    if task is not None and task.state == "done":
        state.tasks().forget(key)
        st.rerun()
    widgets.poll(key, "Training students and playing their episodes:")


def report_button(compared: Sequence[Compared], x: str) -> None:
    """The whole comparison as one file."""
    st.subheader("This comparison", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        build = partial(report.build, list(compared), x)
        download("Report (.html)", build, "obd-comparison.html", "text/html", "report", stretch=False)
        st.caption("Settings, bars, curves, poses and a clip in one file that needs neither this tool nor a network.")


def importer() -> None:
    """Upload a set that left the tool; the new run is chosen at once."""
    st.subheader("And back", anchor=False)
    version = st.session_state.get("upload version", 0)
    uploaded = st.file_uploader(
        "Import a distilled set",
        type=["npz", "safetensors"],
        key=f"upload {version}",
        max_upload_size=UPLOAD_MB,
        help="A file exported here or on another machine. It is checked strictly and never unpickled.",
    )
    if uploaded is None:
        return
    from obd.runs.importing import import_set

    try:
        run = import_set(uploaded.name, uploaded.getvalue())
    except ObdError as error:
        widgets.show_error(error)
        return
    st.session_state["upload version"] = version + 1
    st.session_state["imported"] = run.id
    add(run)
    st.rerun()


def add(run: Run) -> None:
    """Put a run at the front of the comparison."""
    known = runtable.every_run()
    runtable.remember([run.id, *(key for key in runtable.chosen_keys(known) if key != run.id)])


def picture(chart: Spec, name: str, alt: str, height: int) -> None:
    """A chart whose own button saves it as a PNG on the background of the theme in use."""
    theme = "dark" if st.context.theme.type == "dark" else "light"
    chart["toolbox"]["feature"]["saveAsImage"]["backgroundColor"] = st.get_option(f"theme.{theme}.backgroundColor")
    st.echarts_chart(chart, key=name, height=height, alt=alt)


def save(name: str, header: Sequence[str], rows: Sequence[Sequence[object]], svg: str) -> None:
    """The numbers and the drawing of a picture as files; its own button saves it as a PNG."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        text = comparison.csv_text(header, rows)
        st.download_button(
            "CSV", text, f"obd-{name}.csv", "text/csv", key=f"csv {name}", on_click="ignore", type="tertiary"
        )
        if svg:
            st.download_button(
                "SVG", svg, f"obd-{name}.svg", "image/svg+xml", key=f"svg {name}", on_click="ignore", type="tertiary"
            )
