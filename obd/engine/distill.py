"""The outer loop: synthetic pairs and step sizes follow the exact hypergradient of the students' inner training.

On a CPU every replica (a fresh student) is one task of a pool with one worker thread per core and one intra-op
thread each: torch releases the interpreter lock inside its operations, and the bits of a result do not depend on
how many cores there are or what else runs.  On a GPU all replicas go through as one batch.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.engine.distilled import DistilledDataset, Float, Recipe
from obd.engine.drawing import RealData, generator
from obd.engine.machine import check_memory, compute_type, select_device, worker_pool
from obd.engine.matching import GradientMatching
from obd.engine.network import Shape, orthogonal_parameters, outer_loss
from obd.engine.unroll import Unroll
from obd.errors import Cancelled, ObdError
from obd.events import Checkpoint, Finished, OnEvent, Progress, ShouldStop, Snapshot, Started, ignore
from obd.objectives import OuterTargets, TargetTeacher, matches_gradients, needs_teacher, run_targets
from obd.teachers.networks import set_precision

CLIP_FACTOR, SKIP_FACTOR, NORM_WINDOW = 1.5, 10.0, 101
LOSS_WINDOW, EXPLODED, KEEP_EVERY = 21, 3.0, 10
BACK_OFF, RECOVERY = 0.9, 0.8  # factors for all step sizes
CALIBRATION_STEPS = 3
GOLDEN = (5**0.5 - 1) / 2


def never() -> bool:
    return False


class Distiller:
    """The state of one run and how it takes an outer step."""

    def __init__(
        self,
        config: DistillConfig,
        dataset: OfflineDataset,
        teacher: TargetTeacher | None,
        outer: OuterTargets | None = None,
    ) -> None:
        self.config, self.dataset = config, dataset
        self.device = select_device(config.device)
        set_precision(config.precision)
        if config.size > len(dataset):
            raise ObdError(f"The dataset has {len(dataset):,} transitions; choose a size up to that.")
        together = config.initialisations if self.device.type != "cpu" else 1
        self.shape = Shape(
            together,
            config.size,
            dataset.observation_dim,
            dataset.action_dim,
            (config.hidden_width,) * config.hidden_layers,
            config.inner_steps,
            config.inner_batch,
        )
        self.matching = matches_gradients(config.objective)
        compute = compute_type(config.precision, self.device)
        stored = replace(self.shape, steps=1) if self.matching else self.shape
        check_memory(stored, config.initialisations // together, compute.itemsize)
        outer = outer or run_targets(config, dataset, teacher)
        self.real = RealData.build(config, dataset, outer, self.device)
        keywords: dict[str, Any] = {
            "momentum": config.inner_momentum,
            "decay": config.step_size_decay,
            "device": self.device,
        }
        self.students = range(config.initialisations // together)  # batches of them, each with memory of its own
        self.unrolls = [] if self.matching else [Unroll(self.shape, **keywords, compute=compute) for _ in self.students]
        self.matchers = [GradientMatching(self.shape, **keywords) for _ in self.students] if self.matching else []
        self.learn_rates = config.learn_step_sizes and not self.matching  # matching does not see the step sizes
        self.norms: deque[float] = deque(maxlen=NORM_WINDOW)
        self.losses: deque[float] = deque(maxlen=LOSS_WINDOW)
        self.good: dict[str, Tensor] = {}
        self._start(teacher)

    def _start(self, teacher: TargetTeacher | None) -> None:
        """Random real pairs; with a teacher their actions are the teacher's."""
        config, dataset = self.config, self.dataset
        chosen = self._distinct_rows(generator(config.seed, 0)).numpy()
        actions = torch.from_numpy(dataset.actions[chosen].copy())
        if config.action_start == "teacher" and needs_teacher(config.objective) and teacher is not None:
            with torch.no_grad():
                actions = teacher.act(torch.from_numpy(dataset.observations[chosen])).clone()
        layers = len(self.shape.widths) - 1
        self.observations = self.real.states[chosen].clone()
        self.actions = actions.to(self.device)
        self.log_rates = torch.full((layers,), float(np.log(config.inner_step_size)), device=self.device)
        groups = [
            {"params": [self.observations, self.actions], "lr": config.outer_step_size},
            {"params": [self.log_rates], "lr": config.step_size_rate},
        ]
        if config.outer_optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(groups, betas=(config.outer_momentum, 0.999))
        else:
            self.optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.outer_momentum)
        self.base_rates = [float(group["lr"]) for group in groups]  # type: ignore[arg-type]

    def _distinct_rows(self, source: torch.Generator) -> Tensor:
        """``size`` different rows, drawn like the real states."""
        drawn = self.real.draw(4 * self.config.size, source)
        drawn = drawn[torch.randperm(len(drawn), generator=source)]
        order = torch.cat([drawn, torch.randperm(len(self.dataset), generator=source)])
        _, first = np.unique(order.numpy(), return_index=True)
        return order[torch.from_numpy(np.sort(first))][: self.config.size]

    def hypergradient(self, step: int, replica: int) -> tuple[Tensor, list[Tensor]]:
        """H and its gradients for one batch of students, averaged over them."""
        real = self.real
        source = generator(self.config.seed, 1 + step, replica)
        replicas = self.shape.replicas
        start = [
            (w.to(self.device), b.to(self.device))
            for w, b in orthogonal_parameters(self.shape, source, self.config.output_gain)
        ]
        rows = torch.stack([real.draw(self.config.batch_size, source) for _ in range(replicas)]).to(self.device)
        pairs = (self.observations.expand(replicas, -1, -1), self.actions.expand(replicas, -1, -1))
        rates = self.log_rates.exp().expand(replicas, -1)
        weights = None if real.weights is None else real.weights[rows]
        if self.matching:
            loss, *gradients = self.matchers[replica].gradients(
                start, *pairs, rates, self._steps_taken(step, replica), real.states[rows], real.targets[rows], weights
            )
            return loss.mean(), [g.mean(0) for g in gradients]
        unroll = self.unrolls[replica]
        final = unroll.train(start, *pairs, rates)
        loss, gradient = outer_loss(final, real.states[rows], real.targets[rows], weights, unroll.compute)
        return loss.mean(), [g.mean(0) for g in unroll.adjoint(gradient)]

    def _steps_taken(self, step: int, replica: int) -> int:
        """How far students are when gradients are matched: multiples of the golden ratio fill the range evenly.

        A random number would do, but H depends on it far more than on the progress of the run.
        """
        share: float = (replica / len(self.students) + step * GOLDEN) % 1
        return int(self.config.inner_steps * share)

    def step(self, step: int, outer_steps: int) -> tuple[float, float, bool]:
        """Take outer step ``step``; returns (loss, hypergradient norm, whether the update was skipped)."""
        if self.device.type == "cpu":
            tasks = [worker_pool().submit(self.hypergradient, step, r) for r in self.students]
            parts = [task.result() for task in tasks]
        else:
            parts = [self.hypergradient(step, 0)]
        loss = float(torch.stack([part[0] for part in parts]).mean())
        gradients = [torch.stack(values).mean(0) for values in zip(*(part[1] for part in parts), strict=True)]
        norm = float(torch.stack([g.norm() for g in gradients[:2]]).norm())
        if self._exploded(loss):
            self._recover()
            return loss, norm, True
        self.losses.append(loss)
        if self.config.clipping == "robust" and step % KEEP_EVERY == 0:
            self.good = self._own_state()
        scale = self._clip(norm)
        if scale > 0:
            parameters = (self.observations, self.actions, self.log_rates)
            for parameter, gradient in zip(parameters, gradients, strict=False):
                parameter.grad = gradient.mul_(scale)
            if not self.learn_rates:
                self.log_rates.grad = None
            shape = 0.5 * (1 + np.cos(np.pi * step / outer_steps)) if self.config.outer_schedule == "cosine" else 1.0
            for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
                group["lr"] = rate * float(shape)
            self.optimizer.step()
        elif self.config.clipping == "robust" and self.learn_rates:
            self.log_rates.add_(float(np.log(BACK_OFF)))
        return loss, norm, scale == 0

    def _exploded(self, loss: float) -> bool:
        """Whether the students' training has become unstable: H is not finite or far above what it was."""
        if self.config.clipping != "robust" or not self.losses:
            return False
        if self.matching:  # its H depends on how far the students are, and no gradient passes through their training
            return not np.isfinite(loss)
        return not np.isfinite(loss) or loss > EXPLODED * statistics.median(self.losses)

    def _recover(self) -> None:
        """Go back to the last good state, with smaller step sizes."""
        if self.good:
            self._load_own(self.good)
            self.log_rates.add_(float(np.log(RECOVERY)))
            self.good["log_rates"] = self.log_rates.clone()

    def _clip(self, norm: float) -> float:
        """Factor for the hypergradient; 0 means skip this step."""
        if not np.isfinite(norm):
            return 0.0
        if self.config.clipping == "norm":
            return min(1.0, self.config.clip_norm / max(norm, 1e-12))
        typical = statistics.median(self.norms) if self.norms else norm
        self.norms.append(norm)
        if norm > SKIP_FACTOR * typical:
            return 0.0
        return min(1.0, CLIP_FACTOR * typical / max(norm, 1e-12))

    # -- state -----------------------------------------------------------------------------------------------

    def snapshot(self, step: int) -> Snapshot:
        observations = self.dataset.denormalize(self.observations.cpu().numpy())
        rates = self.log_rates.exp().cpu().numpy().copy()
        return Snapshot(step, observations.astype(np.float32), self.actions.cpu().numpy().copy(), rates)

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed run needs, as flat tensors."""
        history = {name: torch.tensor(list(getattr(self, name)), dtype=torch.float64) for name in ("norms", "losses")}
        good = {f"good.{name}": tensor.clone() for name, tensor in self.good.items()}
        return self._own_state() | history | good

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from :meth:`state`; ObdError when it belongs to other settings."""
        for name in ("observations", "actions", "log_rates"):
            if name not in tensors or tensors[name].shape != getattr(self, name).shape:
                raise ObdError("The checkpoint does not fit the settings of the run; start a new run.")
        self._load_own(tensors)
        for name in ("norms", "losses"):
            getattr(self, name).clear()
            getattr(self, name).extend(tensors[name].tolist())
        self.good = {name.removeprefix("good."): t.clone() for name, t in tensors.items() if name.startswith("good.")}

    def _own_state(self) -> dict[str, Tensor]:
        """The synthetic set, the step sizes and the optimizer's moments, copied to the CPU."""
        tensors = {name: getattr(self, name) for name in ("observations", "actions", "log_rates")}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items() if value is not None}
        return {name: tensor.detach().clone().cpu() for name, tensor in tensors.items()}

    def _load_own(self, tensors: Mapping[str, Tensor]) -> None:
        for name in ("observations", "actions", "log_rates"):
            getattr(self, name).copy_(tensors[name])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor.clone()
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def as_distilled(
    config: DistillConfig, dataset: OfflineDataset, snapshot: Snapshot, card: dict[str, Any]
) -> DistilledDataset:
    """The synthetic set at a snapshot, with its normaliser and recipe."""
    return DistilledDataset(
        snapshot.observations,
        snapshot.actions,
        dataset.observation_mean,
        dataset.observation_std,
        recipe(config, snapshot.step_sizes),
        card,
    )


