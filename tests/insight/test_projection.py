from __future__ import annotations

import numpy as np
import pytest

from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError
from obd.insight.projection import TsneMap, fit_pca, fit_tsne, sample_states


def clusters(count: int = 120, seed: int = 0) -> np.ndarray:
    """Three well separated groups in six dimensions, ``[count, 6]``; point i is in group i % 3."""
    rng = np.random.default_rng(seed)
    centres = np.eye(3, 6, dtype=np.float32) * 8
    return (centres[np.arange(count) % 3] + rng.normal(size=(count, 6))).astype(np.float32)


def dataset(lengths: list[int]) -> OfflineDataset:
    size = sum(lengths)
    zeros = np.zeros((size, 1), np.float32)
    return OfflineDataset(
        id="t/t/t-v0",
        env_id="Pendulum-v1",
        observations=zeros,
        actions=zeros,
        rewards=zeros[:, 0],
        next_observations=zeros,
        terminations=np.zeros(size, np.bool_),
        truncations=np.zeros(size, np.bool_),
        episode_starts=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        action_low=-np.ones(1, np.float32),
        action_high=np.ones(1, np.float32),
    )


def test_pca_finds_the_line_and_places_other_points_on_it():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(200, 1)) * np.array([3.0, 4.0, 0.0]) + 0.01 * rng.normal(size=(200, 3)) + 7
    plane = fit_pca(line)
    np.testing.assert_allclose(plane.components[0], [0.6, 0.8, 0.0], atol=0.01)
    assert plane.explained_variance_ratio[0] > 0.99
    first = plane.transform(plane.mean + np.array([[0.6, 0.8, 0.0]]))
    np.testing.assert_allclose(first[0], [1.0, 0.0], atol=0.02)
    np.testing.assert_array_equal(fit_pca(line).components, plane.components)
    assert fit_pca(line, components=3).transform(line).shape == (200, 3)


def test_pca_refuses():
    with pytest.raises(ObdError, match="2 components"):
        fit_pca(np.zeros((2, 5)))
    with pytest.raises(ObdError, match="NaN"):
        fit_pca(np.full((9, 5), np.nan))
    with pytest.raises(ObdError, match="5 numbers"):
        fit_pca(clusters()[:, :5]).transform(np.zeros((1, 4)))


def test_tsne_keeps_groups_and_is_the_same_for_a_seed():
    reference, moving = clusters(), clusters(30, seed=1)
    fractions: list[float] = []
    fitted = fit_tsne(reference, perplexity=8, seed=3, on_progress=fractions.append)
    fixed, placed = fitted.reference_xy, fitted.transform(moving)
    assert fixed.shape == (120, 2) and placed.shape == (30, 2)
    assert np.isfinite(fixed).all() and np.isfinite(placed).all()
    means = np.stack([fixed[group::3].mean(axis=0) for group in range(3)])
    nearest = np.linalg.norm(placed[:, None] - means, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, np.arange(30) % 3)
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) > 20

    again = fit_tsne(reference, perplexity=8, seed=3)
    np.testing.assert_array_equal(again.reference_xy, fixed)
    np.testing.assert_array_equal(again.transform(moving), placed)


def tsne_map() -> TsneMap:
    reference = clusters()
    return TsneMap(reference, np.random.default_rng(5).normal(size=(120, 2)).astype(np.float32), 8.0)


def test_a_reference_point_lands_on_its_own_place():
    fitted = tsne_map()
    np.testing.assert_allclose(fitted.transform(fitted.reference), fitted.reference_xy, atol=1e-3)


def test_placing_is_continuous_and_independent_of_the_other_points():
    fitted, point = tsne_map(), clusters(1, seed=9)
    path = point + np.linspace(0, 1, 2001, dtype=np.float32)[:, None] * (clusters(2, seed=8)[1:] - point)
    placed = fitted.transform(path)
    travelled = np.linalg.norm(np.diff(placed, axis=0), axis=1)
    assert travelled.sum() > 0.5  # it does cross to the other group
    assert travelled.max() < 0.1  # the map is about 4 wide; a jump to another neighbour would be of that order
    np.testing.assert_allclose(fitted.transform(path[700:701])[0], placed[700], atol=1e-4)


def test_tsne_refuses():
    with pytest.raises(ObdError, match="perplexity 30"):
        fit_tsne(clusters(60), perplexity=30)
    with pytest.raises(ObdError, match="at most"):
        fit_tsne(np.zeros((3001, 2)))
    with pytest.raises(ObdError, match="6 numbers"):
        tsne_map().transform(np.zeros((2, 5)))
    with pytest.raises(ObdError, match="moving"):
        tsne_map().transform(np.full((1, 6), np.inf))


def test_tsne_stops_when_asked():
    asked = []

    def should_stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        fit_tsne(clusters(), perplexity=8, should_stop=should_stop)
    assert len(asked) == 4
    with pytest.raises(Cancelled):
        tsne_map().transform(clusters(), should_stop=lambda: True)


def test_tsne_of_a_few_points():
    placed = TsneMap(np.zeros((1, 2), np.float32), np.full((1, 2), 3, np.float32), 1.0).transform(np.ones((4, 2)))
    np.testing.assert_allclose(placed, 3.0)


def test_sample_is_even_over_episodes():
    data = dataset([10, 1000, 3, 500])
    index = sample_states(data, 43, seed=0)
    counts = np.bincount(data.episode_index[index], minlength=4)
    assert counts[0] == 10 and counts[2] == 3
    assert counts.sum() == 43 and abs(int(counts[1]) - int(counts[3])) <= 1
    assert len(np.unique(index)) == 43 and (np.diff(index) > 0).all()
    np.testing.assert_array_equal(index, sample_states(data, 43, seed=0))
    assert not np.array_equal(index, sample_states(data, 43, seed=1))


def test_sample_of_more_than_there_is():
    np.testing.assert_array_equal(sample_states(dataset([3, 2]), 99, seed=0), np.arange(5))
    assert len(sample_states(dataset([1] * 50), 7, seed=0)) == 7
