"""One test per trap of the files in circulation: what is repaired, what is said, what is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from obd.data.transitions_file import TransitionsFile, read_transitions
from obd.errors import Cancelled, ObdError

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 200  # of Pendulum-v1
Arrays = dict[str, np.ndarray]


def arrays(steps: int = 500, **changes: Any) -> Arrays:
    """Two whole episodes of 200 steps and the start of a third, in the environment's units (actions in [-2, 2])."""
    generator = np.random.default_rng(0)
    angle, speed = generator.uniform(-3, 3, steps), generator.uniform(-8, 8, steps)
    timeouts = np.zeros(steps, bool)
    timeouts[LIMIT - 1 :: LIMIT] = True
    values: Arrays = {
        "observations": np.stack([np.cos(angle), np.sin(angle), speed], 1).astype(np.float32),
        "actions": generator.uniform(-2, 2, (steps, 1)).astype(np.float32),
        "rewards": generator.normal(size=steps).astype(np.float32),
        "terminals": np.zeros(steps, bool),
        "timeouts": timeouts,
    }
    values |= changes
    return {name: value for name, value in values.items() if value is not None}


def store(folder: Path, values: Arrays, kind: str = "npz") -> Path:
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez_compressed(path, **values)
    else:
        with h5py.File(path, "w") as file:
            for name, value in values.items():
                file[name] = value
    return path


def read(
    folder: Path, values: Arrays, kind: str = "npz", env_id: str = "Pendulum-v1", **options: Any
) -> TransitionsFile:
    return read_transitions(store(folder, values, kind), env_id, "test/imported-v0", **options)


def codes(read_: TransitionsFile) -> dict[str, int]:
    return {finding.code: finding.count for finding in (*read_.report.repairs, *read_.report.warnings)}


def refuse(folder: Path, values: Arrays, kind: str = "npz", **options: Any) -> str:
    with pytest.raises(ObdError) as caught:
        read(folder, values, kind, **options)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


def with_next(values: Arrays) -> Arrays:
    """The same with successors; each episode's last state has one of its own."""
    following = np.roll(values["observations"], -1, axis=0)
    following[LIMIT - 1 :: LIMIT] = 0.5
    following[-1] = 0.5
    return values | {"next_observations": following}


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_a_clean_file(tmp_path: Path, kind: str) -> None:
    values = with_next(arrays(400))
    result = read(tmp_path, values, kind)
    dataset = result.dataset
    assert codes(result) == {}
    np.testing.assert_array_equal(dataset.observations, values["observations"])
    np.testing.assert_array_equal(dataset.next_observations, values["next_observations"])
    np.testing.assert_allclose(dataset.actions, values["actions"] / 2, atol=1e-6)
    assert dataset.episode_lengths.tolist() == [200, 200] and dataset.truncations.sum() == 2
    assert dataset.provenance["license"].startswith("unknown") and len(dataset.provenance["file"]["sha256"]) == 64


def test_steps_without_a_known_successor_are_left_out(tmp_path: Path) -> None:
    values = arrays(500)
    values["terminals"][99] = True  # 100 steps, a terminal state; the timeouts follow 100 and 300 steps later
    result = read(tmp_path, values)
    dataset = result.dataset
    assert codes(result) == {"terminal_successors_repeated": 1, "last_steps_dropped": 3, "unmarked_end": 1}
    assert dataset.episode_lengths.tolist() == [100, 99, 199, 99]
    assert np.flatnonzero(dataset.terminations).tolist() == [99]
    assert np.flatnonzero(dataset.truncations).tolist() == [198, 397, 496]
    inner = np.setdiff1d(np.arange(len(dataset) - 1), np.append(dataset.episode_starts[1:] - 1, len(dataset)))
    np.testing.assert_array_equal(dataset.next_observations[inner], dataset.observations[inner + 1])
    np.testing.assert_array_equal(dataset.observations[100:199], values["observations"][100:199])


