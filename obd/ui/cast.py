"""Who can be watched: students, ensembles and columns of each distilled set, random selection, whole BC, teacher."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch

from obd.data.dataset import OfflineDataset
from obd.engine.distill import as_distilled
from obd.engine.distilled import DistilledDataset, load_distilled
from obd.errors import ObdError
from obd.policy import EnsemblePolicy, Policy
from obd.runs.store import ACTIVE_STATES, Run
from obd.runs.whole_bc import whole_clone
from obd.students import random_selection, train_other_students, train_students
from obd.ui.theme import style

ENSEMBLE = 10  # students whose mean action is an ensemble's
STUDENTS = 10  # that can be chosen from
LIMIT = 9  # policies in one video

KINDS = ("student", "ensemble", "columns", "random_selection", "whole_bc", "teacher")
NUMBERED = ("student", "columns", "random_selection")  # kinds of which there are several
FORMS = {"student": "one network", "ensemble": "ensemble of ten", "columns": "four columns"}  # of students
UNUSUAL = ("whole_bc",)  # kinds that are shown only when asked for
WORK = {"whole_bc": 30.0, "ensemble": 10.0, "columns": 4.0}  # how long a kind of policy takes compared with one student


@dataclass(frozen=True)
class Member:
    """One policy of a video.

    Attributes:
        id: short name for links, for example ``av_pbc`` or ``teacher``.
        kind: one of KINDS.
        key: style key: the objective or the baseline.
        label: what it is called on screen.
        run: the run whose set it was trained on; for random selection the run whose settings it uses.
        step: the outer step of the snapshot, None for the finished set.
        student: number from 1 on, of NUMBERED kinds.
    """

    id: str
    kind: str
    key: str
    label: str
    run: Run
    step: int | None = None
    student: int = 1

    @property
    def stamp(self) -> str:
        """Changes whenever the policy would be another one."""
        if self.kind == "whole_bc":
            return f"whole_bc:{self.run.config.dataset}"
        if self.kind == "teacher":
            return f"teacher:{self.run.config.dataset}:{self.run.config.teacher}"
        if self.kind == "random_selection":
            config = self.run.config
            network = f"{config.hidden_layers}x{config.hidden_width}x{config.columns}"
            settings = f"{network}:{config.inner_steps}:{config.inner_batch}:{config.inner_step_size}"
            return f"random:{config.dataset}:{config.size}:{settings}:{self.student}"
        path = self.run.path / "distilled.npz"
        made = f"step{self.step}" if self.step is not None else path.stat().st_mtime_ns if path.exists() else "gone"
        return f"{self.kind}:{self.run.path}:{made}:{self.student}"


def snapshots(runs: Sequence[Run]) -> dict[str, int | None]:
    """Run id -> its newest snapshot's step while the run is active, None once its set is final.

    Runs without anything to train a student on are left out.
    """
    found: dict[str, int | None] = {}
    for run in runs:
        if run.status().get("state") not in ACTIVE_STATES:
            if (run.path / "distilled.npz").is_file():
                found[run.id] = None
        elif steps := run.snapshot_steps():
            found[run.id] = steps[-1]
    return found


def choices(runs: Sequence[Run], steps: Mapping[str, int | None], teacher: bool) -> dict[str, Member]:
    """Everyone who can be chosen, by id: baselines, one student per run, the teacher."""
    ready = [run for run in runs if run.id in steps]
    if not ready:
        return {}
    first = ready[0]
    found = [Member("random_selection", "random_selection", "random_selection", "Random selection", first)]
    found.append(Member("whole_bc", "whole_bc", "whole_bc", style("whole_bc").label, first))
    objectives = [run.config.objective for run in ready]
    for position, run in enumerate(ready):
        key, name, seed = run.config.objective, run.config.objective, ""
        if objectives.count(key) > 1:
            name, seed = f"{key}-{objectives[: position + 1].count(key)}", f" (seed {run.config.seed})"
        found.append(Member(name, own_form(run), key, style(key).label + seed, run, steps[run.id]))
    if teacher:
        found.append(Member("teacher", "teacher", "teacher", "Teacher", first))
    return {member.id: member for member in found}


def own_form(run: Run) -> str:
    """Which of FORMS the students of the run's recipe are."""
    return "columns" if run.config.columns > 1 else "student"


def usual(members: Mapping[str, Member]) -> list[str]:
    """Who is shown until somebody chooses: one student per set between random selection and the teacher."""
    return [member.id for member in members.values() if member.kind not in UNUSUAL][:LIMIT]


