from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from obd.runs.manage import write_label
from obd.runs.published import kind_of, published_returns, published_sizes
from obd.runs.showcase import showcase_runs
from obd.runs.store import Run, create_run
from obd.ui import comparison, overlays, report
from obd.ui.charts import Estimate
from obd.ui.comparison import Compared, compare
from obd.ui.monitor import RunReader
from obd.ui.overlays import BarRow
from obd.ui.widgets import plain
from tests.helpers import tiny_config

NASTY = '<script>alert("x")</script>![p](http://evil.example/p.png)'


def made(mean: float | None = None, losses: tuple[float, ...] = (), **changes: object) -> Run:
    run = create_run(tiny_config(**changes))
    run.append([{"kind": "progress", "step": i + 1, "loss": v, "seconds": 2.0 * i + 2} for i, v in enumerate(losses)])
    if mean is not None:
        score = {"normalized_return_mean": mean, "normalized_return_ci95": [mean - 2, mean + 2]}
        run.write_evaluation({"students": score, "ensemble": score | {"normalized_return_mean": mean + 1}})
    run.write_status(state="finished", step=len(losses), outer_steps=len(losses), seconds=2.0 * len(losses))
    return run


def compared(*runs: Run) -> list[Compared]:
    return compare([RunReader(run.path).read() for run in runs])


def test_published_figures_are_found_by_robot_and_kind() -> None:
    assert published_returns("HalfCheetah-v5", "obd/halfcheetah/medium-replay-v0")["av_pbc"] == 35.9
    assert published_returns("Walker2d-v4", "me/walker/medium_expert-v2")["av_pbc_ensemble"] == 73.7
    assert published_returns("Hopper-v5", "mujoco/hopper/medium-v0")["dbc"] == 37.8
    assert published_returns("Pendulum-v1", "x/medium-v0") == published_returns("Hopper-v5", "x/simple-v0") == {}
    assert published_sizes("Walker2d-v5", "x/medium-replay-v0")[16] == 14.8
    assert published_sizes("Walker2d-v5", "x/medium-v0") == {} and kind_of("a/b-v0") is None


def test_names_say_what_tells_runs_apart() -> None:
    runs = [
        made(objective="dbc"),
        made(objective="pbc", seed=1),
        made(objective="pbc", seed=2),
        made(objective="pbc", seed=2),
    ]
    labels = [one.label for one in compared(*runs)]
    assert labels == ["DBC", "PBC · seed 1", "PBC · seed 2", "PBC · seed 2 (2)"]
    write_label(runs[2], name="best")
    found = compared(*runs)
    assert found[2].label == "PBC · best"
    looks = [(one.view.objective, one.dash, one.symbol) for one in found]
    assert len(set(looks)) == len(looks)


def test_a_setting_that_a_run_has_not_is_not_part_of_its_name() -> None:
    timed, counted = made(objective="pbc", steps=None, seconds=40.0), made(objective="pbc", steps=30)
    assert not [one.label for one in compared(timed, counted) if "–" in one.label]


def test_long_names_get_the_height_they_need() -> None:
    short, long = BarRow("PBC", "pbc", Estimate(1, 0, 2)), BarRow("x" * 70, "pbc", Estimate(1, 0, 2))
    assert overlays.bars_height([short, long]) - overlays.bars_height([]) > 2 * 4 * 13  # four lines per row
    assert overlays.bars_height([short, short]) == 96 + 2 * 34


def test_a_run_without_a_set_yet_does_not_make_the_others_incomparable() -> None:
    together = compared(*showcase_runs(), made())
    assert "best set here is Av-PBC" in comparison.bars_sentence(together, comparison.bar_rows(together))


def test_only_differing_settings_are_listed() -> None:
    one, two = tiny_config(seed=1, size=8), tiny_config(seed=2, size=8, step_size_decay=False)
    assert comparison.differences([one, two]) == [("Seed", ["1", "2"]), ("Decay step size", ["yes", "no"])]
    assert "2 of 36 settings: seed, decay step size" in comparison.differences_sentence([one, two])
    assert "are equal" in comparison.differences_sentence([one, one])
    assert "second run" in comparison.differences_sentence([one])


def test_sentences_are_computed() -> None:
    found = compared(made(10.0, (1.0, 0.5), objective="dbc"), made(11.0, (1.0, 0.9), objective="pbc"))
    assert comparison.loss_sentence(found).startswith("The loss of DBC fell by")
    assert "overlaps" in comparison.return_sentence(found) and comparison.return_sentence(found).startswith("PBC")
    apart = compared(made(10.0, objective="dbc"), made(20.0, objective="pbc"))
    assert "lies below" in comparison.return_sentence(apart)
    assert "best set here is PBC at 20.0 (the mean action of its students gains 1.0)" in comparison.bars_sentence(
        apart, comparison.bar_rows(apart)
    )
    assert "within chance" not in comparison.bars_sentence(apart, comparison.bar_rows(apart))
    assert ", DBC within chance of it" in comparison.bars_sentence(found, comparison.bar_rows(found))
    level = compared(made(2.2, objective="dbc"), made(2.21, objective="pbc"))
    assert comparison.bars_sentence(level, comparison.bar_rows(level)) == "The sets here all return 2.2; none is ahead."
    nothing = compared(made())
    assert "No loss" in comparison.loss_sentence(nothing) and "No students" in comparison.return_sentence(nothing)


