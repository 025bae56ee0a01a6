"""How every method looks and is explained: the only place that knows colours, symbols and sentences about them."""

from __future__ import annotations

from dataclasses import dataclass

DASHES = ("solid", "dashed", "dotted", "dashdot")


@dataclass(frozen=True)
class Style:
    """The look of one method on every page.

    Attributes:
        label: short name.
        colour: near the Okabe-Ito palette, told apart under the common colour-vision deficiencies, with a luminance
            that has a contrast of at least 3:1 (WCAG 2.2, 1.4.11) with every background of both themes.  That is
            enough for lines and symbols, not for words: text beside them keeps the text colour.
        symbol: ECharts symbol name, so that nothing depends on colour alone.
        glyph: the same symbol as a character, for running text.
        dash: solid, dashed, dotted or dashdot.
        explanation: one line in plain words.
        formula: LaTeX without dollar signs, empty for a baseline.
    """

    label: str
    colour: str
    symbol: str
    glyph: str
    dash: str
    explanation: str
    formula: str = ""

    def dash_of(self, number: int) -> str:
        """The dash of the line with this number among lines of one method; they take the dashes in turn."""
        return DASHES[(DASHES.index(self.dash) + number) % len(DASHES)]


STYLES: dict[str, Style] = {
    "dbc": Style(
        "DBC",
        "#C27C00",
        "rect",
        "■",
        "dotted",
        "students imitate the actions in the data, good and bad alike",
        r"\mathbb{E}_{(s,a)\sim D}\;\lVert \pi(s) - a \rVert^2",
    ),
    "pbc": Style(
        "PBC",
        "#1F7FC4",
        "triangle",
        "▲",
        "dashed",
        "students imitate what the teacher would do in the same states",
        r"\mathbb{E}_{s\sim D}\;\lVert \pi(s) - \pi^*(s) \rVert^2",
    ),
    "av_pbc": Style(
        "Av-PBC",
        "#00946B",
        "circle",
        "●",
        "solid",
        "like PBC, but states with a high action value count more",
        r"\mathbb{E}_{s\sim D}\;q^*(s,\pi^*(s))\,\lVert \pi(s) - \pi^*(s) \rVert^2",
    ),
    "gradient_matching": Style(
        "Grad. match",
        "#9150E6",
        "emptyDiamond",
        "◇",
        "dashdot",
        "the pairs push a student the way the teacher's actions in the data would",
        r"\mathbb{E}_{\theta}\;\lVert g_{\mathrm{syn}} - g_{\mathrm{real}} \rVert^2 / "
        r"\lVert g_{\mathrm{real}} \rVert^2,\; g = \nabla_\theta \lVert \pi_\theta - a \rVert^2",
    ),
    "random_selection": Style(
        "Random selection",
        "#858585",
        "emptyCircle",
        "○",
        "dashed",
        "as many pairs drawn at random from the data",
    ),
    "teacher": Style(
        "Teacher",
        "#CC4F9E",
        "diamond",
        "◆",
        "solid",
        "the policy that offline reinforcement learning found in the data",
    ),
    "whole_bc": Style(
        "Whole-data BC",
        "#96783C",
        "emptyRect",
        "□",
        "dotted",
        "imitation of every action in the data",
    ),
    "paper": Style(
        "The paper's settings",
        "#8C70D0",
        "emptyTriangle",
        "△",
        "dashed",
        "Av-PBC with the published settings for the same time",
    ),
    "paper_plain": Style(
        "The paper's, double backward",
        "#8C70D0",
        "emptyDiamond",
        "◈",
        "dotted",
        "the published settings for the same time, by generic automatic differentiation",
    ),
    "av_pbc_density": Style(
        "Av-PBC, density weights",
        "#6F8A00",
        "emptyCircle",
        "◌",
        "dashed",
        "Av-PBC where rare states count more (state-density weighting)",
    ),
    "av_pbc_columns": Style(
        "Av-PBC, four columns",
        "#00946B",
        "emptyCircle",
        "◎",
        "solid",
        "students of four networks side by side, trained on the error of their mean",
    ),
    "pbc_columns": Style(
        "PBC, four columns",
        "#1F7FC4",
        "emptyTriangle",
        "△",
        "solid",
        "students of four networks side by side, trained on the error of their mean",
    ),
    "dbc_columns": Style(
        "DBC, four columns",
        "#C27C00",
        "emptyRect",
        "□",
        "solid",
        "students of four networks side by side, trained on the error of their mean",
    ),
    "av_pbc_light": Style(
        "Av-PBC, 256 units", "#00946B", "diamond", "◆", "dashed", "Av-PBC as a processor without matrix units runs it"
    ),
    "av_pbc_light_columns": Style(
        "Av-PBC, four columns of 256",
        "#00946B",
        "emptyRect",
        "□",
        "dashdot",
        "students of four such networks side by side",
    ),
    "av_pbc_64": Style(
        "Av-PBC, 64 pairs", "#00946B", "emptyDiamond", "◇", "dotted", "Av-PBC with a quarter of the synthetic pairs"
    ),
    "av_pbc_64_columns": Style(
        "Av-PBC, 64 pairs, four columns",
        "#00946B",
        "emptyTriangle",
        "△",
        "dotted",
        "a quarter of the pairs, students of four networks side by side",
    ),
    "kmeans": Style(
        "k-means++ selection", "#858585", "emptyDiamond", "◇", "dashed", "pairs chosen to cover the data, relabelled"
    ),
    "top_q": Style("Top-Q selection", "#858585", "emptyTriangle", "▽", "dashed", "the pairs of highest action value"),
    # What is plotted while a teacher is trained.
    "critic_loss": Style("critic", "#D0602A", "diamond", "◆", "solid", "squared error of the action values"),
    "value_loss": Style("value", "#858585", "rect", "■", "dashed", "error of the state values"),
    "imitation_error": Style("distance to the data", "#96783C", "circle", "●", "dotted", "squared action distance"),
    "validation_loss": Style("validation", "#D0602A", "diamond", "◆", "solid", "error on held-out episodes"),
    "train_loss": Style("training", "#96783C", "circle", "●", "dotted", "error on the training batches"),
    "dataset": Style("Dataset", "#858585", "emptyCircle", "○", "dashed", "mean return of the episodes in the data"),
}

