"""Students: policies trained from fresh initialisations by behaviour cloning of a few hundred pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from obd.config import DistillConfig
from obd.data.dataset import OfflineDataset
from obd.engine.distill import recipe
from obd.engine.distilled import DistilledDataset, Float, Recipe
from obd.engine.drawing import generator
from obd.engine.network import GAIN, Shape, orthogonal_parameters
from obd.engine.unroll import Unroll
from obd.errors import ObdError
from obd.objectives import TargetTeacher
from obd.policy import MLPPolicy
from obd.teachers.networks import set_precision


class Architecture(NamedTuple):
    """A student's network; 0 stands for what the recipe says.

    ``columns``: so many networks of that depth and width side by side make one network, whose output before the tanh
    is their mean; they are trained together on the error of that mean.
    """

    hidden_layers: int = 0
    residual: bool = False
    width: int = 0
    columns: int = 1


ARCHITECTURES: dict[str, Architecture] = {
    "recipe": Architecture(columns=0),
    "mlp2": Architecture(1),
    "mlp3": Architecture(2),
    "mlp4": Architecture(3),
    "mlp5": Architecture(4),
    "mlp6": Architecture(5),
    "residual": Architecture(3, residual=True),
    "width64": Architecture(width=64),
    "width128": Architecture(width=128),
    "width256": Architecture(width=256),
    "width512": Architecture(width=512),
    "width1024": Architecture(width=1024),
    "columns1": Architecture(),
    "columns4": Architecture(columns=4),
}
OWN = ("recipe", "recipe")  # architecture and optimizer of a set's own students
SELECTIONS = ("random", "random_teacher", "kmeans", "kmeans_teacher", "top_q", "top_q_teacher")
POOL = 50_000  # states that k-means++ chooses from
MOMENTUM = 0.9  # of "sgdm"
ADAM_RATE, ADAM_STEPS = 1e-3, 5  # at the recipe's width; times the recipe's steps
OPTIMIZERS: dict[str, Callable[[list[dict[str, object]]], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups),
    "sgdm": lambda groups: torch.optim.SGD(groups, momentum=MOMENTUM),
    "adam": lambda groups: torch.optim.Adam(groups),
    "adamw": lambda groups: torch.optim.AdamW(groups, weight_decay=1e-2),
}


def train_students(distilled: DistilledDataset, count: int, seed: int = 0, first: int = 0) -> list[MLPPolicy]:
    """``count`` students trained with the set's own recipe, from number ``first`` on.

    The same seed and number give the same student.
    """
    set_precision(distilled.card.get("settings", {}).get("precision", "auto"))
    recipe = distilled.recipe
    if recipe.columns > 1:
        return [_train_other(distilled, generator(seed, index), *OWN) for index in range(first, first + count)]
    shape = Shape(
        1,
        len(distilled),
        distilled.observations.shape[1],
        distilled.actions.shape[1],
        recipe.hidden,
        recipe.inner_steps,
        recipe.inner_batch,
    )
    unroll = Unroll(shape, momentum=recipe.inner_momentum, decay=recipe.step_size_decay, keep=False)
    observations = torch.from_numpy(distilled.normalized_observations)[None]
    actions = torch.from_numpy(distilled.actions)[None]
    rates = torch.tensor([recipe.step_sizes], dtype=torch.float32)
    students = []
    for index in range(first, first + count):
        start = orthogonal_parameters(shape, generator(seed, index), recipe.output_gain)
        students.append(_policy(unroll.train(start, observations, actions, rates), distilled))
    return students


def _policy(layers: Sequence[tuple[Tensor, Tensor]], distilled: DistilledDataset, residual: bool = False) -> MLPPolicy:
    """Of weights ``[C, in, out]`` and biases ``[C, 1, out]``; a single column is kept as a plain network."""
    one = len(layers[0][0]) == 1
    return MLPPolicy(
        tuple((weight[0] if one else weight).detach().numpy().copy() for weight, _ in layers),
        tuple((bias[0, 0] if one else bias).detach().numpy().copy() for _, bias in layers),
        distilled.observation_mean,
        distilled.observation_std,
        residual=residual,
    )


def train_other_students(
    distilled: DistilledDataset,
    count: int,
    seed: int = 0,
    first: int = 0,
    *,
    architecture: str = "recipe",
    optimizer: str = "recipe",
) -> list[MLPPolicy]:
    """Students of another depth, width or optimizer than the one the set was distilled for, from number ``first`` on.

    One rule for all of them, made of the recipe alone; see :func:`schedule`.  A name that stands for the recipe's own
    network or optimizer gives the recipe's own student, bit for bit.

    Raises:
        ObdError: unknown architecture or optimizer.
    """
    if architecture not in ARCHITECTURES:
        raise ObdError(f"Unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}.")
    if optimizer not in {"recipe", *OPTIMIZERS}:
        raise ObdError(f"Unknown optimizer {optimizer!r}; known are recipe, {', '.join(OPTIMIZERS)}.")
    if is_recipes_own(distilled.recipe, architecture, optimizer):
        return train_students(distilled, count, seed, first)
    set_precision(distilled.card.get("settings", {}).get("precision", "auto"))
    numbers = range(first, first + count)
    return [_train_other(distilled, generator(seed, number), architecture, optimizer) for number in numbers]


def is_recipes_own(recipe: Recipe, architecture: str, optimizer: str) -> bool:
    """Whether the two (known) names stand for the student that a set was distilled for."""
    own_network = network(recipe, architecture) == network(recipe, "recipe")
    return own_network and optimizer in {"recipe", own_names(recipe)[1]}


def network(recipe: Recipe, architecture: str) -> tuple[tuple[int, ...], bool, int]:
    """(hidden widths, residual, columns) of an architecture for sets with this recipe."""
    depth, residual, width, columns = ARCHITECTURES[architecture]
    hidden = (width or recipe.hidden_width,) * (depth or recipe.hidden_layers)
    return hidden, residual, columns or recipe.columns


def own_names(recipe: Recipe) -> tuple[str, str]:
    """The names, among the others', of the recipe's own (architecture, optimizer); ``recipe`` where there is none."""
    own = network(recipe, "recipe")
    names = [name for name in ARCHITECTURES if name != "recipe" and network(recipe, name) == own]
    return (names or ["recipe"])[0], {0.0: "sgd", MOMENTUM: "sgdm"}.get(recipe.inner_momentum, "recipe")


def student_kinds(recipe: Recipe) -> list[tuple[str, str]]:
    """Every (architecture, optimizer) once: the recipe's own first, under its names among the others."""
    own = own_names(recipe)
    networks = {network(recipe, name): name for name in reversed(ARCHITECTURES) if name != "recipe"}
    networks[network(recipe, "recipe")] = own[0]
    architectures = [own[0], *(name for name in ARCHITECTURES if name in networks.values() and name != own[0])]
    optimizers = [own[1], *(name for name in OPTIMIZERS if name != own[1])]
    return [(architecture, optimizer) for architecture in architectures for optimizer in optimizers]


