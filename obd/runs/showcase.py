"""The finished comparison that ships with the project, so that the first screen is never empty."""

from __future__ import annotations

from pathlib import Path

from obd.config import MAIN_OBJECTIVES
from obd.paths import assets_dir
from obd.runs.store import Run


def showcase_dir() -> Path:
    return assets_dir() / "showcase"


def showcase_runs() -> list[Run]:
    """One ordinary, read-only run directory per objective; what ``python -m obd bench showcase`` made."""
    folders = [showcase_dir() / objective for objective in MAIN_OBJECTIVES]
    return [Run(folder) for folder in folders if (folder / "config.json").is_file()]
