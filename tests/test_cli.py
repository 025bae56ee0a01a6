"""A smoke run of every command, and what bad input gets: one line on stderr and exit status 2."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from obd.__main__ import main
from obd.cli.commands import in_words
from obd.config import DistillConfig
from obd.data import remote
from obd.engine.machine import compute_type
from obd.paths import runs_dir
from obd.runs.store import Run
from obd.ui.monitor import RunReader
from tests.data.test_transitions_file import arrays, store
from tests.helpers import DATASET, pendulum_dataset, store_pendulum, tiny_config
from tests.teachers.test_import_policy import state, write

TINY = [
    *("--dataset", DATASET, "--size", "8", "--hidden-layers", "2", "--hidden-width", "16"),
    *("--inner-steps", "10", "--batch-size", "64", "--snapshots", "4"),
]


@pytest.fixture(autouse=True)
def handlers():
    """The commands install signal handlers; put pytest's back."""
    saved = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in saved.items():
        signal.signal(number, handler)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    return store_pendulum(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """The JSON object of a successful command."""
    capsys.readouterr()
    assert main([str(a) for a in arguments] + ["--json"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def refuse(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line a refused command prints."""
    capsys.readouterr()
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2 and captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("Opening")]
    assert len(lines) == 1, captured.err
    return lines[0]


def test_datasets(capsys: pytest.CaptureFixture[str], teacher: Path) -> None:
    rows = {row["id"]: row for row in run(capsys, "datasets")["datasets"]}
    assert rows[DATASET]["available"] and not rows[DATASET]["builtin"]
    assert rows["obd/halfcheetah/medium-replay-v0"]["builtin"]


def test_distil_evaluate_and_resume(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run(
        capsys,
        "distill",
        *TINY,
        "--objective",
        "av_pbc",
        "--teacher",
        teacher,
        "--steps",
        12,
        "--seed",
        3,
        "--out",
        out,
    )
    assert result["run_dir"] == str(out) and result["objective"] == "av_pbc" and result["dataset"] == DATASET
    assert (result["size"], result["seed"], result["outer_steps"]) == (8, 3, 12)
    assert result["outer_steps_per_second"] > 0 and result["final_loss"] > 0 and result["initial_loss"] > 0
    assert {p.name for p in out.iterdir()} >= {"config.json", "status.json", "metrics.jsonl", "distilled.npz"}

    scores = run(capsys, "evaluate", out, "--students", 3, "--episodes", 2, "--ensemble")
    assert (scores["students"], scores["episodes"], scores["student_steps"]) == (3, 2, 10)
    low, high = scores["normalized_return_ci95"]
    assert low <= scores["normalized_return_mean"] <= high
    assert {"return_mean", "seconds", "normalized_return_std_over_students"} <= set(scores)
    assert isinstance(scores["ensemble_normalized_return_mean"], float)

    other = run(
        capsys, "evaluate", out, "--students", 1, "--episodes", 1, "--architecture", "mlp5", "--optimizer", "adamw"
    )
    assert "ensemble_normalized_return_mean" not in other
    assert "complete" in refuse(capsys, "resume", out)
    assert "already exists" in refuse(capsys, "distill", *TINY, "--objective", "dbc", "--out", out)


def test_scores_are_stored_with_a_finished_run_of_the_runs_folder(
    capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path
) -> None:
    made, elsewhere = runs_dir() / "made", tmp_path / "elsewhere"
    for out in (made, elsewhere):
        run(capsys, "distill", *TINY, "--objective", "dbc", "--steps", 3, "--out", out)
    small = ("--students", 2, "--episodes", 1)
    assert run(capsys, "evaluate", elsewhere, *small)["stored"] is False and Run(elsewhere).evaluation() == {}
    assert run(capsys, "evaluate", made, *small, "--optimizer", "adam")["stored"] is False
    assert Run(made).evaluation() == {}

    printed = run(capsys, "evaluate", made, *small, "--ensemble")
    view = RunReader(made).read()
    assert printed["stored"] is True and view.result() is not None
    assert view.result().mean == printed["normalized_return_mean"]
    assert view.evaluation["ensemble"]["normalized_return_mean"] == printed["ensemble_normalized_return_mean"]
    assert view.evaluation["students"]["student_seconds"] > 0

    assert run(capsys, "evaluate", made, "--students", 1, "--episodes", 1)["stored"] is False  # fewer episodes
    assert Run(made).evaluation() == view.evaluation
    assert run(capsys, "evaluate", made, "--students", 2, "--episodes", 2)["stored"] is True
    assert Run(made).evaluation()["students"]["episodes"] == 2
    Run(made).write_status(state="stopped")
    assert run(capsys, "evaluate", made, "--students", 3, "--episodes", 2)["stored"] is False


def test_density_weights(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    objective = ("--objective", "dbc", "--steps", 3, "--density-power")
    run(capsys, "distill", *TINY, *objective, 0.2, "--out", tmp_path / "run")
    found = Run(tmp_path / "run").distilled().card["density_held_out"]
    assert found["kernels"] > found["gaussian"]
    assert "density power must lie" in refuse(capsys, "distill", *TINY, *objective, 2, "--out", tmp_path / "other")


def test_gradient_matching(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    made = tmp_path / "run"
    objective = ("--objective", "gradient_matching", "--teacher", teacher)
    result = run(capsys, "distill", *TINY, *objective, "--steps", 6, "--out", made)
    assert result["objective"] == "gradient_matching" and result["final_loss"] > 0
    assert run(capsys, "evaluate", made, "--students", 2, "--episodes", 1)["students"] == 2
    run(capsys, "export", made, "--format", "npz", "--out", tmp_path / "set.npz")
    back = run(capsys, "import-set", tmp_path / "set.npz", "--out", tmp_path / "back")
    assert back["objective"] == "gradient_matching"


def test_export_and_import(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    made, back, file = tmp_path / "run", tmp_path / "back", tmp_path / "set.npz"
    run(capsys, "distill", *TINY, "--objective", "dbc", "--steps", 3, "--out", made)
    for kind in ("npz", "safetensors", "minari", "torchscript"):
        result = run(capsys, "export", made, "--format", kind, "--out", tmp_path / f"set.{kind}")
        assert Path(result["out"]).stat().st_size == result["bytes"] > 0 and Path(result["card"]).is_file()
    result = run(capsys, "import-set", file, "--out", back)
    assert (result["objective"], result["size"], result["outer_steps"]) == ("dbc", 8, 3)
    scores = [run(capsys, "evaluate", folder, "--students", 2, "--episodes", 1) for folder in (made, back)]
    assert scores[0]["return_mean"] == scores[1]["return_mean"]

    file.write_bytes(file.read_bytes()[:500])
    assert "cut short" in refuse(capsys, "import-set", file, "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert "cannot be read" in refuse(capsys, "import-set", tmp_path / "gone", "--out", tmp_path / "other")
    assert "already exists" in refuse(capsys, "import-set", tmp_path / "set.safetensors", "--out", back)
    assert "invalid choice" in refuse(capsys, "export", made, "--format", "onnx", "--out", file)
    assert "does not exist" in refuse(capsys, "export", made, "--format", "npz", "--out", tmp_path / "no" / "x.npz")
    assert "no run" in refuse(capsys, "export", tmp_path / "nowhere", "--format", "npz", "--out", file)


def test_teach(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    result = run(capsys, "teach", "--dataset", DATASET, "--algorithm", "td3_bc", "--steps", 30, "--out", out)
    assert out.is_file() and result["episodes"] == 10
    distilled = run(
        capsys, "distill", *TINY, "--objective", "pbc", "--teacher", out, "--steps", 3, "--out", tmp_path / "run"
    )
    assert distilled["outer_steps"] == 3


@pytest.mark.parametrize("algorithm", ["rebrac", "bc"])
def test_teach_every_kind(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path, algorithm: str) -> None:
    out = tmp_path / "new.safetensors"
    small = ["--hidden-width", 8, "--batch-size", 16, "--steps", 20, "--out", out]
    result = run(capsys, "teach", "--dataset", DATASET, "--algorithm", algorithm, *small)
    assert (result["updates"], result["preset"]) == (20, "fast")
    arguments = ["distill", *TINY, "--teacher", out, "--steps", 3, "--out"]
    if algorithm == "bc":  # it has no action values
        assert "no action values" in refuse(capsys, *arguments, tmp_path / "a", "--objective", "av_pbc")
        assert not (tmp_path / "a").exists()
    assert run(capsys, *arguments, tmp_path / "b", "--objective", "pbc")["outer_steps"] == 3


def test_import_policy(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "model.zip", state("sac"))
    out = tmp_path / "imported.safetensors"
    command = ["import-policy", source, "--algorithm", "sac", "--episodes", 1, "--out", out]
    result = run(capsys, *command, "--dataset", DATASET)
    assert result["env_id"] == "Pendulum-v1" and result["return_mean"] < 0 and out.is_file()
    distilled = run(
        capsys, "distill", *TINY, "--objective", "av_pbc", "--teacher", out, "--steps", 3, "--out", tmp_path / "run"
    )
    assert distilled["outer_steps"] == 3
    assert "Unknown dataset" in refuse(capsys, *command, "--dataset", "a/b-v0")
    assert "no file" in refuse(
        capsys, "import-policy", tmp_path / "x.zip", "--algorithm", "td3", "--env", "Pendulum-v1", "--out", out
    )
    assert "cannot make" in refuse(capsys, *command, "--env", "Nothing-v9")
    assert "required" in refuse(capsys, *command)


def test_collect(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from obd.data import catalog

    row = catalog.BUILTIN["obd/halfcheetah/medium-replay-v0"]
    small = catalog.BuiltinDataset(row.env_id, row.title, row.description, row.sources, transitions=1_000)
    monkeypatch.setitem(catalog.BUILTIN, "obd/halfcheetah/medium-replay-v0", small)
    result = run(capsys, "collect", "obd/halfcheetah/medium-replay-v0", "--workers", 2)
    assert result["transitions"] >= 1_000 and result["episodes"] >= 15


def test_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    values = arrays(500)
    values["actions"][:7] = 5
    path = store(tmp_path, values, "hdf5")
    command = ("import", path, "--env", "Pendulum-v1", "--id", "mine/file-v0")
    result = run(capsys, *command, "--licence", "CC BY 4.0")
    assert set(result) == {"id", "episodes", "steps", "repairs", "warnings"}
    assert (result["id"], result["episodes"], result["steps"]) == ("mine/file-v0", 3, 497)
    found = {f["code"]: f for f in result["repairs"]}
    assert found["clipped_actions"]["count"] == 7 and found["clipped_actions"]["message"].endswith(".")
    assert "mine/file-v0" in {row["id"] for row in run(capsys, "datasets")["datasets"]}
    assert "already" in refuse(capsys, *command)
    assert run(capsys, *command, "--replace")["steps"] == 497
    bad = ("import", path, "--env")
    assert "not a dataset id" in refuse(capsys, *bad, "Pendulum-v1", "--id", "../x-v0")
    assert "numbers per step" in refuse(capsys, *bad, "Hopper-v5", "--id", "mine/other-v0")
    assert "no file" in refuse(capsys, "import", tmp_path / "gone.npz", "--env", "Hopper-v5", "--id", "mine/other-v0")
    assert "required" in refuse(capsys, "import", path)
    values["rewards"][3] = float("nan")
    path = store(tmp_path, values)
    command = ("import", path, "--env", "Pendulum-v1", "--id", "mine/other-v0")
    assert "drop bad episodes" in refuse(capsys, *command)
    assert run(capsys, *command, "--drop-bad-episodes")["episodes"] == 2


def test_training_a_teacher_without_rewards_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = store(tmp_path, arrays(400, rewards=None))
    run(capsys, "import", path, "--env", "Pendulum-v1", "--id", "mine/file-v0")
    assert "no rewards" in refuse(capsys, "teach", "--dataset", "mine/file-v0", "--steps", 3, "--out", tmp_path / "t")


def test_time_budget_and_preset(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(capsys, "distill", *TINY, "--preset", "paper", "--objective", "dbc", "--seconds", 3, "--out", out)
    config = json.loads((out / "config.json").read_text())["config"]
    assert config["preset"] == "paper" and config["q_weighting"] == "raw" and config["inner_steps"] == 10


def test_bad_input(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"nothing useful")
    distill = ["distill", *TINY, "--steps", 3, "--out", tmp_path / "x", "--objective"]
    assert "size must lie between" in refuse(capsys, *distill, "dbc", "--size", 0)
    assert "600 transitions" in refuse(capsys, *distill, "dbc", "--size", 4000)
    assert not (tmp_path / "x").exists()
    assert "invalid choice" in refuse(capsys, "distill", *TINY, "--out", tmp_path / "y", "--objective", "sac")
    assert "on this machine, and it cannot be downloaded" in refuse(
        capsys, "distill", "--objective", "dbc", "--dataset", "nobody/knows-v0", "--out", "z"
    )
    assert "dataset" in refuse(capsys, "distill", "--objective", "dbc", "--dataset", "../../etc", "--out", "z")
    assert "safetensors" in refuse(
        capsys, "distill", *TINY, "--objective", "pbc", "--teacher", wrong, "--out", tmp_path / "w"
    )
    assert "no teacher file" in refuse(
        capsys, "distill", *TINY, "--objective", "pbc", "--teacher", "gone", "--out", tmp_path / "v"
    )
    assert "no run" in refuse(capsys, "evaluate", tmp_path / "nowhere")
    assert "no run" in refuse(capsys, "resume", tmp_path / "nowhere")
    assert "Unknown algorithm" in refuse(capsys, "teach", "--dataset", DATASET, "--algorithm", "x", "--out", wrong)
    assert "does not exist" in refuse(capsys, "teach", "--dataset", DATASET, "--out", tmp_path / "no" / "t")
    teach = ["teach", "--dataset", DATASET, "--out", wrong, "--algorithm"]
    assert "Unknown preset" in refuse(capsys, *teach, "bc", "--preset", "paper")
    assert "iql has no setting alpha" in refuse(capsys, *teach, "iql", "--alpha", 3)
    assert "Unknown algorithm" in refuse(capsys, "bench", "teacher-scores", "--algorithms", "ppo")
    assert "takes no --seeds" in refuse(capsys, "bench", "engine", "--seeds", 2)
    assert "invalid choice" in refuse(capsys, "bench", "nonsense")
    assert "required" in refuse(capsys)


def test_interrupt_then_resume(teacher: Path, tmp_path: Path) -> None:
    """Ctrl-C ends with status 130 and leaves a run that resumes."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "obd", "distill", *TINY, "--objective", "dbc", "--steps", "100000"]
    process = subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True, env=os.environ)
    status = out / "status.json"
    end = time.monotonic() + 90
    while not (status.exists() and json.loads(status.read_text())["step"] > 0):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "resume" in errors and "Traceback" not in errors
    assert json.loads(status.read_text())["state"] == "interrupted"
    again = subprocess.Popen([sys.executable, "-m", "obd", "resume", str(out)], stderr=subprocess.PIPE, text=True)
    before = json.loads(status.read_text())["step"]
    while json.loads(status.read_text())["step"] <= before:
        assert again.poll() is None and time.monotonic() < end + 90
        time.sleep(0.1)
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130


def test_killed_run_can_be_resumed(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    """SIGKILL loses at most what came after the last snapshot; the rest continues to the same bytes."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    arguments = ["distill", *TINY, "--objective", "dbc", "--steps", "60", "--snapshots", "20"]
    run(capsys, *arguments, "--out", whole)
    process = subprocess.Popen(
        [sys.executable, "-m", "obd", *arguments, "--out", str(out)], stderr=subprocess.DEVNULL, env=os.environ
    )
    end = time.monotonic() + 90
    while not (out / "checkpoint.safetensors").exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert run(capsys, "resume", out)["outer_steps"] == 60
    assert (out / "distilled.npz").read_bytes() != b""
    from obd.runs.store import open_run

    assert open_run(out).distilled().observations.tobytes() == open_run(whole).distilled().observations.tobytes()


def test_criticality(capsys: pytest.CaptureFixture[str], teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(capsys, "distill", *TINY, "--objective", "av_pbc", "--teacher", teacher, "--steps", "5", "--out", out)
    found = run(capsys, "criticality", out)
    assert (found["objective"], found["size"], found["step"]) == ("av_pbc", 8, 5)
    low, high = found["criticality_vs_data"]["superiority"][1:]
    assert 0 <= low <= found["criticality_vs_data"]["superiority"][0] <= high <= 1
    assert "critical" in found["sentences"][0]
    start = run(capsys, "criticality", out, "--step", "0")
    assert start["criticality_vs_start"]["superiority"][0] == 0.5 and start["coverage"] == start["start_coverage"]
    assert run(capsys, "criticality", out) == found  # the same numbers every time
    assert main(["criticality", str(out)]) == 0
    assert found["sentences"][0] in capsys.readouterr().out
    assert "no snapshot after 99 outer steps" in refuse(capsys, "criticality", out, "--step", "99")
    assert "no run" in refuse(capsys, "criticality", tmp_path / "elsewhere")


@pytest.mark.parametrize(("name", "rows"), [("generalisation", 12), ("sizes", 4)])
def test_bench_of_students_and_sizes(
    name: str, rows: int, capsys: pytest.CaptureFixture[str], teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny(_dataset: str, *numbers: int) -> DistillConfig:
        *size, seed, steps = numbers
        return tiny_config(teacher, objective="av_pbc", seed=seed, steps=steps, size=(*size, 8)[0])

    monkeypatch.setattr(f"obd.bench.{name}.distillation", tiny)
    result = run(capsys, "bench", name, "--quick", "--datasets", DATASET, "--steps", 2)
    assert result["outer_steps"] == 2 and len(result["rows"]) == rows
    assert all(row["dataset"] == DATASET and len(row["students"]) == 2 for row in result["rows"])
    assert "takes no --methods" in refuse(capsys, "bench", name, "--methods", "pbc")


@pytest.mark.parametrize("fast", [True, False])
def test_bench_engine(fast: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = compute_type("auto", torch.device("cpu"))
    if fast and own != torch.bfloat16:
        pytest.skip("without instructions for bfloat16 a step takes minutes")
    monkeypatch.setattr("obd.bench.engine.compute_type", lambda *_: torch.bfloat16 if fast else torch.float32)
    result = run(capsys, "bench", "engine", "--quick")
    assert ("bfloat16" in result) == fast
    for precision in ("float32", "bfloat16") if fast else ("float32",):
        assert result[precision]["ratio"] > 0 and 0 < result[precision]["share_of_peak"] < 2


def test_raw_returns_are_not_printed_as_normalised() -> None:
    output = {"normalized_return_mean": 5.0, "return_mean": 5.0, "ensemble_normalized_return_mean": 6.0, "students": 2}
    assert in_words(output | {"rows": [output], "raw_returns": False}) == output | {"raw_returns": False}
    said = in_words(output | {"raw_returns": True})
    assert said == {"return_mean": 5.0, "ensemble_raw_return_mean": 6.0, "students": 2, "raw_returns": True}


def test_a_dataset_of_the_server_is_downloaded_when_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(dataset_id: str, **_: object) -> None:
        asked.append(dataset_id)
        store_pendulum(tmp_path)

    monkeypatch.setattr(remote, "download", download)
    out = tmp_path / "cloned.safetensors"
    made = run(capsys, "teach", "--dataset", DATASET, "--algorithm", "bc", "--steps", 2, "--out", out)
    assert asked == [DATASET] and made["raw_returns"] is (pendulum_dataset().reference_returns is None)
