"""The lines that ``python -m obd bench paper-table`` wrote, summarised: dataset x method under a time budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from obd.config import DistillConfig, preset
from obd.data.catalog import BUILTIN
from obd.runs.baselines import dataset_baselines
from obd.runs.lines import Line
from obd.runs.published import published_returns
from obd.runs.statistics import bootstrap_interval, interquartile_mean

NAME = "paper_table"
FIELDS = ("dataset", "dataset_hash", "method", "seed", "budget_seconds", "outer_steps", "students", "ensemble")


@dataclass(frozen=True)
class Method:
    """A row of the table: a preset with an objective, or a selection without any distillation.

    Attributes:
        density_power: tau of the state-density weights.
        selection: one of :data:`obd.students.SELECTIONS`; nothing is distilled then.
        architecture: of the students, one of :data:`obd.students.ARCHITECTURES`.
        size: synthetic pairs.
        plain: distilled by generic double backward instead of our engine.
        rival: competes with Av-PBC for the best: as many pairs for one network each; variants of it do not.
    """

    label: str
    objective: str = "av_pbc"
    preset: str = "default"
    density_power: float = 0.0
    selection: str = ""
    architecture: str = "recipe"
    size: int = 256
    plain: bool = False
    rival: bool = True

    def config(self, dataset_id: str, seed: int, steps: int) -> DistillConfig:
        return preset(
            self.preset,
            dataset=dataset_id,
            objective=self.objective,
            density_power=self.density_power,
            size=self.size,
            seed=seed,
            steps=steps,
        )


METHODS = {
    "av_pbc": Method("Av-PBC"),
    "av_pbc_columns": Method("Av-PBC, students of four columns", architecture="columns4", rival=False),
    "av_pbc_light": Method("Av-PBC, 256 units", preset="light", architecture="columns1", rival=False),
    "av_pbc_light_columns": Method("Av-PBC, students of four columns of 256 units", preset="light", rival=False),
    "av_pbc_64": Method("Av-PBC, 64 pairs", size=64, rival=False),
    "av_pbc_64_columns": Method(
        "Av-PBC, 64 pairs, students of four columns", size=64, architecture="columns4", rival=False
    ),
    "pbc": Method("PBC", "pbc"),
    "pbc_columns": Method("PBC, students of four columns", "pbc", architecture="columns4", rival=False),
    "dbc": Method("DBC", "dbc"),
    "dbc_columns": Method("DBC, students of four columns", "dbc", architecture="columns4", rival=False),
    "av_pbc_density": Method("Av-PBC, state-density weights", density_power=0.1),
    "gradient_matching": Method("Gradient matching", "gradient_matching"),
    "paper": Method("Av-PBC, the paper's settings", preset="paper"),
    "paper_plain": Method("Av-PBC, the paper's settings by double backward", preset="paper", plain=True),
    "kmeans": Method("k-means++ selection", selection="kmeans_teacher"),
    "top_q": Method("top-Q selection", selection="top_q"),
}


def key(line: Line) -> tuple[str, str, int, float]:
    """What is measured once; a dataset is known by its id, since processors round its content differently."""
    return line["dataset"], line["method"], line["seed"], line["budget_seconds"]


@dataclass(frozen=True)
class Overall:
    """One method over the datasets whose teachers were measured; students and, in each second value, ensembles of ten.

    Attributes:
        mean: normalised return.
        share: of the teacher's return.
        capped: the same, no dataset counted as more than 1: students may outdo their teacher.
        spread: standard deviation over the students of one set, as a share of their mean.
    """

    datasets: int
    mean: tuple[float, float]
    share: tuple[float, float]
    capped: tuple[float, float]
    spread: float


def overall(found: Sequence[Line], method: str) -> Overall | None:
    """Means over the datasets of the rows of ``method``; None when there are none with a teacher."""
    mine = [row for row in found if row["method"] == method and row.get("share_of_teacher") is not None]
    if not mine:
        return None
    returns = np.array([(row["mean"], row["ensemble"]) for row in mine])
    shares = np.array([(row["share_of_teacher"], row["ensemble_share_of_teacher"]) for row in mine])
    one, together = returns.mean(0)
    share, shared = shares.mean(0)
    capped, capped_together = np.minimum(shares, 1.0).mean(0)
    spread = np.mean([row["std_over_students"] / abs(row["mean"]) for row in mine])
    return Overall(
        len(mine),
        (float(one), float(together)),
        (float(share), float(shared)),
        (float(capped), float(capped_together)),
        float(spread),
    )


def rows(dataset_id: str, lines: list[Line], budget: float) -> list[Line]:
    """The rows of one dataset: baselines, then what was distilled, each with the paper's figure."""
    mine = [line for line in lines if line["dataset"] == dataset_id and line["budget_seconds"] == budget]
    if not mine:
        return []
    env_id = BUILTIN[dataset_id].env_id if dataset_id in BUILTIN else ""
    paper, baselines = published_returns(env_id, dataset_id), dataset_baselines(dataset_id, 256)
    teacher = baselines.get("teacher", {}).get("normalized_return_mean")
    found = []
    for name, score in baselines.items():
        found.append(
            {
                "dataset": dataset_id,
                "method": name,
                "mean": score["normalized_return_mean"],
                "ci95": score["normalized_return_ci95"],
                "std_over_students": score["normalized_return_std_over_students"],
                "share_of_teacher": score["normalized_return_mean"] / teacher if teacher else None,
                "paper": paper.get(name),
            }
        )
    for method in METHODS:
        of_method = [line for line in mine if line["method"] == method]
        if not of_method:
            continue
        students = [np.asarray(line["students"]) for line in of_method]
        ensemble = float(np.mean([line["ensemble"] for line in of_method]))
        mean = float(np.mean([returns.mean() for returns in students]))
        found.append(
            {
                "dataset": dataset_id,
                "method": method,
                "distillations": len(of_method),
                "outer_steps": of_method[0]["outer_steps"],
                "mean": mean,
                "ci95": list(bootstrap_interval(students)),
                "interquartile_mean": interquartile_mean(np.concatenate([returns.mean(1) for returns in students])),
                "std_over_students": float(np.mean([returns.mean(1).std(ddof=1) for returns in students])),
                "ensemble": ensemble,
                "share_of_teacher": mean / teacher if teacher else None,
                "ensemble_share_of_teacher": ensemble / teacher if teacher else None,
                "paper": paper.get("av_pbc" if METHODS[method].preset == "paper" else method),
                "paper_ensemble": paper.get("av_pbc_ensemble") if method == "av_pbc" else None,
            }
        )
    return found
