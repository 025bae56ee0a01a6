from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from obd.errors import ObdError
from obd.runs import generalisation, sizes
from obd.runs.lines import append_line, of_longest_runs, read_lines


def cell(dataset: str, architecture: str, value: float, **changes: Any) -> dict[str, Any]:
    line = {"dataset": dataset, "dataset_hash": "x", "seed": 0, "outer_steps": 9, "architecture": architecture}
    line |= {"optimizer": "sgdm", "own": architecture == "mlp3", "students": [[value - 1, value - 1], [value + 1] * 2]}
    return line | changes


def test_lines_are_kept_and_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sizes.jsonl"
    assert read_lines(path, ("a",)) == []
    append_line(path, {"a": 1})
    append_line(path, {"a": 2, "b": 3})
    assert read_lines(path, ("a",)) == [{"a": 1}, {"a": 2, "b": 3}]
    with pytest.raises(ObdError, match="another kind"):
        read_lines(path, ("b",))
    path.write_text("[1]\n")
    with pytest.raises(ObdError, match="another kind"):
        read_lines(path, ())
    path.write_text('{"a": ')
    with pytest.raises(ObdError, match="cannot be read"):
        read_lines(path, ("a",))


def test_lines_of_shorter_runs_are_left_out() -> None:
    lines = [cell("a", "mlp3", 1.0), cell("a", "mlp3", 2.0, outer_steps=20), cell("b", "mlp3", 3.0)]
    assert of_longest_runs(lines) == lines[1:]


def test_cells_of_a_dataset_and_their_mean() -> None:
    lines = [cell("a", "mlp3", 10.0), cell("a", "mlp3", 14.0, seed=1), cell("a", "mlp2", 4.0)]
    lines += [cell("b", "mlp3", 40.0), cell("a", "mlp3", 99.0, outer_steps=3)]
    of_a, of_b = (generalisation.cells(lines, dataset) for dataset in "ab")
    assert of_a["mlp3", "sgdm"].mean == 12.0 and of_a["mlp3", "sgdm"].seeds == 2
    assert of_a["mlp3", "sgdm"].spread == pytest.approx(2**0.5)
    assert generalisation.own_kind(of_a) == ("mlp3", "sgdm")
    mean = generalisation.mean_cells([of_a, of_b])
    assert list(mean) == [("mlp3", "sgdm")] and mean["mlp3", "sgdm"].mean == 26.0 and mean["mlp3", "sgdm"].seeds == 1
    assert generalisation.mean_cells([]) == {}


def test_size_curves_mix_no_budgets() -> None:
    def line(method: str, size: int, value: float, steps: int, seed: int = 0) -> dict[str, Any]:
        found = {"dataset": "a", "dataset_hash": "x", "method": method, "size": size, "seed": seed}
        return found | {"outer_steps": steps, "students": [[value, value + 2]] * 3, "ensemble": [value + 5]}

    lines = [line("av_pbc", 16, 20.0, 9), line("av_pbc", 4, 10.0, 9), line("av_pbc", 4, 12.0, 9, seed=1)]
    lines += [line("av_pbc", 64, 1.0, 3), line("random_teacher", 4, 2.0, 0)]
    found = sizes.curves(lines, "a")
    assert [(point.size, point.mean) for point in found["av_pbc"]] == [(4, 12.0), (16, 21.0)]
    assert found["av_pbc"][0].seeds == 2 and found["av_pbc"][0].low == 11.0 and found["av_pbc"][0].high == 13.0
    assert found["av_pbc"][1].ensemble == 25.0 and [point.size for point in found["random_teacher"]] == [4]
    assert sizes.curves(lines, "b") == {}
