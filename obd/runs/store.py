"""A run is a directory and the directory is the truth.

    config.json      the settings, the group the run belongs to, when it was made
    status.json      state, step, outer_steps, seconds, loss, message
    metrics.jsonl    one line per outer step ("progress") or measured return ("evaluated")
    snapshots/       00000120.npz: observations (raw units), actions, step_sizes after 120 outer steps
    checkpoint.safetensors   what a resumed run continues from, bit for bit
    distilled.npz    the result with its card
    evaluation.json  returns of students trained on it
    videos/          rendered rollouts

Every write goes to a temporary file first and is renamed, so a reader never sees half a file.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import time
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from obd.config import DistillConfig, dumps
from obd.engine.distilled import DistilledDataset, load_distilled
from obd.errors import ObdError
from obd.events import Checkpoint, Progress, Snapshot
from obd.paths import runs_dir

ACTIVE_STATES = ("queued", "calibrating", "running", "evaluating")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new content; ObdError if the disk is full."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path) as stream:
        stream.write(data)


class atomic_file:
    """``with atomic_file(path) as stream``: the file appears under its name only when the block succeeds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")

    def __enter__(self) -> IO[bytes]:
        self.stream: IO[bytes] = open(self.temporary, "wb")
        return self.stream

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: Any) -> None:
        try:
            self.stream.close()
            if error is None:
                os.replace(self.temporary, self.path)
        except OSError as failure:
            error = failure
            raise disk_error(self.path, failure) from failure
        finally:
            if error is not None:
                self.temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(self.path, error) from error


def disk_error(path: Path, error: OSError) -> ObdError:
    """The sentence for a write that failed."""
    return ObdError(
        f"Could not write {path.name} ({error.strerror or error}); free some disk space or set OBD_RUNS_DIR to "
        "another folder, then resume the run."
    )


