from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from obd.data.card import dataset_card, normalized_scale, stored_card
from obd.data.minari_store import load_minari, save_minari
from obd.errors import ObdError
from tests.helpers import pendulum_dataset


def test_the_card_counts_what_is_there() -> None:
    dataset = pendulum_dataset()
    terminations, truncations = dataset.terminations.copy(), dataset.truncations.copy()
    terminations[199], truncations[199] = True, False
    card = dataset_card(dataclasses.replace(dataset, terminations=terminations, truncations=truncations))
    assert (card["transitions"], card["episodes"]) == (600, 3)
    assert (card["terminated_episodes"], card["truncated_episodes"]) == (1, 2)
    returns = dataset.episode_returns
    order = np.argsort(returns)
    assert [card["shown"][name] for name in ("worst", "median", "best")] == order.tolist()
    assert card["returns"]["mean"] == pytest.approx(returns.mean())
    assert sum(card["returns"]["counts"]) == 3 == sum(card["lengths"]["counts"])
    np.testing.assert_allclose(normalized_scale(card, returns), dataset.normalized(returns))
    np.testing.assert_allclose([row["mean"] for row in card["observations"]], dataset.observations.mean(0), atol=1e-5)
    np.testing.assert_allclose([row["std"] for row in card["observations"]], dataset.observations.std(0), rtol=1e-4)
    assert card["actions"][0]["max"] == pytest.approx(2 * dataset.actions.max()), "in the environment's units"
    assert card["actions"][0]["std"] == pytest.approx(2 * dataset.actions.std(), rel=1e-4)
    json.dumps(card, allow_nan=False)


def test_without_rewards_or_references() -> None:
    dataset = dataclasses.replace(pendulum_dataset(), reference_returns=None)
    card = dataset_card(dataset)
    assert card["reference_returns"] is None and normalized_scale(card, 7.0) == 7
    silent = dataset_card(dataclasses.replace(dataset, provenance={"rewards": "missing"}))
    assert silent["returns"] is None and silent["shown"]["worst"] == 0


def test_the_card_is_stored_with_the_dataset() -> None:
    dataset = pendulum_dataset()
    assert stored_card(dataset.id) is None
    save_minari(dataset, description="")
    card = stored_card(dataset.id)
    assert card is not None and card["content_hash"] == load_minari(dataset.id).content_hash
    assert card == dataset_card(dataset) | {"content_hash": card["content_hash"]}
    with pytest.raises(ObdError, match="not a dataset id"):
        stored_card("../../etc")
