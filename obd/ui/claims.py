"""Sentences about which states distillation picks.  Each says what came out, also where a claim fails."""

from __future__ import annotations

from typing import Any

from obd.insight.effects import Effect, Interval
from obd.insight.report import SetReport
from obd.ui.sentences import minus
from obd.ui.theme import style

MEASURE_NAMES = {
    "criticality": "criticality",
    "noisy": "criticality, small mistakes",
    "sensitivity": "sensitivity of the teacher",
    "imbalance": "distance from the usual posture",
    "density": "density percentile",
}

MEASURE_MEANINGS = {
    "criticality": "value lost by one random action, in standard deviations of q* over the data",
    "noisy": "value lost by one noisy action of the teacher (σ = 0.3), in standard deviations of q*",
    "sensitivity": "‖∂π*/∂s‖: how much the teacher's action changes with the state",
    "imbalance": "how far torso height or pitch lies outside the teacher's middle 95 %, in half-widths of that range",
    "density": "percentage of the data that lies in sparser places; 50 is typical",
}

MEASURE_FORMULAS = {
    "criticality": r"c(s)=\frac{q^*(s,\pi^*(s))-\mathbb{E}_{a\sim U[-1,1]}\,q^*(s,a)}{\mathrm{std}_D\,q^*}",
    "noisy": r"c(s)=\frac{q^*(s,\pi^*(s))-\mathbb{E}_{e}\,q^*(s,\pi^*(s)+0.3\,e)}{\mathrm{std}_D\,q^*}",
    "sensitivity": r"\lVert \partial \pi^*(s) / \partial \tilde s \rVert_F,\quad \tilde s = s / \mathrm{std}_D",
    "imbalance": r"\max_{x\,\in\,\{\text{height},\,\text{pitch}\}} \frac{\max(l_x - x,\; x - h_x,\; 0)}{(h_x - l_x)/2}",
    "density": r"100 \cdot P_{s' \sim D}\big(d_{10}(s') > d_{10}(s)\big)",
}


def criticality_sentence(objective: str, report: SetReport) -> str:
    """The paper's claim, tested: against the data, and against where the same run started."""
    effects = report.effects.get("criticality")
    if effects is None:
        return "There is no teacher for this dataset, so nobody knows which states are critical; the rest still works."
    data, start = effects["data"], effects["start"]
    who = f"{style(objective).label}'s distilled states are"
    if data.direction > 0 and data.ratio is not None:
        text = f"{who} **{data.ratio.value:.2f} times as critical as the data** ({_range(data)})"
    elif data.direction > 0:
        text = f"{who} **more critical than the data**: {_amount(data)} ({_range(data)})"
    elif data.direction < 0:
        text = f"{who} **less critical than the data**: {_amount(data)} ({_range(data)})"
    else:
        text = f"{who} **not clearly more critical than the data**: {_amount(data)} ({_range(data)})"
    verdict = {1: "more critical than", -1: "less critical than", 0: "no clear change from"}[start.direction]
    return f"{text}; compared with where they started {_amount(start)} ({_range(start)}), {verdict} their start."


def posture_sentence(objective: str, report: SetReport) -> str:
    """Imbalanced poses, and whether the distilled action restores balance; empty where the pose is unknown."""
    if report.off_balance is None:
        return ""
    started, data = report.start_off_balance or 0.0, report.data_off_balance or 0.0
    text = (
        f"**{100 * report.off_balance:.0f} %** of the {style(objective).label} states lie outside the teacher's usual "
        f"height and pitch; of the states they started from {100 * started:.0f} %, of the data {100 * data:.0f} %"
    )
    if report.restored is None:
        return text + "."
    share = report.restored
    verdict = (
        "it restores balance"
        if share.low > 0.5
        else "it does the opposite"
        if share.high < 0.5
        else "no better than chance"
    )
    return (
        f"{text}. From there one step with the distilled action ends nearer to balance than a random action in "
        f"{100 * share.value:.0f} % of the comparisons (95 %: {100 * share.low:.0f}–{100 * share.high:.0f}): {verdict}."
    )


