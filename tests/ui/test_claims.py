from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from obd.insight.effects import Effect, Interval
from obd.insight.report import SetReport
from obd.ui import claims


def effect(value: float, low: float, high: float) -> Effect:
    ratio = Interval(value, low, high)
    return Effect(value, 1.0, ratio, Interval(value - 1, low - 1, high - 1), Interval(0.6, 0.5, 0.7))


def report(data: Effect, start: Effect) -> SetReport:
    values = {"criticality": np.ones(4), "density": np.ones(4)}
    return SetReport(
        values=values,
        start_values=values,
        random_values=values,
        effects={"criticality": {"data": data, "start": start, "random": data}},
        radius=0.5,
        coverage=Interval(0.036, 0.03, 0.042),
        start_coverage=Interval(0.45, 0.43, 0.47),
        density=Interval(1.2, 0.8, 1.9),
        start_density=Interval(38, 35, 41),
        off_balance=0.59,
        start_off_balance=0.24,
        data_off_balance=0.36,
        restored=Interval(0.51, 0.47, 0.56),
    )


def test_the_claim_holds() -> None:
    said = claims.criticality_sentence("av_pbc", report(effect(1.3, 1.1, 1.5), effect(1.2, 1.05, 1.4)))
    assert "Av-PBC's distilled states are **1.30 times as critical as the data** (95 %: 1.10 to 1.50)" in said
    assert "1.20 times (95 %: 1.05 to 1.40), more critical than their start" in said


def test_the_claim_fails() -> None:
    said = claims.criticality_sentence("pbc", report(effect(0.9, 0.8, 1.02), effect(0.8, 0.7, 0.9)))
    assert "**not clearly more critical than the data**" in said
    assert "less critical than their start" in said
    said = claims.criticality_sentence("pbc", report(effect(0.8, 0.7, 0.9), effect(1.0, 0.9, 1.1)))
    assert "**less critical than the data**" in said and "no clear change from their start" in said


def test_without_a_ratio_the_difference_is_said() -> None:
    plain = replace(effect(1.3, 1.1, 1.5), ratio=None)
    said = claims.criticality_sentence("dbc", report(plain, plain))
    assert "**more critical as the data**" not in said
    assert "**more critical than the data**" in said and "+0.30 standard deviations" in said


def test_without_a_teacher_the_sentence_says_so() -> None:
    bare = replace(report(effect(1, 0.9, 1.1), effect(1, 0.9, 1.1)), effects={})
    assert "no teacher" in claims.criticality_sentence("dbc", bare)


@pytest.mark.parametrize(
    ("restored", "words"),
    [((0.6, 0.55, 0.65), "it restores balance"), ((0.5, 0.45, 0.55), "no better than chance"),
     ((0.3, 0.2, 0.4), "does the opposite")],
)  # fmt: skip
def test_balance(restored: tuple[float, float, float], words: str) -> None:
    made = replace(report(effect(1, 0.9, 1.1), effect(1, 0.9, 1.1)), restored=Interval(*restored))
    said = claims.posture_sentence("dbc", made)
    assert words in said and "**59 %**" in said and "24 %" in said and "36 %" in said
    assert claims.posture_sentence("dbc", replace(made, off_balance=None)) == ""


def test_density_and_coverage() -> None:
    made = report(effect(1, 0.9, 1.1), effect(1, 0.9, 1.1))
    assert "a sparser place than typical" in claims.density_sentence("dbc", made)
    assert "a denser place than typical" in claims.density_sentence("dbc", replace(made, density=Interval(80, 75, 85)))
    assert "as dense a place as the data do" in claims.density_sentence(
        "dbc", replace(made, density=Interval(50, 45, 55))
    )
    assert "**3.6 %** of the data" in claims.coverage_sentence("av_pbc", made)
    assert "an Av-PBC state" in claims.coverage_sentence("av_pbc", made)


def test_numbers_are_plain_json() -> None:
    values = json.loads(json.dumps(claims.numbers(report(effect(1.3, 1.1, 1.5), effect(1, 0.9, 1.1))), allow_nan=False))
    assert values["criticality_vs_data"]["ratio"] == [1.3, 1.1, 1.5]
    assert values["criticality_vs_data"]["cliffs_delta"] == pytest.approx(0.2)
    assert "criticality vs data" in claims.effect_lines(report(effect(1.3, 1.1, 1.5), effect(1, 0.9, 1.1)))