@dataclass(frozen=True)
class Run:
    """A handle on one run directory; reading never blocks a writer."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    # -- reading ---------------------------------------------------------------------------------------------

    def header(self) -> dict[str, Any]:
        """``{"config": ..., "group": str, "name": str, "created": unix seconds}``."""
        return read_json(self.path / "config.json")

    @property
    def config(self) -> DistillConfig:
        return DistillConfig.from_dict(self.header()["config"])

    @property
    def group(self) -> str:
        return str(self.header()["group"])

    def status(self) -> dict[str, Any]:
        """state, step, outer_steps, seconds, loss, message, updated (unix seconds), owner (process id)."""
        return read_json(self.path / "status.json")

    def metrics(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """The metric lines from byte ``offset`` on, and the offset to continue from."""
        try:
            with open(self.path / "metrics.jsonl", "rb") as stream:
                stream.seek(offset)
                data = stream.read()
        except FileNotFoundError:
            return [], offset
        complete = data.rfind(b"\n") + 1  # a line still being written is left for the next call
        rows = []
        for line in data[:complete].splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:  # a line torn by a kill
                continue
        return rows, offset + complete

    def snapshot_steps(self) -> list[int]:
        return sorted(int(p.stem) for p in (self.path / "snapshots").glob("*.npz") if p.stem.isdigit())

    def snapshot(self, step: int) -> Snapshot:
        path = self.path / "snapshots" / f"{step:08d}.npz"
        arrays = read_npz(path)
        return Snapshot(step, arrays["observations"], arrays["actions"], arrays["step_sizes"])

    def evaluation(self) -> dict[str, Any]:
        """What was measured at the end, or {}."""
        path = self.path / "evaluation.json"
        return read_json(path) if path.exists() else {}

    # -- writing ---------------------------------------------------------------------------------------------

    def write_status(self, **changes: Any) -> None:
        path = self.path / "status.json"
        status = read_json(path) if path.exists() else {}
        status.update(changes, updated=time.time(), owner=os.getpid())
        write_atomic(path, dumps(status))

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        try:
            with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as stream:
                stream.write(lines)
        except OSError as error:
            raise disk_error(self.path / "metrics.jsonl", error) from error

    def write_snapshot(self, snapshot: Snapshot) -> None:
        folder = self.path / "snapshots"
        folder.mkdir(exist_ok=True)
        with atomic_file(folder / f"{snapshot.step:08d}.npz") as stream:
            np.savez(
                stream,
                observations=snapshot.observations,
                actions=snapshot.actions,
                step_sizes=snapshot.step_sizes,
            )

    def checkpoint(self) -> Checkpoint | None:
        """What the run continues from; None when it has not got that far.  ObdError when the file is damaged."""
        path = self.path / "checkpoint.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as archive:
                tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
                values = json.loads(archive.metadata()["values"])
            return Checkpoint(values["step"], tensors, values["seconds"], values["initial_loss"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            raise ObdError(f"The checkpoint of {self.id} is damaged; start a new run with the same settings.") from None

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        from safetensors.torch import save  # imports torch, which looking at runs does not need

        values = {"step": checkpoint.step, "seconds": checkpoint.seconds, "initial_loss": checkpoint.initial_loss}
        data = save({name: t.contiguous() for name, t in checkpoint.tensors.items()}, {"values": json.dumps(values)})
        write_atomic(self.path / "checkpoint.safetensors", data)

    def drop_after(self, step: int) -> None:
        """Forget metrics and snapshots beyond ``step``: a resumed run produces them again."""
        rows, _ = self.metrics()
        kept = [row for row in rows if row["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
        for later in self.snapshot_steps():
            if later > step:
                (self.path / "snapshots" / f"{later:08d}.npz").unlink()

    def distilled(self) -> DistilledDataset:
        """The synthetic set, also of an unfinished run; ObdError before the first snapshot."""
        return load_distilled(self.path / "distilled.npz")

    def write_distilled(self, distilled: DistilledDataset) -> None:
        with atomic_file(self.path / "distilled.npz") as stream:
            distilled.write(stream)

    def write_evaluation(self, values: dict[str, Any]) -> None:
        write_atomic(self.path / "evaluation.json", dumps(self.evaluation() | values))


def finite(value: float) -> float | None:
    """``value``, or None (JSON's null) for what is no number."""
    return value if math.isfinite(value) else None


def progress_row(event: Progress) -> dict[str, Any]:
    """The metric line of an outer step."""
    return {
        "kind": "progress",
        "step": event.step,
        "loss": finite(event.loss),
        "gradient_norm": finite(event.gradient_norm),
        "step_sizes": [round(value, 6) for value in event.step_sizes],
        "seconds": round(event.seconds, 3),
        "skipped": event.skipped,
    }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ObdError when it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ObdError(f"{path.parent.name} has no {path.name}; it is not a run directory.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ObdError(f"{path.name} of {path.parent.name} is damaged; delete the run and start it again.") from None
    if not isinstance(value, dict):
        raise ObdError(f"{path.name} of {path.parent.name} is damaged; delete the run and start it again.")
    return value


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file without unpickling; ObdError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise ObdError(f"There is no file {path.name}; the run may have been deleted.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise ObdError(f"{path.name} is damaged; delete the run and start it again.") from None


def create_run(config: DistillConfig, *, path: Path | None = None, group: str = "", name: str = "") -> Run:
    """Make a new run directory in state ``queued``.

    Raises ObdError when ``path`` exists and is not an empty directory, or cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run_id = f"{stamp}-{config.objective.replace('_', '-')}-{secrets.token_hex(2)}"
    path = path if path is not None else runs_dir() / run_id
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ObdError(f"{path} already exists; choose another directory or resume it.")
        (path / "snapshots").mkdir(parents=True, exist_ok=True)
        run = Run(path)
        header = {"config": config.to_dict(), "group": group or path.name, "name": name, "created": time.time()}
        write_atomic(path / "config.json", dumps(header))
    except OSError as error:
        raise disk_error(path / "config.json", error) from error
    run.write_status(state="queued", step=0, outer_steps=config.steps or 0, seconds=0.0, loss=None, message="")
    return run


def open_run(run_id: str | Path) -> Run:
    """The run with this id in the runs directory, or at this path (command line); ObdError when there is none."""
    path = run_id if isinstance(run_id, Path) else runs_dir() / run_id
    if isinstance(run_id, str) and not RUN_ID.fullmatch(run_id):
        raise ObdError("That is not the name of a run; choose one from the list.")
    if not (path / "config.json").is_file():
        raise ObdError(f"There is no run {path.name}; it may have been deleted.")
    return Run(path)


def list_runs(root: Path | None = None) -> list[Run]:
    """All readable runs, newest first."""
    root = root or runs_dir()
    if not root.is_dir():
        return []
    dated = []
    for path in root.iterdir():
        if path.name.startswith(".") or not (path / "config.json").is_file():
            continue
        run = Run(path)
        try:
            run.status()
            dated.append((float(run.header()["created"]), run))
        except (ObdError, KeyError, ValueError):
            continue
    return [run for _, run in sorted(dated, key=lambda pair: (pair[0], pair[1].id), reverse=True)]


def list_groups(root: Path | None = None) -> dict[str, list[Run]]:
    """Runs that were started together, newest group first, runs in the order of their start."""
    groups: dict[str, list[Run]] = {}
    for run in list_runs(root):
        groups.setdefault(run.group, []).insert(0, run)
    return groups


def alive(status: dict[str, Any]) -> bool:
    """Whether the process that owns a run still exists."""
    owner = int(status.get("owner", 0))
    if owner == os.getpid():
        return True
    try:
        os.kill(owner, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OSError):
        return True
    return True


def mark_interrupted(root: Path | None = None) -> None:
    """Runs whose process is gone while they were active become ``interrupted`` and can be resumed."""
    for run in list_runs(root):
        status = run.status()
        if status["state"] in ACTIVE_STATES and not alive(status):
            run.write_status(state="interrupted", message="The process ended while this run was active; resume it.")


def is_raw(score: Mapping[str, Any]) -> bool:
    """Whether a stored score is of an environment without reference returns: its normalised return is the raw one.

    Up to rounding, because two ways to the same mean differ in the last bits.
    """
    raw = score.get("return_mean")
    return raw is not None and math.isclose(raw, score["normalized_return_mean"], rel_tol=1e-9)
