"""What a user is told about every kind of unusable file: one sentence, and nothing is left behind.

``pytest tests/runs/test_malformed_files.py -rP`` prints the list.
"""

from __future__ import annotations

import gzip
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from obd.errors import ObdError
from obd.runs.dataset_import import import_file
from obd.runs.teaching import open_teacher_file
from obd.teachers.import_policy import import_policy
from obd.teachers.teacher import save_teacher
from tests.data.test_transitions_file import arrays, store, with_next
from tests.helpers import pendulum_dataset, pendulum_teacher
from tests.teachers.test_import_policy import state, write

Make = Callable[[Path], Path]


def content(data: bytes, name: str = "data.hdf5") -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def changed(kind: str = "npz", **changes: object) -> Make:
    def make(folder: Path) -> Path:
        values = with_next(arrays(400))
        for name, change in changes.items():
            if change is None:
                del values[name]
            else:
                values[name] = change(values[name]) if callable(change) else np.asarray(change)
        return store(folder, values, kind)

    return make


def cut(kind: str, share: float) -> Make:
    def make(folder: Path) -> Path:
        path = store(folder, arrays(400), kind)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        return path

    return make


def damaged(folder: Path) -> Path:
    path = store(folder, arrays(400))
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)
    return path


def of_minari(folder: Path) -> Path:
    path = folder / "main_data.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("episode_0")
    return path


def linked(folder: Path) -> Path:
    path = store(folder, arrays(400, observations=None), "hdf5")
    with h5py.File(path, "a") as file:
        file["observations"] = h5py.ExternalLink("/etc/passwd", "observations")
    return path


def with_hdf5(change: Callable[[h5py.File], None]) -> Make:
    """An HDF5 file whose rewards ``change`` puts into place."""

    def make(folder: Path) -> Path:
        path = store(folder, arrays(400, rewards=None), "hdf5")
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return make


def linked_inside(file: h5py.File) -> None:
    file["rewards"] = h5py.SoftLink("/actions")


def stored_outside(file: h5py.File) -> None:
    file.create_dataset("rewards", (400,), "f4", external=[("/etc/hostname", 0, 1600)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((400,), "f4")
    layout[:] = h5py.VirtualSource("other.hdf5", "rewards", (400,))
    file.create_virtual_dataset("rewards", layout)


def grouped(file: h5py.File) -> None:
    file.create_group("rewards")["first"] = np.zeros(400)


def without_content(file: h5py.File) -> None:
    file["rewards"] = h5py.Empty("f4")


def ragged(file: h5py.File) -> None:
    file.create_dataset("rewards", (400,), h5py.vlen_dtype("f4"))


def a_folder(folder: Path) -> Path:
    path = folder / "data.npz"
    path.mkdir()
    return path


def promised(folder: Path) -> Path:
    """Headers that promise more rows than there are."""
    path = folder / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, shape in (("observations", (400, 3)), ("actions", (400, 1)), ("terminals", (400,))):
            with archive.open(f"{name}.npy", "w") as stream:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
    return path


def huge(folder: Path) -> Path:
    path = folder / "huge.hdf5"
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 3), ("actions", 1), ("terminals", 1)):
            file.create_dataset(name, (10**12, width), "f4", chunks=(10**5, width))  # takes no space on disk
    return path


def empty_arrays(folder: Path) -> Path:
    return store(folder, {name: value[:0] for name, value in arrays(400).items()})


def columns(values: np.ndarray) -> np.ndarray:
    return np.asfortranarray(values)


