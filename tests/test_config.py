from __future__ import annotations

from pathlib import Path

import pytest

from obd.config import PRESETS, DistillConfig, options, preset, usual_preset
from obd.errors import ObdError


def test_every_field_is_explained() -> None:
    for name, described in options(DistillConfig).items():
        assert described.label and described.help, name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, "size must lie between 1 and 4096"),
        ({"size": 10**9}, "size must lie between"),
        ({"objective": "xyz"}, "objective must be one of dbc, pbc, av_pbc"),
        ({"seconds": float("nan")}, "seconds must be a number"),
        ({"seconds": None}, "time budget"),
        ({"seed": -1}, "seed"),
        ({"inner_momentum": 1.0}, "inner momentum"),
        ({"size": True}, "size must be a number"),
    ],
)
def test_bad_values_get_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ObdError, match=words) as caught:
        DistillConfig(**changes)
    assert "\n" not in str(caught.value)


def test_round_trip_and_unknown_fields() -> None:
    config = DistillConfig(size=17, objective="dbc")
    assert DistillConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ObdError, match="Unknown setting 'colour'"):
        DistillConfig.from_dict({"colour": 1})


@pytest.mark.parametrize(
    ("flags", "gpu", "chosen"),
    [
        ("avx2", False, "light"),
        ("avx2 avx512_bf16", False, "light"),
        ("avx2 amx_bf16", False, "default"),
        ("avx2", True, "default"),
        (None, False, "light"),
    ],
)
def test_the_usual_preset_suits_the_processor(
    flags: str | None, gpu: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_text(path: Path, **_: str) -> str:
        assert path == Path("/proc/cpuinfo")
        if flags is None:
            raise FileNotFoundError
        return f"flags : fpu {flags}"

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if gpu else None)
    assert usual_preset() == chosen


def test_presets() -> None:
    for name in PRESETS:
        assert preset(name, size=5).size == 5
    paper = preset("paper")
    assert (paper.inner_steps, paper.inner_momentum, paper.batch_size) == (100, 0.0, 2560)
    assert (paper.outer_optimizer, paper.q_weighting, paper.learn_step_sizes) == ("sgd", "raw", False)
    with pytest.raises(ObdError, match="preset"):
        preset("rocket")
