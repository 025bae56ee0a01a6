"""The guided story of the Learn page: texts, scenes and the sentences about what is seen.  Pure: no Streamlit here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from obd.engine.playground import Settings
from obd.ui.playground import Lane, Scene
from obd.ui.sentences import minus
from obd.ui.theme import OBJECTIVE_KEYS, style

SHIPPED = Settings("pbc", 16, 40, 0)  # the distilled set that ships with the project
GOOD_RETURN = -400.0  # a pendulum that hangs loses about 1,300; one that is up within some seconds less than 400


@dataclass(frozen=True)
class Step:
    """One screen: its key in the address, its name in the stepper, its message and its text (Markdown)."""

    key: str
    name: str
    title: str
    text: str


STEPS = (
    Step(
        "copy",
        "Copying",
        "Behaviour cloning is copying",
        """
A **policy** decides what to do in every situation. A pendulum has two numbers: its angle and its speed. So its
policy is **one picture**: each spot is a situation, the colour is the push.

**Behaviour cloning** shows a fresh neural network some examples, *in this situation, push like that*, and
adjusts it until it does the same.

The dots are 32 examples by a good player. Watch the student fill in the map between them.

**Try:** drag a dot, or click the map to add one.
""",
    ),
    Step(
        "few",
        "Few pairs",
        "A tiny set can replace a big one",
        """
A robot's log is long and mostly repetition: here 12,000 moments by a decent, a fearful and a random player.

What counts is the picture the student ends up with, and a smooth picture needs few dots, **if they are in the right
places** and say the right thing.

**Left:** pairs picked from the log at random. **Right:** as many pairs that are free to *move* and *change their
push* until students trained on them act well. That is **distillation**.
""",
    ),
    Step(
        "loops",
        "Two loops",
        "Two loops: train a student, then move the dots",
        """
**Inner loop.** A fresh student learns from the dots in some steps. Move the slider: at 0 it knows nothing; look
at 1, 5, 20.

**Outer loop.** Test the student on real situations. Then ask *through the whole training*: how should each dot
move so that the next student's error falls? This is the **hypergradient**, the arrows. The error falls at once, the
return follows later.

$$\\min_{D}\\; H\\big(\\pi_{\\theta(D)}\\big), \\quad \\theta(D) = \\text{training on } D$$

**Try:** *One outer step*, a few times; then *Play*.
""",
    ),
    Step("aims", "Three aims", "DBC, PBC, Av-PBC: what should students act like?", ""),
    Step(
        "bounds",
        "Bounds",
        "How fast can small mistakes add up?",
        """
A reward in $t$ steps counts $\\gamma^t$. The policy looks about $1/(1-\\gamma)$ steps ahead, its **horizon**.
The paper bounds the lost return by the objective's value $\\varepsilon$:

| | loses at most |
|---|---|
| PBC | $\\dfrac{2 R_{\\max}}{(1-\\gamma)^2}\\,\\varepsilon_{\\text{PBC}}$ |
| Av-PBC | $\\dfrac{1}{1-\\gamma}\\,\\varepsilon_{\\text{Av-PBC}}$ |

The two $\\varepsilon$ are **different quantities**: Av-PBC's already holds the action value, which can itself be as
large as $R_{\\max}/(1-\\gamma)$. So compare how the factors *grow* with the horizon, not their heights.
""",
    ),
    Step("figures", "Figures", "What was measured", ""),
    Step(
        "limits",
        "Limits",
        "What this does not show",
        """
- **Luck of the start.** Students differ by their random start only, yet some balance and some do not: each dot on the
  right is one student. A mean hides that.
- **The teacher sets the aim.** PBC and Av-PBC copy a teacher. A poor teacher gives a poor set.
- **Time.** The paper's results took 25 GPU-hours per set. Ours take minutes, on other data and
  with other teachers: the two do not compare figure by figure.
- **Simulated bodies only.** Three walking robots of one simulator and this pendulum; no real robot, no camera.
- **A set fits its recipe.** Other networks and other training work less well on the same pairs.
- **Here the teacher is exact,** computed from the known equations. On the robots it is learned from the log.
""",
    ),
    Step("playground", "Playground", "Playground", ""),
)
KEYS = tuple(step.key for step in STEPS)


def scene(key: str, settings: Settings) -> Scene | None:
    """What the playground's thread does at a step; None where there is nothing to watch."""
    size, seed = settings.size, settings.seed
    distilled = Lane(Settings("pbc", size, settings.inner_steps, seed), f"{size} distilled pairs")
    scenes = {
        "copy": Scene("copy", (Lane(Settings("pbc", 32, 40, 0), "Student"),), mode="inner"),
        "few": Scene(
            "few",
            (Lane(Settings("dbc", size, 40, seed), f"{size} pairs of the log, at random", frozen=True), distilled),
        ),
        # A seed whose first steps can be seen and whose return follows within a hundred; with others it takes longer.
        "loops": Scene("loops", (Lane(Settings("pbc", 12, 40, 4), "Student"),), autoplay=False),
        "aims": Scene(
            "aims",
            tuple(Lane(Settings(objective, size, 40, seed), style(objective).label) for objective in OBJECTIVE_KEYS),
        ),
        "limits": Scene("limits", (Lane(SHIPPED, "16 distilled pairs", shipped=True),), crowd=True, autoplay=False),
        "playground": Scene("playground", (Lane(settings, "Student"),)),
    }
    return scenes.get(key)


