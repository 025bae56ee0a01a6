"""Where things live: shipped assets, the cache and the runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

APP_NAME = "obd-studio"


def assets_dir() -> Path:
    """The ``assets/`` folder shipped beside the package: behaviour policies, teachers, showcase runs."""
    return Path(__file__).resolve().parent.parent / "assets"


def cache_dir() -> Path:
    """``OBD_CACHE_DIR`` or the user's cache folder.  Not created here."""
    configured = os.environ.get("OBD_CACHE_DIR")
    return Path(configured) if configured else Path(platformdirs.user_cache_dir(APP_NAME))


def runs_dir() -> Path:
    """``OBD_RUNS_DIR`` or ``runs`` in the user's data folder.  Not created here."""
    configured = os.environ.get("OBD_RUNS_DIR")
    return Path(configured) if configured else Path(platformdirs.user_data_dir(APP_NAME)) / "runs"


def teachers_dir() -> Path:
    """``teachers`` beside the runs: what the app trained or opened.  Not created here."""
    return runs_dir().parent / "teachers"


def minari_dir() -> Path:
    """The root of the local Minari datasets (``MINARI_DATASETS_PATH`` or ``~/.minari/datasets``).  Not created here."""
    configured = os.environ.get("MINARI_DATASETS_PATH")
    return Path(configured) if configured else Path.home() / ".minari" / "datasets"
