"""Names, notes, the archive and the trash: what people do with finished runs.

A label is a small JSON file in the run's directory, so it moves and dies with the run.  Deleting moves the directory
into ``.trash`` of the runs directory, from where it can be restored for a week.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from obd.config import dumps
from obd.errors import ObdError
from obd.paths import runs_dir
from obd.runs.store import ACTIVE_STATES, RUN_ID, Run, alive, disk_error, write_atomic

LABEL_FILE = "label.json"
TRASH = ".trash"  # hidden, so that no list of runs shows it
KEEP_SECONDS = 7 * 24 * 3600.0
NAME_LENGTH, NOTE_LENGTH = 80, 2000
_TOKEN = re.compile(rf"(\d{{1,15}})-({RUN_ID.pattern})")


@dataclass(frozen=True)
class Label:
    """What people wrote on a run.  ``name`` is empty when nobody named it."""

    name: str = ""
    note: str = ""
    archived: bool = False


def read_label(run: Run) -> Label:
    """The label of a run; the name it was started with if it has none.  What cannot be read counts as no label."""
    try:
        values = json.loads((run.path / LABEL_FILE).read_text(encoding="utf-8"))
        return Label(str(values["name"]), str(values["note"]), values["archived"] is True)
    except FileNotFoundError:
        with contextlib.suppress(ObdError):  # deleted a moment ago
            return Label(name=str(run.header().get("name") or ""))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return Label()


def write_label(run: Run, *, name: str | None = None, note: str | None = None, archived: bool | None = None) -> Label:
    """Change a part of a run's label; what is None stays.  Control characters are dropped and long texts cut.

    Raises:
        ObdError: the run is shipped with the tool, is gone, or the disk is full.
    """
    check_own(run)
    old = read_label(run)
    new = Label(
        old.name if name is None else clean(name)[:NAME_LENGTH].strip(),
        old.note if note is None else clean(note, lines=True)[:NOTE_LENGTH].strip(),
        old.archived if archived is None else archived,
    )
    try:
        write_atomic(run.path / LABEL_FILE, dumps(asdict(new)))
    except OSError as error:  # the directory has gone
        raise disk_error(run.path / LABEL_FILE, error) from error
    return new


def clean(text: str, *, lines: bool = False) -> str:
    """``text`` without control, format and surrogate characters; line breaks become spaces unless ``lines``."""
    text = "".join(" " if c in "\t\r\n" and not (lines and c == "\n") else c for c in text.replace("\r\n", "\n"))
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def is_own(run: Run) -> bool:
    """Whether the run lies in the runs directory, so that it may be changed; the showcase does not."""
    return run.path.parent.resolve() == runs_dir().resolve()


def check_own(run: Run) -> None:
    if not is_own(run):
        raise ObdError("The showcase ships with the studio and cannot be changed; make a run of your own first.")
    if not (run.path / "config.json").is_file():
        raise ObdError(f"There is no run {run.id}; it may have been deleted.")


def keep_scores(run: Run, scores: dict[str, dict[str, Any]]) -> str:
    """Write the scores of the recipe's own students (``students``, perhaps ``ensemble``) down as the app does.

    Returns why they were not: the run is not in the runs directory, may still go on, or has scores from more episodes.
    Empty when they were.  Raises ObdError when the disk is full.
    """
    if not is_own(run):
        return f"the run does not lie in {runs_dir()}"
    if run.status()["state"] != "finished":
        return "the run is not finished"
    old, new = run.evaluation().get("students") or {}, scores["students"]
    episodes = int(old.get("students", 0)) * int(old.get("episodes", 0))
    if episodes > int(new["students"]) * int(new["episodes"]):
        return f"the stored score is from more episodes ({episodes})"
    run.write_evaluation(scores)
    return ""


def delete_runs(runs: Sequence[Run]) -> list[str]:
    """Move runs to the trash; returns what :func:`restore` needs, one token each.

    Raises:
        ObdError: a run is shipped, still active or cannot be moved; none of them has been moved then.
    """
    for run in runs:
        check_own(run)
        status = run.status()
        if status["state"] in ACTIVE_STATES and alive(status):
            raise ObdError(f"{run.id} is still going on; stop it on the Distil page, then delete it.")
    tokens: list[str] = []
    for run in runs:
        token = f"{int(time.time())}-{run.id}"
        try:
            (runs_dir() / TRASH).mkdir(exist_ok=True)
            os.rename(run.path, runs_dir() / TRASH / token)
        except OSError as error:
            for moved in tokens:
                restore(moved)
            raise ObdError(f"{run.id} could not be moved to the trash ({error.strerror or error}).") from error
        tokens.append(token)
    return tokens


def restore(token: str) -> Run:
    """Bring a run back from the trash; ObdError when it is not there any more."""
    found = _TOKEN.fullmatch(token)
    source = runs_dir() / TRASH / token
    if found is None or not source.is_dir():
        raise ObdError("This run is not in the trash any more.")
    target = runs_dir() / found[2]
    if target.exists():
        raise ObdError(f"There is another run {target.name} by now; move it away first.")
    try:
        os.rename(source, target)
    except OSError as error:
        raise ObdError(f"{target.name} could not be restored ({error.strerror or error}).") from error
    return Run(target)


def trash() -> dict[str, Run]:
    """Deleted runs that can be restored, by token, the one deleted last first."""
    folder = runs_dir() / TRASH
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        token = _TOKEN.fullmatch(path.name)
        if token is not None and path.is_dir():
            found.append((int(token[1]), path))
    return {path.name: Run(path) for _, path in sorted(found, reverse=True)}


def empty_trash(now: float | None = None) -> None:
    """Remove for good what was deleted more than a week ago."""
    limit = (time.time() if now is None else now) - KEEP_SECONDS
    for token, run in trash().items():
        if int(token.split("-", 1)[0]) < limit:
            with contextlib.suppress(OSError):
                _remove(run.path)


def _remove(path: Path) -> None:
    if path.is_symlink():  # never follow a link out of the trash
        path.unlink()
    else:
        shutil.rmtree(path)
