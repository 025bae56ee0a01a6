"""Several policies side by side in one video, synchronised in real time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image as PillowImage

from obd.errors import Cancelled, ObdError
from obd.render.captions import BAR, bar_height, caption_bar, ended, overlay
from obd.render.encoder import VideoWriter
from obd.render.renderer import Renderer, make_renderer
from obd.render.scene import Image, parse_colour
from obd.render.trajectory import Trajectory

COLUMNS = 3
PANEL_SIZE = (256, 192)  # about what a page of 1280 pixels shows; drawing time goes with the area
GAP = 4  # pixels between panels
MOST_FPS = 30.0
HOLD_SECONDS = 1.0  # the last picture stays this long: a fall at the end would not be seen


@dataclass(frozen=True)
class Panel:
    """One policy's place in a video.

    ``colour`` is ``#rrggbb``, ``symbol`` a name of :func:`obd.render.captions.marker`; ``score_text`` stands on the
    right of the caption.
    """

    title: str
    colour: str
    trajectory: Trajectory
    score_text: str = ""
    symbol: str = "rect"


class Film(Protocol):
    """A video that can be painted frame by frame, in any order.  A context manager; to be used in one thread.

    ``size`` is (width, height) in pixels, both even; ``fps`` its frames per second, ``frames`` their number and
    ``drawn_by`` what drew those painted so far: "mujoco", "schematic" or "environment".
    """

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def drawn_by(self) -> set[str]: ...

    fps: float
    frames: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *reason: Any) -> None: ...

    def paint(self, frame: int) -> Image: ...


def shoot(
    path: str | Path,
    film: Film,
    part: tuple[int, int] | None = None,
    *,
    threads: int = 0,
    on_frame: Callable[[int, Image], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write a film as one H.264 MP4.

    Args:
        path: of the file; it appears when it is complete.
        film: entered and left here.
        part: first frame and the one after the last; default: all.
        threads: of the encoder; 0 is its own choice.
        on_frame: told every frame's number and picture.
        should_stop: asked before every frame.

    Returns:
        ``path``.

    Raises:
        ObdError: an environment that cannot be drawn, ffmpeg missing, or a full disk.
        Cancelled: ``should_stop()`` returned true; no file is left behind.
    """
    path = Path(path)
    first, end = part or (0, film.frames)
    with film, VideoWriter(path, *film.size, film.fps, threads) as writer:
        for frame in range(first, end):
            if should_stop is not None and should_stop():
                raise Cancelled
            picture = film.paint(frame)
            writer.write(picture)
            if on_frame is not None:
                on_frame(frame, picture)
    return path


def even_rate(steps_per_second: float, limit: float = MOST_FPS) -> float:
    """The highest rate up to ``limit`` at which every frame shows one more whole number of steps."""
    return steps_per_second / max(1, math.ceil(steps_per_second / limit - 1e-9))


def timing(trajectories: Sequence[Trajectory], seconds: float | None) -> tuple[float, int]:
    """Frames per second and number of frames that show the episodes in real time, at most ``seconds`` of them.

    Raises ObdError if there is nothing to show.
    """
    if not trajectories:
        raise ObdError("A video needs at least one policy; choose one.")
    if seconds is not None and not seconds > 0:
        raise ObdError(f"A video must last longer than {seconds:g} seconds.")
    fps = even_rate(max(trajectory.frames_per_second for trajectory in trajectories))
    duration = max(trajectory.seconds for trajectory in trajectories) + HOLD_SECONDS
    return fps, max(1, math.ceil(min(duration, seconds or duration) * fps - 1e-6))


