"""Videos of students, random selection and the teacher with the numbers behind them, made once and kept on disk."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from obd.data.dataset import OfflineDataset, normalized_return
from obd.errors import ObdError
from obd.paths import assets_dir, cache_dir
from obd.policy import Policy
from obd.render.crew import Crew, Job, Order, first_picture, jpeg, play, shoot_part
from obd.render.encoder import as_gif, join
from obd.render.race import RACE_SIZE
from obd.render.trajectory import Trajectory, opening
from obd.render.video import PANEL_SIZE, Grid, Panel
from obd.runs.store import disk_error, read_json, write_atomic
from obd.runs.whole_bc import whole_clone_steps
from obd.teachers.teacher import Teacher
from obd.ui import player, state
from obd.ui.cast import Member, Shelf, choices, policies, select, snapshots, usual
from obd.ui.player import Track
from obd.ui.sentences import minus
from obd.ui.tasks import Task
from obd.ui.theme import style

FORMAT = 2  # of a video's notes; older ones are made again
STUDENT_SEED = 0  # the first student, whatever it does: choosing the best one would flatter the method
USUAL_SECONDS = 12
VIEWS = {"tiled": "Side by side", "race": "Race"}
SHIPPED = {"tiled": "rollouts.mp4", "race": "race.mp4"}
KEPT_POLICIES = 96  # policies and episodes in memory: half a megabyte each
KEPT_VIDEOS = 40  # per folder; the oldest go first
LONGEST_PART = 0.45  # of the progress bar is over when the drawing begins
DRAWERS = {
    "mujoco": "drawn by MuJoCo",
    "schematic": "schematic drawing, as OpenGL is not available",
    "environment": "drawn by the environment itself",
}


@dataclass(frozen=True)
class Request:
    """What somebody wants to see.

    Attributes:
        members: who, in the order of panels and lanes.
        view: key of VIEWS.
        seed: of the environment's start state.
        seconds: length shown; the returns are of whole episodes.
    """

    members: tuple[Member, ...]
    view: str = "tiled"
    seed: int = 0
    seconds: float = USUAL_SECONDS

    @property
    def path(self) -> Path:
        """Where the video belongs; another distilled set gives another name."""
        parts = [*(member.stamp for member in self.members), os.environ.get("OBD_RENDERER", ""), str(FORMAT)]
        digest = hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
        run = self.members[0].run
        shipped = assets_dir() in run.path.parents  # the showcase is not written to
        folder = cache_dir() / "videos" if shipped else run.path / "videos"
        return folder / f"{self.view}-{digest}-seed{self.seed}-{self.seconds:g}s.mp4"

    @property
    def key(self) -> tuple[str, str]:
        """Of the task that makes it."""
        return "video", str(self.path)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the video in pixels."""
        return RACE_SIZE if self.view == "race" else Grid(len(self.members), *PANEL_SIZE).size


@dataclass(frozen=True)
class Shot:
    """One policy of a video: what it scored, how long it lasted, how far it got in the part shown."""

    key: str
    label: str
    score: float
    episode_return: float
    seconds: float
    terminated: bool
    distance: float | None

    @property
    def ending(self) -> str:
        """How the episode ended, in words."""
        return f"fell after {self.seconds:.1f} s" if self.terminated else f"{self.seconds:.0f} s, time limit"


@dataclass(frozen=True)
class Video:
    """A finished video file with what is in it.

    ``drawn_by`` says what drew its frames (keys of DRAWERS), ``remarks`` what else there is to know, in words.
    """

    path: Path
    view: str
    env_id: str
    fps: float
    frames: int
    size: tuple[int, int]
    shots: tuple[Shot, ...]
    drawn_by: tuple[str, ...]
    tracks: tuple[Track, ...]
    remarks: tuple[str, ...] = ()

    @property
    def scale(self) -> str:
        """How to read the scores: without reference returns they are the raw ones, unchanged."""
        raw = all(shot.score == shot.episode_return for shot in self.shots)
        return "raw, as there are no reference returns" if raw else "0 is random, 100 expert"

    def renderer(self) -> str:
        """What drew it, in words."""
        return ", partly ".join(DRAWERS.get(name, name) for name in sorted(self.drawn_by))

    def contract(self, url: str) -> dict[str, Any]:
        """The data of the player; see :func:`obd.ui.player.contract`."""
        alt = f"{VIEWS[self.view]}: " + ", ".join(f"{shot.label} {minus(f'{shot.score:z.0f}')}" for shot in self.shots)
        key = f"{self.path.name} {self.path.stat().st_mtime_ns}"
        data = player.contract(
            self.tracks, key=key, url=url, fps=self.fps, frames=self.frames, env_id=self.env_id, view=self.view, alt=alt
        )
        for member, shot in zip(data["members"], self.shots, strict=True):
            member |= {"score": minus(f"{shot.score:z.1f}"), "ending": shot.ending}
        return data | {"size": list(self.size)}


