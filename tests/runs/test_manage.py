from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from obd.errors import ObdError
from obd.paths import runs_dir
from obd.runs import manage
from obd.runs.manage import Label, delete_runs, empty_trash, is_own, read_label, restore, trash, write_label
from obd.runs.showcase import showcase_runs
from obd.runs.store import Run, create_run, list_runs, open_run
from tests.helpers import tiny_config


def finished(**changes: str) -> Run:
    run = create_run(tiny_config(), **changes)
    run.write_status(state="finished")
    return run


def test_a_run_is_called_what_it_was_started_as_until_it_is_named() -> None:
    run = finished(name="first")
    assert read_label(run) == Label(name="first")
    write_label(run, note="two lines\nof text")
    write_label(run, name="better", archived=True)
    assert read_label(Run(run.path)) == Label("better", "two lines\nof text", True)
    assert write_label(run, name="").name == ""
    assert run.header()["name"] == "first"  # what the run was started with stays on record


@pytest.mark.parametrize(
    "text",
    ["../../etc/passwd", "<script>alert(1)</script>", "\x00\x1b[31m", "a\u202eb", "line\nbreak", "\ud800", "x" * 9000],
)
def test_hostile_text_stays_text(text: str) -> None:
    run = finished()
    before = sorted(path.name for path in runs_dir().iterdir())
    label = write_label(run, name=text, note=text)
    assert read_label(run) == label
    assert len(label.name) <= 80 and len(label.note) <= 2000
    assert not any(c in label.name for c in "\x00\x1b\u202e\n\ud800")
    assert sorted(path.name for path in runs_dir().iterdir()) == before
    assert [r.id for r in list_runs()] == [run.id]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"name": 1}', "\xff"])
def test_a_damaged_label_counts_as_none(content: str) -> None:
    run = finished()
    (run.path / manage.LABEL_FILE).write_bytes(content.encode("latin-1"))
    assert read_label(run) == Label()
    assert write_label(run, name="again").name == "again"


def test_deleting_and_undoing_loses_nothing() -> None:
    run, other = finished(name="mine"), finished()
    write_label(run, note="precious")
    files = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    (token,) = delete_runs([run])
    assert [r.id for r in list_runs()] == [other.id] and list(trash()) == [token]
    with pytest.raises(ObdError, match="deleted"):
        write_label(run, name="ghost")
    assert restore(token) == run
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == files
    assert trash() == {} and {r.id for r in list_runs()} == {run.id, other.id}
    with pytest.raises(ObdError, match="not in the trash"):
        restore(token)


def test_an_active_run_is_not_deleted_and_keeps_the_others() -> None:
    done, active = finished(), create_run(tiny_config())
    active.write_status(state="running")
    with pytest.raises(ObdError, match="stop it"):
        delete_runs([done, active])
    assert len(list_runs()) == 2 and trash() == {}


def test_the_showcase_and_runs_elsewhere_are_read_only(tmp_path: Path) -> None:
    elsewhere = create_run(tiny_config(), path=tmp_path / "run")
    for run in (*showcase_runs(), elsewhere):
        assert not is_own(run)
        with pytest.raises(ObdError, match="showcase"):
            write_label(run, name="mine now")
        with pytest.raises(ObdError, match="showcase"):
            delete_runs([run])
        assert (run.path / "config.json").is_file() and not (run.path / manage.LABEL_FILE).exists()


def test_restoring_does_not_replace_another_run() -> None:
    run = finished()
    (token,) = delete_runs([run])
    run.path.mkdir()
    with pytest.raises(ObdError, match="another run"):
        restore(token)
    assert list(trash()) == [token]


@pytest.mark.parametrize("token", ["../outside", "1-../../x", "", "12", "1-a/b"])
def test_tokens_never_become_paths(token: str) -> None:
    (runs_dir().parent / "outside").mkdir(exist_ok=True)
    with pytest.raises(ObdError, match="not in the trash"):
        restore(token)


def test_the_trash_is_emptied_after_a_week() -> None:
    old, new = finished(), finished()
    (first,) = delete_runs([old])
    (second,) = delete_runs([new])
    week_old = runs_dir() / manage.TRASH / f"{int(time.time() - manage.KEEP_SECONDS) - 5}-{old.id}"
    (runs_dir() / manage.TRASH / first).rename(week_old)
    empty_trash()
    assert list(trash()) == [second]
    empty_trash(now=time.time() + manage.KEEP_SECONDS + 5)
    assert trash() == {} and list_runs() == []


def test_labels_survive_a_full_read_of_the_directory() -> None:
    run = finished()
    write_label(run, name="näme ✓")
    assert json.loads((run.path / manage.LABEL_FILE).read_text(encoding="utf-8"))["name"] == "näme ✓"
    assert open_run(run.id).status()["state"] == "finished"
