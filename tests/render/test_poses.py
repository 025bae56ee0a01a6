from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from obd.errors import Cancelled, ObdError
from obd.render.poses import PosePainter, pose_sheet, tile


def hoppers(count: int) -> np.ndarray:
    return (np.random.default_rng(0).normal(scale=0.2, size=(count, 11)) + np.eye(11)[0] * 1.25).astype(np.float32)


def test_a_painter_draws_from_any_thread() -> None:
    with PosePainter(schematic=True) as painter:
        found: list[np.ndarray] = []
        states = hoppers(2)
        thread = threading.Thread(target=lambda: found.append(painter.paint("Hopper-v5", states, 64, 64).result()))
        thread.start()
        thread.join()
        again = painter.paint("Hopper-v5", states, 64, 64).result()
        assert found[0].shape == (2, 64, 64, 3) and found[0].std() > 5
        np.testing.assert_array_equal(again, found[0])
        assert not np.array_equal(again[0], again[1])
        assert painter.kind("Hopper-v5", 64, 64) == "schematic"


def test_a_painter_refuses_at_once_what_has_no_pose() -> None:
    with PosePainter(schematic=True) as painter, pytest.raises(ObdError, match="MountainCarContinuous-v0"):
        painter.paint("MountainCarContinuous-v0", np.zeros((1, 2)))


def test_a_closed_painter_drops_what_is_waiting() -> None:
    painter = PosePainter(schematic=True)
    jobs = [painter.paint("Hopper-v5", hoppers(1), 64, 64) for _ in range(30)]
    painter.close()
    with pytest.raises(Cancelled):
        jobs[-1].result()
    with pytest.raises(Cancelled):
        painter.paint("Hopper-v5", hoppers(1))


def test_tiles_lie_in_rows() -> None:
    pictures = [np.full((2, 3, 3), value, np.uint8) for value in range(5)]
    sheet = tile(pictures, 2)
    assert sheet.shape == (6, 6, 3)
    assert (sheet[2:4, 3:6] == 3).all() and (sheet[4:6, 3:6] == 255).all()


def test_a_sheet_is_kept_under_its_content(storage: Path) -> None:
    fractions: list[float] = []
    with PosePainter(schematic=True) as painter:
        folder = storage / "cache" / "poses"
        sheet = pose_sheet(painter, "Hopper-v5", hoppers(20), folder, width=32, height=32, on_progress=fractions.append)
        with Image.open(sheet.path) as picture:
            assert picture.size == (16 * 32, 2 * 32)
        assert fractions == [0.8, 1.0]
        written = sheet.path.stat().st_mtime_ns
        again = pose_sheet(painter, "Hopper-v5", hoppers(20), folder, width=32, height=32)
        assert again == sheet and again.path.stat().st_mtime_ns == written
        other = pose_sheet(painter, "Hopper-v5", hoppers(20) + 0.1, folder, width=32, height=32)
        assert other.path != sheet.path
        assert sorted(folder.iterdir()) == sorted([sheet.path, other.path])


def test_a_sheet_that_is_cancelled_leaves_nothing(storage: Path) -> None:
    folder = storage / "poses"
    with PosePainter(schematic=True) as painter, pytest.raises(Cancelled):
        pose_sheet(painter, "Hopper-v5", hoppers(3), folder, width=32, height=32, should_stop=lambda: True)
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_a_sentence(storage: Path) -> None:
    (storage / "file").write_text("in the way")
    with PosePainter(schematic=True) as painter, pytest.raises(ObdError, match="OBD_CACHE_DIR"):
        pose_sheet(painter, "Hopper-v5", hoppers(1), storage / "file" / "poses", width=32, height=32)
