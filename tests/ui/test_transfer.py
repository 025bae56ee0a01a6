from __future__ import annotations

from obd.runs.generalisation import Cell
from obd.runs.sizes import Point
from obd.ui import overlays, transfer

CELLS = {
    ("mlp3", "sgdm"): Cell(40.0, 2.0, 1, True),
    ("mlp3", "adam"): Cell(30.0, 2.0, 1, False),
    ("mlp6", "sgdm"): Cell(10.0, 2.0, 1, False),
}


def point(size: int, mean: float) -> Point:
    return Point(size, mean, mean - 1, mean + 1, mean + 5, 1)


def test_the_sentence_compares_shares_with_the_paper() -> None:
    text = transfer.generalisation_sentence(CELLS)
    assert "(3 layers, SGD + momentum) returns **40.0**" in text and "2 other kinds" in text
    assert "best (3 layers, Adam) returns **30.0**" in text and "worst (6 layers, SGD + momentum) **10.0**" in text
    assert "keep **50 %**" in text and "83 to 107 %" in text
    weak = {kind: Cell(1.0, 0.0, 1, cell.own) for kind, cell in CELLS.items()}
    assert "%" not in transfer.generalisation_sentence(weak)
    assert "Only 6 layers" in transfer.generalisation_sentence({("mlp6", "sgdm"): CELLS["mlp6", "sgdm"]})


def test_shares_stand_beside_the_papers() -> None:
    found = {name: (paper, ours) for name, paper, ours in transfer.shares(CELLS)}
    assert found["mlp3"] == (41.0 / 38.2, 1.0) and found["mlp6"] == (31.7 / 38.2, 0.25)
    assert found["adam"] == (39.3 / 38.2, 0.75) and found["residual"][1] is None
    assert all(ours is None for _, _, ours in transfer.shares({}))


def test_the_heat_map_frames_the_own_student_and_shows_the_papers_figures_without_colour() -> None:
    chart = transfer.heat_map(CELLS)
    assert chart["xAxis"]["data"] == ["SGD + momentum", "Adam", "in the paper"]
    assert chart["yAxis"]["data"] == ["3 layers", "6 layers", "in the paper"]
    cells, notes = chart["series"]
    assert [point["value"] for point in cells["data"]] == [[1, 0, 30.0], [0, 1, 10.0], [0, 0, 40.0]]
    assert ["itemStyle" in point for point in cells["data"]] == [False, False, True]
    shown = {(*point["value"], point["label"]["formatter"]) for point in notes["data"]}
    assert shown == {(2, 0, "41.0"), (2, 1, "31.7"), (0, 2, "38.1"), (1, 2, "39.3")}
    assert chart["visualMap"]["seriesIndex"] == 0


def test_the_size_curve_has_the_papers_marks_and_the_teacher() -> None:
    found = {"av_pbc": [point(4, 10.0), point(1024, 50.0)], "random_teacher": [point(4, 1.0)]}
    lines = transfer.size_lines(found)
    chart = overlays.size_curve(lines, {16: 6.9, 256: 35.9}, 62.0)
    assert chart["xAxis"]["axisLabel"]["customValues"] == [4, 16, 256, 1024] and chart["xAxis"]["logBase"] == 2
    names = [series["name"] for series in chart["series"] if "name" in series]
    assert names == ["Av-PBC", "Av-PBC, ensemble of ten", "Random states, relabelled", "Av-PBC in the paper", "Teacher"]
    assert chart["legend"]["data"] == names[:-1] and chart["yAxis"]["max"] == 70
    shifted = [chart["series"][index]["data"][0][0] for index in (0, 3)]
    assert shifted[0] != shifted[1]  # the whiskers stand side by side


def test_the_sentence_about_sizes() -> None:
    found = {"av_pbc": [point(4, 10.0), point(16, 30.0), point(64, 25.0)]}
    text = transfer.sizes_sentence(found, 60.0, {64: 23.8})
    assert text == (
        "Av-PBC returns **10.0** from 4 pairs and at most **30.0**, from 16 (50 % of the teacher's 60.0). "
        "The paper reports 23.8 from 64, where these students return 25.0."
    )
    found["random_teacher"] = [point(4, 1.0), point(64, 12.0)]
    assert "**12.0**, 64 of them; **16** distilled pairs match that" in transfer.sizes_sentence(found, None, {})
    found["random_teacher"] = [point(64, 70.0)]
    assert "no distilled set matches that" in transfer.sizes_sentence(found, None, {})
    assert "No distilled set" in transfer.sizes_sentence({}, None, {})