def coverage_sentence(objective: str, report: SetReport) -> str:
    """How much of the data has a distilled state nearby."""
    now, start = report.coverage, report.start_coverage
    return (
        f"**{100 * now.value:.1f} %** of the data (95 %: {100 * now.low:.1f}–{100 * now.high:.1f}) lie within "
        f"{report.radius:.2f} standard deviations per dimension of {_a(style(objective).label)} state; as many random "
        f"states reach 50 % (that sets the radius), and the states it started from {100 * start.value:.0f} %."
    )


def density_sentence(objective: str, report: SetReport) -> str:
    """Whether distilled states sit where data are dense."""
    now, start = report.density, report.start_density
    place = "a sparser" if now.high < 50 else "a denser" if now.low > 50 else "as dense a"
    ending = " as the data do" if now.low <= 50 <= now.high else " than typical of the data"
    return (
        f"The median {style(objective).label} state sits in **{place} place{ending}**: density percentile "
        f"{now.value:.0f} (95 %: {now.low:.0f}–{now.high:.0f}; 50 is typical); it started at {start.value:.0f}."
    )


def sentences(objective: str, report: SetReport) -> list[str]:
    """All that can be said about a set, the main one first."""
    found = [
        criticality_sentence(objective, report),
        posture_sentence(objective, report),
        coverage_sentence(objective, report),
        density_sentence(objective, report),
    ]
    return [sentence for sentence in found if sentence]


def _amount(effect: Effect) -> str:
    if effect.ratio is not None:
        return f"{effect.ratio.value:.2f} times"
    return minus(f"{effect.difference.value:+.2f} standard deviations of q*")


def _range(effect: Effect) -> str:
    interval: Interval = effect.ratio if effect.ratio is not None else effect.difference
    return minus(f"95 %: {interval.low:.2f} to {interval.high:.2f}")


def _a(label: str) -> str:
    return f"an {label}" if label[0] in "AEIO" else f"a {label}"


def numbers(report: SetReport) -> dict[str, Any]:
    """A report as plain numbers for JSON: intervals as [value, low, high], None where there is none."""

    def interval(found: Interval | None) -> list[float] | None:
        return None if found is None else [round(value, 5) for value in (found.value, found.low, found.high)]

    effects = {
        f"{measure}_vs_{other}": {
            "mean": round(effect.mean, 5),
            "reference_mean": round(effect.reference_mean, 5),
            "ratio": interval(effect.ratio),
            "difference": interval(effect.difference),
            "superiority": interval(effect.superiority),
            "cliffs_delta": round(effect.cliffs_delta, 5),
        }
        for measure, by in report.effects.items()
        for other, effect in by.items()
    }
    return effects | {
        "cover_radius": round(report.radius, 5),
        "coverage": interval(report.coverage),
        "start_coverage": interval(report.start_coverage),
        "density_percentile_median": interval(report.density),
        "start_density_percentile_median": interval(report.start_density),
        "off_balance": report.off_balance,
        "start_off_balance": report.start_off_balance,
        "data_off_balance": report.data_off_balance,
        "restored": interval(report.restored),
    }


def effect_lines(report: SetReport) -> dict[str, str]:
    """The effects for a terminal, one line each."""
    lines = {}
    for measure, by in report.effects.items():
        for other, effect in by.items():
            amount = f"{effect.difference.value:+.4g}" if effect.ratio is None else f"{effect.ratio.value:.2f} times"
            times = f"{amount} ({_range(effect)})"
            chance = effect.superiority
            lines[f"{measure} vs {other}"] = (
                f"{times}, means {effect.mean:.4g} and {effect.reference_mean:.4g}, P(higher) {chance.value:.2f} "
                f"({chance.low:.2f} to {chance.high:.2f}), Cliff's delta {effect.cliffs_delta:+.2f}"
            )
    return lines