def test_curves_over_seconds() -> None:
    run = made(5.0, (3.0, 2.0, 1.0))
    run.append([{"kind": "evaluated", "step": 2, "score": {"normalized_return_mean": 4.0}}])
    (over_steps,), (over_seconds,) = (comparison.traces(compared(run), x) for x in ("steps", "seconds"))
    assert list(over_steps.x) == [1, 2, 3] and list(over_seconds.x) == [2, 4, 6]
    assert [p.step for p in over_steps.points] == [2, 3] and [p.step for p in over_seconds.points] == [4, 6]
    spec = overlays.return_overlay([over_seconds], "seconds")
    assert spec["xAxis"]["name"] == "seconds" and spec["xAxis"]["max"] == 6
    assert overlays.loss_overlay([over_steps], "outer steps")["yAxis"]["type"] == "log"


def test_bars_hold_ensembles_baselines_and_the_papers_marks() -> None:
    rows = comparison.bar_rows(compared(*showcase_runs()))
    labels = [row.label for row in rows]
    assert labels[:2] == ["DBC", "DBC, ensemble"] and labels[-1] == "Teacher"
    papers = {row.label: row.paper for row in rows}
    assert papers["Av-PBC"] == 35.9 and papers["Av-PBC, ensemble"] == 39.8 and papers["PBC, ensemble"] is None
    spec = overlays.comparison_bars(rows)
    marks = next(series for series in spec["series"] if series.get("name") == "the paper")
    assert [35.9, labels.index("Av-PBC")] in marks["data"]
    assert all(spec["xAxis"]["min"] <= value <= spec["xAxis"]["max"] for value, _ in marks["data"])


def test_raw_returns_are_points_and_the_worst_has_no_longest_bar() -> None:
    rows = [BarRow("DBC", "dbc", Estimate(-1400, -1450, -1350)), BarRow("PBC", "pbc", Estimate(-150, -180, -120), True)]
    spec = overlays.comparison_bars(rows, raw=True)
    assert not any(series["type"] == "bar" for series in spec["series"])
    assert [point["value"] for point in spec["series"][0]["data"]] == [[-1400, 0], [-150, 1]]
    assert -1700 < spec["xAxis"]["min"] < -1450 and -120 < spec["xAxis"]["max"] <= 0
    assert spec["yAxis"][1]["data"] == ["-1400", "-150"]
    for raw, shape in ((True, "circle"), (False, "rect")):
        drawn = report.bars_drawing(rows, raw)
        assert drawn.count(f"<{shape} ") == 2 and not drawn.count("<rect " if raw else "<circle ")
    drawn = report.bars_drawing(rows, True)
    worst, best = (float(x) for x in re.findall(r'<circle cx="([0-9.]+)"', drawn))
    assert worst < best
    assert "raw return (higher is better)" in drawn


def test_an_axis_of_bars_ignores_a_whisker_that_hardly_crosses_zero() -> None:
    rows = [BarRow("DBC", "dbc", Estimate(-0.5, -1.5, -0.1)), BarRow("PBC", "pbc", Estimate(30, 25, 35))]
    axis = overlays.bar_axis(rows, raw=False)
    assert (axis["min"], axis["max"]) == (0, 40)


def test_runs_of_different_size_have_no_common_baselines() -> None:
    labels = [row.label for row in comparison.bar_rows(compared(made(1.0, size=8), made(2.0, size=4)))]
    assert all("PBC" in label for label in labels) and len(labels) == 4


def test_csv_is_safe_for_spreadsheets() -> None:
    text = comparison.csv_text(["a", "b"], [["=1+1", -2.5], ['say "x"', 1]])
    assert text == 'a,b\n\'=1+1,-2.5\n"say ""x""",1\n'


def test_markdown_of_names_is_not_interpreted() -> None:
    assert plain("![p](http://e) :red[x]") == r"\!\[p\]\(http\:\/\/e\) \:red\[x\]"
    assert plain("Av-PBC 5") == r"Av\-PBC 5"


class Resources(HTMLParser):
    """Everything a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href", "poster")]


@pytest.mark.parametrize("x", ["steps", "seconds"])
def test_the_report_is_one_file_without_requests(x: str) -> None:
    own = made(3.0, (1.0, 0.5), objective="pbc")
    write_label(own, name=NASTY, note=NASTY)
    text = report.build(compared(*showcase_runs(), own), x)
    assert len(text.encode()) < 5 * 2**20
    resources = Resources()
    resources.feed(text)
    assert resources.found and all(value.startswith("data:") for value in resources.found)
    assert any(value.startswith("data:video/mp4") for value in resources.found)
    assert any(value.startswith("data:image/png") for value in resources.found)
    assert not {"script", "link", "iframe", "object"} & set(resources.tags)
    assert resources.tags.count("svg") == 3
    assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;alert" in text
    assert not re.search(r"https?://(?!evil)", text)
    for words in ("35.9", "Av-PBC", "Inner steps", "outer steps" if x == "steps" else "seconds"):
        assert words in text


def test_the_words_under_a_clip_know_its_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "showcase_dir", lambda: tmp_path)
    for name, words in (("rollouts.mp4", "side by side"), ("race.mp4", "race on one track")):
        (tmp_path / name).write_bytes(b"film")
        found = report.film(compared(*showcase_runs()))
        assert found is not None and words in found.alt
        (tmp_path / name).unlink()


def test_a_report_of_runs_without_anything() -> None:
    text = report.build(compared(made()), "steps")
    assert "<svg" not in text and "Settings" in text


def test_the_drawing_of_bars_breaks_long_names() -> None:
    name = "Av-PBC · dataset mine/pendulum-v0, ensemble"
    drawn = report.bars_drawing([BarRow(name, "av_pbc", Estimate(1, 0, 2))], True)
    assert name not in drawn and "Av-PBC · dataset" in drawn and "ensemble" in drawn
