"""Sizes and starts of students, and the gradient of a ReLU."""

from __future__ import annotations

import pytest
import torch

from obd.engine.network import Shape, bits, orthogonal_parameters, relu_grad_


def test_orthogonal_start() -> None:
    shape = Shape(2, size=1, observation_dim=5, action_dim=3, hidden=(16, 16), steps=1)
    for weight, bias in orthogonal_parameters(shape, torch.Generator().manual_seed(0), dtype=torch.float64):
        gram = weight.mT @ weight if weight.shape[1] >= weight.shape[2] else weight @ weight.mT
        assert torch.allclose(gram, 2 * torch.eye(gram.shape[-1], dtype=torch.float64).expand_as(gram))
        assert not bias.any()


def test_blocks_cover_all_pairs_in_turn() -> None:
    shape = Shape(1, size=11, observation_dim=2, action_dim=1, hidden=(4,), steps=6, batch=4)
    pairs = list(range(11))
    assert [pairs[shape.block(step)] for step in range(4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [7, 8, 9, 10], [0, 1, 2, 3]]
    whole = Shape(1, size=11, observation_dim=2, action_dim=1, hidden=(4,), steps=6, batch=64)
    assert pairs[whole.block(5)] == pairs and whole.rows == 11


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_gradient_of_a_relu_passes_where_its_output_is_positive(dtype: torch.dtype) -> None:
    output = torch.tensor([0.0, -0.0, 1e-30, 2.0, float("inf")], dtype=dtype)
    gradient = torch.tensor([3.0, float("nan"), -3.0, 0.1, -float("inf")], dtype=dtype)
    expected = torch.where(output > 0, gradient, torch.zeros_like(gradient))
    relu_grad_(bits(gradient), bits(output), torch.empty_like(bits(output)))
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)
