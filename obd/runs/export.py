"""Distilled sets and students as files that are of use without this tool.

    npz, safetensors  the pairs, their normaliser, the recipe and the card; read back by ``obd.runs.importing``
    minari            the pairs as one-step episodes of a Minari dataset, in a zip
    torchscript       one trained student

TorchScript was chosen for the student because it needs no package besides torch on either side, C++ included.  ONNX
would need ``onnx`` and ``onnxscript``; the archives of ``torch.export`` are bound to recent versions of torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from obd.engine.distilled import DistilledDataset, recipe_dict
from obd.errors import ObdError
from obd.policy import MLPPolicy
from obd.runs.execute import EVALUATION_SEED
from obd.runs.store import Run, disk_error, is_raw, write_atomic
from obd.students import train_students


def export(run: Run, kind: str) -> bytes:
    """The content of the file; ``kind`` is a key of ``FORMATS``.  ObdError when the run has no distilled set yet."""
    if kind not in FORMATS:
        raise ObdError(f"Unknown format {kind!r}; known are {', '.join(FORMATS)}.")
    return FORMATS[kind][1](run)


def write_export(run: Run, kind: str, path: Path) -> list[Path]:
    """Write the file and its card beside it (``.md``); returns both paths.

    Raises:
        ObdError: the run has no distilled set, or the folder does not exist or cannot be written.
    """
    if not path.parent.is_dir():
        raise ObdError(f"The folder {path.parent} does not exist; create it first.")
    if path.is_dir() or path.suffix == ".md":
        raise ObdError(f"{path} cannot be the file; give a file name such as set{FORMATS[kind][0]}.")
    note = path.with_suffix(".md")
    card = card_markdown(run, path.name) if kind == "npz" else card_markdown(run)
    contents = {path: export(run, kind), note: card.encode()}
    for target, content in contents.items():
        try:
            write_atomic(target, content)
        except OSError as error:
            raise disk_error(target, error) from error
    return list(contents)


def file_stem(run: Run) -> str:
    """A file name without ending that says what is in it: objective, pairs and the run's own name."""
    return f"{run.config.objective}-{run.config.size}-{run.id}"


def npz(run: Run) -> bytes:
    stream = io.BytesIO()
    distilled(run).write(stream)
    return stream.getvalue()


def safetensors(run: Run) -> bytes:
    return distilled(run).to_safetensors()


def distilled(run: Run) -> DistilledDataset:
    """The run's set with the scores on its card."""
    found = run.distilled()
    scores = run.evaluation()
    if scores:
        found.card["scores"] = scores
    return found


# -- Minari --------------------------------------------------------------------------------------------------


MINARI_NOTE = (
    "Distilled state-action pairs, one per episode of one step. A pair has no reward and no next state: both are NaN. "
    "Actions are regression targets in the scale where the environment's bounds are [-1, 1] and may lie "
    "outside, so the action space is unbounded. The recipe and the normaliser are in the metadata under obd_card."
)


def minari_id(found: DistilledDataset) -> str:
    """Minari's name of a set: its objective, its size and the beginning of its content's hash."""
    digest = hashlib.sha256(found.observations.tobytes() + found.actions.tobytes()).hexdigest()[:8]
    return f"obd/distilled/{found.card['objective'].replace('_', '-')}-{len(found)}-{digest}-v0"


