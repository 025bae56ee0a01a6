"""The card of a dataset: what it holds, in a few kilobytes of plain JSON.  Stored with the dataset when it is written.

Sums run over blocks of rows and quantiles over an even sample of at most ``SAMPLE`` rows, so a card costs no memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset, normalized_return
from obd.data.identifiers import metadata_of

CARD_VERSION = 1
BINS = 30
SAMPLE = 100_000  # rows for quantiles
BLOCK = 16_384  # rows summed at once
AT_BOUND = 0.999  # of an action's bound

Card = dict[str, Any]


def dataset_card(dataset: OfflineDataset) -> Card:
    """Statistics of ``dataset``; returns are raw (see :func:`normalized_scale`), actions in the environment's units.

    ``observations`` and ``actions`` hold one row per dimension: min, 1 % quantile, mean, std, 99 % quantile, max.
    ``shown`` are the episodes of smallest, median and largest return (without rewards: of length).
    """
    returns, lengths = dataset.episode_returns, dataset.episode_lengths
    ranking = np.argsort(returns if dataset.has_rewards else lengths, kind="stable")
    ends = np.append(dataset.episode_starts[1:], len(dataset)) - 1
    low, high = dataset.action_low, dataset.action_high
    actions = _columns(dataset.actions)
    at_bound = sum(int(np.count_nonzero(np.abs(dataset.actions[part]) >= AT_BOUND)) for part in _parts(len(dataset)))
    return {
        "version": CARD_VERSION,
        "transitions": len(dataset),
        "episodes": len(lengths),
        "content_hash": dataset.content_hash,
        "reference_returns": None if dataset.reference_returns is None else list(dataset.reference_returns),
        "returns": _distribution(returns) if dataset.has_rewards else None,
        "lengths": _distribution(lengths, start=0.0),
        "terminated_episodes": int(np.count_nonzero(dataset.terminations[ends])),
        "truncated_episodes": int(np.count_nonzero(dataset.truncations[ends])),
        "observations": _columns(dataset.observations),
        "actions": [
            {
                name: value * float(high[d] - low[d]) / 2
                if name == "std"
                else float(low[d] + (value + 1) / 2 * (high[d] - low[d]))
                for name, value in row.items()
            }
            for d, row in enumerate(actions)
        ],
        "action_bounds": [[float(a), float(b)] for a, b in zip(low, high, strict=True)],
        "actions_at_bound": at_bound / dataset.actions.size,
        "shown": {
            "worst": int(ranking[0]),
            "median": int(ranking[(len(ranking) - 1) // 2]),
            "best": int(ranking[-1]),
        },
    }


def stored_card(dataset_id: str) -> Card | None:
    """The card written with a local dataset; None if another program wrote it."""
    card = metadata_of(dataset_id).get("obd_card")
    return card if isinstance(card, dict) and card.get("version") == CARD_VERSION else None


def normalized_scale(card: Card, returns: Any) -> NDArray[np.float64]:
    """Returns on D4RL's 0-100 scale, or unchanged for a dataset without reference returns."""
    reference = card["reference_returns"]
    return normalized_return(returns, None if reference is None else (reference[0], reference[1]))


def _distribution(values: NDArray[Any], start: float | None = None) -> dict[str, Any]:
    """Five numbers, the mean and a histogram (from ``start`` on)."""
    limits = None if start is None else (start, float(values.max()))
    counts, edges = np.histogram(values, bins=BINS, range=limits)
    names = ("min", "quartile1", "median", "quartile3", "max")
    summary = dict(zip(names, map(float, np.quantile(values, (0, 0.25, 0.5, 0.75, 1))), strict=True))
    return summary | {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
    }


def _columns(values: NDArray[np.float32]) -> list[dict[str, float]]:
    """Per dimension of ``[M, d]``: min, low (1 %), mean, std, high (99 %), max."""
    rows, width = values.shape
    total, squares = np.zeros(width), np.zeros(width)
    for part in _parts(rows):
        total += values[part].sum(axis=0, dtype=np.float64)
    mean = total / rows
    for part in _parts(rows):
        squares += ((values[part] - mean) ** 2).sum(axis=0)
    sample = values[:: max(1, -(-rows // SAMPLE))]
    low, high = np.quantile(sample, (0.01, 0.99), axis=0)
    columns = (values.min(axis=0), low, mean, np.sqrt(squares / rows), high, values.max(axis=0))
    names = ("min", "low", "mean", "std", "high", "max")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*columns, strict=True)]


def _parts(length: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]
