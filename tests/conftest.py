"""Every test keeps its files in a temporary folder and its thread pools small."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # read when numpy and torch are imported
    os.environ.setdefault(_name, "1")


@pytest.fixture(autouse=True)
def storage(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point all storage at a folder of this test; returns it."""
    root = tmp_path_factory.mktemp("storage")
    for variable, name in (("MINARI_DATASETS_PATH", "minari"), ("OBD_RUNS_DIR", "runs"), ("OBD_CACHE_DIR", "cache")):
        (root / name).mkdir()
        monkeypatch.setenv(variable, str(root / name))
    return root


@pytest.fixture(autouse=True)
def full_precision() -> Iterator[None]:
    """Undo what a run leaves for the whole process: bfloat16 inside matrix products where the processor has it."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_float32_matmul_precision("highest")
