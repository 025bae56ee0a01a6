"""The hand-written hypergradient against an independent autograd unroll, in float64."""

from __future__ import annotations

import pytest
import torch

from obd.engine import plain
from obd.engine import unroll as engine
from obd.engine.network import Shape, orthogonal_parameters, outer_loss
from obd.engine.unroll import Unroll

BATCH = 21


def relative_error(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


def problem(shape: Shape, weighted: bool, seed: int = 0) -> dict[str, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes: int) -> torch.Tensor:
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    r = shape.replicas
    return {
        "observations": normal(r, shape.size, shape.observation_dim),
        "actions": normal(r, shape.size, shape.action_dim).mul_(0.7),
        "log_rates": normal(r, len(shape.widths) - 1).mul_(0.3).sub_(2.0),
        "states": normal(r, BATCH, shape.observation_dim),
        "targets": normal(r, BATCH, shape.action_dim).tanh_(),
        "weights": normal(r, BATCH).abs() if weighted else None,
    }


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("hidden", [(7,), (8, 6), (9, 8, 7), (6, 6, 6, 6)])
@pytest.mark.parametrize(("steps", "momentum", "decay"), [(1, 0.0, False), (12, 0.9, True), (30, 0.5, False)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch", [0, 4])
def test_hypergradient_is_exact(
    replicas: int, hidden: tuple[int, ...], steps: int, momentum: float, decay: bool, weighted: bool, batch: int
) -> None:
    shape = Shape(replicas, size=11, observation_dim=5, action_dim=3, hidden=hidden, steps=steps, batch=batch)
    data = problem(shape, weighted)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(1), dtype=torch.float64)
    unroll = Unroll(shape, momentum=momentum, decay=decay, dtype=torch.float64)

    final = unroll.train(start, data["observations"], data["actions"], data["log_rates"].exp())
    loss, gradient = outer_loss(final, data["states"], data["targets"], data["weights"])
    results = unroll.adjoint(gradient)

    for r in range(replicas):
        expected_loss, expected = plain.hypergradient(
            [(w[r], b[r, 0]) for w, b in start],
            data["observations"][r],
            data["actions"][r],
            data["log_rates"][r],
            steps=steps,
            momentum=momentum,
            decay=decay,
            states=data["states"][r],
            targets=data["targets"][r],
            weights=None if data["weights"] is None else data["weights"][r],
            block=shape.block,
        )
        assert relative_error(loss[r], expected_loss) < 1e-12
        for value, reference in zip(results, expected, strict=True):
            assert relative_error(value[r], reference) < 1e-8


def test_buffers_can_be_reused() -> None:
    """A second run in the same memory gives what a fresh one gives."""
    shape = Shape(2, size=6, observation_dim=4, action_dim=2, hidden=(8, 8), steps=9)
    used = Unroll(shape, momentum=0.9, decay=True, dtype=torch.float64)
    for seed in (3, 4):
        data = problem(shape, weighted=True, seed=seed)
        start = orthogonal_parameters(shape, torch.Generator().manual_seed(seed), dtype=torch.float64)
        outcomes = []
        for unroll in (used, Unroll(shape, momentum=0.9, decay=True, dtype=torch.float64)):
            final = unroll.train(start, data["observations"], data["actions"], data["log_rates"].exp())
            loss, gradient = outer_loss(final, data["states"], data["targets"], data["weights"])
            outcomes.append((loss, *unroll.adjoint(gradient)))
        for first, second in zip(*outcomes, strict=True):
            assert torch.equal(first, second)


def test_scripted_loops_do_what_the_python_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape(2, size=6, observation_dim=4, action_dim=2, hidden=(8, 8), steps=9, batch=4)
    data = problem(shape, weighted=False)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(5), dtype=torch.float64)
    outcomes = []
    for _ in range(4):  # the script's first calls take other ways through PyTorch's executor than later ones
        unroll = Unroll(shape, momentum=0.9, decay=True, dtype=torch.float64)
        final = unroll.train(start, data["observations"], data["actions"], data["log_rates"].exp())
        _, gradient = outer_loss(final, data["states"], data["targets"], None)
        outcomes.append([tensor.clone() for tensor in (*unroll.adjoint(gradient), unroll.path[-1])])
        if len(outcomes) == 3:
            monkeypatch.setattr(engine, "scripted_train_loop", engine.train_loop)
            monkeypatch.setattr(engine, "scripted_adjoint_loop", engine.adjoint_loop)
    for outcome in outcomes[1:]:
        for value, reference in zip(outcome, outcomes[0], strict=True):
            assert torch.equal(value, reference)


def test_memory_and_arithmetic_of_the_paper() -> None:
    """About 63 GFLOP at N = 256, three hidden layers of 256, 100 inner steps, 2,560 real states."""
    shape = Shape(1, size=256, observation_dim=17, action_dim=6, hidden=(256, 256, 256), steps=100)
    assert 6.2e10 < shape.flops(2560) < 6.6e10
    for compute in (torch.float32, torch.bfloat16):
        unroll = Unroll(Shape(2, 8, 3, 2, (4, 4), 50), momentum=0.0, decay=False, compute=compute)
        different = {tensor.data_ptr() for tensor in unroll.path}
        assert len(different) == (51 if compute == torch.float32 else 1)  # else only the rounded ones are kept
        stored = [*unroll.working, *(tensor for layer in unroll.activations + unroll.deltas for tensor in layer)]
        actual = sum(tensor.numel() * tensor.element_size() for tensor in stored)
        assert actual == pytest.approx(unroll.shape.bytes(compute.itemsize), rel=0.1)


@pytest.mark.parametrize("compute", [None, torch.bfloat16])
def test_reduced_precision_points_the_same_way(compute: torch.dtype | None) -> None:
    """Hypergradient in reduced precision (torch's medium, bfloat16 products) against the exact one in float64.

    Two draws of states and initialisations agree far less (0.1 to 0.3), so this error is not what limits a run.
    """
    shape = Shape(1, size=128, observation_dim=17, action_dim=6, hidden=(128, 128), steps=60, batch=64)
    data = problem(shape, weighted=False)
    start = orthogonal_parameters(shape, torch.Generator().manual_seed(2), 0.1, dtype=torch.float64)
    before = torch.get_float32_matmul_precision()
    results = {}
    try:
        for dtype in (torch.float64, torch.float32):
            torch.set_float32_matmul_precision("highest" if dtype == torch.float64 else "medium")
            unroll = Unroll(
                shape, momentum=0.9, decay=True, dtype=dtype, compute=None if dtype == torch.float64 else compute
            )
            values = {name: None if value is None else value.to(dtype) for name, value in data.items()}
            final = unroll.train(
                [(w.to(dtype), b.to(dtype)) for w, b in start],
                values["observations"],
                values["actions"],
                values["log_rates"].sub(1.0).exp(),
            )
            _, gradient = outer_loss(final, values["states"], values["targets"], None, unroll.compute)
            results[dtype] = [part.double().flatten() for part in unroll.adjoint(gradient)]
    finally:
        torch.set_float32_matmul_precision(before)
    for exact, reduced in zip(results[torch.float64], results[torch.float32], strict=True):
        assert torch.cosine_similarity(exact, reduced, dim=0) > 0.8