OBJECTIVE_KEYS = ("dbc", "pbc", "av_pbc")  # the paper's, which the app starts with
ALL_OBJECTIVE_KEYS = (*OBJECTIVE_KEYS, "gradient_matching")

# Cividis from 15 to 92 %: perceptually uniform, the same for colour-blind eyes, visible on white and on black.
CIVIDIS = ("#273F6F", "#434E6C", "#585D6D", "#6C6E72", "#828079", "#999276", "#B1A570", "#CBBA67", "#E4CF59")

NEUTRAL = "#8A8F98"  # reads on the light and on the dark background


def style(key: str) -> Style:
    """The style of an objective or baseline; a neutral one for a key nobody has described."""
    return STYLES.get(key) or Style(key, NEUTRAL, "circle", "●", "solid", "")


def tag(key: str) -> str:
    """Markdown: coloured symbol and label, for running text."""
    look = style(key)
    return f'<span style="color:{look.colour}">{look.glyph}</span>&nbsp;**{look.label}**'


# Streamlit has settings for colours and fonts but not for these margins.
CSS = """<style>
.stMainBlockContainer { padding-left: 2.5rem; padding-right: 2.5rem; max-width: 78rem; }
[data-testid="stSidebarHeader"] { height: 3rem; margin-bottom: 0; }
[data-testid="stMetricLabel"] { opacity: 0.75; }
video { border-radius: 0.4rem; aspect-ratio: auto 16 / 9; }
.st-key-hero { aspect-ratio: 16 / 9; }
/* Places that are kept until the pictures and the words come. */
.st-key-stand { min-height: 8.5rem; }
[class*="st-key-lines-"] { min-height: 3.75rem; }
.st-key-state-map { min-height: 29.5rem; }
.st-key-player { min-height: 40vh; }
.st-key-row-pose .stColumn .stElementContainer:first-child,
.st-key-row-relatives .stElementContainer { aspect-ratio: 1; }
/* The accent colour is made for the white text on buttons; as text on a dark page it would be too dim. */
button[data-variant="pills"][data-selected="true"], button[data-variant="segmented_control"][data-selected="true"],
[data-testid="stSliderThumbValue"] { color: inherit !important; }
/* Streamlit marks these too faintly when the keyboard reaches them. */
a:focus-visible, [data-testid="stElementToolbar"] button:focus-visible {
    outline: 2px solid currentColor !important; outline-offset: 1px;
}
.obd-poses { display: grid; grid-template-columns: max-content 1fr; gap: 0.6rem 0.75rem; align-items: center; }
.obd-poses img { width: 100%; border-radius: 0.3rem; display: block; }
@media (max-width: 640px) {
    .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; }
    h1 { font-size: 1.6rem !important; }
    /* Rows that stay rows. */
    [class*="st-key-row-"] .stHorizontalBlock { flex-wrap: nowrap; gap: 0.75rem; }
    [class*="st-key-row-"] .stColumn { min-width: 0; width: auto; flex: 1 1 0; }
    [class*="st-key-row-"] [data-testid="stMetricValue"] { font-size: 1.4rem; }
    [class*="st-key-row-"] [data-testid="stMetricLabel"] p { white-space: normal; }
    [class*="st-key-row-"] [data-testid="stMetricLabel"] .stTooltipIcon { display: none; }
    /* The pages and the settings are behind this button. */
    [data-testid="stExpandSidebarButton"] { width: auto; padding: 0 0.6rem; }
    [data-testid="stExpandSidebarButton"]::after { content: "Pages and settings"; font-size: 0.9rem; }
}
</style>"""