def test_actions_outside_the_bounds_are_clipped_and_counted(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["actions"][:3] = [[5.0], [-2.5], [2.0000001]]
    result = read(tmp_path, values)
    assert codes(result) == {"clipped_actions": 2} and "2.5 times" in result.report.repairs[0].message
    assert result.dataset.actions[:3, 0].tolist() == [1, -1, 1]
    values["actions"][:100] = 7
    assert codes(read(tmp_path, values))["many_clipped_actions"] == 100


def test_terminals_at_the_time_limit_become_truncations(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["terminals"] = values.pop("timeouts")
    result = read(tmp_path, values)
    assert codes(result) == {"terminals_at_time_limit": 2}
    assert not result.dataset.terminations.any() and result.dataset.truncations.sum() == 2


def test_time_limits_are_inferred_without_timeouts(tmp_path: Path) -> None:
    result = read(tmp_path, arrays(500, timeouts=None))
    assert codes(result) == {"time_limits_inferred": 2, "unmarked_end": 1, "last_steps_dropped": 3}
    assert result.dataset.episode_lengths.tolist() == [199, 199, 99]


def test_unmarked_ends_are_found_where_states_jump(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["timeouts"][:] = False
    result = read(tmp_path, values)
    assert codes(result) == {"episode_ends_found": 1, "unmarked_end": 1}
    assert result.dataset.episode_lengths.tolist() == [200, 200]


def test_missing_rewards_are_allowed_and_known(tmp_path: Path) -> None:
    dataset = read(tmp_path, with_next(arrays(400, rewards=None))).dataset
    assert not dataset.has_rewards and not dataset.rewards.any()
    with pytest.raises(ObdError, match="no rewards"):
        dataset.require_rewards()


def test_float64_is_converted_and_said(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["observations"] = values["observations"].astype(np.float64)
    result = read(tmp_path, values)
    assert codes(result) == {"converted_to_float32": 1} and result.dataset.observations.dtype == np.float32
    values["observations"][7, 0] = 1e300
    assert "1 in observations (the first is 7)" in refuse(tmp_path, values)


@pytest.mark.parametrize("part", ["observations", "actions", "rewards", "next_observations"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(tmp_path: Path, part: str, value: float) -> None:
    values = with_next(arrays(400))
    values[part][250] = value
    assert f"1 in {part} (the first is 250)" in refuse(tmp_path, values)
    result = read(tmp_path, values, drop_bad_episodes=True)
    assert codes(result)["bad_episodes_dropped"] == 1
    assert len(result.dataset) == 200 and np.isfinite(result.dataset.observations).all()


def test_a_file_of_bad_episodes_only(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["rewards"][:] = np.nan
    assert "Nothing of the file" in refuse(tmp_path, values, drop_bad_episodes=True)


def test_single_step_episodes_are_said(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["terminals"][:10] = True
    result = read(tmp_path, values)
    assert codes(result) == {"single_step_episodes": 10}
    without = read(tmp_path, arrays(3, timeouts=np.array([True, False, True])))
    assert without.dataset.episode_lengths.tolist() == [1]  # the first episode had no step with a successor


def test_masked_dimensions_and_long_episodes_are_said(tmp_path: Path) -> None:
    values = arrays(500)
    values["observations"][:, 1] = 0
    values["timeouts"][:] = False
    found = codes(read(tmp_path, values))
    assert found["constant_dimensions"] == 1 and found["longer_than_time_limit"] == 1


def test_columns_and_other_names_are_understood(tmp_path: Path) -> None:
    values = with_next(arrays(400))
    values["rewards"] = values["rewards"][:, None]
    values["terminations"] = values.pop("terminals")[:, None].astype(np.float32)
    values["next_obs"] = values.pop("next_observations")
    assert len(read(tmp_path, values).dataset) == 400


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observations": np.zeros((400, 18))}, "observations in data.npz have 18 numbers per step, those of"),
        ({"observations": np.zeros((400, 4))}, "columns 1 to the end"),
        ({"observations": np.zeros((400, 2, 3))}, "2 x 3 numbers per step"),
        ({"actions": np.zeros((400, 2))}, "actions in data.npz have 2 numbers"),
        ({"rewards": np.zeros((400, 2))}, "2 numbers per step instead of 1"),
        ({"rewards": np.zeros(399)}, "400 observations but 399 rewards"),
        ({"terminals": np.full(400, 3)}, "other values than 0 and 1"),
        ({"terminals": None}, "lacks the array terminals"),
        ({"actions": None}, "lacks the array actions"),
        ({"observations": np.zeros((400, 3), complex)}, "holds complex numbers"),
        ({"observations": np.full((400, 3), "x")}, "save plain numbers"),
        ({"observations": np.zeros(())}, "no transitions"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_wrong_layouts_are_refused(tmp_path: Path, changes: Arrays, words: str) -> None:
    assert words in refuse(tmp_path, arrays(400, **changes))


def test_files_without_transitions(tmp_path: Path) -> None:
    empty = {name: value[:0] for name, value in arrays(400).items()}
    assert "no transitions" in refuse(tmp_path, empty)
    assert "no transitions" in refuse(tmp_path, empty, "hdf5")
    assert "lacks the array observations" in refuse(tmp_path, {})


class Harmful:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    objects = np.empty(400, object)
    objects[:] = Harmful(trace)
    assert "Python objects" in refuse(tmp_path, arrays(400, rewards=objects))
    assert "Python objects" in refuse(tmp_path, arrays(400, extra=objects))
    plain = tmp_path / "plain.npz"
    plain.write_bytes(pickle.dumps(Harmful(trace)))
    with pytest.raises(ObdError, match="pickle"):
        read_transitions(plain, "Pendulum-v1", "test/x-v0")
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files(tmp_path: Path, kind: str, share: float) -> None:
    path = store(tmp_path, arrays(400), kind)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ObdError, match=r"damaged or incomplete|neither"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")


def test_corrupt_content(tmp_path: Path) -> None:
    path = store(tmp_path, arrays(400))
    data = bytearray(path.read_bytes())
    data[200:400] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(ObdError, match="damaged"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("observations.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order'")
    with pytest.raises(ObdError, match="damaged"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"observations,actions\n1,2\n", "neither HDF5 nor NPZ"),
        (b"\x1f\x8b\x08\x00 compressed", "gzip"),
        (b"\x93NUMPY\x01\x00", "single array"),
    ],
)
def test_other_kinds_of_files(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "data.hdf5"
    path.write_bytes(content)
    with pytest.raises(ObdError, match=words):
        read_transitions(path, "Pendulum-v1", "test/x-v0")
    with pytest.raises(ObdError, match="no file"):
        read_transitions(tmp_path / "gone.npz", "Pendulum-v1", "test/x-v0")


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    other = store(tmp_path, arrays(400), "hdf5").rename(tmp_path / "other.hdf5")
    values = arrays(400)
    rewards = values.pop("rewards")
    path = store(tmp_path, values, "hdf5")
    with h5py.File(path, "a") as file:
        del file["observations"]
        file["observations"] = h5py.ExternalLink(str(other), "observations")
    with pytest.raises(ObdError, match=r"The array observations .* is a link to data elsewhere"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")
    (tmp_path / "raw").write_bytes(rewards.tobytes())
    values = arrays(400, rewards=None)
    path = store(tmp_path, values, "hdf5")
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (400,), "f4", external=[(str(tmp_path / "raw"), 0, 1600)])
    with pytest.raises(ObdError, match=r"The array rewards .* is a link to data elsewhere"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")


def test_a_file_larger_than_memory_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "huge.hdf5"
    with h5py.File(path, "w") as file:
        for name, width in (("observations", 3), ("actions", 1), ("terminals", 1)):
            file.create_dataset(name, (10**12, width), "f4", chunks=(10**5, width))  # takes no space on disk
    assert path.stat().st_size < 1e6
    with pytest.raises(ObdError, match="GiB in memory"):
        read_transitions(path, "Pendulum-v1", "test/x-v0")


MEASURE = """
import sys, tracemalloc
from pathlib import Path
from obd.data import array_file
from obd.data.transitions_file import read_transitions

array_file.BLOCK_BYTES = 2**16
warm, path = map(Path, sys.argv[1:])
read_transitions(warm, "Pendulum-v1", "test/x-v0")  # imports are not what is measured
tracemalloc.start()
dataset = read_transitions(path, "Pendulum-v1", "test/x-v0").dataset
print(tracemalloc.get_traced_memory()[1])
parts = ("observations", "actions", "rewards", "next_observations", "terminations", "truncations")
print(sum(getattr(dataset, name).nbytes for name in parts))
"""


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_memory_stays_near_the_result(tmp_path: Path, kind: str) -> None:
    """Wide float64 arrays are read in blocks: at no time is one of them in memory as a whole.

    Measured in a process of its own: here, threads that other tests left behind would be measured as well.
    """
    steps = 120_000
    values = with_next(arrays(steps))
    values |= {name: values[name].astype(np.float64) for name in ("observations", "next_observations")}
    warm = store(tmp_path, arrays(400), kind).rename(tmp_path / "warm")
    command = [sys.executable, "-c", MEASURE, str(warm), str(store(tmp_path, values, kind))]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    peak, result = map(int, printed.split())
    flags = 6 * steps  # bookkeeping: a few bytes per row
    assert peak < result + flags + 2**20 < result + steps * 3 * 8


def test_an_environment_named_without_its_version(tmp_path: Path) -> None:
    assert read(tmp_path, arrays(400), env_id="Pendulum").dataset.env_id == "Pendulum-v1"


def test_reading_can_be_cancelled(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        read(tmp_path, arrays(400), should_stop=lambda: True)


@pytest.mark.parametrize("env_id", ["os:Pendulum-v1", "Nothing-v0", "CartPole-v1", "", "../x"])
def test_environments_that_cannot_be_used(tmp_path: Path, env_id: str) -> None:
    refuse(tmp_path, arrays(400), env_id=env_id)
