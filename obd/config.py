"""Settings as frozen dataclasses; one description of every field serves the command line and the app's forms."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obd.errors import ObdError

MAIN_OBJECTIVES = ("dbc", "pbc", "av_pbc")  # those of Lei et al. 2024, which the app starts with
OBJECTIVES = (*MAIN_OBJECTIVES, "gradient_matching")
DEFAULT_DATASET = "obd/halfcheetah/medium-replay-v0"
ALL_STATES_FROM, LEAST_SHARE = 256, 0.15  # pairs that look after all states alike; see visitation_share


@dataclass(frozen=True)
class Option:
    """How a field is explained and bounded.  ``group`` says where a form shows it."""

    label: str
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    group: str = "advanced"


def option(default: Any, label: str, help: str, **keywords: Any) -> Any:
    """A dataclass field that carries its :class:`Option`."""
    return dataclasses.field(default=default, metadata={"option": Option(label, help, **keywords)})


@dataclass(frozen=True)
class DistillConfig:
    """Everything that determines a distillation run.

    Defaults: long inner loops with momentum, a learned step size per layer that decays inside the inner loop,
    Adam outside.  ``PRESETS["paper"]`` holds the settings of Lei et al. 2024 (arXiv 2410.22728).
    """

    dataset: str = option(DEFAULT_DATASET, "Dataset", "the offline dataset to distil", group="main")
    objective: str = option("av_pbc", "Objective", "what the outer loop minimises", choices=OBJECTIVES, group="main")
    size: int = option(256, "Synthetic pairs", "how many state-action pairs to distil", low=1, high=4096, group="main")
    seconds: float | None = option(
        180.0, "Seconds", "time budget; becomes a step count after a short calibration", low=1, high=1e6, group="main"
    )
    steps: int | None = option(
        None, "Outer steps", "fixed number of outer steps instead of a time budget", low=1, high=10_000_000
    )
    seed: int = option(0, "Seed", "fixes every random choice of the run", low=0, high=2**31 - 1, group="main")
    teacher: str = option("", "Teacher", "teacher file; empty means the one shipped for the dataset", group="main")
    device: str = option("auto", "Device", "auto is CUDA, then MPS, then CPU", choices=("auto", "cpu", "cuda", "mps"))
    preset: str = option("default", "Preset", "name of the settings this run started from")

    hidden_layers: int = option(2, "Hidden layers", "of the student policy", low=1, high=8)
    hidden_width: int = option(512, "Hidden width", "units per hidden layer", low=4, high=2048)
    columns: int = option(
        1,
        "Columns",
        "networks side by side that make one student of the finished set; the distillation itself trains single ones",
        low=1,
        high=16,
    )
    inner_steps: int = option(80, "Inner steps", "gradient steps of each student", low=1, high=1000)
    inner_batch: int = option(
        128, "Pairs per inner step", "blocks of this size are taken in turn; 0 takes all pairs", low=0, high=4096
    )
    inner_momentum: float = option(0.9, "Inner momentum", "of the student's SGD", low=0.0, high=0.999)
    inner_step_size: float = option(0.2, "Inner step size", "start value of the student's step size", low=1e-5, high=10)
    output_gain: float = option(
        0.1, "Output gain", "scale of the student's last layer at its start; the paper's is 1.414", low=0.0, high=10
    )
    learn_step_sizes: bool = option(True, "Learn step sizes", "distil one step size per layer along with the data")
    step_size_decay: bool = option(True, "Decay step size", "linearly to zero inside the inner loop")
    initialisations: int = option(2, "Initialisations", "student starts averaged in each outer step", low=1, high=64)

    outer_optimizer: str = option("adam", "Outer optimizer", "updates the synthetic pairs", choices=("adam", "sgd"))
    outer_step_size: float = option(0.05, "Outer step size", "of the synthetic pairs", low=1e-6, high=10)
    outer_momentum: float = option(0.9, "Outer momentum", "SGD's momentum or Adam's first decay", low=0.0, high=0.999)
    outer_schedule: str = option("cosine", "Outer schedule", "step size over the run", choices=("cosine", "constant"))
    step_size_rate: float = option(0.05, "Rate of the step sizes", "outer step of their logarithms", low=0, high=1)
    batch_size: int = option(2048, "Real states per step", "drawn afresh at each outer step", low=1, high=65_536)
    early_share: float = option(
        0.5,
        "Early share",
        "part of the real states drawn from the starts of episodes (discounted time) instead of evenly",
        low=0.0,
        high=1.0,
    )
    early_discount: float = option(
        0.98, "Early discount", "how fast that part fades with the time step", low=0.0, high=0.9999
    )
    clipping: str = option(
        "robust",
        "Hypergradient clipping",
        "robust: at 1.5 times the running median, skipped beyond 10 times; norm: at a fixed norm",
        choices=("robust", "norm"),
    )
    clip_norm: float = option(2.0, "Clip norm", "for clipping = norm", low=1e-6, high=1e6)
    q_weighting: str = option(
        "shifted",
        "Action-value weights",
        "shifted: never negative, mean 1; raw: 0.02 q as published",
        choices=("shifted", "raw"),
    )
    density_power: float = option(
        0.0,
        "Density power",
        "rare states count more: every weight times density to the power of minus this; 0 is off, try 0.1",
        low=0.0,
        high=1.0,
    )
    visitation_share: float = option(
        0.0,
        "Visitation share",
        "states that the data came to by actions like the teacher's count more, until this share of all counts "
        "effectively; 1 is off, 0 follows the number of pairs: N / 256, at least 0.15 and at most 1",
        low=0.0,
        high=1.0,
    )
    action_start: str = option(
        "teacher",
        "Actions start at",
        "the teacher's actions (PBC, Av-PBC) or the actions in the data",
        choices=("teacher", "data"),
    )
    precision: str = option(
        "auto",
        "Matrix precision",
        "of the distillation's matrix products: bfloat16, with sums over steps in 32 bits, or one of "
        "torch.set_float32_matmul_precision; auto is bfloat16 if the processor has instructions for it, else highest",
        choices=("auto", "bfloat16", "medium", "high", "highest"),
    )
    snapshots: int = option(24, "Snapshots", "stored states of the synthetic set", low=1, high=500)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check(field.name, getattr(self, field.name), field.metadata["option"])
        if self.steps is None and self.seconds is None:
            raise ObdError("Give either a time budget (seconds) or a number of outer steps.")

    @property
    def share_of_states(self) -> float:
        """The visitation share: as given, or fewer pairs look after fewer states; 1 without a teacher (DBC)."""
        if self.objective == "dbc":
            return 1.0
        return self.visitation_share or min(1.0, max(LEAST_SHARE, self.size / ALL_STATES_FROM))

    def replace(self, **changes: Any) -> DistillConfig:
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DistillConfig:
        """Rebuild from :meth:`to_dict`; raises ObdError on unknown or invalid fields.

        A small set stored without a visitation share is from before there was one, and goes on without.
        """
        if values.get("size", ALL_STATES_FROM) < ALL_STATES_FROM:
            values = {"visitation_share": 1.0, **values}
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ObdError(f"Unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")
        return cls(**values)


def options(config_type: type) -> dict[str, Option]:
    """Field name -> Option, in declaration order."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(config_type)}