def _close(opened: Crew) -> None:
    opened.close()


@st.cache_resource(on_release=_close, show_spinner=False)
def crew() -> Crew:
    """The processes that draw the videos of all tabs; they stay, so that the next video begins at once."""
    return Crew()


@st.cache_resource(show_spinner=False)
def kept() -> Shelf:
    """Policies and episodes of the last videos: another view of the same policies need not play again."""
    return Shelf(KEPT_POLICIES)


def get_ready(request: Request) -> None:
    """Open in the background what another video of the same policies needs: whoever watches one may ask for it."""
    config, shelf, opened = request.members[0].run.config, state.shelf(), crew()

    def work(task: Task) -> None:
        opened.warm_up(task.should_stop)
        shelf.get(config.dataset, task.progress, task.should_stop)

    info = state.dataset_info(config.dataset)
    if info is not None and info.available:  # nobody has asked to build it
        state.tasks().start_once(("ready", config.dataset), work, "getting ready")


def existing(path: Path) -> Video | None:
    """The video made earlier, or None."""
    notes = path.with_suffix(".json")
    if not (path.is_file() and notes.is_file()):
        return None
    try:
        values = read_json(notes)
        if values.pop("format") != FORMAT:
            return None
        shots = tuple(Shot(**shot) for shot in values.pop("shots"))
        tracks = player.from_json(values.pop("tracks"))
        size, drawn_by, remarks = values.pop("size"), tuple(values.pop("drawn_by")), tuple(values.pop("remarks", ()))
        return Video(
            path, shots=shots, tracks=tracks, size=(size[0], size[1]), drawn_by=drawn_by, remarks=remarks, **values
        )
    except (ObdError, KeyError, TypeError, IndexError):
        return None


def shipped(request: Request) -> Video | None:
    """The video that ships with the showcase, if that is what is asked for."""
    if any(assets_dir() not in member.run.path.parents for member in request.members):
        return None
    runs = list({member.run.id: member.run for member in request.members}.values())
    members = choices(runs, snapshots(runs), teacher=True)
    standard = Request(tuple(select(members, usual(members), [1])), request.view)
    return existing(runs[0].path.parent / SHIPPED[request.view]) if request == standard else None


