"""Contrast after WCAG 2.2: 3:1 for graphics (1.4.11), 4.5:1 for text (1.4.3), on every background of both themes."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Any

import pytest

from obd.ui.theme import ALL_OBJECTIVE_KEYS, NEUTRAL, STYLES

CONFIG = tomllib.loads((Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml").read_text())["theme"]
THEMES = ("light", "dark")
METHODS = (*ALL_OBJECTIVE_KEYS, "random_selection", "teacher", "whole_bc")
WHITE = "#FFFFFF"  # the text on primary buttons


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def backgrounds(theme: str) -> list[str]:
    settings: dict[str, Any] = CONFIG[theme]
    parts = (settings, settings["sidebar"])
    return [part[name] for part in parts for name in ("backgroundColor", "secondaryBackgroundColor")]


def test_the_formula_on_known_values() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("key", STYLES)
def test_lines_and_symbols_of_every_method_can_be_seen(key: str, theme: str) -> None:
    assert min(contrast(STYLES[key].colour, background) for background in backgrounds(theme)) >= 3


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read(theme: str) -> None:
    for name, background in itertools.product(("textColor", "linkColor"), backgrounds(theme)):
        assert contrast(CONFIG[theme][name], background) >= 4.5
    assert contrast(CONFIG[theme]["primaryColor"], WHITE) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_buttons_and_original_states_stand_out(theme: str) -> None:
    assert contrast(CONFIG[theme]["primaryColor"], CONFIG[theme]["backgroundColor"]) >= 3
    assert contrast(NEUTRAL, CONFIG[theme]["backgroundColor"]) >= 3


def test_one_colour_and_one_symbol_per_method() -> None:
    for attribute in ("colour", "symbol", "glyph", "label"):
        values = [getattr(STYLES[key], attribute) for key in METHODS]
        assert len(set(values)) == len(values)