def minari(run: Run) -> bytes:
    """A zip to unpack in the folder of Minari's datasets (``MINARI_DATASETS_PATH``)."""
    import gymnasium as gym
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    found = distilled(run)
    spec, name = gym.spec(str(found.card["env_id"])), minari_id(found)
    size, width = found.observations.shape
    missing = np.full((1, width), np.nan, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / name / "data"
        data.mkdir(parents=True)
        storage: Any = MinariStorage.new(
            data,
            observation_space=gym.spaces.Box(-np.inf, np.inf, (width,), np.float32),
            action_space=gym.spaces.Box(-np.inf, np.inf, found.actions.shape[1:], np.float32),
            env_spec=spec,
            data_format="hdf5",
        )
        storage.update_metadata(minari_metadata(found, name, spec.to_json()))
        storage.update_episodes(
            EpisodeBuffer(
                observations=np.concatenate([found.observations[i : i + 1], missing]),
                actions=found.actions[i : i + 1],
                rewards=np.full(1, np.nan),
                terminations=np.zeros(1, np.bool_),
                truncations=np.ones(1, np.bool_),
            )
            for i in range(size)
        )
        for namespace in ("obd", "obd/distilled"):  # Minari lists a dataset only inside declared namespaces
            (Path(folder) / namespace / "namespace_metadata.json").write_text("{}")
        return _zip({path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(Path(folder))})


def minari_metadata(found: DistilledDataset, name: str, spec: str) -> dict[str, Any]:
    import minari as library

    normaliser = {key: getattr(found, key).tolist() for key in ("observation_mean", "observation_std")}
    return {
        "dataset_id": name,
        "minari_version": library.__version__,
        "author": {"OBD studio"},
        "description": MINARI_NOTE,
        "algorithm_name": f"offline behaviour distillation ({found.card['objective']})",
        "eval_env_spec": spec,
        "obd_card": json.loads(json.dumps(found.card | {"recipe": recipe_dict(found.recipe)} | normaliser)),
    }


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _zip(contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return stream.getvalue()


# -- students ------------------------------------------------------------------------------------------------


class StudentModule(nn.Module):
    """A student as a torch module: raw observations ``[B, obs_dim]`` -> actions ``[B, act_dim]`` in [-1, 1]."""

    def __init__(self, policy: MLPPolicy) -> None:
        super().__init__()
        self.observation_mean = nn.Buffer(torch.from_numpy(np.asarray(policy.observation_mean)))
        self.observation_std = nn.Buffer(torch.from_numpy(np.asarray(policy.observation_std)))
        weights, biases = ([torch.from_numpy(np.asarray(x)) for x in xs] for xs in (policy.weights, policy.biases))
        one = policy.weights[0].ndim == 2  # the others have a leading dimension, that of their columns
        self.weights = nn.ParameterList([weight[None] if one else weight for weight in weights])
        self.biases = nn.ParameterList([bias[None, None] if one else bias for bias in biases])

    def forward(self, observations: Tensor) -> Tensor:
        hidden = (observations - self.observation_mean) / self.observation_std
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.matmul(torch.relu(hidden) if layer else hidden, weight) + bias
        return torch.tanh(hidden.mean(0))


def torchscript(run: Run) -> bytes:
    """The first of the students that the final evaluation measures (not the best one)."""
    found = run.distilled()
    module = StudentModule(train_students(found, 1, EVALUATION_SEED)[0]).eval()
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(module, torch.from_numpy(found.observations[:2])), stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


# -- a few lines that train another one -----------------------------------------------------------------------


SNIPPET_NOTE = (
    "The recipe in a few lines; only the start of the weights is PyTorch's own, where students here start orthogonal."
)


def snippet(found: DistilledDataset, file: str = "distilled.npz") -> str:
    """PyTorch code that trains a student on the set's ``file`` with its recipe, written out.

    It differs from the students measured here in one thing: the weights start as PyTorch starts them.
    """
    recipe, (size, inputs), outputs = found.recipe, found.observations.shape, found.actions.shape[1]
    sizes = list(itertools.pairwise([inputs, *recipe.hidden, outputs]))
    network = _several_columns(sizes, recipe.columns) if recipe.columns > 1 else _one_network(sizes)
    steps, rows = recipe.inner_steps, min(recipe.inner_batch, size) or size
    fall, momentum = f" - step / {steps}" if recipe.step_size_decay else "", f"{recipe.inner_momentum:g}"
    return f"""import numpy as np, torch
file = dict(np.load({json.dumps(file)}))
states = torch.from_numpy((file["observations"] - file["observation_mean"]) / file["observation_std"])
{network}
schedule = torch.optim.lr_scheduler.LambdaLR(torch.optim.SGD(groups, 0, {momentum}), lambda step: 1{fall})
for i in np.minimum(np.arange({steps}) % {-(-size // rows)} * {rows}, {size - rows}):
    loss = (student(states[i : i + {rows}]) - torch.from_numpy(file["actions"][i : i + {rows}])).square().sum(1).mean()
    schedule.optimizer.zero_grad(), loss.backward(), schedule.optimizer.step(), schedule.step()
"""


def _one_network(sizes: list[tuple[int, int]]) -> str:
    return f"""layers = [torch.nn.Linear(*sizes) for sizes in {sizes}]
student = torch.nn.Sequential(*[part for layer in layers for part in (layer, torch.nn.ReLU())][:-1], torch.nn.Tanh())
groups = [dict(params=layer.parameters(), lr=rate) for layer, rate in zip(layers, file["step_sizes"].tolist())]"""


def _several_columns(sizes: list[tuple[int, int]], columns: int) -> str:
    """Their mean acts and is trained; its gradient in one column is that share of a network's alone."""
    return f"""layers = [[torch.nn.Linear(*sizes) for sizes in {sizes}] for column in range({columns})]
columns = [torch.nn.Sequential(*[part for x in column for part in (x, torch.nn.ReLU())][:-1]) for column in layers]
student = lambda states: torch.tanh(sum(column(states) for column in columns) / {columns})
rates = [{columns} * rate for rate in file["step_sizes"].tolist()]
groups = [dict(params=layer.parameters(), lr=rate) for column in layers for layer, rate in zip(column, rates)]"""


# -- the card ------------------------------------------------------------------------------------------------


def card_markdown(run: Run, file: str = "distilled.npz") -> str:
    """What a person needs to know about the set, as a README; its code reads the ``.npz`` called ``file``."""
    found = distilled(run)
    card, recipe = found.card, found.recipe
    teacher = f"{card['teacher']} ({card.get('teacher_algorithm')})" if card.get("teacher") else "none"
    rows = {
        "Source dataset": f"{card['dataset']} ({card.get('transitions', 'unknown number of')} transitions)",
        "Hash of the source": card.get("dataset_hash") or "unknown",
        "Licence of the source": card.get("licence", "unknown"),
        "Environment": card["env_id"],
        "Objective": card["objective"],
        "Teacher": teacher,
        "Outer steps": card.get("outer_steps", "unknown"),
        "Versions": ", ".join(f"{name} {version}" for name, version in dict(card.get("versions") or {}).items()),
    }
    lines = [f"# {len(found)} distilled state-action pairs for {_line(card['env_id'])}", ""]
    lines += [f"- {name}: {_line(value)}" for name, value in rows.items()]
    lines += ["", "## Scores", "", *_scores(card.get("scores") or {})]
    lines += ["", "## How to train a student", "", f"- {_recipe_words(found)}"]
    lines += [f"- {name}: {_line(value)}" for name, value in recipe_dict(recipe).items()]
    lines += ["", SNIPPET_NOTE, "", "```python", snippet(found, file).rstrip(), "```"]
    lines += ["", "## What is in the file", "", *_contents(found)]
    lines += ["", "## Settings of the distillation", ""]
    lines += [f"- {_line(name)}: {_line(value)}" for name, value in dict(card.get("settings") or {}).items()]
    lines += ["", "Method: Lei, Zhang, Tao, Offline Behavior Distillation, NeurIPS 2024, arXiv 2410.22728.", ""]
    return "\n".join(lines)


def _line(value: Any) -> str:
    """One line of plain text that Markdown does not interpret: a card may come from a foreign file."""
    text = " ".join(str(value).split())[:300]
    return "".join(f"\\{c}" if c in "\\`*[]<>#|!" else c for c in text)


def _recipe_words(found: DistilledDataset) -> str:
    recipe = found.recipe
    rows = min(recipe.inner_batch, len(found)) or len(found)
    fall = ", falling linearly to zero" if recipe.step_size_decay else ""
    several = (
        f"; {recipe.columns} such networks side by side, each from its own start, are one student: the mean of their "
        "outputs before the tanh, trained together on its error with the step sizes times their number"
    )
    return (
        f"{recipe.inner_steps} steps of SGD with momentum {recipe.inner_momentum:g} on the squared error, each on the "
        f"next {rows} pairs; one step size per layer{fall}; ReLU, tanh at the end, orthogonal start"
        f"{several if recipe.columns > 1 else ''}."
    )


def _scores(scores: dict[str, Any]) -> list[str]:
    lines = []
    for name, words in (("students", "single students"), ("ensemble", "their mean action")):
        score: Any = scores.get(name)
        with contextlib.suppress(KeyError, TypeError, ValueError):  # not measured, or the words of a foreign card
            low, high = score["normalized_return_ci95"]
            mean = score["normalized_return_mean"]
            kind = "raw" if is_raw(score) else "normalised"
            lines.append(
                f"- {kind} return of {words}: {mean:.1f}, 95 % interval "
                f"{low:.1f} to {high:.1f} ({score['students']:d} x {score['episodes']:d} episodes)"
            )
    return lines or ["- not measured yet"]


def _contents(found: DistilledDataset) -> list[str]:
    size, width = found.observations.shape
    return [
        f"- observations [{size}, {width}]: states in raw units",
        f"- actions [{size}, {found.actions.shape[1]}]: regression targets where the environment's bounds are [-1, 1]",
        f"- observation_mean, observation_std [{width}]: normaliser of the source dataset; students see (s - mean)/std",
        f"- step_sizes [{len(found.recipe.step_sizes)}]: one per layer; card: everything above as JSON",
    ]


def everything(run: Run) -> bytes:
    """A zip with the set in both formats, the card, the snippet and a trained student."""
    contents = {f"distilled{ending}": make(run) for kind, (ending, make) in FORMATS.items() if kind != "minari"}
    return _zip(contents | {"README.md": card_markdown(run).encode(), "train.py": snippet(run.distilled()).encode()})


FORMATS: dict[str, tuple[str, Callable[[Run], bytes]]] = {  # name -> (ending, content)
    "npz": (".npz", npz),
    "safetensors": (".safetensors", safetensors),
    "minari": (".minari.zip", minari),
    "torchscript": (".torchscript.pt", torchscript),
}
