from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from obd.errors import ObdError
from obd.events import Checkpoint, Progress, Snapshot
from obd.runs.store import (
    Run,
    atomic_file,
    create_run,
    list_groups,
    list_runs,
    mark_interrupted,
    open_run,
    progress_row,
    write_atomic,
)
from tests.helpers import tiny_config


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, np.full((2, 3), step, np.float32), np.zeros((2, 1), np.float32), np.full(3, 0.1, np.float32))


def test_a_new_run_is_queued_and_listed() -> None:
    run = create_run(tiny_config(), name="first")
    assert run.config == tiny_config()
    assert run.status()["state"] == "queued"
    assert [r.id for r in list_runs()] == [run.id]
    assert open_run(run.id) == run
    assert run.group == run.id


def test_groups_keep_their_order() -> None:
    first = create_run(tiny_config(objective="dbc"))
    second = create_run(tiny_config(objective="pbc"), group=first.group)
    other = create_run(tiny_config())
    assert list(list_groups()) == [other.id, first.group]
    assert [run.id for run in list_groups()[first.group]] == [first.id, second.id]


def test_a_directory_with_content_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ObdError, match="already exists"):
        create_run(tiny_config(), path=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["precious.txt"]


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".hidden", "x" * 200])
def test_names_never_become_paths(name: str) -> None:
    with pytest.raises(ObdError):
        open_run(name)


def test_metrics_are_read_in_pieces_and_torn_lines_wait() -> None:
    run = create_run(tiny_config())
    assert run.metrics() == ([], 0)
    run.append([{"kind": "progress", "step": 1}])
    rows, offset = run.metrics()
    with open(run.path / "metrics.jsonl", "a") as stream:
        stream.write('{"kind": "prog')
    assert [row["step"] for row in rows] == [1]
    assert run.metrics(offset) == ([], offset)
    with open(run.path / "metrics.jsonl", "a") as stream:
        stream.write('ress", "step": 2}\n')
    rows, _ = run.metrics(offset)
    assert [row["step"] for row in rows] == [2]


def test_snapshots_and_checkpoints_come_back_exactly() -> None:
    run = create_run(tiny_config())
    assert run.checkpoint() is None
    for step in (0, 10):
        run.write_snapshot(snapshot(step))
    tensors = {"a": torch.randn(3), "empty": torch.zeros(0, dtype=torch.float64)}
    run.write_checkpoint(Checkpoint(10, tensors, 1.5, 0.25))
    assert run.snapshot_steps() == [0, 10]
    assert np.array_equal(run.snapshot(10).observations, snapshot(10).observations)
    loaded = run.checkpoint()
    assert loaded is not None and (loaded.step, loaded.seconds, loaded.initial_loss) == (10, 1.5, 0.25)
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in tensors.items())


def test_dropping_what_comes_after_a_checkpoint() -> None:
    run = create_run(tiny_config())
    run.append([{"kind": "progress", "step": step} for step in (1, 2, 3)])
    for step in (1, 3):
        run.write_snapshot(snapshot(step))
    run.drop_after(2)
    assert [row["step"] for row in run.metrics()[0]] == [1, 2]
    assert run.snapshot_steps() == [1]


@pytest.mark.parametrize("name", ["status.json", "config.json"])
@pytest.mark.parametrize("content", ["", "[1]", "{", '"text"'])
def test_a_damaged_run_is_left_out_and_explained(name: str, content: str) -> None:
    run, good = create_run(tiny_config()), create_run(tiny_config())
    (run.path / name).write_text(content)
    assert [r.id for r in list_runs()] == [good.id]
    with pytest.raises(ObdError, match="damaged"):
        run.status() if name == "status.json" else run.header()


def test_damaged_binaries_are_explained() -> None:
    run = create_run(tiny_config())
    run.write_snapshot(snapshot(4))
    (run.path / "snapshots" / "00000004.npz").write_bytes(b"PK nonsense")
    (run.path / "checkpoint.safetensors").write_bytes(b"nonsense")
    for read in (lambda: run.snapshot(4), lambda: run.snapshot(5), run.checkpoint):
        with pytest.raises(ObdError):
            read()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_atomic(path, "old")
    with pytest.raises(RuntimeError), atomic_file(path) as stream:
        stream.write(b"half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ObdError, match="No space left") as caught, atomic_file(tmp_path / "status.json"):
        raise OSError(28, "No space left on device")
    assert "OBD_RUNS_DIR" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_appending() -> None:
    run = create_run(tiny_config())
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ObdError, match="No space left"):
        run.append([{"kind": "progress", "step": 1}])


def test_runs_of_a_dead_process_are_interrupted() -> None:
    dead, living, done = (create_run(tiny_config()) for _ in range(3))
    gone = 2**22 + 1  # above the largest process id of Linux
    for run, state, owner in ((dead, "running", gone), (living, "running", os.getpid()), (done, "finished", gone)):
        status = run.status() | {"state": state, "owner": owner}
        (run.path / "status.json").write_text(json.dumps(status))
    mark_interrupted()
    assert [Run(r.path).status()["state"] for r in (dead, living, done)] == ["interrupted", "running", "finished"]


def test_what_is_no_number_is_null_in_the_metrics() -> None:
    row = progress_row(Progress(1, 2, float("nan"), float("inf"), (0.1,), 0.5))
    assert row["loss"] is None and row["gradient_norm"] is None
    assert json.dumps(row, allow_nan=False)