def select(
    members: Mapping[str, Member], ids: Sequence[str], students: Sequence[int], forms: Sequence[str] | None = None
) -> list[Member]:
    """The chosen members in their usual order; students in each of ``forms`` (keys of FORMS), once per number.

    Without ``forms`` they are what their recipes say.  ObdError if nobody or too many.
    """
    found = []
    for member in members.values():
        if member.id not in ids:
            continue
        kinds = [member.kind]
        if forms is not None and member.kind in FORMS:  # the recipe's own come first
            kinds = sorted((form for form in FORMS if form in forms), key=lambda form: form != member.kind)
        for kind in kinds:
            named = member.label if kinds == [member.kind] else f"{member.label} {FORMS[kind]}"
            numbers = (sorted(students) or [1]) if kind in NUMBERED else [1]
            for number in numbers:
                label = f"{named} {number}" if len(numbers) > 1 else named
                found.append(replace(member, kind=kind, label=label, student=number))
    if not found:
        asked = (
            "one network, an ensemble or four columns under “Students as”" if ids else "at least one policy to watch"
        )
        raise ObdError(f"Choose {asked}.")
    if len(found) > LIMIT:
        raise ObdError(
            f"{len(found)} policies are too many for one video, where each form and number of a student counts; choose "
            f"at most {LIMIT}."
        )
    return found


class Shelf:
    """Policies trained and episodes played before, by key.  Shared by all background tasks."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, value: Any) -> None:
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._room:
                self._kept.popitem(last=False)


def policies(
    members: Sequence[Member],
    dataset: OfflineDataset,
    teacher: Callable[[], Policy],
    shelf: Shelf,
    *,
    seed: int,
    on_progress: Callable[[float], None],
) -> list[Policy]:
    """One policy per member; those not known yet are trained, one thread per core.

    Args:
        dataset: for random selection and for the normaliser of snapshots.
        teacher: gives the teacher's policy; raises ObdError if there is none.
        seed: of the students' initialisations; student number n is the nth of this seed.
        on_progress: told the fraction done; may raise to stop.
    """
    work = [WORK.get(member.kind, 1.0) for member in members]
    done = [0.0] * len(members)

    def tell(number: int) -> Callable[[float], None]:
        def told(fraction: float) -> None:
            done[number] = work[number] * fraction
            on_progress(sum(done) / sum(work))

        return told

    with ThreadPoolExecutor(2, initializer=_one_thread_each) as pool:
        futures = [pool.submit(_policy, m, dataset, teacher, shelf, seed, tell(n)) for n, m in enumerate(members)]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def _one_thread_each() -> None:
    # Torch's own threads wait for each other: beside other work on the same cores that is ten times slower.
    torch.set_num_threads(1)


def _policy(
    member: Member,
    dataset: OfflineDataset,
    teacher: Callable[[], Policy],
    shelf: Shelf,
    seed: int,
    on_progress: Callable[[float], None],
) -> Policy:
    key = f"{member.stamp}:{seed}"
    known: Policy | None = shelf.get(key)
    if known is not None:
        on_progress(1.0)
        return known
    policy: Policy
    if member.kind == "teacher":
        policy = teacher()
    elif member.kind == "whole_bc":
        policy = whole_clone(dataset, on_progress).to_policy()
    else:
        chosen = distilled(member, dataset)
        if member.kind == "ensemble":
            policy = EnsemblePolicy(tuple(train_students(chosen, ENSEMBLE, seed)))
        else:  # another random selection is another draw, not another student of the same one
            number = 0 if member.kind == "random_selection" else member.student - 1
            own = member.kind in ("random_selection", own_form(member.run))
            architecture = "recipe" if own else {"student": "columns1", "columns": "columns4"}[member.kind]
            (policy,) = train_other_students(chosen, 1, seed, number, architecture=architecture)
    shelf.put(key, policy)
    on_progress(1.0)
    return policy


def distilled(member: Member, dataset: OfflineDataset) -> DistilledDataset:
    """The pairs that a member is trained on."""
    if member.kind == "random_selection":
        return random_selection(dataset, member.run.config, member.student - 1)
    if member.step is None:
        return load_distilled(member.run.path / "distilled.npz")
    config = member.run.config
    return as_distilled(config, dataset, member.run.snapshot(member.step), {"settings": config.to_dict()})
