from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from obd.data import catalog
from obd.data.identifiers import check_id
from obd.errors import Cancelled, ObdError


@pytest.mark.parametrize(
    "bad",
    ["", "hopper", "../x-v0", "ab/../c-v0", "/ab/c-v0", "ab/c", "ab/c-v", "ab//c-v0", "ab/data/c-v0",
     "ab\\c-v0", "ab/c-v0/", "ab/c-v0\n", "ab/é-v0", "ab/.c-v0", "ab/" + "c" * 300 + "-v0", "ab/c-v١"],
)  # fmt: skip
def test_bad_ids_are_refused_before_any_path(bad: str) -> None:
    for function in (check_id, catalog.load_dataset, catalog.collect):
        with pytest.raises(ObdError, match="not a dataset id"):
            function(bad)


def test_only_a_new_dataset_needs_a_namespace() -> None:
    assert check_id("pendulum-v0") == "pendulum-v0"
    with pytest.raises(ObdError, match="not a dataset id"):
        check_id("pendulum-v0", new=True)


def test_shipped_rows_are_consistent() -> None:
    infos = catalog.list_datasets()
    info = next(info for info in infos if info.id == "obd/halfcheetah/medium-replay-v0")
    assert info.builtin and not info.available and info.env_id == "HalfCheetah-v5"
    assert info.reference_returns == (-280.178953, 12135.0)
    assert all(check_id(info.id) for info in infos)


def test_load_collects_once(hopper_catalog: str) -> None:
    fractions: list[float] = []
    first = catalog.load_dataset(hopper_catalog, on_progress=fractions.append)
    assert len(first) >= 300 and fractions and max(fractions) <= 1 and fractions == sorted(fractions)
    assert catalog.list_datasets()[0].available
    assert catalog.load_dataset(hopper_catalog).content_hash == first.content_hash
    assert catalog.collect(hopper_catalog, workers=1).content_hash == first.content_hash
    assert catalog.collect(hopper_catalog, workers=1, seed=3).content_hash != first.content_hash
    assert first.provenance["behaviour_files"][0]["sha256"]


def test_threads_collect_the_same_set(hopper_catalog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    hashes: list[str] = []
    threads = [
        threading.Thread(target=lambda: hashes.append(catalog.load_dataset(hopper_catalog).content_hash))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hashes) == 3 and len(set(hashes)) == 1


def test_cancelled_collection_leaves_nothing(hopper_catalog: str, storage: Path) -> None:
    with pytest.raises(Cancelled):
        catalog.collect(hopper_catalog, should_stop=lambda: True, transitions=60_000, workers=1)
    assert os.listdir(storage / "minari") == [] and not catalog.list_datasets()[0].available


def test_unknown_datasets(hopper_catalog: str) -> None:
    with pytest.raises(ObdError, match="Unknown dataset"):
        catalog.load_dataset("test/unknown-v0")
    with pytest.raises(ObdError, match="not a built-in"):
        catalog.collect("test/unknown-v0")


def test_listing_steps_over_rubbish(hopper_catalog: str, storage: Path) -> None:
    (storage / "minari" / "odd name" / "data").mkdir(parents=True)
    (storage / "minari" / "test" / "half-v0" / "data").mkdir(parents=True)
    (storage / "minari" / "test" / "half-v0" / "data" / "metadata.json").write_text("{")
    assert [info.id for info in catalog.list_datasets()] == [hopper_catalog]