def spoiled(row: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[row] = value
        return values

    return change


DATASETS: dict[str, tuple[Make, str]] = {
    "an empty file": (content(b""), "is empty; choose another one"),
    "a table of text": (content(b"observations,actions\n1,2\n"), "neither HDF5 nor NPZ"),
    "a gzip file": (content(gzip.compress(b"x" * 99)), "compressed with gzip; unpack it first"),
    "a single .npy array": (content(b"\x93NUMPY\x01\x00v\x00", "data.npz"), "single array; put all arrays into one"),
    "a pickle": (content(pickle.dumps({"observations": [1]}), "data.npz"), "pickle, which is never opened"),
    "an NPZ cut off": (cut("npz", 0.5), "damaged or incomplete"),
    "an HDF5 cut off": (cut("hdf5", 0.5), "damaged or incomplete"),
    "an NPZ with overwritten bytes": (damaged, "damaged or incomplete"),
    "a file of Minari": (of_minari, "one of Minari's; copy its dataset's folder"),
    "an HDF5 whose array is a link to another file": (linked, "observations in data.hdf5 is a link to data elsewhere"),
    "a link inside the file": (with_hdf5(linked_inside), "rewards in data.hdf5 is a link to data elsewhere"),
    "values in another file": (with_hdf5(stored_outside), "rewards in data.hdf5 is a link to data elsewhere"),
    "a virtual array": (with_hdf5(virtual), "rewards in data.hdf5 is a link to data elsewhere"),
    "a group for an array": (with_hdf5(grouped), "rewards in data.hdf5 is a group of arrays"),
    "an array without content": (with_hdf5(without_content), "rewards in data.hdf5 is empty; save its values"),
    "lists of different lengths": (with_hdf5(ragged), "texts or lists of different lengths; save plain numbers"),
    "a folder": (a_folder, "is a folder; choose a file in it"),
    "an NPZ that promises more rows": (promised, "ends after 0 of 400 rows"),
    "more rows than memory": (huge, "GiB in memory, this machine has"),
    "no terminals": (changed(terminals=None), "lacks the array terminals; a file needs"),
    "Python objects": (changed(rewards=np.array([{}] * 400, object)), "Python objects, which are never opened"),
    "no rows": (empty_arrays, "holds no transitions"),
    "18 observation columns": (changed(observations=np.zeros((400, 18))), "18 numbers per step, those of Pendulum-v1"),
    "one observation column too many": (changed(observations=np.zeros((400, 4))), "save columns 1 to the end"),
    "two actions for one": (changed(actions=np.zeros((400, 2))), "actions in data.npz have 2 numbers per step"),
    "several rewards per step": (changed(rewards=np.zeros((400, 2))), "2 numbers per step instead of 1"),
    "fewer rewards than observations": (changed(rewards=np.zeros(399)), "400 observations but 399 rewards"),
    "terminals of 3": (changed(terminals=np.full(400, 3)), "other values than 0 and 1"),
    "complex numbers": (changed(observations=np.zeros((400, 3), complex)), "holds complex numbers; save plain numbers"),
    "text for numbers": (changed(observations=np.full((400, 3), "x")), "holds texts; save plain numbers"),
    "an array stored by columns": (changed(observations=columns), "save numpy.ascontiguousarray of it"),
    "NaN in an observation": (changed(observations=spoiled(7, np.nan)), r"1 in observations \(the first is 7\)"),
    "NaN in a next observation only": (
        changed(next_observations=spoiled(9, np.nan)),
        r"1 in next_observations \(the first is 9\)",
    ),
    "a number beyond 32 bits": (changed(observations=lambda x: spoiled(3, 1e300)(np.float64(x))), "beyond 32 bits"),
    "infinity in a reward": (changed(rewards=spoiled(250, np.inf)), r"1 in rewards \(the first is 250\)"),
}


@pytest.mark.parametrize("what", DATASETS)
@pytest.mark.filterwarnings("ignore")
def test_datasets(what: str, tmp_path: Path, storage: Path) -> None:
    make, words = DATASETS[what]
    path = make(tmp_path)
    upload = path.with_name("0123abcd")  # the app keeps an upload under a name of its own
    path.rename(upload)
    before = left(storage)
    with pytest.raises(ObdError, match=words) as caught:
        import_file(upload, "Pendulum-v1", "mine/data-v0", file_name=path.name)
    tell(what, caught.value)
    assert left(storage) == before and upload.name not in str(caught.value)


OPTIONS: dict[str, tuple[str, str, str]] = {
    "an environment nobody knows": ("Nothing-v0", "mine/data-v0", "Nothing-v0"),
    "a version nobody knows": ("Pendulum-v99", "mine/data-v0", "It provides versioned environments"),
    "an environment that moved away": ("HalfCheetah-v2", "mine/data-v0", "Check its name, or what it needs"),
    "an environment of a package that is not here": ("Nobody/Pong-v5", "mine/data-v0", "Namespace Nobody not found"),
    "an environment with buttons": ("CartPole-v1", "mine/data-v0", "CartPole-v1"),
    "an environment that names a module": ("os:Pendulum-v1", "mine/data-v0", "os:Pendulum-v1"),
    "a name with a path": ("Pendulum-v1", "../data-v0", "not a dataset id"),
    "a name of 250 letters": ("Pendulum-v1", "b" * 250 + "/x-v0", "b…' is not a dataset id"),
    "the name of a built-in dataset": ("Pendulum-v1", "obd/hopper/medium-v0", "built-in dataset; choose another"),
}


@pytest.mark.parametrize("what", OPTIONS)
@pytest.mark.filterwarnings("ignore")
def test_options(what: str, tmp_path: Path, storage: Path) -> None:
    env_id, dataset_id, words = OPTIONS[what]
    before = left(storage)
    with pytest.raises(ObdError, match=words) as caught:
        import_file(store(tmp_path, arrays(400)), env_id, dataset_id)
    tell(what, caught.value)
    assert left(storage) == before


def narrower(tensors: dict[str, torch.Tensor]) -> None:
    tensors["actor.0.weight"] = tensors["actor.0.weight"][:, :-1].contiguous()


def without_critic_layer(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["critic.0.weight"]


def not_finite(tensors: dict[str, torch.Tensor]) -> None:
    tensors["actor.1.bias"] = tensors["actor.1.bias"] * float("nan")


def no_spread(tensors: dict[str, torch.Tensor]) -> None:
    tensors["observation_std"] = tensors["observation_std"] * 0


def nothing(tensors: dict[str, torch.Tensor]) -> None:
    """No change."""


Change = Callable[[dict[str, torch.Tensor]], None]
TEACHERS: dict[str, tuple[Change | bytes, dict[str, str], str]] = {
    "a teacher that is a text": (b"nothing useful", {}, "not a safetensors file"),
    "a teacher that is empty": (b"", {}, "not a safetensors file"),
    "tensors of something else": (nothing, {"format": "pt"}, "not a teacher file: its format is 'pt'"),
    "a teacher of another robot": (nothing, {"env_id": "Hopper-v5"}, r"expected .*\[11\]"),
    "a teacher without its environment": (nothing, {"env_id": ""}, "lacks env_id"),
    "a teacher of a wrong width": (narrower, {}, r"actor\.0\.weight.*expected.*\[any, 3\]"),
    "a teacher without a tensor": (without_critic_layer, {}, r"lacks the tensor critic\.0\.weight"),
    "a teacher with NaN": (not_finite, {}, r"actor\.1\.bias.*not finite"),
    "a normaliser of zeros": (no_spread, {}, "observation_std that are not positive"),
    "an unknown kind of policy": (nothing, {"actor_head": "softmax"}, "actor_head 'softmax', expected one of"),
    "a discount that is no number": (nothing, {"q_discount": "much"}, "q_discount 'much', expected a number"),
}


@pytest.mark.parametrize("what", TEACHERS)
def test_teachers(what: str, tmp_path: Path, storage: Path) -> None:
    change, other, words = TEACHERS[what]
    if isinstance(change, bytes):
        data = change
    else:
        save_teacher(tmp_path / "t.safetensors", pendulum_teacher(pendulum_dataset()))
        data = (tmp_path / "t.safetensors").read_bytes()
        tensors = load(data)
        change(tensors)
        metadata = {"format": "obd-teacher-1", "env_id": "Pendulum-v1", "algorithm": "test", "actor_head": "tanh",
                    "q_discount": "0.99"}  # fmt: skip
        data = save(tensors, metadata=metadata | other)
    before = left(storage)
    with pytest.raises(ObdError, match=words) as caught:
        open_teacher_file("mine.safetensors", data, "Pendulum-v1")
    tell(what, caught.value)
    assert left(storage) == before and str(storage) not in str(caught.value)


def zip_without_policy(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        archive.writestr("other", "x")
    return folder / "p.zip"


def policy(kind: str, change: dict[str, torch.Tensor] | None = None, data: object = None) -> Make:
    return lambda folder: write(folder / "p.zip", state(kind) | (change or {}), data)


TANH = {"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.Tanh'>"}}
POLICIES: dict[str, tuple[Make, str]] = {
    "a policy that is no zip": (content(b"hello", "p.zip"), "not a readable zip"),
    "a zip without a policy": (zip_without_policy, r"no policy\.pth"),
    "a policy of another algorithm": (policy("td3"), "check the algorithm"),
    "a policy with NaN": (policy("sac", {"actor.mu.bias": torch.full((1,), float("nan"))}), "not finite"),
    "layers that do not fit": (policy("sac", {"actor.latent_pi.2.weight": torch.zeros(8, 7)}), "do not fit"),
    "a policy of pictures": (policy("sac", {"actor.features_extractor.0.weight": torch.zeros(1)}), "cannot hold"),
    "a policy with tanh inside": (policy("sac", None, TANH), "only ReLU"),
}


@pytest.mark.parametrize("what", POLICIES)
def test_policies_of_stable_baselines3(what: str, tmp_path: Path) -> None:
    make, words = POLICIES[what]
    with pytest.raises(ObdError, match=words) as caught:
        import_policy(make(tmp_path), "sac", "Pendulum-v1")
    tell(what, caught.value)


def left(folder: Path) -> list[str]:
    """All files below ``folder``."""
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())


def tell(what: str, error: BaseException) -> None:
    text = str(error)
    assert "\n" not in text and "Traceback" not in text and text.endswith(".")
    print(f"{what}: {text}")
