"""Dataset ids and what is stored locally under them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from obd.errors import ObdError
from obd.paths import minari_dir

METADATA_FILE = "metadata.json"
MAX_LENGTH = 200
_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_-]+-v[0-9]+", re.ASCII)


def check_id(dataset_id: str, *, new: bool = False) -> str:
    """Return ``dataset_id`` if it follows Minari's grammar ``namespace/.../name-vN``.

    Minari's own datasets may do without a namespace; those made here (``new``) may not.

    Raises:
        ObdError: it does not.  Nothing that passes can leave the folder of datasets.
    """
    *namespace, name = dataset_id.split("/") if isinstance(dataset_id, str) else [""]
    # Minari takes a folder "data" for the content of a dataset and wants two characters of namespace.
    valid = all(_PART.fullmatch(part) and part != "data" for part in namespace)
    valid &= len("/".join(namespace)) >= 2 if namespace else not new
    if not valid or not _NAME.fullmatch(name) or len(dataset_id) > MAX_LENGTH:
        shown = f"{dataset_id[:60]}…" if isinstance(dataset_id, str) and len(dataset_id) > 60 else dataset_id
        raise ObdError(
            f"{shown!r} is not a dataset id; write it as namespace/name-v0 with letters, digits, _ and - only."
        )
    return dataset_id


def namespace_of(dataset_id: str) -> str | None:
    """Everything before the last slash."""
    return dataset_id.rpartition("/")[0] or None


def dataset_path(dataset_id: str) -> Path:
    """The folder of a dataset, which need not exist.  Raises ObdError for an invalid id."""
    return minari_dir().joinpath(*check_id(dataset_id).split("/"))


def local_datasets() -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, Minari metadata) of every complete local dataset, sorted by id.

    Unlike ``minari.list_local_datasets`` this needs no import of Minari and steps over anything it cannot read.
    """
    root = minari_dir()
    for folder, children, _files in os.walk(root, followlinks=True):  # a link to another disk is usual
        children[:] = sorted(child for child in children if not child.startswith("."))
        if len(folder) - len(str(root)) > MAX_LENGTH or _leads_back(folder):
            children.clear()
        if "data" not in children:
            continue
        children.clear()
        dataset_id = Path(folder).relative_to(root).as_posix()
        try:
            check_id(dataset_id)
            metadata = json.loads((Path(folder) / "data" / METADATA_FILE).read_text(encoding="utf-8"))
            if metadata["dataset_id"] == dataset_id:
                yield dataset_id, metadata
        except (ObdError, OSError, ValueError, KeyError, TypeError):
            continue


def _leads_back(folder: str) -> bool:
    """Whether the folder is a link to one of those it lies in."""
    return Path(os.path.realpath(os.path.dirname(folder))).is_relative_to(os.path.realpath(folder))


def is_local(dataset_id: str) -> bool:
    """Whether the dataset can be opened without building it."""
    return (dataset_path(dataset_id) / "data" / METADATA_FILE).is_file()


def metadata_of(dataset_id: str) -> dict[str, Any]:
    """Minari's metadata of a local dataset, {} if they cannot be read.  Raises ObdError for an invalid id."""
    try:
        metadata = json.loads((dataset_path(dataset_id) / "data" / METADATA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}
