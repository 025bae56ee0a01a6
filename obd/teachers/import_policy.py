"""Convert a policy saved by stable-baselines3 (SAC, TD3) or sb3-contrib (TQC) into a teacher.

The zip of stable-baselines3 mixes tensors with pickled Python objects.  Nothing is unpickled here: ``policy.pth`` is
read by ``torch.load(weights_only=True)``, the architecture follows from the names and shapes of its tensors, and of
the JSON entry ``data`` only plain text and numbers are looked at.  So neither package has to be installed.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from obd.data.simulate import make_env
from obd.errors import ObdError
from obd.teachers.teacher import Layers, Teacher

Kind = Literal["sac", "td3", "tqc"]
KINDS: tuple[Kind, ...] = ("sac", "td3", "tqc")
LARGEST_ENTRY = 256 * 2**20  # bytes after decompression: an ordinary policy has a few million


def import_policy(path: Path | str, kind: str, env_id: str) -> Teacher:
    """Read ``path`` and return its deterministic policy and its first two critics.

    ``kind`` may be "auto": the algorithm is then seen from the tensors.  The policy saw raw observations, so the
    teacher's normaliser is mean 0 and standard deviation 1.

    Raises:
        ObdError: not such a file, another algorithm, an architecture the teacher format cannot hold (other
            activations than ReLU, images, gSDE), sizes that do not fit the environment, or values that are not finite.
    """
    path = Path(path)
    if kind not in (*KINDS, "auto"):
        raise ObdError(f"Unknown algorithm {kind!r}; policies of {', '.join(KINDS)} can be imported.")
    if not path.is_file():
        raise ObdError(f"There is no file {path}.")
    state, data = _read(path)
    chosen = _kind(state) if kind == "auto" else cast(Kind, kind)
    _check_activation(path, data)
    actor = _actor(path, state, chosen)
    critics = _critics(path, state, chosen)
    env = make_env(env_id)
    observations, actions = int(env.observation_space.shape[0]), int(env.action_space.shape[0])  # type: ignore[index]
    env.close()
    has = (int(actor[0][0].shape[1]), int(actor[-1][1].shape[0]) // (1 if chosen == "td3" else 2))
    if has != (observations, actions):
        raise ObdError(
            f"The policy in {path.name} maps {has[0]} observations to {has[1]} actions but {env_id} has "
            f"{observations} and {actions}; name the environment it was trained on."
        )
    if any(critic[0][0].shape[1] != observations + actions for critic in critics):
        raise ObdError(f"The critics in {path.name} do not take {observations} observations and {actions} actions.")
    gamma = data.get("gamma")
    valid = isinstance(gamma, int | float) and not isinstance(gamma, bool) and 0 <= gamma <= 1
    return Teacher(
        env_id=env_id,
        algorithm=chosen,
        actor=actor,
        critics=critics,
        observation_mean=torch.zeros(observations),
        observation_std=torch.ones(observations),
        head="tanh" if chosen == "td3" else "tanh_gaussian",
        q_discount=float(gamma) if valid else 0.99,  # type: ignore[arg-type]
        details={"source": f"stable-baselines3 {chosen.upper()}"},
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of ``policy.pth`` and the JSON object ``data``."""
    hint = "save the model with model.save(...) of stable-baselines3"
    try:
        with zipfile.ZipFile(path) as archive:
            raw = {name: _entry(path, archive, name) for name in ("policy.pth", "data")}
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise ObdError(f"The file {path.name} is not a readable zip ({error}); {hint}.") from error
    if raw["policy.pth"] is None:
        raise ObdError(f"The file {path.name} holds no policy.pth; {hint}.")
    try:
        state = torch.load(io.BytesIO(raw["policy.pth"]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ObdError(f"The policy.pth in {path.name} is not a plain file of tensors and is not opened.") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ObdError(f"The policy.pth in {path.name} does not hold tensors by name; {hint}.")
    try:
        data = json.loads(raw["data"]) if raw["data"] is not None else {}
    except (ValueError, RecursionError) as error:
        raise ObdError(f"The entry data in {path.name} is not JSON; {hint}.") from error
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}, (
        data if isinstance(data, dict) else {}
    )


def _entry(path: Path, archive: zipfile.ZipFile, name: str) -> bytes | None:
    if name not in archive.namelist():
        return None
    if archive.getinfo(name).file_size > LARGEST_ENTRY:
        raise ObdError(f"The entry {name} in {path.name} is larger than {LARGEST_ENTRY // 2**20} MB; it is not opened.")
    return archive.read(name)


def _check_activation(path: Path, data: dict[str, Any]) -> None:
    """Shapes do not tell the activation; stable-baselines3 writes its name as text beside the pickle."""
    settings = data.get("policy_kwargs")
    named = settings.get("activation_fn") if isinstance(settings, dict) else None
    if isinstance(named, str) and not named.rstrip("'>").endswith("ReLU"):
        name = named[:80].removeprefix("<class '").rstrip("'>").rpartition(".")[2]
        raise ObdError(f"The policy in {path.name} uses {name}; only ReLU networks can become a teacher.")


def _kind(state: dict[str, Tensor]) -> Kind:
    """TD3 has one chain of layers in its actor; TQC's critics have many outputs."""
    if "actor.mu.0.weight" in state:
        return "td3"
    outputs = [tensor.shape[0] for key, tensor in state.items() if key.startswith("critic.qf0.") and tensor.dim() == 1]
    return "tqc" if outputs and outputs[-1] > 1 else "sac"


def _actor(path: Path, state: dict[str, Tensor], kind: Kind) -> Layers:
    own = {key for key in state if key.startswith("actor.")}
    hidden = "actor.mu." if kind == "td3" else "actor.latent_pi."
    layers = _chain(path, state, hidden)
    used = {key for key in own if key.startswith(hidden)}
    if kind != "td3":
        for name in ("actor.mu", "actor.log_std"):
            if not {f"{name}.weight", f"{name}.bias"} <= own:
                raise ObdError(f"The actor in {path.name} has no {name}.weight: it is not a {kind.upper()} policy.")
        names = [f"actor.{part}.{tensor}" for tensor in ("weight", "bias") for part in ("mu", "log_std")]
        used |= set(names)
        mean_weight, deviation_weight, mean_bias, deviation_bias = (_tensor(path, state, name) for name in names)
        if mean_weight.shape != deviation_weight.shape or mean_bias.shape != deviation_bias.shape:
            raise ObdError(f"The actor in {path.name} has mu and log_std of different shapes; it is damaged.")
        head = (torch.cat([mean_weight, deviation_weight]), torch.cat([mean_bias, deviation_bias]))
        layers = _checked(path, "actor", (*layers, head))
    if own - used:
        raise ObdError(f"The actor in {path.name} has {min(own - used)}, which the teacher format cannot hold.")
    return layers


def _critics(path: Path, state: dict[str, Tensor], kind: Kind) -> tuple[Layers, ...]:
    critics = []
    for number in range(2):
        prefix = f"critic.qf{number}."
        if number and not any(key.startswith(prefix) for key in state):
            break
        layers = _chain(path, state, prefix)
        weight, bias = layers[-1]
        if kind == "tqc":  # the last layer holds quantiles; their mean is the action value
            layers = (*layers[:-1], (weight.mean(0, keepdim=True), bias.mean(0, keepdim=True)))
        elif len(bias) != 1:
            raise ObdError(f"The critics in {path.name} have {len(bias)} outputs, expected 1; is it a TQC policy?")
        critics.append(layers)
    return tuple(critics)


def _chain(path: Path, state: dict[str, Tensor], prefix: str) -> Layers:
    """The linear layers called ``prefix`` N ``.weight`` and ``.bias``, in order."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,3})\.(weight|bias)")
    matches = [pattern.fullmatch(key) for key in state if key.startswith(prefix)]
    if not matches or None in matches:
        raise ObdError(f"The file {path.name} lacks plain linear layers {prefix}0.weight, ...; check the algorithm.")
    numbers = sorted({int(match.group(1)) for match in matches if match})
    return _checked(
        path,
        prefix,
        tuple(
            (_tensor(path, state, f"{prefix}{number}.weight"), _tensor(path, state, f"{prefix}{number}.bias"))
            for number in numbers
        ),
    )


def _tensor(path: Path, state: dict[str, Tensor], name: str) -> Tensor:
    tensor = state.get(name)
    dimensions = 2 if name.endswith("weight") else 1
    if tensor is None or tensor.layout != torch.strided or tensor.dim() != dimensions or tensor.numel() == 0:
        raise ObdError(f"The file {path.name} lacks {name} as a tensor of {dimensions} dimensions.")
    tensor = tensor.detach().to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise ObdError(f"The tensor {name} in {path.name} has values that are not finite.")
    return tensor.contiguous()


def _checked(path: Path, name: str, layers: Layers) -> Layers:
    """Each layer must take what the one before gives."""
    width = layers[0][0].shape[1]
    for weight, bias in layers:
        if weight.shape[1] != width or weight.shape[0] != len(bias):
            raise ObdError(f"The layers {name} in {path.name} do not fit together; the file is damaged.")
        width = weight.shape[0]
    return layers