def schedule(
    recipe: Recipe, layers: int, width: int, optimizer: str, columns: int = 1
) -> tuple[NDArray[np.float64], int]:
    """First step size of each of ``layers`` layers, and the number of steps; the decay is the recipe's.

    * SGD: the recipe's step sizes, stretched over the layers by interpolation of their logarithms and scaled to the
      same sum.  What makes a step unstable is the sum over layers of step size times squared gradient of the outputs;
      orthogonal weights keep the second factor about equal in depth and width.
    * Momentum: step sizes times steps over 1 - mu is kept, by more steps where there is less momentum (ten times as
      many for the usual recipe: a larger step size would be unstable) and by smaller step sizes where there is more.
    * Columns: the gradient of one is that share of what it is for a network alone, so the step sizes are multiplied by
      their number: where layers are wide, they then learn as one column does.
    * Adam, AdamW (decay 0.01): 1e-3 at the recipe's width and inversely proportional to the width (Yang et al. 2022,
      arXiv 2203.03466), five times as many steps, as in the released code of Lei et al. 2024 (500 for other
      students, 100 for its own).

    The rule was chosen by how well students fit the synthetic pairs (about as well as the recipe's own), never by
    returns.
    """
    if optimizer.startswith("adam"):
        return np.full(layers, ADAM_RATE * recipe.hidden_width / width), ADAM_STEPS * recipe.inner_steps
    known = np.array(recipe.step_sizes)
    rates = np.exp(np.interp(np.linspace(0, 1, layers), np.linspace(0, 1, len(known)), np.log(known)))
    rates *= known.sum() / rates.sum()
    momentum = {"sgd": 0.0, "sgdm": MOMENTUM}.get(optimizer, recipe.inner_momentum)
    longer = (1 - momentum) / (1 - recipe.inner_momentum)
    return columns * rates * min(1.0, longer), round(recipe.inner_steps * max(1.0, longer))


