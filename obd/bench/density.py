"""How well the density behind the state-density weights describes states of episodes it has not seen.

Mean held-out log-likelihood in nats per state, against a Gaussian with full covariance, for every built-in dataset that
is on this machine; and how many states the weights still stand for (effective share) at a few powers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from obd.config import DEFAULT_DATASET
from obd.data.catalog import list_datasets, load_dataset
from obd.data.density import held_out_likelihood, state_log_density
from obd.events import ShouldStop
from obd.objectives import density_weights

POWERS = (0.05, 0.1, 0.2, 0.5)


def run(*, quick: bool, say: Callable[[str], None], should_stop: ShouldStop) -> dict[str, Any]:
    """One row per dataset; ``quick`` measures the default one only."""
    result: dict[str, Any] = {}
    for info in list_datasets():
        if should_stop() or not (info.builtin and info.available) or (quick and info.id != DEFAULT_DATASET):
            continue
        dataset = load_dataset(info.id)
        began = time.process_time()
        log_density = state_log_density(dataset)
        seconds = round(time.process_time() - began, 1)
        shares = {str(power): round(effective_share(density_weights(log_density, power)), 3) for power in POWERS}
        likelihood = {name: round(value, 2) for name, value in held_out_likelihood(dataset).items()}
        result[info.id] = likelihood | {"effective_share": shares, "core_seconds": seconds}
        say(f"{info.id}: {result[info.id]}")
    return result


def effective_share(weights: Any) -> float:
    """(sum w)^2 / (M sum w^2): the share of the states that would say as much with equal weights."""
    return float(np.sum(weights) ** 2 / (len(weights) * np.sum(np.square(weights))))
