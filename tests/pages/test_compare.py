from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from obd.runs import export
from obd.runs.importing import import_set
from obd.runs.manage import read_label, trash, write_label
from obd.runs.store import Run, list_runs
from obd.ui import nine, runtable, transfer
from tests.pages.conftest import Open
from tests.pages.test_pages import spec, wait_until, words

NASTY = '<img src=x onerror="alert(1)">![p](http://evil.example/p.png)'


def address(*runs: Run) -> str:
    return ",".join(run.id for run in runs)


def button(at: AppTest, label: str) -> None:
    next(b for b in at.button if b.label == label).click().run()
    assert not at.exception


def test_the_group_on_show_is_compared(group: list[Run], open_page: Open) -> None:
    at = open_page("compare")
    assert not at.error
    assert at.query_params["runs"] in (address(*group), address(*group[::-1]))
    assert sorted(spec(at)["yAxis"][0]["data"])[:2] == ["DBC", "PBC"]
    assert "best set here is PBC at 20" in words(at).replace("\\", "")
    assert set(at.dataframe[0].value["Objective"]) >= {"■ DBC", "▲ PBC"}


@pytest.mark.parametrize("part", ["returns", "curves", "settings", "students", "sizes", "files", "bogus"])
def test_every_part_has_an_address(part: str, group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs=address(*group), part=part, over="seconds")
    assert not at.error and at.query_params["part"] == ("returns" if part == "bogus" else part)
    if part == "curves":
        assert spec(at)["xAxis"]["name"] == "seconds"
        assert [series["name"] for series in spec(at)["series"]] == ["PBC", "DBC"]
    if part == "settings":
        assert "differ in 1 of" in words(at).replace("\\", "")
    if part == "files":
        file = f"{export.file_stem(group[-1])}.npz"  # as the download is called
        assert export.snippet(group[-1].distilled(), file).strip() in [code.value for code in at.code]


def test_runs_in_a_wrong_address(group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs=f"../../etc,{group[0].id}")
    assert "not here any more" in words(at) and at.query_params["runs"] == group[0].id


def test_no_run_chosen_is_a_designed_state(group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs="")
    at.session_state["runs"] = ""
    at.run()
    assert not at.exception and "Choose runs" in words(at)


def test_delete_and_undo(group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs=address(group[0]))
    button(at, "Delete")
    assert [run.id for run in list_runs()] == [group[1].id] and "moved to the trash" in words(at)
    button(at, "Undo")
    assert {run.id for run in list_runs()} == {run.id for run in group} and not trash()
    assert at.query_params["runs"] == group[0].id
    assert "moved to the trash" not in words(at)


def test_the_trash_can_be_opened_later(group: list[Run], open_page: Open) -> None:
    from obd.runs.manage import delete_runs

    (token,) = delete_runs([group[0]])
    at = open_page("compare")
    at.multiselect(key="restore choice").set_value([token]).run()
    button(at, "Restore")
    assert len(list_runs()) == 2


def test_names_and_notes_are_shown_as_text(group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs=address(group[0]))
    at.text_input(key=f"name {group[0].id}").set_value(NASTY)
    at.text_area(key=f"note {group[0].id}").set_value("try again")
    at.session_state["name and note"] = True
    button(at, "Save")
    assert not at.session_state["name and note"]  # the popover closes
    assert read_label(group[0]).name == NASTY and read_label(group[0]).note == "try again"
    assert NASTY in list(at.dataframe[0].value["Name"])
    twin = import_set(f"{NASTY}.npz", export.npz(group[0]))
    at = open_page("compare", runs=address(group[0], twin), part="curves")
    shown = words(at)
    assert "evil" in shown and "](http" not in shown and "<img" not in shown.replace("\\<img", "")


def test_archived_runs_leave_the_lists(group: list[Run], open_page: Open) -> None:
    at = open_page("compare", runs=address(*group))
    button(at, "Archive")
    assert all(read_label(run).archived for run in group)
    assert set(at.dataframe[0].value["Name"]) == {"Showcase"}
    at = open_page("distill")
    assert all(label.startswith("Showcase") for label in at.selectbox(key="run choice").options)
    at = open_page("compare", runs=address(*group))
    button(at, "Take out of archive")
    assert not any(read_label(run).archived for run in group)


def test_the_showcase_cannot_be_changed(open_page: Open) -> None:
    at = open_page("compare")
    assert at.query_params["runs"] == "showcase.dbc,showcase.pbc,showcase.av_pbc"
    for key in ("delete", "archive"):
        assert at.button(key=key).disabled


def test_find(group: list[Run], open_page: Open) -> None:
    write_label(group[1], note="rainy day")
    at = open_page("compare", runs=address(*group))
    at.text_input(key="find run").set_value("RAINY pbc").run()
    assert list(at.dataframe[0].value["Note"]) == ["rainy day"]
    assert len(at.query_params["runs"].split(",")) == 2  # a search changes nothing in the comparison
    at.text_input(key="find run").set_value("dbc").run()  # the group is called after DBC, but this is not about groups
    assert "PBC" not in " ".join(at.dataframe[0].value["Objective"])
    at.text_input(key="find run").set_value(group[1].group[:13]).run()
    assert len(at.dataframe[0].value["Objective"]) == 2
    at.text_input(key="find run").set_value("no such run").run()
    assert not at.exception and "No run matches" in words(at)


def test_an_imported_set_is_measured_and_appears_everywhere(group: list[Run], open_page: Open) -> None:
    back = import_set("from-a-friend.npz", export.npz(group[1]))
    at = open_page("compare", runs=back.id, part="files")
    button(at, "Measure its students")
    wait_until(at, lambda _: back.evaluation())
    at.run()
    assert back.evaluation()["students"]["students"] == 10
    assert "from-a-friend (imported)" in list(at.dataframe[0].value["Name"])
    for page in ("states", "rollouts"):
        at = open_page(page, group=back.group)
        assert not at.error or "pygame" in at.error[0].value


