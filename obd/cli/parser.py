"""The flags of every command, made of the same descriptions as the app's forms."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from obd.cli import commands
from obd.cli.console import Interrupt
from obd.config import DEFAULT_DATASET, OBJECTIVES, PRESETS, DistillConfig, Option, options

KINDS = ("sac", "td3", "tqc")  # of policies that can be imported


def add_options(parser: Any, config_type: Any, skip: set[str], group: str = "") -> None:
    """One flag per setting, described as in the app; without the flag the default (or the preset) holds."""
    if group:
        parser = parser.add_argument_group(group)
    for field in dataclasses.fields(config_type):
        described: Option = field.metadata["option"]
        if field.name in skip:
            continue
        flag = "--" + field.name.replace("_", "-")
        text = described.help if group else f"{described.help} (default: {field.default})"
        text = text.replace("%", "%%")
        if isinstance(field.default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        kind: Callable[[str], Any] = str
        if described.low is not None:
            kind = int if "int" in str(field.type) else float
        parser.add_argument(flag, type=kind, choices=described.choices, default=None, help=text)


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError("must lie between 1 and 10000")
    return value


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m obd", description="Offline behaviour distillation from the command line.")
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    def command(
        name: str, function: Callable[[argparse.Namespace, Interrupt], commands.Output], text: str, more: str = ""
    ) -> Parser:
        sub: Parser = subparsers.add_parser(name, help=text, description=text + more)
        sub.set_defaults(function=function)
        sub.add_argument("--json", action="store_true", help="print one JSON object to stdout")
        return sub

    command("datasets", commands.datasets, "list what can be opened")

    sub = command("collect", commands.collect, "build a built-in dataset from the shipped behaviour policies")
    sub.add_argument("id")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--workers", type=positive, default=None, help="processes (default: one per core)")

    sub = command("import", commands.import_data, "turn a D4RL-style HDF5 or NPZ file into a local Minari dataset")
    sub.add_argument("file", type=Path, metavar="FILE")
    sub.add_argument("--env", required=True, metavar="ENV_ID", help="Gymnasium environment it was recorded in")
    sub.add_argument("--id", required=True, metavar="NAMESPACE/NAME-v0", help="id of the new dataset")
    sub.add_argument("--recompute-rewards", action="store_true", help="compute all rewards again by simulation")
    sub.add_argument("--drop-bad-episodes", action="store_true", help="leave out episodes with NaN or infinity")
    sub.add_argument("--replace", action="store_true", help="overwrite a dataset of this id")
    sub.add_argument("--licence", default="", help="licence of the data, for its card")

    from obd.teachers import ALGORITHMS, DEFAULT_PRESET
    from obd.teachers.training import TeacherConfig

    sub = command("teach", commands.teach, "train a near-expert offline, from one dataset only")
    sub.add_argument("--dataset", default=DEFAULT_DATASET)
    sub.add_argument("--algorithm", default="td3_bc", help=", ".join(ALGORITHMS))
    text = "fast: about three minutes on one core; paper: as published (behaviour cloning: long); TD3+BC has steady too"
    sub.add_argument("--preset", default=DEFAULT_PRESET, help=f"settings that flags then change; {text}")
    sub.add_argument("--out", type=Path, required=True)
    add_options(sub, TeacherConfig, skip=set(), group="settings of every algorithm (behaviour cloning: some)")
    seen = set(options(TeacherConfig))
    for row in ALGORITHMS.values():  # a setting of several algorithms is one flag, under the first of them
        add_options(sub, row.config, skip=seen, group=f"settings of {row.label}")
        seen |= set(options(row.config))

    sub = command("import-policy", commands.import_policy, "make a teacher of a policy saved by stable-baselines3")
    sub.add_argument("file", type=Path, metavar="FILE.zip", help="what model.save(...) wrote; nothing is unpickled")
    sub.add_argument("--algorithm", choices=KINDS, required=True)
    where = sub.add_mutually_exclusive_group(required=True)
    where.add_argument("--dataset", help="the dataset whose environment the policy is for")
    where.add_argument("--env", help="the environment the policy is for")
    sub.add_argument("--episodes", type=positive, default=10)
    sub.add_argument("--out", type=Path, required=True, metavar="TEACHER.safetensors")

    sub = command("distill", commands.distill, "distil a dataset into synthetic state-action pairs")
    sub.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")
    sub.add_argument("--preset", choices=tuple(PRESETS), default=None, help="named settings that flags then change")
    sub.add_argument("--objective", choices=OBJECTIVES, required=True)
    add_options(sub, DistillConfig, skip={"objective", "preset"})

    sub = command("resume", commands.resume, "continue a stopped or interrupted run")
    sub.add_argument("run_dir", type=Path)

    more = (
        ". For a finished run in the runs folder the scores of the students it was distilled for (recipe, recipe) are "
        "stored with the run, where the app shows them, unless those it has are from more episodes; in every other "
        "case they are printed only."
    )
    sub = command("evaluate", commands.evaluate, "train students on a distilled set and measure their returns", more)
    sub.add_argument("run_dir", type=Path)
    sub.add_argument("--students", type=positive, default=10)
    sub.add_argument("--episodes", type=positive, default=10)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--ensemble", action="store_true", help="also measure the students' mean action")
    sub.add_argument(
        "--architecture",
        default="recipe",
        help="recipe, mlp2 ... mlp6, residual, width64 ... width1024, columns1, columns4",
    )
    sub.add_argument("--optimizer", default="recipe", help="recipe, sgd, sgdm, adam, adamw")

    sub = command("export", commands.export, "write a distilled set or a student to a file, with its card")
    sub.add_argument("run_dir", type=Path)
    sub.add_argument("--format", choices=commands.EXPORT_FORMATS, required=True)
    sub.add_argument("--out", type=Path, required=True, metavar="FILE")

    sub = command("import-set", commands.import_set, "make a run of a distilled set that was exported")
    sub.add_argument("file", type=Path, metavar="FILE", help=".npz or .safetensors")
    sub.add_argument("--out", type=Path, required=True, metavar="RUN_DIR")

    sub = command("criticality", commands.criticality, "measure which states a run picked: critical, covering?")
    sub.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    sub.add_argument("--step", type=int, default=None, help="outer step of the snapshot (default: the newest)")

    sub = command("bench", commands.bench, "measure and print a benchmark")
    sub.add_argument("name", choices=tuple(commands.BENCHMARKS))
    sub.add_argument("--quick", action="store_true", help="a short version for a first look")
    some = sub.add_argument_group("taken by some benchmarks")
    some.add_argument("--dataset", help=f"teacher-scores: default {DEFAULT_DATASET}")
    text = (
        "shipped-teachers, paper-table: default all built-in ones; generalisation, sizes: the medium-replay sets; "
        f"baselines, time-to-return: {DEFAULT_DATASET}"
    )
    some.add_argument("--datasets", nargs="+", metavar="ID", help=text)
    some.add_argument("--methods", nargs="+", metavar="NAME", help="paper-table, baselines: default all")
    text = (
        "baselines, paper-table, teacher-scores, time-to-return: how many (default: 3); "
        "generalisation, sizes (default: 1)"
    )
    some.add_argument("--seeds", type=positive, help=text)
    text = "paper-table, generalisation, sizes: a run's budget (default: 180); time-to-return: of the paper's settings"
    some.add_argument("--seconds", type=float, help=text)
    text = "teacher-scores: updates per training; the others: outer steps in the budget, instead of measuring them"
    some.add_argument("--steps", type=int, help=text)
    some.add_argument("--algorithms", nargs="+", metavar="NAME", help=f"teacher-scores: {', '.join(ALGORITHMS)}")
    text = "teacher-scores: settings of the algorithms (default: fast); time-to-return: ours (default: as the app's)"
    some.add_argument("--preset", help=text)
    return parser