def make(
    task: Task,
    request: Request,
    path: Path,
    dataset: OfflineDataset,
    teacher: Callable[[], Teacher],
    crew: Crew,
    shelf: Shelf,
) -> Video:
    """Train the students, play one episode each from the same start, film them and write their numbers down.

    ``task.preview`` holds the newest picture as JPEG from the first moments on.

    Args:
        task: told the progress; cancelling it raises Cancelled here.
        request: what to film.
        path: of the MP4; a JSON file of the same name holds the numbers.
        dataset: for random selection and the scale of returns.
        teacher: gives the teacher; raises ObdError if there is none.
        crew: plays and draws.
        shelf: keeps policies and episodes for the next video.

    Raises:
        ObdError: there is no such policy, or the environment cannot be drawn.
        Cancelled: the task was cancelled.
    """
    if task.preview is None:
        announce(task, request, dataset.env_id, crew)
    looks = _looks(request)
    with ThreadPoolExecutor(1) as pool:  # the start state is known before any student is trained
        opened = pool.submit(_first_picture, task, request, dataset.env_id, crew)
        cast = policies(
            request.members,
            dataset,
            lambda: teacher().to_policy(),
            shelf,
            seed=STUDENT_SEED,
            on_progress=task.part(0.02, 0.3),
        )
        opened.result()
    episodes = _episodes(task, request, dataset.env_id, cast, crew, shelf)
    task.progress(LONGEST_PART)
    shots = [
        _shot(member, episode, dataset, request.seconds)
        for member, episode in zip(request.members, episodes, strict=True)
    ]
    panels = tuple(
        Panel(title, colour, episode, f"{shot.score:z.0f}", symbol)
        for (title, colour, symbol), episode, shot in zip(looks, episodes, shots, strict=True)
    )
    order = Order(request.view, panels, request.seconds)
    film = order.film()
    drawn_by = _film(task, order, path, film.frames, crew)
    tracks = tuple(
        player.measure(episode, film.fps, film.frames, _q(teacher, episode), member.label, member.key)
        for member, episode in zip(request.members, episodes, strict=True)
    )
    video = Video(
        path,
        request.view,
        dataset.env_id,
        film.fps,
        film.frames,
        film.size,
        tuple(shots),
        tuple(drawn_by),
        tracks,
        _remarks(request, dataset),
    )
    notes = {name: value for name, value in vars(video).items() if name != "path"}
    notes |= {"format": FORMAT, "shots": [asdict(shot) for shot in shots], "tracks": player.to_json(tracks)}
    write_atomic(path.with_suffix(".json"), json.dumps(notes))
    task.progress(1.0)
    return video


def announce(task: Task, request: Request, env_id: str, crew: Crew) -> None:
    """Let ``task.preview`` be the start state as a schematic drawing, before anything else is done.

    It takes a few hundredths of a second, where OpenGL in software takes many times that, the dataset may have to be
    opened first, and the crew may be busy with another video.  Raises ObdError for what cannot race, before any
    episode is played for it.
    """
    crew.start()
    order = _start_order(request, env_id, schematic=True)
    if order.panels[0].trajectory.has_states or request.view == "race":  # which says so when there is nothing to race
        with order.film() as film:
            task.preview = jpeg(film.paint(0))


def _first_picture(task: Task, request: Request, env_id: str, crew: Crew) -> None:
    """Show the start state as it will be filmed."""
    order = _start_order(request, env_id)
    if order.panels[0].trajectory.has_states:
        task.preview = crew.run([Job(first_picture, (order,))], None, task.should_stop)[0]


def _start_order(request: Request, env_id: str, *, schematic: bool = False) -> Order:
    start = opening(env_id, request.seed)
    panels = tuple(Panel(title, colour, start, symbol=symbol) for title, colour, symbol in _looks(request))
    return Order(request.view, panels, None, schematic)


def _looks(request: Request) -> list[tuple[str, str, str]]:
    """Title, colour and symbol of each panel."""
    return [(member.label, style(member.key).colour, style(member.key).symbol) for member in request.members]


def _episodes(
    task: Task, request: Request, env_id: str, cast: Sequence[Policy], crew: Crew, shelf: Shelf
) -> list[Trajectory]:
    """One episode per policy, from the same start; those played before are taken from the shelf."""
    keys = [f"episode:{member.stamp}:{STUDENT_SEED}:{request.seed}" for member in request.members]
    known: dict[str, Trajectory] = {key: episode for key in keys if (episode := shelf.get(key)) is not None}
    missing = {key: policy for key, policy in zip(keys, cast, strict=True) if key not in known}
    jobs = [Job(play, (env_id, policy, request.seed)) for policy in missing.values()]
    for key, episode in zip(missing, crew.run(jobs, None, task.should_stop), strict=True):
        known[key] = episode
        if episode.has_states:  # the pictures of other environments take tens of megabytes
            shelf.put(key, episode)
    return [known[key] for key in keys]


def _remarks(request: Request, dataset: OfflineDataset) -> tuple[str, ...]:
    """How long the clone of the whole dataset was trained, if it is on show."""
    steps = whole_clone_steps(dataset) if any(member.kind == "whole_bc" for member in request.members) else None
    if steps is None:
        return ()
    kept = "" if steps[0] == steps[1] else f", kept from step {steps[1]:,}"
    return (f"{style('whole_bc').label} was trained for {steps[0]:,} steps on {len(dataset):,} transitions{kept}",)


