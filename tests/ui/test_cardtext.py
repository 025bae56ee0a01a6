from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from obd.data.card import dataset_card
from obd.data.catalog import DatasetInfo
from obd.ui import cardtext
from obd.ui.datacard import histogram
from tests.helpers import pendulum_dataset

INFO = DatasetInfo("mine/walk-v0", "Hopper-v5", "mine/walk-v0", "", False, True, None)


def card(**changes: Any) -> dict[str, Any]:
    return dataset_card(dataclasses.replace(pendulum_dataset(), **changes))


def test_returns_are_normalised_or_called_raw() -> None:
    assert "0 is random, 100 expert" in cardtext.returns_sentence(card())
    raw = card(reference_returns=None)
    assert "raw returns" in cardtext.returns_sentence(raw)
    best = raw["returns"]["max"]
    assert cardtext.number(best) in cardtext.returns_sentence(raw)
    assert "rewards are missing" in cardtext.returns_sentence(card(provenance={"rewards": "missing"}))


def test_lengths_and_ends() -> None:
    assert cardtext.lengths_sentence(card()) == (
        "Every episode lasts 200 steps; none ends in a terminal state, all are cut off."
    )
    terminations = np.zeros(600, np.bool_)
    terminations[199] = True
    mixed = card(terminations=terminations, truncations=~terminations)
    assert "33 % end in a terminal state, 67 % are cut off" in cardtext.lengths_sentence(mixed)


def test_the_sentence_of_ranges_names_the_widest_dimension() -> None:
    observations = pendulum_dataset().observations.copy()
    observations[:, 0] = 7
    text = cardtext.ranges_sentence(card(observations=observations))
    assert "number 2 varies most" in text and "1 never change" in text


@pytest.mark.parametrize("text", ["![x](http://a.b/c.png)", "<img src=x>", "**b** `c` $d$ :red[x]", "# head", "a\n- b"])
def test_text_of_unknown_origin_stays_text(text: str) -> None:
    import re

    shown = cardtext.plain(text)
    assert not re.search(r"(?<!\\)[*`_\[\](){}<>#!$:]", shown) and "\n" not in shown


@pytest.mark.parametrize(
    ("words", "found"), [("", True), ("hopper WALK", True), ("hopper run", False), ("on this machine", True)]
)
def test_search(words: str, found: bool) -> None:
    assert cardtext.matches(INFO, words) is found


def test_a_hit_in_the_name_counts_more_than_one_in_the_description() -> None:
    assert cardtext.named(INFO, "MINE walk") and cardtext.named(INFO, "") and not cardtext.named(INFO, "hopper")


def test_an_import_claims_no_repairs_that_it_did_not_make() -> None:
    repairs = [{"code": "clipped", "count": 3, "message": "3 entries clipped."}]
    assert "listed at the end" in cardtext.imported_sentence({"import": {"repairs": repairs}})
    assert "nothing had to be repaired" in cardtext.imported_sentence({"import": {"repairs": []}})


def test_only_environments_without_pictures_say_so() -> None:
    assert cardtext.no_pose_sentence("Ant-v5") == ""
    assert cardtext.no_pose_sentence("Pendulum-v1") == ""
    assert "Reacher-v5 cannot be drawn" in cardtext.no_pose_sentence("Reacher-v5")


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    assert [cardtext.share(n, 1000) for n in (0, 1, 500, 999, 1000)] == [
        "0 %", "under 1 %", "50 %", "over 99 %", "100 %",
    ]  # fmt: skip


def test_histogram_covers_all_counts() -> None:
    spec = histogram(np.array([0.0, 1.0, 2.0]), [3, 5], "steps", 1.2)
    heights = [y for _, y in spec["series"][0]["data"]]
    assert heights == [0, 3, 3, 5, 5, 0] and spec["xAxis"]["min"] < 0 and spec["xAxis"]["max"] > 2