VIEWS: dict[str, dict[str, Any]] = {  # which pictures and buttons the browser shows
    "copy": {"panels": ["teacher", "pendulum"], "controls": ["play", "reset"], "edit": True, "layout": "tall"},
    "few": {"panels": ["pendulum", "chart"], "controls": ["play", "reset"], "edit": False, "aspect": 1.6},
    "loops": {
        "panels": ["teacher", "pendulum"],
        "controls": ["play", "step", "inner", "reset"],
        "edit": True,
        "layout": "tall",
        "arrows": True,
    },
    "aims": {"panels": ["targets"], "controls": ["play", "reset"], "edit": False, "aspect": 3.25},
    "limits": {"panels": ["crowd"], "controls": ["play", "step", "reset"], "edit": False, "layout": "even"},
    "playground": {
        "panels": ["teacher", "aim", "pendulum", "chart"],
        "controls": ["play", "step", "reset"],
        "edit": True,
    },
}


def shown(key: str, frame: Mapping[str, Any]) -> dict[str, Any]:
    """The frame as the browser gets it: with its message, and with arrows only where they are drawn."""
    lanes = frame["lanes"]
    if not VIEWS[key].get("arrows"):
        lanes = [{name: value for name, value in lane.items() if name != "arrows"} for lane in lanes]
    return {**frame, "lanes": lanes, "said": said(key, frame)}


def said(key: str, frame: Mapping[str, Any]) -> str:
    """The message of the moving picture, computed from its frame."""
    return minus(_said(key, frame))


def _said(key: str, frame: Mapping[str, Any]) -> str:
    lanes, references = frame["lanes"], frame["references"]
    last = lanes[-1]
    agrees = f"pushes the same way as the teacher on {100 * last['agreement']:.0f} % of the map"
    if key == "copy":
        inner = frame["inner"]
        steps = last["inner_steps"] if inner is None else min(inner, last["inner_steps"])
        return f"After {steps} of {last['inner_steps']} training steps the student {agrees}."
    if key == "loops":
        return _loops_sentence(last, frame["inner"], agrees)
    if key == "few":
        return (
            f"Random pairs give a student that returns {_return(lanes[0])}, distilled ones {_return(last)} after "
            f"{_steps(last['steps'])} (teacher {references['teacher']:.0f}, doing nothing {references['nothing']:.0f})."
        )
    if key == "aims":
        parts = ", ".join(f"{lane['label']} {_return(lane)}" for lane in lanes)
        measured = [lane for lane in lanes if lane["returns"]]
        worst = min(measured, key=lambda lane: lane["returns"][-1][1], default=None)
        ending = f" {worst['label']} is behind." if worst else ""
        return f"Returns after {_steps(last['steps'])}: {parts}; teacher {references['teacher']:.0f}.{ending}"
    if key == "limits":
        return crowd_sentence(frame["crowd"])
    return (
        f"The student {agrees} and returns {_return(last)} "
        f"(teacher {references['teacher']:.0f}, doing nothing {references['nothing']:.0f})."
    )


def _loops_sentence(lane: Mapping[str, Any], inner: int | None, agrees: str) -> str:
    """Where the inner or the outer loop stands; the outer one is judged by the error that it minimises."""
    trained = lane["inner_steps"] if inner is None else min(inner, lane["inner_steps"])
    student = f"the student {agrees}" if trained else f"an untrained student {agrees}"
    if lane["steps"] == 0:
        return f"After {trained} of {lane['inner_steps']} inner steps {student}."
    losses = lane["losses"] or [math.nan]
    error = f"the error was {losses[0]:.2f} before the first step"
    if len(losses) > 1:
        error += f", {losses[-1]:.2f} before the last"
    return f"After {_steps(lane['steps'])} {student}; {error}; return {_return(lane)}."


def _return(lane: Mapping[str, Any]) -> str:
    return f"{lane['returns'][-1][1]:.0f}" if lane["returns"] else "not measured yet"


def _steps(count: int) -> str:
    return f"{count} outer step{'' if count == 1 else 's'}"


