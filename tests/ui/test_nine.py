from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from obd.runs import paper_table
from obd.runs.lines import read_lines
from obd.ui import nine
from obd.ui.charts import Estimate
from obd.ui.overlays import table_dots

DATASET = "obd/hopper/medium-v0"


def line(method: str, value: float, seed: int = 0, budget: float = 180.0) -> dict[str, Any]:
    return {
        "dataset": DATASET,
        "dataset_hash": "x",
        "method": method,
        "seed": seed,
        "budget_seconds": budget,
        "outer_steps": 9,
        "students": [[value - 1, value], [value, value + 1]],
        "ensemble": [value],
    }


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "paper_table.jsonl"
    written = [line("av_pbc", 40.0), line("av_pbc", 42.0, 1), line("pbc", 60.0), line("dbc", 5.0, budget=60.0)]
    path.write_text("".join(json.dumps(one) + "\n" for one in written))
    monkeypatch.setattr(nine, "lines_path", lambda _name: path)
    monkeypatch.setattr(
        paper_table, "dataset_baselines",
        lambda *_: {"teacher": {"normalized_return_mean": 82.0, "normalized_return_ci95": [80.0, 84.0],
                                "normalized_return_std_over_students": 0.0}},
    )  # fmt: skip
    return path


def test_the_sentence_says_when_av_pbc_is_not_the_best(lines: Path) -> None:
    rows = paper_table.rows(DATASET, read_lines(lines, paper_table.FIELDS), 180.0)
    assert [row["method"] for row in rows] == ["teacher", "av_pbc", "pbc"]
    assert rows[1]["mean"] == 41.0 and rows[1]["distillations"] == 2
    text = nine.sentence(rows, 180.0)
    assert "on **0 of 1** datasets" in text and "**50 %**" in text
    assert "ahead of it" not in text  # there are no baselines here
    rows.append({**rows[1], "method": "whole_bc", "mean": 45.0})
    assert nine.sentence(rows, 180.0).endswith(" Whole-data BC is ahead of it on 1 of 1.")
    assert nine._capped(rows) == ""
    rows.append({**rows[1], "share_of_teacher": 1.5, "ensemble_share_of_teacher": 1.0})
    assert "**100 %** of" in nine.sentence(rows, 180.0)
    assert nine._capped(rows).endswith("are 75 % and 75 %.")
    assert rows[1]["paper"] == 32.5 and rows[1]["paper_ensemble"] == 27.6


def test_dots_stay_in_the_band_of_their_dataset() -> None:
    table = {"A": {"dbc": Estimate(1, 0, 2), "pbc": Estimate(30, 20, 40)}, "B": {"pbc": Estimate(50, 45, 55)}}
    chart = table_dots(table, {"B": 40.0, "unknown": 3.0})
    dots = {s["name"]: s["data"] for s in chart["series"] if s["type"] == "scatter"}
    assert [round(y) for _, y in dots["PBC"]] == [0, 1] and dots["Av-PBC in the paper"] == [[40.0, 1]]
    assert chart["legend"]["itemWidth"] == chart["legend"]["itemHeight"]  # symbols keep their shape
    assert len({y for name in ("DBC", "PBC") for _, y in dots[name][:1]}) == 2


def test_students_of_columns_have_a_sentence_and_are_no_rivals(lines: Path) -> None:
    with lines.open("a") as file:
        file.write(json.dumps(line("av_pbc_columns", 82.0)) + "\n")
    rows = paper_table.rows(DATASET, read_lines(lines, paper_table.FIELDS), 180.0)
    without_pbc = [row for row in rows if row["method"] != "pbc"]
    text = nine.sentence(without_pbc, 180.0)
    assert (
        "best distillation" not in text
        and "; students of four columns reach **100 %**, their ensembles **100 %**." in text
    )
    elsewhere, shown = {**rows[1], "dataset": "obd/walker2d/medium-v0"}, ["av_pbc", "av_pbc_columns", "pbc"]
    assert "four columns on 1, PBC on 1 of 2." in nine._explained([*rows, elsewhere], shown)
    assert "Not measured" not in nine._explained(rows, shown) and "Four columns:" in nine._explained(rows, shown)
    assert nine._explained([*rows, elsewhere], ["av_pbc"]) == ""  # only what is shown is explained
    assert "on **0 of 1** datasets" in nine.sentence(rows, 180.0)  # PBC's students are of the same kind


def test_the_caption_says_how_often_sets_were_distilled_anew() -> None:
    assert nine._distillations([{"method": "teacher"}, {"distillations": 1}]) == "One distillation"
    assert nine._distillations([{"distillations": 3}] * 2).startswith("3 distillations")
    assert nine._distillations([{"distillations": n} for n in (3, 1, 2)]).startswith("1 to 3 distillations")


def test_fewer_pairs_are_no_rivals(lines: Path) -> None:
    rows = paper_table.rows(DATASET, read_lines(lines, paper_table.FIELDS), 180.0)
    ours = next(row for row in rows if row["method"] == "av_pbc")
    fewer = {**ours, "method": "av_pbc_64"}
    assert [row["method"] for row in nine._methods(ours, [ours, fewer])] == ["av_pbc"]
