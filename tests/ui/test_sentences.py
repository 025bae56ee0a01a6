from __future__ import annotations

import numpy as np
import pytest

from obd.config import DistillConfig, preset
from obd.runs.store import create_run
from obd.ui import sentences
from obd.ui.monitor import GroupProgress, RunReader, RunView
from obd.ui.theme import style
from obd.ui.videos import Shot


def finished(objective: str, mean: float) -> RunView:
    run = create_run(DistillConfig(objective=objective))
    run.write_evaluation({"students": {"normalized_return_mean": mean, "normalized_return_ci95": [mean - 2, mean + 2]}})
    return RunReader(run.path).read()


def test_result_names_the_best_objective_and_its_share_of_the_teacher() -> None:
    text = sentences.result_sentence([finished("dbc", 10), finished("av_pbc", 36)], 48.0, 200_000)
    assert "256 Av-PBC pairs distilled from 200,000 transitions" in text
    assert "36.0 ± 2.0" in text
    assert "75 % of the teacher's 48.0" in text
    assert "DBC 10.0" in text


def test_a_result_of_few_steps_says_so() -> None:
    view = finished("av_pbc", 20)
    view.step = 46
    assert "Only 46 outer steps fitted" in sentences.result_sentence([view], None, None)
    view.step = 300
    assert "Only" not in sentences.result_sentence([view], None, None)
    view = finished("av_pbc", 20)
    view.run = create_run(DistillConfig(steps=46, seconds=None))
    assert "Only" not in sentences.result_sentence([view], None, None)  # as many as were asked for


def test_result_without_scores_or_teacher_is_still_a_sentence() -> None:
    view = RunReader(create_run(DistillConfig()).path).read()
    assert sentences.result_sentence([view], None, None).endswith(".")
    assert "teacher" not in sentences.result_sentence([finished("pbc", 3)], None, None)


def test_a_queued_group_says_what_is_ahead_of_it() -> None:
    progress = GroupProgress("queued", 0, 0, 0, None, None)
    assert "2 runs ahead" in sentences.progress_sentence(progress, 2)
    assert "1 run ahead" in sentences.progress_sentence(progress, 1)


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (300, "5 min"), (9000, "2.5 h")])
def test_duration(seconds: float, text: str) -> None:
    assert sentences.duration(seconds) == text


def test_group_label_names_the_objectives_or_the_name() -> None:
    runs = [create_run(DistillConfig(objective=objective)) for objective in ("dbc", "pbc")]
    assert sentences.group_label(runs).endswith("DBC, PBC")
    assert sentences.group_label([create_run(DistillConfig(), name="demo")]).endswith("demo")


def test_equal_labels_are_numbered_from_the_oldest() -> None:
    assert sentences.distinct({"c": "x", "b": "y", "a": "x"}) == {"c": "x (2)", "b": "y", "a": "x"}


def test_movement_is_measured_per_dimension() -> None:
    start = np.zeros((4, 9))
    assert sentences.movement(start, start + 0.5) == pytest.approx(0.5)
    assert "0.50" in sentences.movement_sentence(0.5, 10, "pbc", 4)
    assert "real ones" in sentences.movement_sentence(0.0, 0, "pbc", 4)


def shot(key: str, score: float, distance: float | None = None) -> Shot:
    return Shot(key, style(key).label, score, 10 * score, 50.0, False, distance)


def test_rollouts_sentence_speaks_of_the_best_student_and_the_baselines() -> None:
    shots = [shot("random_selection", 1), shot("dbc", 9), shot("pbc", 30), shot("teacher", 45)]
    text = sentences.rollouts_sentence(shots, "tiled")
    assert "**PBC** returns 30.0" in text and "1.0" in text and "45.0" in text
    assert "Teacher returns 1.0" in sentences.rollouts_sentence([shot("teacher", 1)], "tiled")
    assert "**PBC** returns 0.0," in sentences.rollouts_sentence([shot("pbc", -0.04), shot("teacher", 45)], "tiled")


def test_rollouts_sentence_of_a_race_gives_the_places() -> None:
    text = sentences.rollouts_sentence([shot("dbc", 9, 1.0), shot("pbc", 3, 20.0), shot("teacher", 4, 5.5)], "race")
    assert text == "**PBC** is ahead in the end with 20.0 m; then Teacher 5.5 m, DBC 1.0 m."
    text = sentences.rollouts_sentence([shot("dbc", 9, -1.0), shot("pbc", 3, -2.0)], "race")
    assert text == "**DBC** is ahead in the end with −1.0 m; then PBC −2.0 m."
    text = sentences.rollouts_sentence([shot("dbc", 9, -1.2), shot("pbc", 3, -0.03)], "race")
    assert text == "**PBC** is ahead in the end with 0.0 m; then DBC −1.2 m."


def test_numbers_get_a_real_minus_and_names_keep_their_hyphens() -> None:
    assert sentences.minus("from -3.5 to -1,325 of HalfCheetah-v5, run 20261126-08-av-pbc-7f87, (-2)") == (
        "from −3.5 to −1,325 of HalfCheetah-v5, run 20261126-08-av-pbc-7f87, (−2)"
    )
    assert sentences.minus("q* -128 to -0, loss -0.00 %, -0.05 and -0.") == "q* −128 to 0, loss 0.00 %, −0.05 and 0."


def test_the_settings_name_the_share_of_states_where_it_matters() -> None:
    assert "2 layers of 256 in 4 columns · seed" in sentences.settings_line(preset("light"))
    assert "2 layers of 512 · seed" in sentences.settings_line(DistillConfig())
    assert "visitation share 0.25 · seed" in sentences.settings_line(DistillConfig(size=64))
    assert "visitation" not in sentences.settings_line(DistillConfig()) + sentences.settings_line(
        DistillConfig(size=64, objective="dbc")
    )