class TiledFilm:
    """All panels side by side in real time, up to three in a row.

    An episode that ends before the others freezes, dimmed, with a note when it ended.

    Args:
        panels: at least one.
        width_per_panel, height: of each picture in pixels, without the caption bar.
        seconds: show only the first seconds of the episodes.
        schematic: draw schematically even if OpenGL works.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        *,
        width_per_panel: int = PANEL_SIZE[0],
        height: int = PANEL_SIZE[1],
        seconds: float | None = None,
        schematic: bool = False,
    ) -> None:
        self.fps, self.frames = timing([panel.trajectory for panel in panels], seconds)
        self._panels, self._schematic = panels, schematic
        self._grid = Grid(len(panels), _even(width_per_panel), _even(height))
        self._stack = ExitStack()
        self._renderers: dict[str, Renderer] = {}

    @property
    def size(self) -> tuple[int, int]:
        return self._grid.size

    @property
    def drawn_by(self) -> set[str]:
        kinds = {kind for renderer in self._renderers.values() for kind in renderer.used}
        return kinds | {"environment" for panel in self._panels if not panel.trajectory.has_states}

    def __enter__(self) -> Self:
        """Open the renderers.  Raises ObdError if an environment cannot be drawn."""
        grid = self._grid
        for env_id in {panel.trajectory.env_id for panel in self._panels if panel.trajectory.has_states}:
            renderer = make_renderer(env_id, grid.width, grid.height, schematic=self._schematic)
            self._renderers[env_id] = self._stack.enter_context(renderer)
        self._painters = [
            PanelPainter(panel, grid, self._renderers.get(panel.trajectory.env_id)) for panel in self._panels
        ]
        self._canvas = grid.empty()
        for number, painter in enumerate(self._painters):
            grid.place(self._canvas, number, painter.caption, 0)
        return self

    def __exit__(self, *reason: Any) -> None:
        self._stack.close()

    def paint(self, frame: int) -> Image:
        """``[height, width, 3]``; the next call overwrites it."""
        for number, painter in enumerate(self._painters):
            self._grid.place(self._canvas, number, painter.paint(frame / self.fps), self._grid.bar)
        return self._canvas


class Grid:
    """Where each panel lies; the last row is centred."""

    def __init__(self, count: int, width: int, height: int) -> None:
        self.count, self.width, self.height = count, width, height
        self.bar = bar_height(height)
        self.columns = min(COLUMNS, count) if count != 4 else 2
        self.rows = math.ceil(count / self.columns)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole video, both even."""
        return (
            self.columns * (self.width + GAP) - GAP,
            self.rows * (self.height + self.bar + GAP) - GAP,
        )

    def empty(self) -> Image:
        """A canvas in the background colour, ``[height, width, 3]``."""
        width, height = self.size
        return np.full((height, width, 3), BAR, dtype=np.uint8)

    def place(self, canvas: Image, number: int, picture: Image, offset: int) -> None:
        """Copy ``picture`` into panel ``number``, ``offset`` pixels below its top."""
        row, column = divmod(number, self.columns)
        in_row = min(self.columns, self.count - row * self.columns)
        left = (self.size[0] - (in_row * (self.width + GAP) - GAP)) // 2 + column * (self.width + GAP)
        top = row * (self.height + self.bar + GAP) + offset
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


class PanelPainter:
    """Draws one panel's picture at a time of the video; draws again only what has changed."""

    def __init__(self, panel: Panel, grid: Grid, renderer: Renderer | None) -> None:
        self.panel, self._grid, self._renderer = panel, grid, renderer
        parse_colour(panel.colour)
        self.caption = caption_bar(grid.width, grid.bar, panel.title, panel.colour, panel.score_text, panel.symbol)
        self._returns = np.concatenate([[0.0], np.cumsum(panel.trajectory.rewards)])
        self._index = -1
        self._over = False
        self._picture = np.zeros((grid.height, grid.width, 3), dtype=np.uint8)
        if renderer is None and panel.trajectory.frames is None:
            raise ObdError(
                f"{panel.trajectory.env_id} cannot be drawn: it has no MuJoCo states and returned no pictures "
                "(for classic control, install pygame)."
            )

    def paint(self, seconds: float) -> Image:
        """``[height, width, 3]`` picture at ``seconds`` after the start."""
        trajectory = self.panel.trajectory
        index = trajectory.index_at(seconds)
        over = index == len(trajectory) and seconds > trajectory.seconds
        if index != self._index or over != self._over:
            clock = min(seconds, trajectory.seconds)
            picture = overlay(self._draw(index), f"return {self._returns[index]:z,.0f}", f"{clock:.1f} s")
            self._picture = ended(picture, self._note()) if over else picture
            self._index, self._over = index, over
        return self._picture

    def _note(self) -> str:
        trajectory = self.panel.trajectory
        if not trajectory.terminated:
            return f"time limit, {trajectory.seconds:.1f} s"
        return f"{'fell' if trajectory.has_states else 'ended'} after {trajectory.seconds:.1f} s"

    def _draw(self, index: int) -> Image:
        trajectory = self.panel.trajectory
        if self._renderer is not None:
            return self._renderer.render(trajectory.qpos[index], trajectory.qvel[index], accent=self.panel.colour)
        assert trajectory.frames is not None
        number = min(index // trajectory.frame_stride, len(trajectory.frames) - 1)
        return fit(trajectory.frames[number], self._grid.width, self._grid.height)


def fit(picture: Image, width: int, height: int) -> Image:
    """``picture`` scaled into ``[height, width, 3]`` with its proportions kept."""
    image = PillowImage.fromarray(picture)
    scale = min(width / image.width, height / image.height)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    canvas = PillowImage.new("RGB", (width, height), (255, 255, 255))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(canvas)


def _even(length: int) -> int:
    if length < 16:
        raise ObdError(f"A picture needs at least 16 pixels each way, not {length}.")
    return length - length % 2
