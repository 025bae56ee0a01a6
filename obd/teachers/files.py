"""Which teacher files there are, read from their headers alone: pages list them without importing torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from obd.data.identifiers import check_id
from obd.errors import ObdError
from obd.paths import assets_dir, teachers_dir

FORMAT = "obd-teacher-1"


@dataclass(frozen=True)
class TeacherFile:
    """A teacher that can be chosen: ``path`` is "" for the one shipped with the dataset.

    ``score`` and ``normalized`` come from the card; None when the file was not taught here.
    """

    path: str
    algorithm: str
    origin: str
    env_id: str
    created: str = ""
    score: float | None = None
    normalized: bool = True
    has_values: bool = True


def list_teachers(dataset_id: str, env_id: str) -> list[TeacherFile]:
    """Teachers that fit a dataset: the shipped one first, then own and opened files of its environment, newest first.

    Files that cannot be read are left out.
    """
    found = []
    try:
        shipped = _describe(shipped_teacher_path(dataset_id))
        if shipped is not None:
            found.append(replace(shipped, path="", origin="shipped"))
    except ObdError:
        pass
    try:
        files = sorted(teachers_dir().glob("*.safetensors"), key=lambda path: -path.stat().st_mtime)
    except OSError:
        files = []
    own = (_describe(path) for path in files)
    return found + [teacher for teacher in own if teacher is not None and teacher.env_id == env_id]


def header(path: Path) -> dict[str, str]:
    """The metadata of a teacher file; empty if it is not one or cannot be read.  No tensor is read."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError):
        return {}
    return metadata if metadata.get("format") == FORMAT else {}


def _describe(path: Path) -> TeacherFile | None:
    metadata = header(path)
    if not metadata:
        return None
    try:
        card = json.loads(metadata.get("card", "{}"))
        score = card.get("score", {}).get("mean")
        return TeacherFile(
            path=str(path),
            algorithm=metadata.get("algorithm", ""),
            origin="opened" if path.name.startswith("opened") else "taught",
            env_id=metadata.get("env_id", ""),
            created=str(card.get("created", "")),
            score=float(score) if isinstance(score, int | float) else None,
            normalized=bool(card.get("normalized", True)),
            has_values=metadata.get("critics") != "0",
        )
    except (ValueError, AttributeError):  # the card is not one of ours
        return None


def shipped_teacher_path(dataset_id: str) -> Path:
    """The teacher file shipped for a dataset.  Raises ObdError when there is none."""
    path = assets_dir() / "teachers" / f"{check_id(dataset_id).replace('/', '_')}.safetensors"
    if not path.is_file():
        raise ObdError(
            f"No teacher is shipped for {dataset_id}; train one with "
            f"`python -m obd teach --dataset {dataset_id} --algorithm td3_bc --seconds 600 --out teacher.safetensors`."
        )
    return path
