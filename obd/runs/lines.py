"""Files of measurements, one JSON object per line, as the long benchmarks write them: a second call continues them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from obd.errors import ObdError
from obd.paths import assets_dir

Line = dict[str, Any]


def lines_path(name: str) -> Path:
    """The file that ``python -m obd bench NAME`` writes and the app shows."""
    return assets_dir() / "benchmarks" / f"{name}.jsonl"


def read_lines(path: Path, fields: tuple[str, ...]) -> list[Line]:
    """All lines; [] when there is no file.

    Raises:
        ObdError: the file is damaged or a line lacks one of ``fields``.
    """
    try:
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ObdError(f"{path.name} cannot be read; measure it again.") from error
    if any(not isinstance(line, dict) or set(fields) - set(line) for line in lines):
        raise ObdError(f"{path.name} holds lines of another kind; measure it again.")
    return lines


def append_line(path: Path, line: Line) -> None:
    """Add one finished measurement; the folder is made when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, allow_nan=False) + "\n")


def of_longest_runs(lines: list[Line]) -> list[Line]:
    """Per dataset the lines with the most outer steps: what several budgets gave is not mixed."""
    most: dict[str, int] = {}
    for line in lines:
        most[line["dataset"]] = max(most.get(line["dataset"], 0), int(line["outer_steps"]))
    return [line for line in lines if line["outer_steps"] == most[line["dataset"]]]
