from __future__ import annotations

import pytest
import torch

from obd.engine.machine import compute_type, select_device


def test_device_choice() -> None:
    assert select_device("cpu") == torch.device("cpu")
    assert select_device("auto").type in {"cpu", "cuda", "mps"}


@pytest.mark.parametrize(
    ("has", "device", "expected"),
    [
        ({"avx512_bf16": True}, "cpu", torch.bfloat16),
        ({"amx_bf16": True}, "cpu", torch.bfloat16),
        ({"avx512_bf16": False}, "cpu", torch.float32),
        ({"amx_bf16": True}, "cuda", torch.float32),
    ],
)
def test_products_are_bfloat16_where_the_processor_has_instructions_for_it(
    has: dict[str, bool], device: str, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert compute_type("auto", torch.device(device)) == expected
    assert compute_type("bfloat16", torch.device(device)) == torch.bfloat16
    assert compute_type("medium", torch.device(device)) == torch.float32
