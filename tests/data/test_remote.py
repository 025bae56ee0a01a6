"""Minari's server, played by a folder: listing, downloading, and what is said when it cannot be reached."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from minari.storage.remotes import _registry
from minari.storage.remotes.cloud_storage import CloudStorage

from obd.data import remote
from obd.data.catalog import list_datasets, load_dataset
from obd.data.minari_store import save_minari
from obd.errors import Cancelled, ObdError
from obd.paths import minari_dir
from tests.helpers import pendulum_dataset

DATASET = "test/pendulum/random-v0"


class FolderStorage(CloudStorage):
    """A server that is a folder; ``broken`` says how it fails."""

    folder: Path
    broken: str = ""

    def __init__(self, name: str, token: str | None = None) -> None:
        if self.broken == "connection":
            raise ConnectionError("no route")

    def list_datasets(self, prefix: str | None = None) -> Iterable[str]:
        if self.broken == "listing":
            raise ConnectionError("lost")
        return [str(p.parent.parent.relative_to(self.folder)) for p in sorted(self.folder.rglob("metadata.json"))]

    def get_dataset_metadata(self, dataset_id: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / dataset_id / "data" / "metadata.json").read_text())
        return value

    def download_dataset(self, dataset_id: str, path: Path) -> None:
        shutil.copytree(self.folder / dataset_id, path / dataset_id)
        if self.broken == "half-way":
            (path / dataset_id / "data" / "metadata.json").unlink()
            raise ConnectionError("lost")

    def upload_dataset(self, dataset_id: str) -> None: ...
    def list_namespaces(self) -> Iterable[str]: ...
    def download_namespace_metadata(self, namespace: str, path: Path) -> None: ...
    def upload_namespace(self, namespace: str) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FolderStorage]:
    """A server with one usable dataset and one of pictures."""
    save_minari(pendulum_dataset(), description="random actions")
    folder = tmp_path / "server"
    shutil.move(minari_dir(), folder)
    minari_dir().mkdir()
    pictures = folder / "test" / "pictures-v0"
    shutil.copytree(folder / DATASET, pictures)
    metadata = json.loads((pictures / "data" / "metadata.json").read_text())
    space = json.loads(metadata["observation_space"]) | {"shape": [64, 64, 3]}
    metadata |= {"dataset_id": "test/pictures-v0", "observation_space": json.dumps(space)}
    (pictures / "data" / "metadata.json").write_text(json.dumps(metadata))
    monkeypatch.setitem(_registry, "folder", lambda: FolderStorage)
    monkeypatch.setenv("MINARI_REMOTE", "folder://here")
    monkeypatch.setattr(FolderStorage, "folder", folder, raising=False)
    monkeypatch.setattr(FolderStorage, "broken", "")
    return FolderStorage


def test_listing_and_downloading(server: type[FolderStorage]) -> None:
    (info,) = remote.list_remote()
    assert (info.id, info.env_id, info.origin, info.transitions) == (DATASET, "Pendulum-v1", "remote", 600)
    assert info.megabytes is not None and info.description == "random actions"
    fractions: list[float] = []
    remote.download(DATASET, on_progress=fractions.append)
    assert len(load_dataset(DATASET)) == 600
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert [i.id for i in list_datasets() if i.origin == "local"] == [DATASET]
    assert remote.list_remote()[0].origin == "local"
    remote.download(DATASET)  # is here already
    assert not [name for name in os.listdir(minari_dir()) if name.startswith(".")]


def test_only_the_newest_version_is_listed(server: type[FolderStorage]) -> None:
    newer = server.folder / "test" / "pendulum" / "random-v11"
    shutil.copytree(server.folder / DATASET, newer)
    metadata = newer / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace(DATASET, "test/pendulum/random-v11"))
    assert [info.id for info in remote.list_remote()] == ["test/pendulum/random-v11"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise ImportError("huggingface_hub is not installed")

    monkeypatch.setitem(_registry, "hf", missing)
    for function in (remote.list_remote, lambda: remote.download("mujoco/hopper/medium-v0")):
        with pytest.raises(ObdError, match="pip install huggingface_hub"):
            function()


@pytest.mark.parametrize("broken", ["connection", "listing"])
def test_no_network(server: type[FolderStorage], broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "broken", broken)
    with pytest.raises(ObdError, match="cannot be reached"):
        remote.list_remote()


def test_a_silent_server(server: type[FolderStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(server, "list_datasets", lambda *_, **__: asked.wait(30) and [])
    with pytest.raises(ObdError, match="cannot be reached"):
        remote.list_remote(timeout=0.3)
    with pytest.raises(Cancelled):
        remote.list_remote(should_stop=lambda: True)
    asked.set()


def test_a_lost_connection_leaves_nothing(server: type[FolderStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "broken", "half-way")
    with pytest.raises(ObdError, match="cannot be reached"):
        remote.download(DATASET)
    assert os.listdir(minari_dir()) == []


def test_a_download_that_stands_still_ends_and_a_slow_one_does_not(
    server: type[FolderStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.7)
    asked = threading.Event()

    def silent(_: Any, dataset_id: str, path: Path) -> None:
        (path / "part").write_bytes(b"some")
        asked.wait(30)

    def slow(self: FolderStorage, dataset_id: str, path: Path) -> None:
        for part in range(8):  # twice as long as the patience
            (path / f"part-{part}").write_bytes(b"more")
            asked.wait(0.2)
        shutil.copytree(self.folder / dataset_id, path / dataset_id)

    with monkeypatch.context() as patch:
        patch.setattr(server, "download_dataset", silent)
        with pytest.raises(ObdError, match="Nothing has come"):
            remote.download(DATASET)
    assert os.listdir(minari_dir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(server, "download_dataset", slow)
        remote.download(DATASET)
    assert len(load_dataset(DATASET)) == 600
    asked.set()


def test_strange_ids_of_a_server(server: type[FolderStorage]) -> None:
    metadata = server.folder / DATASET / "data" / "metadata.json"
    metadata.write_text(metadata.read_text().replace(DATASET, "../../outside-v0"))
    assert remote.list_remote() == []
    with pytest.raises(ObdError, match="not a dataset id"):
        remote.download("../../outside-v0")