def _film(task: Task, order: Order, path: Path, frames: int, crew: Crew) -> list[str]:
    """Draw all frames, a part per worker, and put the parts together.  Returns what drew them."""
    bounds = np.linspace(0, frames, min(crew.size, frames) + 1).round().astype(int).tolist()
    done = [0] * (len(bounds) - 1)

    def on_news(number: int, news: tuple[int, bytes]) -> None:
        done[number], picture = news
        if number == 0:  # the beginning plays while it is being drawn
            task.preview = picture
        task.progress(LONGEST_PART + (1 - LONGEST_PART) * sum(done) / frames)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".film-", dir=path.parent))
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        parts = [folder / f"{number}.mp4" for number in range(len(done))]
        jobs = [Job(shoot_part, (order, part, bounds[n], bounds[n + 1])) for n, part in enumerate(parts)]
        drawn_by = crew.run(jobs, on_news, task.should_stop)
        whole = folder / "whole.mp4"
        join(parts, whole)
        os.replace(whole, path)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _prune(path)
    return sorted(set().union(*drawn_by))


def _prune(newest: Path) -> None:
    """Keep the folder of videos small."""
    videos = sorted(newest.parent.glob("*.mp4"), key=lambda path: path.stat().st_mtime)
    for old in videos[:-KEPT_VIDEOS]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)


def _shot(member: Member, episode: Trajectory, dataset: OfflineDataset, seconds: float) -> Shot:
    score = float(normalized_return(episode.total_return, dataset.reference_returns))
    travelled = player.distance(episode)
    distance = None if travelled is None else float(travelled[episode.index_at(seconds)])
    ended = (episode.seconds, episode.terminated)
    return Shot(member.key, member.label, score, episode.total_return, *ended, distance)


def _q(teacher: Callable[[], Teacher], episode: Trajectory) -> NDArray[np.float32] | None:
    """``[T]`` what the teacher's critic says of the actions taken; None without a teacher."""
    try:
        critic = teacher()
    except ObdError:
        return None
    observations = torch.from_numpy(episode.observations[: len(episode)])
    values: NDArray[np.float32] = critic.q(observations, torch.from_numpy(episode.actions)).numpy()
    return values


def downloads(video: Video) -> None:
    """Buttons for the files to take away; the GIF takes seconds and is made in the background when it is asked for."""
    mp4, gif, csv = st.columns(3)
    stem = video.path.stem
    mp4.download_button("MP4", video.path.read_bytes(), f"{stem}.mp4", "video/mp4", on_click="ignore", width="stretch")
    numbers = player.as_csv(video.tracks, video.fps, video.env_id)
    csv.download_button("CSV", numbers, f"{stem}.csv", "text/csv", on_click="ignore", width="stretch")
    key = ("gif", str(video.path))
    task = state.tasks().get(key)
    with gif:
        if task is not None and task.state == "done":
            st.download_button(
                "GIF", task.result, f"{stem}.gif", "image/gif", type="primary", on_click="ignore", width="stretch"
            )
        elif task is not None and task.state == "running":
            st.fragment(_while_made, run_every=0.5)(key)
        elif st.button("GIF", key="make gif", width="stretch", help="Takes a few seconds; then this button saves it."):
            state.tasks().start(key, lambda _: as_gif(video.path), "GIF")
            st.rerun()
    if task is not None:
        if task.error:
            st.error(task.error)
        else:
            done = task.state == "done"
            st.caption("The GIF is ready: press its button again to save it." if done else "The GIF is being made.")


def _while_made(key: tuple[str, str]) -> None:
    task = state.tasks().get(key)
    if task is None or task.state != "running":
        st.rerun()
    st.button("GIF …", key="gif is made", disabled=True, width="stretch")


def picture_address(picture: bytes | None) -> str:
    """A JPEG as something a web page can show; empty for None."""
    return "" if picture is None else "data:image/jpeg;base64," + base64.b64encode(picture).decode()
