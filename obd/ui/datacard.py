"""Drawing the card of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from obd.data.card import Card, normalized_scale
from obd.data.catalog import DatasetInfo
from obd.ui import cardtext, datasets, state, widgets
from obd.ui.cardtext import number
from obd.ui.charts import Spec
from obd.ui.theme import NEUTRAL

CHART_HEIGHT = 210
ROW_NAMES = {"worst": "Worst", "median": "Median", "best": "Best"}
LENGTH_NAMES = {"worst": "Shortest", "median": "Median", "best": "Longest"}


def numbers(card: Card) -> None:
    """The card in five numbers."""
    returns, ended = card["returns"], card["terminated_episodes"]
    kind = "raw return" if card["reference_returns"] is None else "normalised return"
    mean, best = (
        ("-", "-") if returns is None else map(number, normalized_scale(card, [returns["mean"], returns["max"]]))
    )
    shown = (
        ("Transitions", f"{card['transitions']:,}", "steps of state, action, reward and next state"),
        ("Episodes", f"{card['episodes']:,}", "from a start state to an end or a cut"),
        (f"Mean {kind}", mean, f"over episodes; {cardtext.scale_words(card)}"),
        (f"Best {kind}", best, f"of one episode; {cardtext.scale_words(card)}"),
        ("Terminal / cut off", f"{cardtext.share(ended, card['episodes'])} / "
         f"{cardtext.share(card['truncated_episodes'], card['episodes'])}",
         "episodes that end in a terminal state (a fall) and episodes that were cut off (a time limit)"),
    )  # fmt: skip
    with st.container(horizontal=True, gap="medium"):
        for label, value, explanation in shown:
            st.metric(label, value, help=explanation[0].upper() + explanation[1:] + ".", width="content")


def histograms(dataset_id: str, card: Card) -> None:
    """Returns and lengths of episodes, each with its sentence."""
    left, right = st.columns(2, gap="medium")
    returns, lengths = card["returns"], card["lengths"]
    with left:
        sentence = cardtext.returns_sentence(card)
        if returns is not None:
            kind = "raw return" if card["reference_returns"] is None else "normalised return"
            edges = normalized_scale(card, returns["edges"])
            middle = float(normalized_scale(card, returns["median"]))
            spec = histogram(edges, returns["counts"], kind, middle)
            st.echarts_chart(spec, key=f"returns {dataset_id}", height=CHART_HEIGHT, alt=f"Histogram. {sentence}")
        st.caption(sentence)
    with right:
        sentence = cardtext.lengths_sentence(card)
        spec = histogram(np.asarray(lengths["edges"]), lengths["counts"], "steps per episode", lengths["median"])
        st.echarts_chart(spec, key=f"lengths {dataset_id}", height=CHART_HEIGHT, alt=f"Histogram. {sentence}")
        st.caption(sentence)


def histogram(edges: Any, counts: list[int], axis_name: str, median: float) -> Spec:
    """A filled step line over ``edges [B+1]``, with the median marked."""
    points: list[list[float]] = [[float(edges[0]), 0]]
    for left, right, height in zip(edges[:-1], edges[1:], counts, strict=True):
        points += [[float(left), height], [float(right), height]]
    points.append([float(edges[-1]), 0])
    # A dataset whose episodes are all alike has a bin around one value: give it room.
    span = float(edges[-1] - edges[0])
    pad, place = 0.02 * span, (median - float(edges[0])) / span
    shift = -36 if place > 0.85 else 36 if place < 0.15 else 0  # keeps the label inside the frame
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 28, "bottom": 12},
        "legend": {"show": False},
        "tooltip": {"show": False},
        "xAxis": {
            "type": "value",
            "min": float(f"{edges[0] - pad:.4g}"),
            "max": float(f"{edges[-1] + pad:.4g}"),
            "name": axis_name,
            "nameLocation": "middle",
            "nameGap": 26,
            "axisLabel": {"showMinLabel": False, "showMaxLabel": False},
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "minInterval": 1,
            "name": "episodes",
            "nameLocation": "middle",
            "nameGap": 34,
            "splitLine": {"show": True, "lineStyle": {"opacity": 0.35}},
        },
        "series": [
            {
                "type": "line",
                "data": [[float(f"{x:.5g}"), y] for x, y in points],
                "showSymbol": False,
                "silent": True,
                "lineStyle": {"color": NEUTRAL, "width": 1.5},
                "itemStyle": {"color": NEUTRAL},
                "areaStyle": {"color": NEUTRAL, "opacity": 0.35},
                "markLine": {
                    "silent": True,
                    "symbol": "none",
                    "animation": False,
                    "data": [{"xAxis": float(f"{median:.5g}")}],
                    "lineStyle": {"type": "dashed", "width": 1.5, "color": NEUTRAL},
                    "label": {"formatter": f"median {number(median)}", "color": NEUTRAL, "offset": [shift, 0]},
                },
            }
        ],
    }


def strip(info: DatasetInfo, card: Card) -> None:
    """Episodes from worst to best, drawn in the background; grey frames of the same size until then."""
    reason = cardtext.no_pose_sentence(info.env_id)
    if reason:
        st.caption(reason)
        return
    made, key = datasets.strip(info.id, info.env_id, card)
    if made is None:
        st.fragment(_drawing, run_every=0.5)(key)
        return
    st.markdown(cardtext.strip_sentence(card, made.returns))
    names = ROW_NAMES if card["returns"] is not None else LENGTH_NAMES
    for kind, path in made.files.items():
        text = f"{names[kind]}: {made.lengths[kind]:,} steps"
        if card["returns"] is not None:
            text += f", return {number(float(normalized_scale(card, made.returns[kind])))}"
        if path.is_file():
            st.image(str(path), caption=text, width="stretch", alt=f"{datasets.FRAMES} poses of one episode. {text}")
    if made.renderer == "schematic":
        st.caption("Drawn schematically, because OpenGL is not available.")


def _drawing(key: datasets.Key) -> None:
    task = state.tasks().get(key)
    if task is None or task.state in ("failed", "cancelled"):
        widgets.poll(key, "Drawing the episodes:")
        return
    if task.state == "done":
        st.rerun()
    st.markdown("Drawing the worst, the median and the best episode …")
    width, height = datasets.STRIP_SIZE
    blank = np.full((height, width, 4), (138, 143, 152, 45), np.uint8)
    for name in ROW_NAMES.values():
        st.image(blank, caption=name, width="stretch", alt=f"{name} episode, not drawn yet")


def ranges(card: Card) -> None:
    """The table of dimensions."""
    st.markdown(cardtext.ranges_sentence(card))
    rows = [
        {"dimension": f"{kind} {number_}", **{label: row[name] for name, label in COLUMNS.items()}}
        for kind, part in (("action", card["actions"]), ("observation", card["observations"]))
        for number_, row in enumerate(part)
    ]
    st.dataframe(
        {name: [row[name] for row in rows] for name in rows[0]},
        height=min(260, 38 + 35 * len(rows)),
        column_config={label: st.column_config.NumberColumn(format="%.3f") for label in COLUMNS.values()},
        alt="Range of every dimension of actions and observations",
    )


COLUMNS = {"min": "smallest", "low": "1 %", "mean": "mean", "std": "std", "high": "99 %", "max": "largest"}


def origin(info: DatasetInfo, card: Card) -> None:
    """Provenance, licence and what an import repaired."""
    provenance = datasets.provenance(info.id)
    rows = cardtext.facts(info, card, provenance).items()
    st.markdown("  \n".join(f"**{name}** {value}" for name, value in rows))
    repairs = cardtext.findings(provenance, "repairs")
    if repairs:
        st.markdown("**Repaired by the import**")
        st.markdown("\n".join(f"- {text}" for text in repairs))


def warnings(dataset_id: str) -> None:
    """What an import noticed and left as it is."""
    found = cardtext.findings(datasets.provenance(dataset_id), "warnings")
    if found:
        st.warning("  \n".join(found), icon=":material/warning:")
