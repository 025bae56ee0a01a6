"""Take in a distilled set that left the tool: strict reading of a file from anywhere, and a run made of it."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from obd.config import OBJECTIVES, DistillConfig, check, options
from obd.data.catalog import DatasetInfo, list_datasets
from obd.data.identifiers import check_id
from obd.data.reference import reference_returns
from obd.data.simulate import make_env
from obd.engine.distilled import ARRAYS, FORMAT, DistilledDataset, Float, Recipe
from obd.engine.machine import check_memory
from obd.engine.network import Shape
from obd.errors import ObdError
from obd.events import ShouldStop, Snapshot
from obd.runs.execute import measure
from obd.runs.store import Run, create_run

MAX_BYTES = 2**26  # of an array in a foreign file: forty times the largest set this tool makes
MAX_CARD = 2**20
MAX_FILE = 2**24
IMPORTED = "Imported from a file."  # the message of such a run


def import_set(file: str, data: bytes, *, path: Path | None = None) -> Run:
    """A finished run made of the bytes of an ``.npz`` or ``.safetensors`` file; ``file`` is its name, for display.

    The run has one snapshot, no curves and no scores; students can be trained on it and measured like any other.

    Raises:
        ObdError: one sentence about what is wrong with the file; nothing is written then.
    """
    distilled = read_distilled(data)
    config = config_of(distilled)
    check_robot(distilled)
    (size, obs_dim), act_dim, recipe = distilled.observations.shape, distilled.actions.shape[1], distilled.recipe
    sizes = (size, obs_dim, act_dim, recipe.hidden, recipe.inner_steps, recipe.inner_batch)
    check_memory(Shape(recipe.columns, *sizes), copies=1)
    steps = distilled.card.get("outer_steps")
    step = steps if type(steps) is int and 0 <= steps <= 10_000_000 else 0
    run = create_run(config, path=path, name=f"{Path(file).stem[:60]} (imported)")
    rates = np.asarray(distilled.recipe.step_sizes, np.float32)
    run.write_snapshot(Snapshot(step, distilled.observations, distilled.actions, rates))
    run.write_distilled(distilled)
    run.write_status(state="finished", step=step, outer_steps=step, message=IMPORTED)
    return run


def import_file(file: Path, path: Path | None = None) -> Run:
    """:func:`import_set` of a file on disk."""
    try:
        if file.stat().st_size > MAX_FILE:
            raise ObdError(f"{file.name} is larger than any distilled set; give a file of at most 16 MB.")
        data = file.read_bytes()
    except OSError as error:
        raise ObdError(f"{file} cannot be read ({error.strerror or error}); check the name.") from error
    return import_set(file.name, data, path=path)


def measure_run(run: Run, on_progress: Callable[[float], None], should_stop: ShouldStop) -> None:
    """Measure students on a run's set, whether or not its dataset is here, and write the scores down."""
    distilled = run.distilled()
    info = next((info for info in list_datasets() if info.id == run.config.dataset), None)
    if info is None:
        env_id = str(distilled.card["env_id"])
        info = DatasetInfo(run.config.dataset, env_id, "", "", False, False, reference_returns(env_id))
    run.write_evaluation(measure(distilled, info, on_progress=on_progress, should_stop=should_stop))


def config_of(distilled: DistilledDataset) -> DistillConfig:
    """The settings on the card as far as this version knows them; the recipe and the arrays have the last word.

    Raises:
        ObdError: a setting has a value that is not allowed, or the dataset's name or the objective is not known.
    """
    card, recipe = distilled.card, distilled.recipe
    if card["objective"] not in OBJECTIVES:
        raise ObdError(f"The objective {card['objective'][:40]!r} is not known; known are {', '.join(OBJECTIVES)}.")
    described = options(DistillConfig)
    values = {name: value for name, value in card.get("settings", {}).items() if name in described}
    values |= {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__ if name in described}
    values |= {"dataset": check_id(card["dataset"]), "objective": card["objective"], "size": len(distilled)}
    values["teacher"] = ""  # a path in a foreign file leads nowhere good; the card keeps the teacher's name
    values.setdefault("steps", None)
    if values.get("seconds") is None and values["steps"] is None:
        values["seconds"] = 60.0
    for name, value in values.items():
        default = described[name]
        if value is None or default.choices or default.low is not None:
            continue
        if not isinstance(value, bool | str) or len(str(value)) > 200:
            raise ObdError(f"The setting {name.replace('_', ' ')} on the card of this file is not usable.")
    return DistillConfig(**values)


def check_robot(distilled: DistilledDataset) -> None:
    """The environment must be installed and fit the arrays.

    Raises:
        ObdError: it is unknown here, or its observations or actions have another width.
    """
    env_id, found = distilled.card["env_id"], (distilled.observations.shape[1], distilled.actions.shape[1])
    if env_id not in gym.registry:  # a name with a colon would make Gymnasium import a module of that name
        raise ObdError(f"The set is for the environment {env_id[:60]!r}, which is not installed here.")
    env = make_env(env_id)
    try:
        assert env.observation_space.shape is not None and env.action_space.shape is not None
        expected = (env.observation_space.shape[0], env.action_space.shape[0])
    finally:
        env.close()
    if found != expected:
        raise ObdError(
            f"{env_id} has observations of {expected[0]} and actions of {expected[1]} numbers; the file has "
            f"{found[0]} and {found[1]}."
        )


