"""Distilled sets leave and come back; foreign files are refused with one sentence."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obd.engine.distilled import FORMAT, DistilledDataset, Recipe, load_distilled
from obd.errors import ObdError
from obd.paths import runs_dir
from obd.runs import export
from obd.runs.execute import EVALUATION_SEED
from obd.runs.importing import import_file, import_set, measure_run, read_distilled
from obd.runs.store import Run, create_run, list_runs
from obd.students import Shape, generator, orthogonal_parameters, train_students
from tests.helpers import DATASET, tiny_config

Arrays = dict[str, Any]


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Run:
    """A finished run with a set of ten pairs for Pendulum; blocks of four, so that the last one overlaps.

    Its parameter is the number of the students' columns.
    """
    columns = getattr(request, "param", 1)
    config = tiny_config(size=10, inner_batch=4, columns=columns)
    source = np.random.default_rng(0)
    recipe = Recipe((0.3, 0.2, 0.1), 10, 0.9, 4, True, 2, 16, 0.1, columns)
    card = {
        "dataset": DATASET,
        "dataset_hash": "abc",
        "env_id": "Pendulum-v1",
        "objective": "pbc",
        "licence": "made | here <b>",
        "teacher": "teacher.safetensors",
        "outer_steps": 12,
        "settings": config.to_dict() | {"teacher": "/somewhere/else"},
        "versions": {"torch": "2"},
    }
    made = create_run(config)
    made.write_distilled(
        DistilledDataset(
            source.normal(size=(10, 3)).astype(np.float32) * 3,
            source.uniform(-1.2, 1.2, (10, 1)).astype(np.float32),
            np.array([0.1, 0.2, 0.3], np.float32),
            np.array([1.0, 2.0, 3.0], np.float32),
            recipe,
            card,
        )
    )
    made.write_evaluation({"students": score(12.0)})
    made.write_status(state="finished", step=12, outer_steps=12)
    return made


def score(mean: float) -> dict[str, Any]:
    return {
        "normalized_return_mean": mean,
        "normalized_return_ci95": [mean - 1, mean + 1],
        "students": 10,
        "episodes": 3,
    }


ONE_AND_THREE_COLUMNS = pytest.mark.parametrize("run", [1, 3], indirect=True)


@ONE_AND_THREE_COLUMNS
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_set_that_left_comes_back_the_same(run: Run, kind: str) -> None:
    content = export.export(run, kind)
    back = import_set(f"set.{kind}", content)
    assert back.status()["state"] == "finished" and back.status()["step"] == 12
    assert back.config == run.config.replace(teacher="")  # a path of another machine is not followed
    assert back.evaluation() == {} and back.snapshot_steps() == [12]
    for name in ("observations", "actions", "observation_mean", "observation_std"):
        assert getattr(back.distilled(), name).tobytes() == getattr(run.distilled(), name).tobytes()
    assert back.distilled().recipe == run.distilled().recipe
    assert back.distilled().card["scores"]["students"]["normalized_return_mean"] == 12.0
    first, second = (train_students(r.distilled(), 1, 3)[0] for r in (run, back))
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))
    assert export.export(back, kind) == content  # and once more


def test_a_file_from_before_there_were_columns_is_read(run: Run) -> None:
    arrays, card = parts(run)
    del card["recipe"]["columns"]
    back = import_set("set.npz", packed(arrays, card))
    assert back.distilled().recipe.columns == back.config.columns == 1


def test_an_imported_set_can_be_measured_without_its_dataset(run: Run) -> None:
    back = import_set("set.npz", export.npz(run))
    measure_run(back, lambda _: None, lambda: False)
    assert back.evaluation()["students"]["students"] == 10


@ONE_AND_THREE_COLUMNS
def test_the_exported_student_acts_like_the_measured_one(run: Run) -> None:
    student = torch.jit.load(io.BytesIO(export.torchscript(run)))
    expected = train_students(run.distilled(), 1, EVALUATION_SEED)[0]
    observations = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32) * 5
    assert np.allclose(student(torch.from_numpy(observations)).detach(), expected.act(observations), atol=1e-5)


@ONE_AND_THREE_COLUMNS
def test_the_snippet_trains_the_same_student(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same start it reaches the same weights; with its own it fits the pairs as well."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'my "set".npz').write_bytes(export.npz(run))
    found = run.distilled()
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    code = export.snippet(found, 'my "set".npz')
    columns = found.recipe.columns
    assert len(code.splitlines()) == (10 if columns == 1 else 12) and max(map(len, code.splitlines())) < 130
    exec(code, names)
    ours = [np.square(p.act(found.observations) - found.actions).mean() for p in train_students(found, 10)]
    with torch.no_grad():
        own = float((names["student"](names["states"]) - torch.from_numpy(found.actions)).square().mean())
    assert own < 2 * max(ours) + 0.05
    shape = Shape(columns, 10, 3, 1, (16, 16), 10, 4)
    every = orthogonal_parameters(shape, generator(3, 0), found.recipe.output_gain)
    starts = iter([(weight[column], bias[column]) for column in range(columns) for weight, bias in every])

    def start(layer: torch.nn.Linear) -> None:
        weight, bias = next(starts)
        layer.weight.data, layer.bias.data = weight.T.clone(), bias.reshape(-1).clone()

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", start)
    exec(code, names)
    expected = train_students(found, 1, 3)[0].act(found.observations)
    with torch.no_grad():
        assert np.allclose(names["student"](names["states"]), expected, atol=1e-4)


def test_minari_opens_the_exported_set(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import minari

    with zipfile.ZipFile(io.BytesIO(export.minari(run))) as archive:
        archive.extractall(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (name,) = minari.list_local_datasets()
    opened = minari.load_dataset(name)
    found = run.distilled()
    assert opened.total_episodes == len(found) and opened.total_steps == len(found)
    for i, episode in enumerate(opened.iterate_episodes()):
        assert np.array_equal(episode.observations[0], found.observations[i])
        assert np.array_equal(episode.actions[0], found.actions[i])
        assert np.isnan(episode.rewards).all() and np.isnan(episode.observations[1]).all()  # nothing is made up
    assert opened.storage.metadata["obd_card"]["recipe"]["inner_steps"] == 10


def test_the_card_says_what_the_set_is(run: Run) -> None:
    card = export.card_markdown(run)
    for words in (DATASET, "abc", "Pendulum-v1", "pbc", "teacher.safetensors", "12.0, 95 % interval 11.0 to 13.0"):
        assert words in card
    assert "made \\| here \\<b\\>" in card  # text from a foreign card is not interpreted
    assert export.snippet(run.distilled()) in card


def test_files_are_written_with_their_card(run: Run, tmp_path: Path) -> None:
    for kind in export.FORMATS:
        file, card = export.write_export(run, kind, tmp_path / f"{kind}.out")
        assert file.stat().st_size > 500 and card.read_text(encoding="utf-8").startswith("# 10 distilled")
    assert load_distilled(tmp_path / "npz.out").actions.tobytes() == run.distilled().actions.tobytes()
    with zipfile.ZipFile(io.BytesIO(export.everything(run))) as archive:
        assert {"README.md", "train.py", "distilled.npz", "distilled.safetensors"} < set(archive.namelist())
    for wrong in (tmp_path / "no" / "x.npz", tmp_path, tmp_path / "x.md"):
        with pytest.raises(ObdError):
            export.write_export(run, "npz", wrong)
    with pytest.raises(ObdError, match="no distilled set"):
        export.export(create_run(tiny_config()), "npz")


# -- what is refused -----------------------------------------------------------------------------------------


def parts(run: Run) -> tuple[Arrays, dict[str, Any]]:
    with np.load(io.BytesIO(export.npz(run))) as archive:
        arrays = dict(archive)
    return arrays, json.loads(str(arrays.pop("card")))


def packed(arrays: Arrays, card: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays, card=np.array(card if isinstance(card, str) else json.dumps(card)))
    return stream.getvalue()


def nan(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values.flat[0] = np.nan
    return values


ARRAY_FAULTS: dict[str, tuple[str, Callable[[Arrays], Any]]] = {
    "nan": ("NaN", lambda a: a.update(actions=nan(a["actions"]))),
    "infinite": ("32-bit", lambda a: a.update(observations=a["observations"].astype(np.float64) * 1e300)),
    "fewer actions": ("10 observations but 9", lambda a: a.update(actions=a["actions"][:9])),
    "flat": ("2 dimensions", lambda a: a.update(actions=a["actions"].ravel())),
    "whole numbers": ("float", lambda a: a.update(actions=a["actions"].astype(np.int64))),
    "empty": ("float", lambda a: a.update(observations=a["observations"][:0], actions=a["actions"][:0])),
    "too many": (
        "size must lie",
        lambda a: a.update({k: np.tile(a[k], (500, 1)) for k in ("observations", "actions")}),
    ),
    "normaliser": ("observation_mean has 2", lambda a: a.update(observation_mean=a["observation_mean"][:2])),
    "zero std": ("above zero", lambda a: a.update(observation_std=a["observation_std"] * 0)),
    "missing": ("actions", lambda a: a.pop("actions")),
    "objects": ("pickled Python", lambda a: a.update(actions=np.array([{}], dtype=object))),
    "another robot": ("observations of 3", lambda a: a.update(actions=np.tile(a["actions"], 2))),
}


@pytest.mark.parametrize("fault", ARRAY_FAULTS)
def test_wrong_arrays_are_refused(run: Run, fault: str) -> None:
    words, spoil = ARRAY_FAULTS[fault]
    arrays, card = parts(run)
    spoil(arrays)
    refused(packed(arrays, card), words)


CARD_FAULTS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "format": ("format", lambda c: c.update(format="other-9")),
    "no recipe": ("recipe", lambda c: c.pop("recipe")),
    "recipe list": ("recipe", lambda c: c.update(recipe=[1])),
    "recipe key": ("recipe", lambda c: c["recipe"].pop("hidden_width")),
    "steps": ("inner steps", lambda c: c["recipe"].update(inner_steps=10**9)),
    "columns": ("columns", lambda c: c["recipe"].update(columns=0)),
    "steps text": ("whole number", lambda c: c["recipe"].update(inner_steps="10")),
    "rates": ("3 step sizes", lambda c: c["recipe"].update(step_sizes=[0.1])),
    "negative rate": ("above zero", lambda c: c["recipe"].update(step_sizes=[0.1, -1, 0.1])),
    "environment": ("not installed", lambda c: c.update(env_id="os:system-v0")),
    "no environment": ("environment", lambda c: c.pop("env_id")),
    "dataset path": ("not a dataset id", lambda c: c.update(dataset="../../etc/passwd")),
    "objective": ("not known", lambda c: c.update(objective="sac")),
    "setting": ("must be", lambda c: c["settings"].update(batch_size="all")),
    "settings": ("not a table", lambda c: c.update(settings=[1])),
}


@pytest.mark.parametrize("fault", CARD_FAULTS)
def test_wrong_cards_are_refused(run: Run, fault: str) -> None:
    words, spoil = CARD_FAULTS[fault]
    arrays, card = parts(run)
    spoil(card)
    refused(packed(arrays, card), words)


def test_wrong_files_are_refused(run: Run) -> None:
    npz, safetensors = export.npz(run), export.safetensors(run)
    arrays, card = parts(run)
    refused(b"", "empty")
    refused(pickle.dumps(arrays), "pickle")
    refused(b"some text", "neither")
    for cut in (len(npz) // 3, len(npz) - 5):
        refused(npz[:cut], "cut short")
    for cut in (4, 100, len(safetensors) - 5):
        refused(safetensors[:cut], "cut short")
    refused(packed(arrays, "{"), "damaged")
    refused(packed(arrays, "[]"), "damaged")
    refused(packed(arrays, json.dumps(card).replace("0.9", "NaN")), "damaged")
    from safetensors.numpy import save

    refused(save({"weights": np.zeros(3)}), "no card")


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(run: Run) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("observations.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**10)})
        member.write(bytes(2**20))
    refused(stream.getvalue(), "unpacks to more")


def refused(content: bytes, words: str) -> None:
    """One sentence, and nothing is left behind."""
    before = len(list_runs())
    with pytest.raises(ObdError, match=words) as caught:
        import_set("set.npz", content)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert len(list_runs()) == before == len([p for p in runs_dir().iterdir() if p.is_dir()])


def test_a_student_that_does_not_fit_into_memory_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obd.engine.machine.MEMORY_SHARE", 1e-12)
    refused(export.npz(run), "GiB")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ObdError, match="cannot be read"):
        import_file(tmp_path / "gone.npz")


def test_unknown_settings_of_another_version_are_left_out(run: Run) -> None:
    arrays, card = parts(run)
    card["settings"]["invented_later"] = 3
    assert import_set("set.npz", packed(arrays, card)).config.size == 10
    assert read_distilled(packed(arrays, card)).card["settings"]["invented_later"] == 3
    assert card["format"] == FORMAT and dataclasses.is_dataclass(Recipe)


def test_a_card_calls_raw_returns_raw() -> None:
    score = {"normalized_return_mean": 889.2, "normalized_return_ci95": [800, 980], "students": 5, "episodes": 1}
    (raw,) = export._scores({"students": score | {"return_mean": 889.2}})
    (normalised,) = export._scores({"students": score | {"return_mean": 4e4}})
    (rounded,) = export._scores({"students": score | {"return_mean": np.nextafter(889.2, 0)}})
    assert raw.startswith("- raw return of single students: 889.2") and rounded == raw
    assert normalised.startswith("- normalised return of single students: 889.2")