def measured_sentence(measured: Mapping[str, Any]) -> str:
    """What ``python -m obd bench playground`` found for the smallest size; empty when it was not run."""
    sets = measured.get("sets", [])
    if not sets:
        return ""
    size = min(entry["size"] for entry in sets)
    found = {entry["name"]: entry for entry in sets if entry["size"] == size}
    parts = ", ".join(
        f"{style(key).label} {found[key]['mean']:.0f} ± {found[key]['std']:.0f}"
        for key in ("random_selection", *OBJECTIVE_KEYS)
        if key in found
    )
    return minus(
        f"{size} pairs, {measured['seeds'] * measured['students']} students each: {parts}; all "
        f"{measured['transitions']:,} pairs copied {measured['whole_bc']['mean']:.0f}, "
        f"teacher {measured['teacher']:.0f}."
    )


def crowd_sentence(returns: Sequence[float]) -> str:
    """How many of the fresh students swing up, and what their mean hides."""
    if not returns:
        return "The students are being trained."
    good = sum(value > GOOD_RETURN for value in returns)
    return (
        f"{good} of {len(returns)} fresh students trained on the same pairs return more than {GOOD_RETURN:.0f}; "
        f"their mean is {sum(returns) / len(returns):.0f}, the worst {min(returns):.0f}, the best {max(returns):.0f}."
    )


def figures_sentence(paper: Mapping[str, float], ours: Mapping[str, Any]) -> str:
    """What paper and we have in common, and what not; ``ours`` maps keys to estimates."""
    order = " < ".join(style(key).label for key in sorted(paper, key=lambda key: paper[key]))
    text = f"On average the paper finds {order}."
    known = {key: ours[key].mean for key in paper if key in ours}
    if len(known) == len(paper):
        here = " < ".join(style(key).label for key in sorted(known, key=lambda key: known[key]))
        text += f" Here: {here}" + (", the same order." if here == order else ".")
        clear = ours["av_pbc"].low > ours["pbc"].high
        text += "" if clear else " The intervals of PBC and Av-PBC overlap here, so their order is not established."
    return text + " Data, teacher and time differ: compare within a chart, not across."


def bound_factors(gamma: float) -> tuple[float, float]:
    """Factors of epsilon in the bounds of Lei et al. 2024 (arXiv 2410.22728) with R_max = 1: PBC's and Av-PBC's."""
    return 2 / (1 - gamma) ** 2, 1 / (1 - gamma)


def bounds_sentence(gamma: float) -> str:
    """What the slider of gamma says, relative to half the horizon."""
    pbc, av_pbc = bound_factors(gamma)
    horizon = 1 / (1 - gamma)
    return (
        f"With γ = {gamma:g} the horizon is {horizon:.0f} steps and the factors are {pbc:,.0f} · R_max for PBC and "
        f"{av_pbc:,.0f} for Av-PBC. Doubling the horizon multiplies PBC's by 4 and Av-PBC's by 2."
    )


def bounds_chart(gamma: float, highest: float = 0.999) -> dict[str, Any]:
    """Both factors over the horizon on logarithmic axes, with marks at ``gamma``."""
    horizons = [
        10 ** (k / 20) for k in range(math.ceil(20 * math.log10(2)), round(20 * math.log10(1 / (1 - highest))) + 1)
    ]
    series = []
    here = 1 / (1 - gamma)
    for number, key in enumerate(("pbc", "av_pbc")):
        look = style(key)
        curve = [[round(h, 3), round(bound_factors(1 - 1 / h)[number], 3)] for h in horizons]
        mark = round(bound_factors(gamma)[number], 3)
        colour = {"color": look.colour}
        series.append(
            {
                "type": "line",
                "name": look.label,
                "data": curve,
                "showSymbol": False,
                "lineStyle": {**colour, "type": look.dash, "width": 2.5},
                "itemStyle": colour,
                "emphasis": {"disabled": True},
            }
        )
        label = {
            "show": True,
            "position": "top" if here > 5 else "left",  # where the rising curve is not, and inside the frame
            "align": "right",
            "formatter": f"{look.label} {mark:,.0f}",
            **colour,
            "fontWeight": "bold",
        }
        series.append(
            {
                "type": "scatter",
                "data": [[round(here, 3), mark]],
                "symbol": look.symbol,
                "symbolSize": 13,
                "itemStyle": colour,
                "label": label,
                "tooltip": {"show": False},
            }
        )
    axis = {"type": "log", "splitLine": {"show": True, "lineStyle": {"opacity": 0.3}}, "nameLocation": "middle"}
    return {
        "animation": False,
        "grid": {"left": 16, "right": 24, "top": 20, "bottom": 20},
        "legend": {"show": False},
        "tooltip": {"trigger": "axis", "valueFormatter": "%.0f"},
        "xAxis": {**axis, "name": "horizon 1/(1 − γ), steps", "nameGap": 28, "min": 1, "max": 1000},
        "yAxis": {**axis, "name": "factor of ε (R_max = 1)", "nameGap": 64, "min": 1, "max": 10_000_000},
        "series": series,
    }
