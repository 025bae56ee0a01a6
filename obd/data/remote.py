"""Datasets on Minari's server: listing and downloading, when ``huggingface_hub`` is installed and there is a network.

Minari chooses the server (``MINARI_REMOTE``, by default the Farama Foundation's).  A download goes to a hidden folder
and is renamed when it is complete, so a lost connection leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obd.data.catalog import DatasetInfo, local_info
from obd.data.identifiers import METADATA_FILE, check_id, dataset_path, is_local, namespace_of
from obd.errors import Cancelled, ObdError
from obd.events import ShouldStop
from obd.paths import minari_dir

NEEDS_PACKAGE = (
    "Datasets on Minari's server are out of reach: that needs the package huggingface_hub "
    "(pip install huggingface_hub) and a network connection."
)
NO_ANSWER = "Minari's server cannot be reached; check the network connection and ask again."
STALLED = "Nothing has come from Minari's server for a minute; check the network connection and download again."
LIST_SECONDS, STALL_SECONDS = 60.0, 60.0
POLL_SECONDS = 0.2


def list_remote(timeout: float = LIST_SECONDS, should_stop: ShouldStop | None = None) -> list[DatasetInfo]:
    """The newest version of every usable dataset on the server (flat Box observations, Box actions), by id.

    Raises:
        ObdError: the package is missing, or the server does not answer within ``timeout`` seconds.
        Cancelled: ``should_stop()`` returned true.
    """
    _storage()  # a missing package is noticed at once
    from minari.storage.hosting import list_remote_datasets

    def work() -> dict[str, dict[str, Any]]:
        return dict(list_remote_datasets(compatible_minari_version=True))

    found = _in_thread(work, timeout, NO_ANSWER, should_stop)
    newest: dict[str, tuple[int, DatasetInfo]] = {}
    for dataset_id, metadata in sorted(found.items()):
        with contextlib.suppress(ObdError):  # an id outside the grammar could lead outside the folder
            name, _, version = check_id(dataset_id).rpartition("-v")
            info = local_info(dataset_id, metadata, available=is_local(dataset_id))
            if info.usable and int(version) > newest.get(name, (-1, None))[0]:
                newest[name] = int(version), info
    return [info for _, info in newest.values()]


def download(
    dataset_id: str,
    *,
    on_progress: Callable[[float], None] | None = None,
    should_stop: ShouldStop | None = None,
) -> None:
    """Make a dataset of the server a local one; nothing happens if it is local already.

    Raises:
        ObdError: see :func:`list_remote`; also when the server has no such dataset, nothing arrives for
            ``STALL_SECONDS``, or the disk is full.
        Cancelled: ``should_stop()`` returned true; nothing is left behind.
    """
    if is_local(dataset_id):
        return
    from obd.data.minari_store import BUILD_PREFIX, check_place, ensure_namespace, publish

    check_place(dataset_id)
    storage = _storage()
    build = minari_dir() / f"{BUILD_PREFIX}{uuid.uuid4().hex}"
    megabytes = 0.0

    def work() -> None:
        nonlocal megabytes
        megabytes = float(storage.get_dataset_metadata(dataset_id).get("dataset_size") or 0)
        storage.download_dataset(dataset_id, build)

    def arrived() -> int:
        count = _bytes_in(build)
        if on_progress is not None and megabytes > 0:
            on_progress(min(0.99, count / (megabytes * 1e6)))
        return count

    try:
        build.mkdir(parents=True)
        _in_thread(work, STALL_SECONDS, STALLED, should_stop, arrived)
        folder = build.joinpath(*dataset_id.split("/"))
        if not (folder / "data" / METADATA_FILE).is_file():
            raise ObdError(f"Minari's server has no dataset {dataset_id}; choose another one.")
        ensure_namespace(namespace_of(dataset_id))
        dataset_path(dataset_id).parent.mkdir(parents=True, exist_ok=True)
        publish(folder, dataset_path(dataset_id), replace=False)
    except OSError as error:
        raise ObdError(f"The dataset {dataset_id} cannot be written to {minari_dir()}: {error}.") from error
    finally:
        shutil.rmtree(build, ignore_errors=True)


def _storage() -> Any:
    from minari.storage.remotes import get_cloud_storage

    try:
        return get_cloud_storage()
    except ImportError as error:
        raise ObdError(NEEDS_PACKAGE) from error
    except Exception as error:  # whatever a client library throws on a wrong address
        raise ObdError(NO_ANSWER) from error


def _in_thread(
    work: Callable[[], Any],
    patience: float,
    late: str,
    should_stop: ShouldStop | None,
    arrived: Callable[[], int] = lambda: 0,
) -> Any:
    """``work()`` in a thread that can be left behind: a request to a server cannot be interrupted.

    It is given up with the sentence ``late`` when ``arrived()``, the bytes so far, has not changed for ``patience``
    seconds.
    """
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(("done", work()))
        except Exception as error:
            outcome.append(("failed", error))

    thread = threading.Thread(target=run, name="minari server", daemon=True)
    thread.start()
    waited, before = 0.0, 0
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        now = arrived()
        waited = waited + POLL_SECONDS if now == before else 0.0
        before = now
        if should_stop is not None and should_stop():
            raise Cancelled
        if waited > patience:
            raise ObdError(late)
    state, value = outcome[0]
    if state == "done":
        return value
    if isinstance(value, OSError) and value.filename is not None:  # of our disk, not of the connection
        raise value
    raise ObdError(NO_ANSWER) from value


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
