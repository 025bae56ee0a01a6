from __future__ import annotations

import pytest
import torch

from obd.bench import engine


def test_a_stop_before_the_first_comparison_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "compute_type", lambda *_: torch.bfloat16)  # on any processor
    monkeypatch.setattr(engine.Problem, "plain", lambda self: None)  # seconds, and nothing here looks at it
    monkeypatch.setattr(engine.Problem, "ours", lambda self, worker=0: None)
    said: list[str] = []
    result = engine.run(quick=True, say=said.append, should_stop=lambda: True)
    assert said == [] and "float32" not in result and result["pairs"] == 2