def check(name: str, value: Any, described: Option) -> None:
    """Raise ObdError with one sentence if ``value`` is outside the bounds of its option."""
    if value is None:
        return
    flag = name.replace("_", " ")
    if described.choices is not None and value not in described.choices:
        raise ObdError(f"The {flag} must be one of {', '.join(described.choices)}, not {value!r}.")
    if described.low is None or described.high is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ObdError(f"The {flag} must be a number, not {value!r}.")
    if not described.low <= value <= described.high:
        raise ObdError(f"The {flag} must lie between {described.low:g} and {described.high:g}, not {value:g}.")


def dumps(values: Any) -> str:
    """JSON as the project writes it: indented, sorted, no NaN."""
    return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # 3 times as many outer steps in the same time without AMX; single students of 256 units differ too much.
    "light": {"hidden_width": 256, "columns": 4},
    # Lei, Zhang, Tao (NeurIPS 2024), section 5 and appendix: plain SGD inside and outside, raw action values.
    "paper": {
        "hidden_layers": 3,
        "hidden_width": 256,
        "inner_steps": 100,
        "inner_batch": 0,
        "inner_momentum": 0.0,
        "inner_step_size": 0.1,
        "output_gain": 2**0.5,
        "learn_step_sizes": False,
        "step_size_decay": False,
        "outer_optimizer": "sgd",
        "outer_step_size": 0.1,
        "outer_momentum": 0.9,
        "outer_schedule": "constant",
        "initialisations": 1,
        "batch_size": 2560,
        "early_share": 0.0,
        "clipping": "norm",
        "clip_norm": 2.0,
        "q_weighting": "raw",
        "visitation_share": 1.0,
        "action_start": "data",
        "precision": "highest",
    },
}


def preset(name: str, **changes: Any) -> DistillConfig:
    """The named preset with ``changes`` applied."""
    if name not in PRESETS:
        raise ObdError(f"Unknown preset {name!r}; known are {', '.join(PRESETS)}.")
    return DistillConfig(**{**PRESETS[name], "preset": name, **changes})


def usual_preset() -> str:
    """What suits this machine: ``default`` with a GPU or a processor with matrix units (AMX), else ``light``.

    Elsewhere, with instructions for bfloat16 or without, the few steps of a race give better students of 256 units;
    Apple's processors were not measured.  Read off without torch, which the first page of the app must not wait for.
    """
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        processor = ""
    return "default" if "amx_bf16" in processor or shutil.which("nvidia-smi") else "light"