def test_a_damaged_run_does_not_hide_the_others(group: list[Run], open_page: Open) -> None:
    header = json.loads((group[0].path / "config.json").read_text())
    header["config"]["invented"] = 1
    (group[0].path / "config.json").write_text(json.dumps(header))
    at = open_page("compare", runs=address(*group))
    assert not at.exception and not at.error
    assert "best set here is PBC" in words(at).replace("\\", "")
    assert "▲ PBC" in list(at.dataframe[0].value["Objective"])


def test_keys_of_shipped_and_own_runs_cannot_collide(group: list[Run], storage: Path) -> None:
    keys = list(runtable.every_run())
    assert len(keys) == len(set(keys)) == 5 and keys[-1] == "showcase.av_pbc"


def test_all_datasets_in_one_picture(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "paper_table.jsonl"
    monkeypatch.setattr(nine, "lines_path", lambda _name: path)
    at = open_page("compare", part="table")
    assert any("bench paper-table" in info.value for info in at.info)
    line = {
        "dataset": "obd/hopper/medium-v0", "dataset_hash": "x", "method": "av_pbc", "seed": 0, "budget_seconds": 180.0,
        "outer_steps": 9, "students": [[1.0, 2.0], [3.0, 4.0]], "ensemble": [5.0],
    }  # fmt: skip
    path.write_text(json.dumps(line) + "\n")
    at.run()
    assert "Av-PBC gives students that reach" in words(at) and "best method" not in words(at)
    path.write_text(
        json.dumps(line) + "\n" + json.dumps(line | {"method": "dbc", "students": [[0.5, 0.0], [0.0, 0.5]]}) + "\n"
    )
    at.run()
    assert "on **1 of 1** datasets" in words(at)
    chosen = json.dumps(line | {"method": "kmeans", "students": [[0.0, 0.0], [0.1, 0.1]]})
    path.write_text(json.dumps(line) + "\n" + chosen + "\n")
    at.run()
    methods = at.pills(key="table methods 180")
    assert "k-means++ selection" in methods.options and "kmeans" not in methods.value  # a click away
    methods.select("kmeans").run()
    assert "kmeans" in at.pills(key="table methods 180").value and not at.exception
    at.pills(key="table methods 180").set_value([]).run()
    assert not at.exception and not at.error
    longer = [line | {"budget_seconds": 600.0}, line | {"dataset": "obd/walker2d/medium-v0"}]
    path.write_text("".join(json.dumps(one) + "\n" for one in (line, *longer)))
    at.run()
    assert at.segmented_control(key="table budget").value == 180.0  # of which more datasets were measured
    path.write_text("no json")
    at.run()
    assert len(at.error) == 1 and "measure it again" in at.error[0].value


def test_other_students_in_one_picture(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "generalisation.jsonl"
    monkeypatch.setattr(transfer, "lines_path", lambda _name: path)
    at = open_page("compare", part="students")
    assert any("bench generalisation" in info.value for info in at.info) and not at.get("echarts_chart")
    assert "plain SGD too." in words(at)  # nothing about students here as long as none was measured
    assert list(at.dataframe[1].value) == ["Student", "kept in the paper"]
    line = {
        "dataset": "obd/hopper/medium-replay-v0", "dataset_hash": "x", "seed": 0, "outer_steps": 9,
        "architecture": "mlp2", "optimizer": "sgdm", "own": True, "students": [[40.0, 42.0], [38.0, 40.0]],
    }  # fmt: skip
    other = line | {"architecture": "mlp6", "optimizer": "adam", "own": False, "students": [[20.0, 20.0], [20.0, 20.0]]}
    second = [one | {"dataset": "obd/walker2d/medium-replay-v0"} for one in (line, other)]
    path.write_text("".join(json.dumps(one) + "\n" for one in (line, other, *second)))
    at.run()
    assert "keep **50 %**" in words(at) and "Mean of 2" in at.segmented_control(key="generalisation dataset").options
    assert spec(at)["yAxis"]["data"] == ["2 layers", "6 layers", "in the paper"]
    assert "here 2 layers, SGD + momentum." in words(at)
    assert list(at.dataframe[1].value["kept here"])[:2] == ["100 %", "–"]
    path.write_text("no json")
    at.run()
    assert len(at.error) == 1 and "measure it again" in at.error[0].value


def test_sizes_in_one_picture(open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sizes.jsonl"
    monkeypatch.setattr(transfer, "lines_path", lambda _name: path)
    at = open_page("compare", part="sizes")
    assert any("bench sizes" in info.value for info in at.info) and not at.get("echarts_chart")
    line = {
        "dataset": "obd/hopper/medium-replay-v0", "dataset_hash": "x", "method": "av_pbc", "size": 16, "seed": 0,
        "outer_steps": 9, "students": [[40.0, 42.0], [38.0, 40.0]], "ensemble": [44.0],
    }  # fmt: skip
    path.write_text("".join(json.dumps(line | {"size": size}) + "\n" for size in (4, 16)))
    at.run()
    assert "Av-PBC returns **40.0** from 4 pairs" in words(at) and "The paper reports 27.3 from 16" in words(at)
    assert spec(at)["xAxis"]["axisLabel"]["customValues"] == [4, 16, 32, 64, 128, 256]
    path.write_text("{}\n")
    at.run()
    assert len(at.error) == 1 and "measure it again" in at.error[0].value
