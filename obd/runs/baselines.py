"""Measured returns that a distilled set is compared with, as shipped in ``assets/benchmarks``."""

from __future__ import annotations

import json
from typing import Any

from obd.paths import assets_dir


def dataset_baselines(dataset_id: str, size: int) -> dict[str, dict[str, Any]]:
    """Scores by name: ``random_selection`` (of ``size`` pairs), ``teacher``, ``whole_bc``; only what was measured.

    The file is written by ``python -m obd bench baselines``.
    """
    path = assets_dir() / "benchmarks" / "baselines.json"
    try:
        measured = json.loads(path.read_text(encoding="utf-8")).get(dataset_id, {})
    except (FileNotFoundError, ValueError):
        return {}
    names = {"random_selection": f"random_selection_{size}", "teacher": "teacher", "whole_bc": "whole_bc"}
    return {name: measured[key] for name, key in names.items() if key in measured}
