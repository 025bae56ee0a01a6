"""What the Data page says about a dataset.  Pure functions: a card in, plain sentences out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from obd.data.card import Card, normalized_scale
from obd.data.catalog import DatasetInfo
from obd.insight.pose import POSED, supports_pose
from obd.ui.sentences import count, minus

ORIGINS = {"builtin": "Built in", "local": "On this machine", "remote": "Minari's server"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|$:~-])")


def plain(text: str) -> str:
    """``text`` of unknown origin for a Markdown element: no formatting, links or pictures."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def matches(info: DatasetInfo, words: str) -> bool:
    """Whether every word occurs in the dataset's id, title, environment or description."""
    text = " ".join((info.id, info.title, info.env_id, info.description, ORIGINS[info.origin])).casefold()
    return all(word in text for word in words.casefold().split())


def named(info: DatasetInfo, words: str) -> bool:
    """Whether every word occurs in the dataset's name itself: such a hit comes before one in a description."""
    text = " ".join((info.id, info.title)).casefold()
    return all(word in text for word in words.casefold().split())


def state_words(info: DatasetInfo) -> str:
    """One line below the name in the catalogue."""
    size = f"{info.transitions:,} steps" if info.transitions else ""
    if not info.usable:
        state = "cannot be used: its observations or actions are not vectors"
    elif info.available:
        state = "ready"
    elif info.builtin:
        state = "collected on first use"
    else:
        state = "download" + (f" {info.megabytes:,.0f} MB" if info.megabytes else "")
    return " · ".join(part for part in (info.env_id, size, state) if part)


def scale_words(card: Card) -> str:
    """How to read the returns of this card."""
    if card["reference_returns"] is None:
        return "raw returns: there are no reference returns for this environment"
    return "0 is random, 100 expert"


def returns_sentence(card: Card) -> str:
    """The message of the histogram of returns."""
    returns = card["returns"]
    if returns is None:
        return "The rewards are missing, so episodes have no returns."
    low, high, best = (
        number(v) for v in normalized_scale(card, [returns[n] for n in ("quartile1", "quartile3", "max")])
    )
    if card["episodes"] == 1:
        return f"Its one episode returns {best} ({scale_words(card)})."
    return (
        f"Half of the {card['episodes']:,} episodes return between {low} and {high}, the best {best} "
        f"({scale_words(card)})."
    )


def lengths_sentence(card: Card) -> str:
    """The message of the histogram of lengths."""
    lengths, episodes = card["lengths"], card["episodes"]
    if lengths["min"] == lengths["max"]:
        text = f"Every episode lasts {count(int(lengths['max']), 'step')}"
    else:
        text = f"Half of the episodes last between {lengths['quartile1']:,.0f} and {lengths['quartile3']:,.0f} steps"
    ended = card["terminated_episodes"]
    if ended == 0:
        return text + "; none ends in a terminal state, all are cut off."
    if ended == episodes:
        return text + "; all end in a terminal state."
    return (
        text + f"; {share(ended, episodes)} end in a terminal state, {share(episodes - ended, episodes)} are cut off."
    )


def ranges_sentence(card: Card) -> str:
    """The message of the table of dimensions."""
    spread = [row["std"] for row in card["observations"]]
    widest = max(range(len(spread)), key=lambda d: spread[d])
    still = sum(value == 0 for value in spread)
    text = (
        f"{share(card['actions_at_bound'], 1)} of all action entries are at a bound; of {len(spread)} observation "
        f"dimensions number {widest} varies most (standard deviation {number(spread[widest])})"
    )
    return text[0].upper() + text[1:] + (f", {still} never change." if still else ".")


def strip_sentence(card: Card, returns: Mapping[str, float]) -> str:
    """The message of the strip of episodes; ``returns`` (raw) by worst, median and best."""
    if card["returns"] is None:
        return "The shortest, the median and the longest episode, each from its first to its last step."
    worst, median, best = (number(v) for v in normalized_scale(card, [returns[k] for k in ("worst", "median", "best")]))
    return f"From the worst episode (return {worst}) over the median ({median}) to the best ({best}), start to end."


def no_pose_sentence(env_id: str) -> str:
    """Why states of an environment are not drawn; empty where they are."""
    if supports_pose(env_id):
        return ""
    return (
        f"States of {env_id or 'this environment'} cannot be drawn as pictures (those of {', '.join(POSED)} can); "
        "everything else works without."
    )


def imported_sentence(provenance: Mapping[str, Any]) -> str:
    """What came of an import that has just ended."""
    report = provenance.get("import") or {}
    if report.get("repairs"):
        return "Imported; what was repaired is listed at the end."
    return "Imported; nothing had to be repaired."


def made_sentences(info: DatasetInfo, provenance: Mapping[str, Any]) -> list[str]:
    """How the dataset came about, as far as it says."""
    text = info.description if info.builtin else str(provenance.get("description") or info.description or "")
    found = [plain(text)] if text.strip() else []
    policies = provenance.get("policies")
    if isinstance(policies, Sequence) and policies and not isinstance(policies, str):
        found.append(
            f"{count(len(policies), 'snapshot')} of the agent played it, with seed {provenance.get('seed', 0)}."
        )
    if info.origin == "local" and not found:
        found.append("The dataset does not say how it was made.")
    return found


def facts(info: DatasetInfo, card: Card, provenance: Mapping[str, Any]) -> dict[str, str]:
    """Provenance and licence as name and value, ready for Markdown."""
    reference = card["reference_returns"]
    file = provenance.get("file") or {}
    author = "" if file else provenance.get("author") or ""  # who imported a file did not make it
    values = {
        "Environment": info.env_id,
        "Licence": str(provenance.get("license") or "unknown; the dataset does not say"),
        "Rewards": str(provenance.get("rewards") or "as collected"),
        "Reference returns": "none known"
        if reference is None
        else f"random {number(reference[0])}, expert {number(reference[1])}",
        "Author": ", ".join(map(str, author)) if isinstance(author, list) else str(author),
        "File": f"{file.get('name', '')} ({int(file.get('bytes', 0)) / 1e6:,.1f} MB)" if file else "",
    }
    ready = {name: plain(value) for name, value in values.items() if value}
    ready["Content hash"] = f"`{card['content_hash'] or 'not computed'}`"
    return ready


def findings(provenance: Mapping[str, Any], kind: str) -> list[str]:
    """Sentences of the ``repairs`` or the ``warnings`` of an import."""
    report = provenance.get("import") or {}
    return [plain(str(finding.get("message", ""))) for finding in report.get(kind, ())]


def number(value: float) -> str:
    """Three significant digits or a whole number, thousands grouped, a real minus."""
    whole = value == round(value) or abs(value) >= 1000
    text = f"{value:,.0f}" if whole else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return minus(text)


def share(part: float, whole: float) -> str:
    """Percent, never rounded to 0 or 100 unless it is."""
    value = 100 * part / whole
    if 0 < value < 1:
        return "under 1 %"
    return "over 99 %" if 99 < value < 100 else f"{value:.0f} %"