def recipe(config: DistillConfig, step_sizes: Float) -> Recipe:
    """The training recipe of a synthetic set distilled with ``config``."""
    return Recipe(
        tuple(float(value) for value in step_sizes),
        config.inner_steps,
        config.inner_momentum,
        config.inner_batch,
        config.step_size_decay,
        config.hidden_layers,
        config.hidden_width,
        config.output_gain,
        config.columns,
    )


def snapshot_steps(outer_steps: int, count: int) -> list[int]:
    """Steps at which the set is stored: first, last, and denser at the start where it moves most."""
    return sorted({round(outer_steps * (i / count) ** 1.5) for i in range(count + 1)})


def seconds_per_step(
    config: DistillConfig,
    dataset: OfflineDataset,
    teacher: TargetTeacher | None,
    outer: OuterTargets | None = None,
    should_stop: ShouldStop = never,
) -> float:
    """The fastest of a few outer steps on a throw-away state; the first one warms up and is not counted.

    Other work on the machine only adds time: the mean of steps during which something else started up would leave a
    run of minutes with a handful of steps.

    Raises:
        Cancelled: ``should_stop`` said so; it is polled between the steps, which can be slow on a busy machine.
    """
    trial = Distiller(config, dataset, teacher, outer)
    fastest = float("inf")
    for step in range(1 + CALIBRATION_STEPS):
        if should_stop():
            raise Cancelled
        start = time.perf_counter()
        trial.step(step, 100)
        if step > 0:
            fastest = min(fastest, time.perf_counter() - start)
    return fastest


