"""Worker processes that play episodes and draw videos.

A process of its own keeps the app's threads (a distillation may be running there) from slowing the pictures down and
the app alive when a graphics driver crashes.  The workers stay: opening OpenGL and loading MuJoCo takes a second.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Self

from PIL import Image as PillowImage
from threadpoolctl import threadpool_limits

from obd.data.workers import without_main_module
from obd.errors import Cancelled, ObdError
from obd.policy import Policy
from obd.render import backend
from obd.render.mujoco_frames import BLACK, probe
from obd.render.race import RaceFilm
from obd.render.scene import Image
from obd.render.trajectory import Trajectory, record
from obd.render.video import Film, Panel, TiledFilm, shoot

WORKERS = 2
POLL_SECONDS = 0.05
ENDING_SECONDS = 1.5  # for workers to end what was cancelled; those that do are kept
PREVIEW_SECONDS = 0.15  # between two pictures shown while a film is being drawn

News = Callable[[int, Any], None]


@dataclass(frozen=True)
class Order:
    """What to film: ``view`` is "tiled" or "race"; ``seconds`` limits what is shown."""

    view: str
    panels: tuple[Panel, ...]
    seconds: float | None
    schematic: bool = False

    def film(self) -> Film:
        """The film; raises ObdError if these panels cannot be shown in this view."""
        if self.view == "race":
            return RaceFilm(self.panels, seconds=self.seconds, schematic=self.schematic)
        return TiledFilm(self.panels, seconds=self.seconds, schematic=self.schematic)


@dataclass(frozen=True)
class Job:
    """One of the functions below with its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


# -- what workers do: each gets a function that sends news ----------------------------------------------------------

Tell = Callable[[Any], None]


def try_gl(tell: Tell) -> bool:
    """Whether OpenGL draws anything in this process."""
    return probe() > BLACK


def play(env_id: str, policy: Policy, seed: int, tell: Tell) -> Trajectory:
    """One episode."""
    return record(env_id, policy, seed)


def first_picture(order: Order, tell: Tell) -> bytes:
    """The film's first frame as JPEG."""
    with order.film() as film:
        return jpeg(film.paint(0))


def shoot_part(order: Order, path: Path, first: int, end: int, tell: Tell) -> set[str]:
    """Frames ``first`` to ``end`` into a file; tells (frames done, picture as JPEG).  Returns what drew them."""
    film, shown = order.film(), 0.0

    def on_frame(frame: int, picture: Image) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown > PREVIEW_SECONDS:
            shown = now
            tell((frame + 1 - first, jpeg(picture)))

    shoot(path, film, (first, end), threads=1, on_frame=on_frame)
    return set(film.drawn_by)


def jpeg(picture: Image) -> bytes:
    """``[height, width, 3]`` as a JPEG file."""
    stream = io.BytesIO()
    PillowImage.fromarray(picture).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _serve(connection: Connection, gl: str | None) -> None:
    """A worker's life: job by job until the other end closes."""
    os.environ["LP_NUM_THREADS"] = "1"  # the workers share the cores, a software OpenGL in each need not
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # classic control draws with SDL and needs no display
    backend.remember(gl)
    with threadpool_limits(1):
        while True:
            try:
                job = connection.recv()
            except (EOFError, OSError):
                return
            if job is None:  # it was to stop what it had just done
                continue

            def tell(news: Any) -> None:
                if connection.poll():  # while there is a job, nothing comes but the wish to stop it
                    raise Cancelled
                connection.send(("news", news))

            try:
                answer = ("done", job.function(*job.arguments, tell))
            except Cancelled:
                answer = ("cancelled", None)
            except ObdError as error:
                answer = ("sentence", str(error))
            except Exception as error:
                answer = ("failed", f"{type(error).__name__}: {error}")
            try:
                connection.send(answer)
            except OSError:
                return


# -- the app's side -------------------------------------------------------------------------------------------------