def read_distilled(data: bytes) -> DistilledDataset:
    """A set from the bytes of an ``.npz`` or ``.safetensors`` file that may come from anywhere.

    Nothing is unpickled, no more than 64 MiB is unpacked, and every number is checked.

    Raises:
        ObdError: one sentence about the first thing that is wrong.
    """
    if not data:
        raise ObdError("The file is empty; export the set again.")
    if data[:1] == b"\x80":
        raise ObdError("This is a Python pickle, which could run any code; it is not opened. Give an .npz file.")
    arrays, text = _read_npz(data) if data[:2] == b"PK" else _read_safetensors(data)
    try:
        card = json.loads(text, parse_constant=_refuse)
        marker = card.pop("format")
        values = card.pop("recipe")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ObdError("The card of this file is damaged or has no training recipe; export the set again.") from None
    if marker != FORMAT:
        raise ObdError(f"This file is of format {str(marker)[:40]!r}; only {FORMAT} is known.")
    return DistilledDataset(**_check_arrays(arrays), recipe=_check_recipe(values), card=_check_card(card))


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and infinities are not JSON


def _read_npz(data: bytes) -> tuple[dict[str, NDArray[Any]], str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                if member.file_size > MAX_BYTES:
                    raise ObdError("This file unpacks to more than any distilled set holds; it is not opened.")
                with archive.open(member) as stream:
                    _check_header(member.filename, stream)
        with np.load(io.BytesIO(data), allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in (*ARRAYS, "card")}
        return arrays, str(arrays.pop("card"))
    except KeyError as error:
        raise ObdError(f"This .npz file is not a distilled set: {str(error.args[0])[:80]}.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError):
        raise ObdError("This .npz file is damaged or cut short; download or export it again.") from None


def _check_header(name: str, stream: IO[bytes]) -> None:
    """Look at an array's shape and kind before anything is allocated for it."""
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ObdError(f"{name[:40]} holds pickled Python objects, which could run any code; the file is not opened.")
    if math.prod(shape) * dtype.itemsize > MAX_BYTES:
        raise ObdError("This file unpacks to more than any distilled set holds; it is not opened.")


def _read_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], str]:
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        if length > MAX_CARD:
            raise ValueError("header")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
        return tensors, str(metadata["card"])
    except KeyError:
        raise ObdError("This .safetensors file is not a distilled set: it has no card.") from None
    except (SafetensorError, ValueError, AttributeError, TypeError, RecursionError):
        raise ObdError(
            "This is neither an .npz nor a .safetensors file, or it is damaged or cut short; export it again."
        ) from None


def _check_arrays(arrays: dict[str, NDArray[Any]]) -> dict[str, Float]:
    found: dict[str, Float] = {}
    for name, dimensions in ARRAYS.items():
        if name not in arrays:
            raise ObdError(f"This file is not a distilled set: it has no {name}.")
        array = arrays[name]
        if array.dtype.kind != "f" or array.ndim != dimensions or 0 in array.shape:
            raise ObdError(f"{name} must be a float array of {dimensions} dimensions, not {array.dtype} {array.shape}.")
        if not np.isfinite(array).all():
            raise ObdError(f"{name} holds NaN or infinity, so no student can be trained on this set.")
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is refused
            found[name] = np.ascontiguousarray(array, dtype=np.float32)
        if not np.isfinite(found[name]).all():
            raise ObdError(f"{name} holds numbers beyond the range of 32-bit floats; scale the set first.")
    observations, actions = found["observations"], found["actions"]
    check("size", len(observations), options(DistillConfig)["size"])
    if len(actions) != len(observations):
        raise ObdError(f"The file has {len(observations)} observations but {len(actions)} actions; export it again.")
    for name in ("observation_mean", "observation_std"):
        if found[name].shape != observations.shape[1:]:
            raise ObdError(f"{name} has {found[name].size} entries, the observations have {observations.shape[1]}.")
    if (found["observation_std"] <= 0).any():
        raise ObdError("observation_std must be above zero everywhere; export the set again.")
    return found


def _check_recipe(values: Any) -> Recipe:
    fields = Recipe.__dataclass_fields__
    values = {"columns": 1, **values} if isinstance(values, dict) else {}  # older files have no columns
    if set(values) != set(fields):
        raise ObdError(f"The training recipe must have exactly {', '.join(fields)}.")
    described = options(DistillConfig)
    for name in (name for name in fields if name not in ("step_sizes", "step_size_decay")):
        whole = name not in ("inner_momentum", "output_gain")
        if whole and type(values[name]) is not int:
            raise ObdError(f"The {name.replace('_', ' ')} of the training recipe must be a whole number.")
        check(name, values[name] if values[name] is not None else "", described[name])
    if type(values["step_size_decay"]) is not bool:
        raise ObdError("The step size decay of the training recipe must be true or false.")
    sizes = values["step_sizes"]
    if not isinstance(sizes, list) or len(sizes) != values["hidden_layers"] + 1:
        raise ObdError(f"The training recipe needs {values['hidden_layers'] + 1} step sizes, one per layer.")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < 1e6:
            raise ObdError("The step sizes of the training recipe must be numbers above zero.")
    return Recipe(**{**values, "step_sizes": tuple(float(size) for size in sizes)})


def _check_card(card: dict[str, Any]) -> dict[str, Any]:
    """The card with the parts that a run needs: environment, dataset and objective as short texts."""
    for name in ("env_id", "dataset", "objective"):
        if not isinstance(card.get(name), str) or not 0 < len(card[name]) <= 200:
            missing = "environment" if name == "env_id" else name
            raise ObdError(f"The card of this file does not name its {missing}; export the set again.")
    for name in ("settings", "versions", "scores"):
        if not isinstance(card.get(name, {}), dict):
            raise ObdError(f"The {name} on the card of this file are not a table; export the set again.")
    return card