def distill(
    config: DistillConfig,
    dataset: OfflineDataset,
    teacher: TargetTeacher | None = None,
    *,
    on_event: OnEvent = ignore,
    should_stop: ShouldStop = never,
    checkpoint: Checkpoint | None = None,
    outer: OuterTargets | None = None,
) -> DistilledDataset:
    """Solve the bi-level problem of Lei et al. 2024 (arXiv 2410.22728, eq. 1).

    Args:
        config: settings; with a time budget and no step count, a short calibration fixes the count.
        dataset: the offline data.
        teacher: near-expert policy and its Q function; not needed for DBC.
        on_event: called in this thread with Started, Progress, Snapshot, Checkpoint and Finished.
        should_stop: polled between outer steps; when true, the set as it stands is returned.
        outer: the objective's targets, where they are known already.
        checkpoint: continue from here; with the same config the result is bit-identical to an unbroken run.

    Raises:
        ObdError: settings that cannot work (no teacher, too large, no such device).
        Cancelled: stopped before the first outer step.
    """
    torch.set_num_threads(1)
    began = time.perf_counter()
    outer = outer or run_targets(config, dataset, teacher)
    steps = config.steps
    if steps is None:
        assert config.seconds is not None
        per_step = seconds_per_step(config, dataset, teacher, outer, should_stop)
        steps = max(1, round((config.seconds - (time.perf_counter() - began)) / per_step))
    if should_stop():
        raise Cancelled
    distiller = Distiller(config, dataset, teacher, outer)
    first, spent, initial_loss = 0, 0.0, float("nan")
    if checkpoint is not None:
        distiller.load_state(checkpoint.tensors)
        first, spent, initial_loss = checkpoint.step, checkpoint.seconds, checkpoint.initial_loss
    due = set(snapshot_steps(steps, config.snapshots))
    on_event(Started(steps, first))
    if first == 0:
        on_event(distiller.snapshot(0))
    step, loss, start = first, initial_loss, time.perf_counter() - spent
    recent: deque[float] = deque(maxlen=20)
    while step < steps and not should_stop():
        loss, norm, skipped = distiller.step(step, steps)
        step += 1
        if np.isfinite(loss):
            recent.append(loss)
        initial_loss = loss if step == 1 else initial_loss
        seconds = time.perf_counter() - start
        rates = tuple(distiller.log_rates.exp().tolist())
        on_event(Progress(step, steps, loss, norm, rates, seconds, skipped))
        if step in due:
            on_event(distiller.snapshot(step))
            on_event(Checkpoint(step, distiller.state(), seconds, initial_loss))
    seconds = time.perf_counter() - start
    last = distiller.snapshot(step)
    if step not in due:
        on_event(last)
        on_event(Checkpoint(step, distiller.state(), seconds, initial_loss))
    final = statistics.fmean(recent) if recent else loss
    on_event(Finished(step, steps, seconds, initial_loss, final))
    return as_distilled(config, dataset, last, {"outer_steps": step, "seconds": round(seconds, 2)})
