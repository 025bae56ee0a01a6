"""Distillation by generic double backward, as the published code does it: the paper's recipe without our engine."""

from __future__ import annotations

import torch
from torch import Tensor

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.engine import plain
from obd.engine.distill import Distiller, as_distilled
from obd.engine.distilled import DistilledDataset
from obd.engine.drawing import generator
from obd.engine.network import orthogonal_parameters
from obd.events import ShouldStop
from obd.objectives import TargetTeacher


class PlainDistiller(Distiller):
    """A run whose hypergradients come from :mod:`obd.engine.plain`; all else, the random numbers too, is the same.

    On a GPU it takes one start in each outer step, which is what the paper does.
    """

    def hypergradient(self, step: int, replica: int) -> tuple[Tensor, list[Tensor]]:
        real, config = self.real, self.config
        source = generator(config.seed, 1 + step, replica)
        start = orthogonal_parameters(self.shape, source, config.output_gain)
        rows = real.draw(config.batch_size, source).to(self.device)
        with torch.enable_grad():
            loss, gradients = plain.hypergradient(
                [(weight[0].to(self.device), bias[0, 0].to(self.device)) for weight, bias in start],
                self.observations,
                self.actions,
                self.log_rates,
                steps=config.inner_steps,
                momentum=config.inner_momentum,
                decay=config.step_size_decay,
                states=real.states[rows],
                targets=real.targets[rows],
                weights=None if real.weights is None else real.weights[rows],
                block=self.shape.block,
            )
        return loss, list(gradients)


def distill_plainly(
    config: DistillConfig, dataset: OfflineDataset, teacher: TargetTeacher | None, *, should_stop: ShouldStop
) -> DistilledDataset:
    """``config.steps`` outer steps of a :class:`PlainDistiller`, fewer if it is to stop."""
    assert config.steps is not None
    torch.set_num_threads(1)
    distiller = PlainDistiller(config, dataset, teacher)
    step = 0
    while step < config.steps and not should_stop():
        distiller.step(step, config.steps)
        step += 1
    return as_distilled(config, dataset, distiller.snapshot(step), {"outer_steps": step})