def _train_other(distilled: DistilledDataset, source: torch.Generator, architecture: str, optimizer: str) -> MLPPolicy:
    recipe = distilled.recipe
    hidden, residual, columns = network(recipe, architecture)
    shape = Shape(
        columns,
        len(distilled),
        distilled.observations.shape[1],
        distilled.actions.shape[1],
        hidden,
        1,
        recipe.inner_batch,
    )
    layers = []
    for index, (weight, bias) in enumerate(orthogonal_parameters(shape, source, recipe.output_gain)):
        if residual and 0 < index < len(hidden):
            # Every sum of a layer's input and its output would triple the squared activations, and the step sizes
            # would be far too large: such layers start as small as the last one.
            weight = weight * (recipe.output_gain / GAIN)
        layers.append((nn.Parameter(weight), nn.Parameter(bias)))
    rates, steps = schedule(recipe, len(layers), hidden[0], optimizer, columns)
    groups: list[dict[str, object]] = [
        {"params": list(pair), "lr": float(rate)} for pair, rate in zip(layers, rates, strict=True)
    ]
    if optimizer == "recipe":
        groups = [group | {"momentum": recipe.inner_momentum} for group in groups]
    descent = OPTIMIZERS["sgd" if optimizer == "recipe" else optimizer](groups)
    observations = torch.from_numpy(distilled.normalized_observations)
    actions = torch.from_numpy(distilled.actions)
    for step in range(steps):
        decay = 1 - step / steps if recipe.step_size_decay else 1.0
        for group, rate in zip(descent.param_groups, rates, strict=True):
            group["lr"] = float(rate) * decay
        block = shape.block(step)
        x = observations[block]
        for weight, bias in layers[:-1]:
            above = torch.relu(x @ weight + bias)
            x = above + x if residual and above.shape == x.shape else above
        output = x @ layers[-1][0] + layers[-1][1]
        loss = (torch.tanh(output.mean(0)) - actions[block]).square().sum(1).mean()
        descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return _policy(layers, distilled, residual)


def random_selection(dataset: OfflineDataset, config: DistillConfig, seed: int = 0) -> DistilledDataset:
    """The baseline: ``config.size`` random real pairs, trained with the recipe a distillation starts from."""
    return selection(dataset, config, "random", None, seed)


def selection(
    dataset: OfflineDataset, config: DistillConfig, kind: str, teacher: TargetTeacher | None = None, seed: int = 0
) -> DistilledDataset:
    """``config.size`` pairs chosen from the data instead of synthesised, with the recipe a distillation starts from.

    Args:
        kind: one of :data:`SELECTIONS`: which states (``random``; ``kmeans``: the seeds of k-means++, Arthur and
            Vassilvitskii, SODA 2007, on normalised states, so that they cover the data; ``top_q``: the pairs with the
            highest action values q*(s, a)); with ``_teacher`` their actions are the teacher's, not the data's.
        teacher: needed for ``top_q`` and for the teacher's actions.
        seed: of the choice; ``top_q`` has none to make.

    Raises:
        ObdError: unknown kind, more pairs than the dataset has, or a teacher is needed and there is none.
    """
    if kind not in SELECTIONS:
        raise ObdError(f"Unknown selection {kind!r}; known are {', '.join(SELECTIONS)}.")
    if config.size > len(dataset):
        raise ObdError(f"The dataset has {len(dataset):,} transitions; choose a size up to that.")
    relabel = kind.endswith("_teacher")
    actions = dataset.actions
    q: Float | None = None
    if relabel or kind.startswith("top_q"):
        if teacher is None:
            raise ObdError(f"The selection {kind} needs a teacher; train one with `python -m obd teach`.")
        with torch.no_grad():
            observations = torch.from_numpy(dataset.observations)
            if relabel:
                actions = teacher.act(observations).numpy()
            if kind.startswith("top_q"):
                q = teacher.q(observations, torch.from_numpy(actions)).numpy()
    if q is not None:
        chosen = np.argsort(-q, kind="stable")[: config.size]
    elif kind.startswith("kmeans"):
        chosen = _spread(dataset.normalize(dataset.observations), config.size, seed)
    else:
        chosen = np.random.default_rng(seed).choice(len(dataset), config.size, replace=False)
    rates = np.full(config.hidden_layers + 1, config.inner_step_size, np.float32)
    return DistilledDataset(
        dataset.observations[chosen],
        actions[chosen],
        dataset.observation_mean,
        dataset.observation_std,
        recipe(config, rates),
        {
            "objective": f"{kind}_selection",
            "dataset": dataset.id,
            "seed": seed,
            "settings": {"precision": config.precision},
        },
    )


def _spread(states: Float, size: int, seed: int) -> NDArray[np.int64]:
    """Indices of ``size`` different rows of ``states [M, d]`` by k-means++ on at most ``POOL`` of them."""
    from sklearn.cluster import kmeans_plusplus

    rng = np.random.default_rng(seed)
    pool = rng.permutation(len(states))[: max(POOL, size)]
    _, found = kmeans_plusplus(states[pool], size, random_state=int(rng.integers(2**31)))
    # With fewer different states than pairs a row is found twice; others fill its place.
    order = np.concatenate([found, np.arange(len(pool))])
    _, first = np.unique(order, return_index=True)
    chosen: NDArray[np.int64] = pool[order[np.sort(first)][:size]]
    return chosen
