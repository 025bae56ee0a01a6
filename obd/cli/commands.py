"""What each command does.  A command returns what it prints: a dictionary that is one JSON object."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import threading
import time
from typing import Any

from obd.cli.console import Interrupt, ProgressLine, say
from obd.config import DistillConfig, options, preset
from obd.errors import Cancelled, ObdError

Output = dict[str, Any]
REMOTE_SECONDS = 20.0  # that listing waits for Minari's server
EXPORT_FORMATS = ("npz", "safetensors", "minari", "torchscript")
BENCHMARKS = {name: name for name in ("engine", "baselines", "returns", "showcase", "generalisation", "sizes")} | {
    "density": "density",
    "teachers": "teachers",
    "teacher-scores": "teacher_scores",
    "shipped-teachers": "shipped_teachers",
    "playground": "playground",
    "paper-table": "paper_table",
    "time-to-return": "time_to_return",
    "scaling": "scaling",
}
# What some benchmarks take.
BENCH_OPTIONS = ("dataset", "datasets", "methods", "seeds", "seconds", "steps", "algorithms", "preset")


def datasets(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.data.catalog import list_datasets
    from obd.data.remote import list_remote

    found = list_datasets()
    try:
        known = {info.id for info in found}
        found += [info for info in list_remote(REMOTE_SECONDS, stop) if info.id not in known]
        note = ""
    except ObdError as error:
        note = str(error)
    rows = [dataclasses.asdict(info) | {"origin": info.origin} for info in found]
    if not arguments.json:
        states = {"builtin": "collected on first use", "local": "ready", "remote": "on Minari's server"}
        for row in rows:
            state = "ready" if row["available"] else states[row["origin"]]
            state = state if row["usable"] else "not vectors: unusable"
            print(f"{row['id']:44} {row['env_id']:16} {state:24} {row['title'] if row['builtin'] else ''}".rstrip())
    if note:
        say(note)
    return {"datasets": rows}


def collect(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.data.catalog import collect as build

    start = time.monotonic()
    dataset = build(
        arguments.id,
        seed=arguments.seed,
        on_progress=ProgressLine(f"Collecting {arguments.id}"),
        should_stop=stop,
        workers=arguments.workers,
    )
    returns = dataset.normalized(dataset.episode_returns)
    return {
        "id": dataset.id,
        "transitions": len(dataset),
        "episodes": len(returns),
        "normalized_return_mean": round(float(returns.mean()), 2),
        "normalized_return_max": round(float(returns.max()), 2),
        "content_hash": dataset.content_hash,
        "seconds": round(time.monotonic() - start, 1),
    }


def import_data(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.dataset_import import import_file

    dataset, report = import_file(
        arguments.file,
        arguments.env,
        arguments.id,
        recompute=arguments.recompute_rewards,
        drop_bad_episodes=arguments.drop_bad_episodes,
        replace=arguments.replace,
        licence=arguments.licence,
        on_progress=ProgressLine(f"Importing {arguments.file.name}"),
        should_stop=stop,
    )
    found = report.to_dict()
    if not arguments.json:
        for kind, title in (("repairs", "repaired"), ("warnings", "warning")):
            for finding in found[kind]:
                print(f"{title}: {finding['message']}")
    values = {"id": dataset.id, "episodes": len(dataset.episode_starts), "steps": len(dataset)}
    return values | (found if arguments.json else {})


def teach(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.evaluation import evaluate as score
    from obd.teachers import ALGORITHMS, algorithm, teacher_config, train
    from obd.teachers.teacher import save_teacher

    config_type = algorithm(arguments.algorithm).config
    if not arguments.out.parent.is_dir():
        raise ObdError(f"The folder {arguments.out.parent} does not exist; create it first.")
    for other in {name for row in ALGORITHMS.values() for name in options(row.config)} - set(options(config_type)):
        if getattr(arguments, other) is not None:
            raise ObdError(f"{arguments.algorithm} has no setting {other.replace('_', ' ')}; leave it out.")
    changes = chosen(arguments, config_type)
    config = teacher_config(arguments.algorithm, arguments.preset, arguments.dataset, **changes)
    dataset = open_dataset(arguments.dataset, stop)
    line = ProgressLine("Training the teacher")

    def on_progress(step: int, metrics: dict[str, float]) -> None:
        detail = " ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "fraction")
        line(metrics.get("fraction", 0.0), f"update {step} {detail}")

    start = time.monotonic()
    teacher = train(arguments.algorithm, dataset, config, on_progress, stop)
    seconds = time.monotonic() - start
    save_teacher(arguments.out, teacher)
    raw = say_if_raw(dataset.reference_returns)
    result = score(dataset.env_id, [teacher.to_policy()], dataset.reference_returns, episodes=10, should_stop=stop)
    return {
        "out": str(arguments.out),
        "dataset": dataset.id,
        "algorithm": arguments.algorithm,
        "preset": arguments.preset,
        "updates": int(teacher.details["steps"]),
        "seconds": round(seconds, 1),
        "normalized_return_mean": round(result.normalized_return_mean, 2),
        "dataset_normalized_return_mean": round(float(dataset.normalized(dataset.episode_returns).mean()), 2),
        "raw_returns": raw,
        "episodes": 10,
    }


def import_policy(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.data.catalog import list_datasets
    from obd.data.reference import reference_returns
    from obd.evaluation import evaluate as score
    from obd.teachers.import_policy import import_policy as convert
    from obd.teachers.teacher import save_teacher

    if not arguments.out.parent.is_dir():
        raise ObdError(f"The folder {arguments.out.parent} does not exist; create it first.")
    env_id, reference = arguments.env, reference_returns(arguments.env or "")
    if arguments.dataset is not None:
        rows = {info.id: info for info in list_datasets()}
        if arguments.dataset not in rows:
            raise ObdError(f"Unknown dataset {arguments.dataset!r}; `python -m obd datasets` lists what can be opened.")
        env_id, reference = rows[arguments.dataset].env_id, rows[arguments.dataset].reference_returns
    teacher = convert(arguments.file, arguments.algorithm, env_id)
    save_teacher(arguments.out, teacher)
    raw = say_if_raw(reference)
    result = score(env_id, [teacher.to_policy()], reference, episodes=arguments.episodes, should_stop=stop)
    return {
        "out": str(arguments.out),
        "env_id": env_id,
        "algorithm": arguments.algorithm,
        "normalized_return_mean": round(result.normalized_return_mean, 2),
        "return_mean": round(result.return_mean, 2),
        "raw_returns": raw,
        "episodes": arguments.episodes,
    }


def distill(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.execute import check_possible
    from obd.runs.store import create_run

    values = chosen(arguments, DistillConfig)
    if arguments.steps is not None:
        values["seconds"] = None
    config = preset(values.pop("preset", "default"), **values)
    check_possible(config, open_dataset(config.dataset, stop))
    return execute(create_run(config, path=arguments.out), stop)


def resume(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.store import ACTIVE_STATES, alive, open_run

    run = open_run(arguments.run_dir)
    status = run.status()
    if status["state"] == "finished":
        raise ObdError(f"{run.id} is complete; start a new run to go further.")
    if status["state"] in ACTIVE_STATES and alive(status):
        raise ObdError(f"{run.id} is active in another process; wait for it or stop it there.")
    return execute(run, stop)


def execute(run: Any, stop: Interrupt) -> Output:
    """Carry out one run with a progress line and describe its result."""
    from obd.runs.execute import GroupExecution

    line, over = ProgressLine(f"Distilling {run.config.objective}"), threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            status = run.status()
            if status["state"] == "running" and status["step"]:
                pace = status["step"] / max(status["seconds"], 1e-9)
                line(
                    min(status["step"] / status["outer_steps"], 0.999),
                    f"step {status['step']} of {status['outer_steps']}, loss {status['loss']:.4f}, {pace:.1f} steps/s",
                )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        GroupExecution([run], live=False, final=False)(stop)
    finally:
        over.set()
        watcher.join()
    status = run.status()
    if status["state"] == "failed":
        raise ObdError(status["message"])
    if stop():
        run.write_status(state="interrupted", message="Stopped from the keyboard; resume it with python -m obd resume.")
        raise Cancelled
    return describe(run) | {
        "seed": run.config.seed,
        "seconds": round(status["seconds"], 2),
        "outer_steps_per_second": round(status["step"] / max(status["seconds"], 1e-9), 3),
        "final_loss": status["loss"],
        "initial_loss": status["initial_loss"],
    }


def evaluate(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.evaluation import evaluate as score
    from obd.policy import EnsemblePolicy
    from obd.runs.execute import EVALUATION_SEED
    from obd.runs.manage import keep_scores
    from obd.runs.store import open_run
    from obd.students import is_recipes_own, train_other_students

    run = open_run(arguments.run_dir)
    distilled = run.distilled()
    reference, env_id = reference_of(run.config.dataset, distilled.card, stop)
    raw = say_if_raw(reference)
    start = time.monotonic()
    policies = train_other_students(
        distilled,
        arguments.students,
        EVALUATION_SEED + arguments.seed,
        architecture=arguments.architecture,
        optimizer=arguments.optimizer,
    )
    student_seconds = (time.monotonic() - start) / arguments.students
    keywords: dict[str, Any] = {"episodes": arguments.episodes, "seed": EVALUATION_SEED + arguments.seed}
    result = score(env_id, policies, reference, on_progress=ProgressLine("Students"), should_stop=stop, **keywords)
    output = result.to_dict() | {"student_steps": distilled.recipe.inner_steps}
    scores = {"students": result.to_dict() | {"student_seconds": round(student_seconds, 3)}}
    if arguments.ensemble:
        line = ProgressLine("Ensemble")
        together = score(
            env_id, [EnsemblePolicy(tuple(policies))], reference, on_progress=line, should_stop=stop, **keywords
        )
        output["ensemble_normalized_return_mean"] = together.normalized_return_mean
        scores["ensemble"] = together.to_dict()
    why_not = "these are other students than the set was distilled for"
    if is_recipes_own(distilled.recipe, arguments.architecture, arguments.optimizer):
        why_not = keep_scores(run, scores)
    say(f"Not stored: {why_not}." if why_not else "Stored with the run, where the app shows it.")
    output |= {"stored": not why_not, "raw_returns": raw}
    output["seconds"] = round(time.monotonic() - start, 2)
    return output


def export(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.export import write_export
    from obd.runs.store import open_run

    file, card = write_export(open_run(arguments.run_dir), arguments.format, arguments.out)
    return {"out": str(file), "card": str(card), "format": arguments.format, "bytes": file.stat().st_size}


def import_set(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.importing import import_file

    run = import_file(arguments.file, arguments.out)
    return describe(run)


def describe(run: Any) -> Output:
    """What a run is and how far it came."""
    config = run.config
    return {
        "run_dir": str(run.path),
        "dataset": config.dataset,
        "objective": config.objective,
        "size": config.size,
        "outer_steps": run.status()["step"],
    }


def criticality(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    from obd.runs.critical import measured_step, reference_of_run, report_of_run
    from obd.runs.store import open_run
    from obd.ui import claims

    run = open_run(arguments.run_dir)
    step = measured_step(run, arguments.step)
    dataset = open_dataset(run.config.dataset, stop)
    reference = reference_of_run(run, dataset, ProgressLine("Measuring the data"), stop)
    report = report_of_run(run, dataset, reference, step, ProgressLine("Measuring the states"), stop)
    objective = run.config.objective
    output: Output = {"run_dir": str(run.path), "objective": objective, "size": run.config.size, "step": step}
    said = [sentence.replace("**", "") for sentence in claims.sentences(objective, report)]
    if arguments.json:
        return output | claims.numbers(report) | {"sentences": said}
    print("\n".join(said), end="\n\n")
    return output | claims.effect_lines(report)


def bench(arguments: argparse.Namespace, stop: Interrupt) -> Output:
    import importlib

    from obd.teachers import algorithm

    module = importlib.import_module(f"obd.bench.{BENCHMARKS[arguments.name]}")
    given = {name: getattr(arguments, name) for name in BENCH_OPTIONS}
    keywords = {name: value for name, value in given.items() if value is not None}
    if unknown := set(keywords) - set(inspect.signature(module.run).parameters):
        raise ObdError(f"The benchmark {arguments.name} takes no --{min(unknown)}.")
    for name in keywords.get("algorithms", ()):
        algorithm(name)
    result: Output = module.run(quick=arguments.quick, say=say, should_stop=stop, **keywords)
    return result


def open_dataset(dataset_id: str, stop: Interrupt) -> Any:
    from obd.data.catalog import BUILTIN, load_dataset
    from obd.data.identifiers import is_local
    from obd.data.remote import download

    if dataset_id not in BUILTIN and not is_local(dataset_id):
        try:
            download(dataset_id, on_progress=ProgressLine(f"Downloading {dataset_id}"), should_stop=stop)
        except ObdError as error:
            raise ObdError(
                f"There is no dataset {dataset_id} on this machine, and it cannot be downloaded. {error} "
                "`python -m obd datasets` lists what can be opened."
            ) from error
    return load_dataset(dataset_id, on_progress=ProgressLine(f"Opening {dataset_id}"), should_stop=stop)


def reference_of(dataset_id: str, card: Output, stop: Interrupt) -> tuple[tuple[float, float] | None, str]:
    """Reference returns and environment of a distilled set, from the catalogue without opening the dataset."""
    from obd.data.catalog import list_datasets
    from obd.data.reference import reference_returns

    for info in list_datasets():
        if info.id == dataset_id:
            return info.reference_returns, info.env_id
    env_id = str(card["env_id"])  # an imported set may come without its dataset
    return reference_returns(env_id), env_id


def say_if_raw(reference: tuple[float, float] | None) -> bool:
    """Without reference returns a normalised return is the raw one; programs learn it from ``raw_returns``."""
    if reference is None:
        say("There are no reference returns for this environment: all returns are raw.")
    return reference is None


def in_words(output: Output) -> Output:
    """What is printed without ``--json``, whose names are fixed: raw returns are not called normalised, or twice.

    A benchmark's rows are for programs: it has said them already.
    """
    output = {name: value for name, value in output.items() if name != "rows"}
    if not output.get("raw_returns"):
        return output
    means = {name for name in output if name.endswith("normalized_return_mean")}
    twice = {name for name in means if name.replace("normalized_", "") in output}
    return {name.replace("normalized_", "raw_"): value for name, value in output.items() if name not in twice}


def chosen(arguments: argparse.Namespace, config_type: type) -> Output:
    """The settings given on the command line."""
    return {name: value for name in options(config_type) if (value := getattr(arguments, name, None)) is not None}
