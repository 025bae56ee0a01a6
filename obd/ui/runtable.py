"""The table of all runs on the Compare page: choosing, finding, naming, archiving, deleting and bringing back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from obd.errors import ObdError
from obd.runs.manage import (
    NAME_LENGTH,
    NOTE_LENGTH,
    Label,
    delete_runs,
    is_own,
    read_label,
    restore,
    trash,
    write_label,
)
from obd.runs.showcase import showcase_runs
from obd.runs.store import Run, list_runs
from obd.ui import state, widgets
from obd.ui.sentences import STATE_WORDS, count
from obd.ui.widgets import objective_label

LABEL_FORM = "name and note"  # key of the popover
SHIPPED = "showcase."  # a dot never occurs in the name of a run of one's own


def every_run() -> dict[str, Run]:
    """All runs by the key that stands in an address: newest first, the shipped ones last."""
    own = {run.id: run for run in list_runs()}
    return own | {SHIPPED + run.id: run for run in showcase_runs()}


def chosen_keys(runs: Mapping[str, Run]) -> list[str]:
    """The runs to compare: those in the address, else the group on show, else the newest group that has scores."""
    wanted = st.session_state.get("runs")
    if wanted is not None:
        keys = [key for key in str(wanted).split(",") if key]
        if any(key not in runs for key in keys):
            st.warning("A run asked for is not here any more; the others are shown.", icon=":material/info:")
        found = [key for key in keys if key in runs]
        if found or not keys:
            return found
    group = st.session_state.get("group")
    groups: dict[str, list[str]] = {}
    for key, run in runs.items():
        name = state.SHOWCASE if key.startswith(SHIPPED) else run.group
        if not read_label(run).archived or name == group:
            groups.setdefault(name, []).append(key)
    if group and group not in groups:
        st.warning("The run asked for is not here any more; this is another one.", icon=":material/info:")
    scored = (keys for keys in groups.values() if any("students" in runs[key].evaluation() for key in keys))
    return groups.get(group or "") or next(scored, None) or next(iter(groups.values()), [])


def remember(keys: Sequence[str]) -> None:
    """Keep the choice in the session and in the address."""
    st.session_state["runs"] = st.query_params["runs"] = ",".join(keys)


def row(key: str, run: Run) -> dict[str, Any] | None:
    """One line of the table; None when the run cannot be read."""
    try:
        config, status, label, evaluation = run.config, run.status(), read_label(run), run.evaluation()
        header = run.header()
        score, together = (evaluation.get(part) or {} for part in ("students", "ensemble"))
        low, high = score.get("normalized_return_ci95") or (None, None)
        return {
            "Name": label.name or ("Showcase" if key.startswith(SHIPPED) else "–"),
            "Objective": objective_label(config.objective),
            "Return": score.get("normalized_return_mean"),
            "±": None if low is None else (high - low) / 2,
            "Ensemble": together.get("normalized_return_mean"),
            "Pairs": config.size,
            "Steps": int(status.get("step") or 0),
            "Minutes": float(status.get("seconds") or 0) / 60 or None,
            "Seed": config.seed,
            "State": STATE_WORDS.get(str(status["state"]), str(status["state"])),
            "Note": label.note + (" (archived)" if label.archived else ""),
            "Dataset": config.dataset,
            "Started": datetime.fromtimestamp(float(header["created"])),
            "Group": run.group,
        }
    except (ObdError, KeyError, TypeError, ValueError):
        return None


def matching(rows: Mapping[str, dict[str, Any]], text: str) -> list[str]:
    """The keys of the rows that contain every word of ``text`` somewhere.

    Names of directories and groups count from their beginnings only: a group is called after its first objective.
    """
    words = text.lower().split()
    found = []
    for key, values in rows.items():
        said = " ".join(str(value) for name, value in values.items() if name != "Group").lower()
        names = (key.lower(), str(values["Group"]).lower())
        if all(word in said or any(name.startswith(word) for name in names) for word in words):
            found.append(key)
    return found


def table(runs: Mapping[str, Run], chosen: list[str]) -> list[str]:
    """Draw the filter and the table; returns the chosen keys in the order of the table."""
    find, archived = st.columns([3, 1], vertical_alignment="bottom")
    text = find.text_input(
        "Find", placeholder="Find: name, note, dataset, objective …", key="find run", label_visibility="collapsed"
    )
    hidden = {key for key, run in runs.items() if read_label(run).archived}
    show_hidden = archived.toggle("Archived", key="show archived", disabled=not hidden, help="Show archived runs too.")
    rows = {
        key: values
        for key, run in runs.items()
        if (show_hidden or key not in hidden or key in chosen) and (values := row(key, run)) is not None
    }
    visible = matching(rows, text)
    if not visible:
        st.info("No run matches; clear the search above the table.")
        return chosen
    # The rows belong to the key: another list of runs is another table, which begins with the runs chosen so far.
    digest = hashlib.sha256("|".join(visible).encode()).hexdigest()[:12]
    columns: dict[str, list[Any]] = {name: [rows[key][name] for key in visible] for name in rows[visible[0]]}
    event: Any = st.dataframe(
        columns,
        key=f"run table {digest} {st.session_state.get('table version', 0)}",
        height=min(38 + 35 * len(visible), 252),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [i for i, key in enumerate(visible) if key in chosen]}},
        column_config=_columns(),
        placeholder="",
        alt=f"Table of {count(len(visible), 'run')}",
    )
    picked = {visible[i] for i in event["selection"]["rows"] if i < len(visible)}
    return [key for key in rows if key in picked or (key in chosen and key not in visible)]


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "Name": st.column_config.TextColumn(width=150),
        "Note": st.column_config.TextColumn(width=110),
        "Return": number(
            format="%.1f",
            help="Normalised return of single students; 0 is random, 100 expert. "
            "Raw where a dataset has no reference returns.",
        ),
        "±": number(format="%.1f", help="Half of the 95 % interval."),
        "Ensemble": number(format="%.1f", help="Normalised return of the students' mean action."),
        "Steps": number(help="Outer steps."),
        "Minutes": number(format="%.1f"),
        "Started": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
    }


def manage(runs: Mapping[str, Run], chosen: Sequence[str]) -> None:
    """The buttons below the table: what can be done with the chosen runs."""
    own = [runs[key] for key in chosen if is_own(runs[key])]
    with st.container(horizontal=True, vertical_alignment="center"):
        one = own[0] if len(own) == 1 else None
        hint = "Choose exactly one run of your own." if one is None else "Change its name and its note."
        with st.popover(
            "Name and note", icon=":material/edit:", disabled=one is None, help=hint, key=LABEL_FORM, on_change="rerun"
        ):
            if one is not None:
                _label_form(one)
        hint = "Choose runs of your own; the showcase is read-only." if not own else ""
        archived = bool(own) and all(read_label(run).archived for run in own)
        word, icon = ("Take out of archive", "unarchive") if archived else ("Archive", "archive")
        if st.button(word, icon=f":material/{icon}:", key="archive", disabled=not own, help=hint or _ARCHIVE_HELP):
            for run in own:
                write_label(run, archived=not archived)
            if not archived:
                remember([key for key in chosen if not is_own(runs[key])])
            _fresh_table()
            st.rerun()
        if st.button("Delete", icon=":material/delete:", key="delete", disabled=not own, help=hint or _DELETE_HELP):
            st.session_state["deleted"] = delete_runs(own)
            remember([key for key in chosen if not is_own(runs[key])])
            _fresh_table()
            st.rerun()
        _trash_popover()
        undo()


_ARCHIVE_HELP = "Takes the runs off the lists of all pages; nothing is lost."
_DELETE_HELP = "Moves the runs to the trash, where they stay for a week."


def _label_form(run: Run) -> None:
    label: Label = read_label(run)
    with st.form(f"label {run.id}", border=False):
        name = st.text_input("Name", label.name, max_chars=NAME_LENGTH, key=f"name {run.id}")
        note = st.text_area("Note", label.note, max_chars=NOTE_LENGTH, key=f"note {run.id}")
        if st.form_submit_button("Save", type="primary", on_click=_close_label_form):
            write_label(run, name=name, note=note)
            st.rerun()


def _close_label_form() -> None:
    st.session_state[LABEL_FORM] = False


def _fresh_table() -> None:
    """Forget which rows were chosen in any earlier table: one that shows the same runs again would choose them."""
    st.session_state["table version"] = st.session_state.get("table version", 0) + 1


def undo() -> None:
    """After a deletion: what happened, and Undo."""
    tokens = st.session_state.get("deleted")
    if not tokens:
        return
    if st.button("Undo", icon=":material/undo:", key="undo", type="primary"):
        st.session_state["deleted"] = None
        bring_back(tokens)
    st.markdown(f"{count(len(tokens), 'run')} moved to the trash.", width="content")


def bring_back(tokens: Sequence[str]) -> None:
    """Restore runs and choose them; an error is shown in place."""
    with widgets.guard():
        remember([restore(token).id for token in tokens])
        _fresh_table()
        st.rerun()


def _trash_popover() -> None:
    deleted = trash()
    if not deleted:
        return
    with st.popover(f"Trash ({len(deleted)})", icon=":material/restore_from_trash:"):
        st.caption("Deleted runs stay here for a week.")
        tokens = st.multiselect("Runs to restore", list(deleted), format_func=_trash_name, key="restore choice")
        if st.button("Restore", key="restore", disabled=not tokens):
            bring_back(tokens)


def _trash_name(token: str) -> str:
    run = trash().get(token)
    try:
        name = read_label(run).name if run is not None else ""
    except ObdError:
        name = ""
    return f"{name} · {token.split('-', 1)[1]}" if name else token.split("-", 1)[1]