class Crew:
    """The worker processes.  A context manager; used by any thread, one film at a time."""

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(WORKERS, os.cpu_count() or 1)
        self._workers: list[tuple[Any, Connection]] = []
        self._lock = threading.Lock()
        self._tried = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: Any) -> None:
        self.close()

    @property
    def warm(self) -> bool:
        """Whether the workers are running, have opened OpenGL and have nothing to do."""
        return bool(self._workers) and self._tried and not self._lock.locked()

    def start(self) -> None:
        """Begin to start the workers that are not there, without waiting for them or for what they are doing."""
        if self._lock.acquire(blocking=False):
            try:
                self._start()
            finally:
                self._lock.release()

    def warm_up(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Start the workers and let each of them open OpenGL, which takes a second.  Raises as :meth:`run` does."""
        with self._at_work(should_stop):
            if backend.likely_backend() is not None:
                self._run([Job(try_gl, ())] * self.size, None, should_stop)

    def _start(self) -> None:
        self._workers = [(process, pipe) for process, pipe in self._workers if process.is_alive()]
        context = multiprocessing.get_context("spawn")
        while len(self._workers) < self.size:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, backend.likely_backend()), daemon=True)
            with without_main_module():
                process.start()
            theirs.close()
            self._workers.append((process, ours))

    def run(
        self,
        jobs: Sequence[Job],
        on_news: News | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[Any]:
        """The results of the jobs, done by the workers as they become free.

        Args:
            jobs: their functions must be importable.
            on_news: told the number of a job and what it tells.
            should_stop: asked many times a second.

        Raises:
            ObdError: a job says why it cannot be done, or a worker died.
            Cancelled: ``should_stop()`` returned true.
        """
        stop = should_stop or (lambda: False)
        with self._at_work(stop):
            return self._run(jobs, on_news, stop)

    @contextmanager
    def _at_work(self, stop: Callable[[], bool]) -> Iterator[None]:
        """Have the workers for oneself, started and with an OpenGL that works."""
        while not self._lock.acquire(timeout=POLL_SECONDS):
            if stop():
                raise Cancelled
        try:
            self._start()
            if not self._tried:
                self._settle_backend(stop)
            yield
        except Cancelled:
            raise  # after _end
        except BaseException:
            self._abandon()  # workers in an unknown state are not worth keeping
            raise
        finally:
            self._lock.release()

    def _settle_backend(self, stop: Callable[[], bool]) -> None:
        """Let the first worker try the likely OpenGL; should it fail or die, look for one that works."""
        if not backend.proven():
            likely = backend.likely_backend()
            works = False
            if likely is not None:
                try:
                    works = bool(self._run([Job(try_gl, ())], None, stop)[0])
                except ObdError:
                    works = False
            if works:
                backend.remember(likely)
            else:
                self._abandon()
                backend.gl_backend()
                self._start()
        self._tried = True

    def _run(self, jobs: Sequence[Job], on_news: News | None, stop: Callable[[], bool]) -> list[Any]:
        busy: dict[Connection, int] = {}
        try:
            return self._work_off(jobs, busy, on_news, stop)
        except Cancelled:
            self._end(list(busy))
            raise

    def _work_off(
        self, jobs: Sequence[Job], busy: dict[Connection, int], on_news: News | None, stop: Callable[[], bool]
    ) -> list[Any]:
        """The results of the jobs; ``busy`` says at any time who does which."""
        results: list[Any] = [None] * len(jobs)
        waiting = list(range(len(jobs)))[::-1]
        idle = [pipe for _, pipe in self._workers]
        while waiting or busy:
            while waiting and idle:
                pipe, number = idle.pop(0), waiting.pop()
                try:
                    pipe.send(jobs[number])
                except OSError as error:
                    raise _died() from error
                busy[pipe] = number
            if stop():
                raise Cancelled
            ready = wait(list(busy), timeout=POLL_SECONDS)
            for pipe in [pipe for pipe in busy if pipe in ready]:
                try:
                    kind, content = pipe.recv()
                except (EOFError, OSError) as error:
                    raise _died() from error
                number = busy[pipe]
                if kind == "news":
                    if on_news is not None:
                        on_news(number, content)
                    continue
                del busy[pipe]
                idle.append(pipe)
                if kind == "sentence":
                    raise ObdError(content)
                if kind != "done":
                    raise ObdError(f"The video could not be made ({content}); please try again.")
                results[number] = content
        return results

    def _end(self, busy: list[Connection]) -> None:
        """Tell the workers to stop what they are doing; those that do not soon are replaced."""
        limit = time.monotonic() + ENDING_SECONDS
        try:
            for pipe in busy:
                pipe.send(None)
            while busy:
                ready = wait(busy, timeout=max(0.0, limit - time.monotonic()))
                if not ready:
                    return self._abandon()
                busy = [pipe for pipe in busy if pipe not in ready or pipe.recv()[0] == "news"]
        except (EOFError, OSError):
            self._abandon()

    def _abandon(self) -> None:
        for process, pipe in self._workers:
            pipe.close()
            process.terminate()
        for process, _ in self._workers:
            process.join(5)
        self._workers = []

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            self._abandon()


def _died() -> ObdError:
    return ObdError("The process that draws the video ended unexpectedly (out of memory?); please try again.")
