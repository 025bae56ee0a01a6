"""Maps of the state space in two or three dimensions: PCA and t-SNE.

PCA is linear, so any later point can be placed in it.  t-SNE (van der Maaten and Hinton, JMLR 2008) has no such map:
:func:`fit_tsne` embeds the states of the dataset once, and :meth:`TsneMap.transform` then places further points, the
snapshots of a distillation, into that *fixed* picture, each where its nearest neighbours lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset
from obd.errors import Cancelled, ObdError

Float = NDArray[np.float32]
Points = NDArray[np.floating[Any]]

MAX_REFERENCE = 3000  # points of a t-SNE map: the time grows faster than their number
EXAGGERATION_STEPS = 250
STEPS = 500
STEPS_BETWEEN_REPORTS = 10


@dataclass(frozen=True)
class Projection:
    """A fitted principal component analysis.

    Attributes:
        mean: ``[d]``.
        components: ``[k, d]`` orthonormal rows, by falling variance; each row's largest entry is positive.
        explained_variance_ratio: ``[k]`` shares of the total variance.
    """

    mean: Float
    components: Float
    explained_variance_ratio: Float

    def transform(self, points: Points) -> Float:
        """``[..., d]`` -> ``[..., k]``.  Raises ObdError on another width."""
        values: Float = np.asarray(points, dtype=np.float32)
        if values.shape[-1] != len(self.mean):
            raise ObdError(f"The map was made for states of {len(self.mean)} numbers, not {values.shape[-1]}.")
        return ((values - self.mean) @ self.components.T).astype(np.float32)


def fit_pca(reference: Points, components: int = 2) -> Projection:
    """Principal components of ``reference [M, d]``, which should be normalised.

    The same input gives the same map.  Raises ObdError with fewer than ``components + 1`` points or non-finite ones.
    """
    from sklearn.decomposition import PCA

    points = _checked(reference, "reference")
    if len(points) <= components or points.shape[1] < components:
        raise ObdError(
            f"A projection on {components} components needs more than {components} states of at least as many "
            f"numbers; there are {len(points)} of {points.shape[1]}."
        )
    fitted = PCA(n_components=components, svd_solver="full").fit(points)
    rows = fitted.components_
    # Solvers differ in the sign of a component between machines; fix it.
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return Projection(
        mean=fitted.mean_.astype(np.float32),
        components=(rows * signs[:, None]).astype(np.float32),
        explained_variance_ratio=fitted.explained_variance_ratio_.astype(np.float32),
    )


def sample_states(dataset: OfflineDataset, count: int, seed: int) -> NDArray[np.int64]:
    """Indices ``[min(count, M)]`` of distinct transitions, ascending, spread evenly over the episodes.

    Every episode gets the same share (long ones fill up what short ones cannot give), so that a few long episodes
    do not hide the others.
    """
    rng = np.random.default_rng(seed)
    lengths = dataset.episode_lengths
    shares = _even_shares(lengths, min(count, len(dataset)), rng)
    picked = [
        start + rng.choice(length, size=share, replace=False)
        for start, length, share in zip(dataset.episode_starts, lengths, shares, strict=True)
        if share
    ]
    return np.sort(np.concatenate(picked)).astype(np.int64) if picked else np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class TsneMap:
    """A finished t-SNE embedding.

    Attributes:
        reference: ``[S, d]`` the points that were embedded.
        reference_xy: ``[S, 2]`` where they lie.
        perplexity: effective number of neighbours of the embedding.
    """

    reference: Float
    reference_xy: Float
    perplexity: float

    def transform(
        self,
        points: Points,
        *,
        on_progress: Callable[[float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Float:
        """Place ``[K, d]`` further points in the fixed map, ``[K, 2]``.

        A point goes to the weighted mean of the places of its 15 nearest reference points.  The weights are Gaussian
        in the distance, as t-SNE's affinities are, with the distance to the nearest one as bandwidth.  A
        weighted mean rather than openTSNE's gradient steps because it is a continuous function of the point alone:
        a state that moves a little between two snapshots moves a little in the picture, whatever the other points
        do, and a reference state lands on its own place.  Points far from all data are drawn at the data nearest
        to them; the picture cannot show how far away they are (:func:`obd.insight.projection.fit_pca` can).
        """
        points = _checked(points, "moving")
        if points.shape[1] != self.reference.shape[1]:
            raise ObdError(f"The map was made for states of {self.reference.shape[1]} numbers, not {points.shape[1]}.")
        count = min(15, len(self.reference))
        norms = np.square(self.reference).sum(axis=1)
        result = np.empty((len(points), 2), dtype=np.float32)
        for start in range(0, len(points), 512):
            if should_stop is not None and should_stop():
                raise Cancelled
            chunk = points[start : start + 512]
            squared = np.maximum(norms - 2 * chunk @ self.reference.T + np.square(chunk).sum(axis=1)[:, None], 0)
            nearest = np.argpartition(squared, count - 1, axis=1)[:, :count]
            near = np.sort(np.take_along_axis(squared, nearest, axis=1), axis=1)
            order = np.take_along_axis(squared, nearest, axis=1).argsort(axis=1)
            nearest = np.take_along_axis(nearest, order, axis=1)
            weights = np.exp(-(near - near[:, :1]) / (near[:, :1] + 1e-9))
            # Fade to zero at the last neighbour, so that exchanging it for another changes nothing abruptly.
            weights = weights - weights[:, -1:] + 1e-9
            weights /= weights.sum(axis=1, keepdims=True)
            result[start : start + 512] = np.einsum("kn,knc->kc", weights, self.reference_xy[nearest])
            if on_progress is not None:
                on_progress(min(1.0, (start + 512) / len(points)))
        return result


def fit_tsne(
    reference: Points,
    perplexity: float = 30.0,
    seed: int = 0,
    *,
    jobs: int = 1,
    on_progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TsneMap:
    """Embed ``reference [S, d]`` (normalised, S <= 3000) in the plane with openTSNE.

    Args:
        reference: points; the same ones with the same seed give the same map.
        perplexity: effective number of neighbours, 5 to 50.
        seed: of the neighbour search and the start (principal components plus a little noise).
        jobs: threads.
        on_progress: told the fraction done.
        should_stop: asked every ten iterations.

    Raises:
        ObdError: too many points, too few for the perplexity, or non-finite ones.
        Cancelled: ``should_stop()`` returned true.
    """
    from openTSNE import TSNEEmbedding, affinity, initialization

    points = _checked(reference, "reference")
    if len(points) > MAX_REFERENCE:
        raise ObdError(f"t-SNE takes at most {MAX_REFERENCE} states, not {len(points)}; draw a smaller sample.")
    if perplexity < 1 or len(points) < 3 * perplexity + 2:
        raise ObdError(
            f"t-SNE with perplexity {perplexity:g} needs at least {int(3 * max(perplexity, 1)) + 2} states and a "
            f"perplexity of at least 1, and there are {len(points)}; lower the perplexity or take more states."
        )

    def report(done: int) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled
        if on_progress is not None:
            on_progress(done / (EXAGGERATION_STEPS + STEPS))

    report(0)
    affinities = affinity.PerplexityBasedNN(points, perplexity, n_jobs=jobs, random_state=seed, method="exact")
    start = initialization.pca(points, random_state=seed)
    embedding = TSNEEmbedding(
        start, affinities, negative_gradient_method="bh", n_jobs=jobs, random_state=seed, learning_rate="auto"
    )
    done = 0
    for steps, exaggeration, momentum in ((EXAGGERATION_STEPS, 12.0, 0.5), (STEPS, 1.0, 0.8)):
        while steps > 0:
            # In short pieces, because that is where one can stop; the optimiser's state is kept between them.
            piece = min(steps, STEPS_BETWEEN_REPORTS)
            embedding.optimize(
                piece, exaggeration=exaggeration, momentum=momentum, inplace=True, propagate_exception=True
            )
            steps, done = steps - piece, done + piece
            report(done)
    return TsneMap(points, np.asarray(embedding, dtype=np.float32), perplexity)


def _checked(points: Points, name: str) -> Float:
    values = np.ascontiguousarray(points, dtype=np.float32)
    if values.ndim != 2:
        raise ObdError(f"The {name} states must be a table [count, numbers], not of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ObdError(f"The {name} states hold NaN or infinity, so they cannot be mapped; distil or import again.")
    return values


def _even_shares(lengths: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Split ``count`` over bins of the given capacities as evenly as they allow."""
    shares = np.zeros(len(lengths), dtype=np.int64)
    while count > 0:
        open_bins = np.flatnonzero(shares < lengths)
        if count < len(open_bins):
            shares[rng.choice(open_bins, size=count, replace=False)] += 1
            break
        give = np.minimum(lengths[open_bins] - shares[open_bins], count // len(open_bins))
        shares[open_bins] += give
        count -= int(give.sum())
    return shares
